"""verify against the slow obvious model: read every file, and see which ones cannot be."""

import hypothesis.strategies as st
from hypothesis import given, settings

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import Segment
from pgkeep.repository import dumps, names
from pgkeep.repository.manifest.tables import EntryKind
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.proofs import Level
from pgkeep.verify.content import BadPart
from pgkeep.verify.hits import files_hit
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.plan import Sample, batches, choose, ranges
from pgkeep.verify.verify import run
from support.dump_shelf import TOC, store_dump
from support.manifests import KEY, some_facts
from support.overlays import PAGE, Version, store_files, versions
from support.small_repository import CHUNK_BYTES, Small


def content(seed: int, chunks: int) -> bytes:
    """Chunks of which some are equal, within a file and between files."""
    return b"".join(bytes([(seed + n) % 5]) * CHUNK_BYTES for n in range(chunks)) + bytes([seed])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exactly_those_files_are_hit_that_cannot_be_read(data: st.DataObject) -> None:
    small = Small(key=data.draw(st.sampled_from([None, KEY]))).begin()
    ids = []
    for _ in range(data.draw(st.integers(1, 3))):
        sizes = data.draw(st.dictionaries(st.integers(1, 6), st.integers(0, 4), max_size=5))
        files = {f"base/5/{16384 + n}": content(n, size) for n, size in sizes.items()}
        ids.append(small.backup(files, packs=data.draw(st.integers(1, 3))))
    for day in range(data.draw(st.integers(0, 2))):
        sizes = data.draw(st.dictionaries(st.integers(1, 6), st.integers(0, 4), max_size=5))
        held = {f"{n}.dat": content(n, size) for n, size in sizes.items()}
        held |= {"toc.dat": TOC + content(day, 1), "inventory": content(3, 1)}
        ids.append(store_dump(small, {"shop": held}, day=day, packs=data.draw(st.integers(1, 3))))
    packs = sorted(name for name in small.blobs() if "/packs/" in name)
    for name in data.draw(st.lists(st.sampled_from(packs), max_size=3)):
        damage(small, name, data)
    done = run(small.folder, VerifyOptions(Level.BYTES))
    found = {(backup.id, hit.path): hit.lost for backup in done.found for hit in backup.files.first}
    model = {(i, path) for i in ids for path in unreadable(small, i)}
    assert set(found) == model
    assert all(found.values())
    for backup in done.found:
        hit = any(name == backup.id for name, _ in model)
        assert (backup.verdict.value == "damaged") is hit
        assert backup.files.count == len(backup.files.first)
    assert (done.problem is None) is (not done.damaged)


def damage(small: Small, name: str, data: st.DataObject) -> None:
    before = small.store.get(name) if name in small.blobs() else b""
    kind = data.draw(st.sampled_from(["flip", "cut", "remove", "grow", "other"]))
    if not before:
        return
    if kind == "remove":
        small.store.delete(name)
    elif kind == "cut":
        small.store.put(name, [before[: data.draw(st.integers(0, len(before) - 1))]])
    elif kind == "grow":
        small.store.put(name, [before + data.draw(st.binary(min_size=1, max_size=9))])
    elif kind == "other":
        other = data.draw(st.sampled_from(sorted(n for n in small.blobs() if "/packs/" in n)))
        small.store.put(name, [small.store.get(other)])
    else:
        changed = bytearray(before)
        changed[data.draw(st.integers(0, len(before) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        small.store.put(name, [bytes(changed)])


def unreadable(small: Small, id: str) -> list[str]:
    lost = []
    is_dump = dumps.is_dump_id(id)
    manifest = dumps.read_manifest(small.folder, id) if is_dump else small.manifest(id)
    for entry in manifest.tables.entries():
        if entry.kind is EntryKind.FILE:
            try:
                if is_dump:
                    list(FileStreams(small.folder, manifest.tables, of=id).read(entry.path))
                else:
                    small.read(id, entry.path)
            except PgkeepError:
                lost.append(entry.path)
    return lost


@settings(max_examples=60, deadline=None)
@given(st.lists(versions(), min_size=1, max_size=4), st.data())
def test_a_damaged_chunk_hits_the_pages_that_still_come_from_it(
    histories: list[list[Version]], data: st.DataObject
) -> None:
    """An overlay's page that was written again later is lost without harm."""
    stored = store_files(histories)
    tables, facts = stored.tables, some_facts()
    rows = data.draw(st.sets(st.integers(0, len(tables.chunk) - 1), min_size=1, max_size=3))
    places = {(int(tables.chunk.pack[row]), int(tables.chunk.offset[row])) for row in rows}
    lost: dict[str, list[BadPart]] = {}
    for pack, offset in places:
        name = names.pack("main", tables.pack.name(pack))
        lost.setdefault(name, []).append(BadPart(offset + 3, offset + 4, "flipped"))
    found = files_hit(facts, tables, lost)
    model: dict[str, set[int]] = {}
    for number in range(len(tables.file)):
        source = tables.page_sources(number, PAGE)
        for page, row in enumerate(source.row.tolist()):
            if (int(tables.chunk.pack[row]), int(tables.chunk.offset[row])) in places:
                model.setdefault(tables.entry(number).path, set()).add(page)
    assert {
        hit.path: {page for start, end in hit.ranges for page in range(start // PAGE, end // PAGE)}
        for hit in found.first
    } == model
    assert found.count == len(model)
    assert all(hit.lost == len(model[hit.path]) * PAGE for hit in found.first)
    assert not found.count or set(found.packs) <= set(lost)


@given(
    st.sets(st.text("abc", min_size=1, max_size=6), max_size=60),
    st.floats(0.01, 99.9),
    st.text(max_size=4),
    st.sets(st.text("abc", min_size=1, max_size=2), max_size=3),
)
def test_a_sample_is_its_share_and_the_same_again(
    names: set[str], percent: float, seed: str, always: set[str]
) -> None:
    sample = Sample(percent, seed)
    chosen = choose(names, sample, always)
    assert chosen <= names
    assert always & names <= chosen
    assert chosen == choose(sorted(names), sample, always)
    drawn = choose(names, sample, ())
    assert len(names) * percent / 100 <= len(drawn) < len(names) * percent / 100 + 1
    assert choose(names, None, ()) == names


@given(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 30))))
def test_ranges_hold_each_segment_once(numbers: set[tuple[int, int]]) -> None:
    segments = {Segment(timeline, number, 1 << 20) for timeline, number in numbers}
    found = ranges(segments)
    held = [
        first._replace(number=number)
        for first, last in found
        for number in range(first.number, last.number + 1)
    ]
    assert held == sorted(segments)
    ends = {(last.timeline, last.number + 1) for _, last in found}
    assert not ends & {(first.timeline, first.number) for first, _ in found}


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 40 << 20), max_size=200))
def test_tasks_are_neither_too_small_nor_too_many(sizes: dict[str, int]) -> None:
    tasks = list(batches(sizes))
    assert [name for task in tasks for name in task] == list(sizes)
    assert all(tasks)
    assert all(len(task) == 64 or sum(sizes[n] for n in task) >= 16 << 20 for task in tasks[:-1])
