"""Manifests against a slow obvious model, and decoders fed with whatever chance makes."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from pgkeep.errors import PgkeepError
from pgkeep.repository.manifest.builder import ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.codec import HEADER_SIZE, OF_BACKUP, Manifest, decode, decode_packs
from pgkeep.repository.manifest.tables import COLUMNS, PackTable, Tables
from pgkeep.repository.pack import Placed, StoredPack
from pgkeep.repository.seal import Sealer
from support.manifests import (
    ATTRIBUTES,
    KEY,
    SEALER,
    all_columns,
    encoded,
    manifest_of,
    some_facts,
    with_column,
    with_record,
)

SEALERS = st.sampled_from([SEALER, Sealer(KEY)])
NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
PATHS = st.sets(NAMES.filter(lambda name: name not in {".", ".."}), max_size=6)
WHOLE = encoded(manifest_of("base/ base/1=2500kB base/2=8kB pg_tblspc/ pg_tblspc/1>/ssd"))


@dataclass(frozen=True)
class Stored:
    """One chunk as a worker stored it."""

    id: bytes
    pack: bytes
    offset: int
    plain: int


Model = dict[str, list[Stored]]


@st.composite
def backups_by_workers(draw: st.DrawFn) -> tuple[Model, ManifestBuilder]:
    """Files of some chunks each, stored by some workers in any order."""
    files = sorted(draw(PATHS))
    model: Model = {path: [] for path in files}
    logs = [ChunkLog() for _ in range(draw(st.integers(1, 3)))]
    fill = [0] * len(logs)
    pieces = [
        (path, position, draw(st.integers(0, len(logs) - 1)))
        for path in files
        for position in range(draw(st.integers(0, 4)))
    ]
    for path, position, worker in draw(st.permutations(pieces)):
        chunk = Stored(draw(st.binary(min_size=16, max_size=16)), bytes([worker] * 16), 0, 1000)
        chunk = Stored(chunk.id, chunk.pack, fill[worker], chunk.plain)
        placed = Placed(chunk.id, 0, fill[worker], 500)
        logs[worker].add(files.index(path), position * 1000, placed, chunk.plain)
        fill[worker] += 500
        model[path].append(chunk)
        model[path].sort(key=lambda c: c.offset)
    builder = ManifestBuilder()
    for number, path in enumerate(files):
        builder.add_file(number, path, ATTRIBUTES)
    for worker, log in enumerate(logs):
        builder.add_chunks(log.finish([StoredPack(bytes([worker] * 16), fill[worker] + 50)]))
    return model, builder


def as_model(tables: Tables) -> Model:
    return {
        entry.path: [
            Stored(
                tables.chunk.id[row].tobytes(),
                tables.pack.name(tables.chunk.pack[row]),
                int(tables.chunk.offset[row]),
                int(tables.chunk.plain[row]),
            )
            for row in tables.chunk_rows(entry.number)
        ]
        for entry in tables.entries()
    }


@given(backups_by_workers(), SEALERS)
def test_what_workers_stored_is_what_a_restore_finds(
    stored: tuple[Model, ManifestBuilder], sealer: Sealer
) -> None:
    model, builder = stored
    built = builder.build(some_facts())
    tables = decode(encoded(built, sealer), sealer, "a manifest", OF_BACKUP).tables
    found = as_model(tables)
    assert {path: sorted(map(repr, chunks)) for path, chunks in found.items()} == {
        path: sorted(map(repr, chunks)) for path, chunks in model.items()
    }
    assert all_columns(tables) == all_columns(built.tables)
    placed = tables.placements()
    order = list(zip(tables.chunk.pack[placed.row], tables.chunk.offset[placed.row], strict=True))
    assert order == sorted(order)
    for row, file, position, start, length in zip(*placed, strict=True):
        assert tables.chunk_rows(file)[position // 1000] == row
        assert (start, length) == (0, tables.chunk.plain[row])


@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=3),
    st.one_of(st.none(), st.integers(0, len(WHOLE) - 1)),
    st.binary(max_size=20),
)
def test_damaged_bytes_raise_only_our_errors(
    flips: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    damaged = bytearray(WHOLE)
    for place, mask in flips:
        damaged[place] ^= mask
    accept_or_complain(bytes(damaged[:cut]) + tail)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_header_raise_only_our_errors(tail: bytes) -> None:
    accept_or_complain(tail)
    accept_or_complain(WHOLE[:HEADER_SIZE] + tail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data(), JSON)
def test_any_value_in_the_facts_raises_only_our_errors(data: st.DataObject, value: Any) -> None:
    def edit(record: Any) -> None:
        inside = record
        while True:
            keys = range(len(inside)) if isinstance(inside, list) else sorted(inside)
            key = data.draw(st.sampled_from(keys))
            if (
                not isinstance(inside[key], (dict, list))
                or not inside[key]
                or data.draw(st.booleans())
            ):
                inside[key] = value
                return
            inside = inside[key]

    accept_or_complain(with_record(WHOLE, edit))


@settings(max_examples=300)
@given(st.data())
def test_any_number_in_the_tables_raises_only_our_errors(data: st.DataObject) -> None:
    manifest = manifest_of("base/ base/1=2500kB base/2=8kB pg_tblspc/ pg_tblspc/1>/ssd")
    numbers = [f"{t}.{c}" for t in COLUMNS for c, kind in COLUMNS[t].items() if kind[1] != "V"]
    column = data.draw(st.sampled_from([name for name in numbers if name[5:] not in HEAPS]))
    table, name = column.split(".")
    values = np.array(getattr(getattr(manifest.tables, table), name))
    limits = np.iinfo(values.dtype)
    numbers_in_range = st.integers(int(limits.min), int(limits.max)) | st.integers(0, 9)
    changed = data.draw(st.lists(numbers_in_range, min_size=len(values), max_size=len(values) + 1))
    kept = [old if data.draw(st.booleans()) else new for old, new in zip(values, changed)]  # noqa: B905
    forged = Manifest(manifest.facts, with_column(manifest.tables, column, kept))
    accept_or_complain(encoded(forged))


HEAPS = {"path", "link"}


def accept_or_complain(content: bytes) -> None:
    """What is accepted must be usable to the end."""
    packs = packs_or_complaint(content)
    try:
        manifest = decode(content, SEALER, "a manifest", OF_BACKUP)
    except PgkeepError:
        return
    tables = manifest.tables
    assert packs is not None
    assert bytes(packs.id) == bytes(tables.pack.id)
    assert sum(entry.size for entry in tables.entries()) == manifest.facts.size
    assert int(tables.placements().length.sum()) == manifest.facts.size
    for number in tables.overlaid():
        assert (tables.page_sources(int(number), 8192).row >= 0).all()


def packs_or_complaint(content: bytes) -> PackTable | None:
    """Read the packs alone, by ranges, none of which may lie outside of the content."""

    def read(start: int, length: int) -> bytes:
        assert 0 <= start <= start + length <= len(content)
        return content[start : start + length]

    try:
        return decode_packs(read, len(content), SEALER, "a manifest", OF_BACKUP)[1]
    except PgkeepError:
        return None
