"""Manifests: what a builder makes of a backup, and forty ways to damage one (scenario 76)."""

import pickle
import random
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupType
from pgkeep.model.lsn import Lsn
from pgkeep.repository.manifest.builder import Attributes, ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.checks import BadManifest, UnsafePath, check_tables
from pgkeep.repository.manifest.codec import (
    BLOCK,
    HEADER_SIZE,
    OF_BACKUP,
    Manifest,
    decode,
    decode_facts,
    read_manifest_header,
)
from pgkeep.repository.manifest.facts import CorruptPage
from pgkeep.repository.manifest.tables import (
    ChunkTable,
    EntryKind,
    Heap,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
)
from pgkeep.repository.pack import Placed, StoredPack
from pgkeep.repository.seal import Damaged, FormatTooNew, Sealer
from support.manifests import (
    ATTRIBUTES,
    BACKUP,
    KEY,
    SEALER,
    all_columns,
    encoded,
    manifest_of,
    some_facts,
    with_column,
    with_record,
)

SKETCH = "base/ base/1/ base/1/1259=3000kB base/1/2=8kB base/1/3=0 pg_tblspc/ pg_tblspc/16400>/ssd"
WHERE = "clusters/main/backups/x/manifest"


def test_entries_come_back_in_the_order_of_their_paths() -> None:
    manifest = decode(encoded(manifest_of(SKETCH)), SEALER, WHERE, OF_BACKUP)
    found = [(e.path, e.kind, e.size, e.link) for e in manifest.tables.entries()]
    assert found == [
        ("base", EntryKind.DIRECTORY, 0, ""),
        ("base/1", EntryKind.DIRECTORY, 0, ""),
        ("base/1/1259", EntryKind.FILE, 3000 * 1024, ""),
        ("base/1/2", EntryKind.FILE, 8192, ""),
        ("base/1/3", EntryKind.FILE, 0, ""),
        ("pg_tblspc", EntryKind.DIRECTORY, 0, ""),
        ("pg_tblspc/16400", EntryKind.SYMLINK, 0, "/ssd"),
    ]
    assert [manifest.tables.entry(e.number) for e in manifest.tables.entries()] == list(
        manifest.tables.entries()
    )


def test_the_builder_counts_files_bytes_and_packs() -> None:
    facts = manifest_of(SKETCH).facts
    assert (facts.files, facts.size, facts.packs) == (3, 3000 * 1024 + 8192, 1)


@pytest.mark.parametrize("sealer", [SEALER, Sealer(KEY)], ids=["open", "encrypted"])
def test_a_manifest_is_read_back_as_it_was(sealer: Sealer) -> None:
    before = manifest_of(SKETCH, corrupt=(CorruptPage("base/1/1259", 7, "pg_class"),))
    after = decode(encoded(before, sealer), sealer, WHERE, OF_BACKUP)
    assert after.facts == before.facts
    assert all_columns(after.tables) == all_columns(before.tables)


def test_facts_are_read_from_the_first_bytes_alone() -> None:
    content = encoded(manifest_of(SKETCH, label="before v2"))
    header = read_manifest_header(content, len(content), WHERE)
    head = content[: HEADER_SIZE + header.facts_length]
    assert decode_facts(head, header, SEALER, WHERE, OF_BACKUP).label == "before v2"


def test_facts_become_the_backup_that_lists_and_plans_see() -> None:
    zone = timezone(timedelta(hours=2))
    facts = some_facts(started_at=datetime(2026, 11, 23, 6, 42, 25, tzinfo=zone), corrupt_pages=3)
    backup = facts.backup()
    assert backup.start_lsn == Lsn.parse("0/4A000028")
    assert backup.started_at == datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)
    assert backup.started_at.tzinfo is UTC
    assert (backup.id, backup.type, backup.corrupt_pages) == (BACKUP, BackupType.FULL, 3)


def test_names_that_are_no_utf_8_survive() -> None:
    path = b"base/\xff\xfe".decode(errors="surrogateescape")
    before = manifest_of(f"base/ {path}=8kB", data_directory=path)
    after = decode(encoded(before), SEALER, WHERE, OF_BACKUP)
    assert after.facts.data_directory == path
    assert after.tables.find(path) == 1


def test_unknown_facts_and_columns_of_a_later_version_are_passed_over() -> None:
    def edit(record: Any) -> None:
        record["facts"]["moon"] = "full"
        record["columns"].append({"name": "file.moon", "dtype": "<f8", "count": 3, "offset": 0})

    content = with_record(encoded(manifest_of(SKETCH)), edit)
    assert decode(content, SEALER, WHERE, OF_BACKUP).facts == manifest_of(SKETCH).facts


def test_find_knows_what_is_there_and_what_is_not() -> None:
    tables = manifest_of(SKETCH).tables
    assert tables.find("base/1/2") == 3
    assert tables.find("base/1/25") is None
    assert tables.find("zzz") is None


def test_placements_are_in_reading_order_with_positions_in_the_files() -> None:
    manifest = manifest_of("a=2500kB b=8kB c=0 d=1MB")
    placed = manifest.tables.placements()
    assert placed.file.tolist() == [0, 0, 0, 1, 3]
    assert placed.position.tolist() == [0, 1 << 20, 2 << 20, 0, 0]
    assert manifest.tables.placements(np.array([3, 1])).file.tolist() == [1, 3]
    assert list(manifest.tables.chunk_rows(0)) == [0, 1, 2]
    assert list(manifest.tables.chunk_rows(2)) == []


def test_a_table_for_a_worker_is_small() -> None:
    chunks = manifest_of("a=200MB").tables.chunk.take(np.array([1]))
    assert len(pickle.dumps(chunks)) < 2000


def test_an_empty_backup_is_a_backup() -> None:
    manifest = decode(encoded(manifest_of("")), SEALER, WHERE, OF_BACKUP)
    assert list(manifest.tables.entries()) == []
    assert len(manifest.tables.placements().row) == 0


def test_tables_of_several_blocks() -> None:
    builder = ManifestBuilder()
    for number in range(80_000):
        builder.add_file(number, f"{number:05}", ATTRIBUTES._replace(mtime_ns=number))
    content = encoded(builder.build(some_facts()))
    assert int.from_bytes(content[12:16], "little") > 1
    assert decode(content, SEALER, WHERE, OF_BACKUP).tables.file.mtime_ns.tolist() == list(
        range(80_000)
    )


# What the builder makes of many workers' results.


def test_parts_of_one_file_from_several_workers_come_together() -> None:
    builder = ManifestBuilder()
    builder.add_chunks(log([(7, 2 << 20, 100), (7, 3 << 20, 100)], pack=b"late"))
    builder.add_chunks(log([(7, 0, 1 << 20), (7, 1 << 20, 1 << 20)], pack=b"early", skew=1))
    builder.add_file(7, "big", ATTRIBUTES)
    tables = builder.build(some_facts()).tables
    # The last chunk lies behind a gap: what comes after it was cut off while the file was read.
    assert tables.file.size.tolist() == [(2 << 20) + 100]
    assert [tables.pack.name(pack) for pack in tables.chunk.pack] == [
        b"early".ljust(16, b"."),
        b"early".ljust(16, b"."),
        b"late".ljust(16, b"."),
    ]


def log(rows: list[tuple[int, int, int]], pack: bytes, skew: int = 0) -> Any:
    """Rows are (file number, position, plain length); `skew` packs of nothing come before."""
    chunks = ChunkLog()
    for at, (number, position, plain) in enumerate(rows):
        chunks.add(number, position, Placed(bytes(16), skew, at * 100, 100), plain)
    empty = [StoredPack(bytes(16), 100)] * skew
    return chunks.finish([*empty, StoredPack(pack.ljust(16, b"."), 100 * len(rows) + 50)])


@pytest.mark.parametrize("entered", [False, True])
def test_a_file_that_vanished_leaves_neither_entry_nor_pack(entered: bool) -> None:
    builder = ManifestBuilder()
    if entered:
        builder.add_file(0, "gone", ATTRIBUTES)
    builder.add_chunks(log([(0, 0, 8192)], pack=b"gone"))
    builder.add_chunks(log([(1, 0, 8192)], pack=b"kept"))
    builder.leave_out(0)
    builder.add_file(1, "kept", ATTRIBUTES)
    manifest = builder.build(some_facts())
    assert [entry.path for entry in manifest.tables.entries()] == ["kept"]
    assert manifest.facts.packs == 1


def test_a_beginning_that_was_never_stored_makes_a_file_empty() -> None:
    builder = ManifestBuilder()
    builder.add_chunks(log([(0, 1 << 20, 8192)], pack=b"x"))
    builder.add_file(0, "a", ATTRIBUTES)
    assert builder.build(some_facts()).tables.file.size.tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([(0, 0, 8192), (0, 0, 8192)], "the same part", id="twice"),
        pytest.param([(5, 0, 8192)], "never entered", id="behind the last number"),
        pytest.param([(1, 0, 8192)], "never entered", id="between numbers"),
    ],
)
def test_results_that_fit_no_file_are_a_mistake(
    rows: list[tuple[int, int, int]], message: str
) -> None:
    builder = ManifestBuilder()
    builder.add_file(0, "a", ATTRIBUTES)
    builder.add_file(2, "b", ATTRIBUTES)
    builder.add_chunks(log(rows, pack=b"x"))
    with pytest.raises(ValueError, match=message):
        builder.build(some_facts())


def test_inode_numbers_of_64_bits() -> None:
    builder = ManifestBuilder()
    builder.add_file(0, "a", Attributes(0o600, 1, 2, -5, 6, inode=(1 << 64) - 2))
    tables = decode(encoded(builder.build(some_facts())), SEALER, WHERE, OF_BACKUP).tables
    assert (int(tables.file.inode[0]), int(tables.file.mtime_ns[0])) == ((1 << 64) - 2, -5)


# Overlays: the format has them from the start (docs/formats/manifest.md).


def overlaid(size: int = 6, pages: tuple[int, ...] = (1, 4, 5), **changes: Any) -> Tables:
    """One file of 4 pages, then an overlay in two chunks; `size` is in pages."""
    tables = manifest_of("a=32kB").tables
    tables = with_column(tables, "file.size", [size * 8192])
    tables = with_column(tables, "file.layers", [2])
    tables = replace(
        tables,
        layer=LayerTable(np.array([1, 2], np.uint32), np.array([0, len(pages)], np.uint32)),
        page=PageTable(np.array(pages, np.uint32)),
        chunk=ChunkTable(
            id=np.zeros(3, "V16"),
            pack=np.zeros(3, np.uint32),
            offset=np.array([0, 100, 200], np.uint32),
            sealed=np.full(3, 100, np.uint32),
            plain=np.array([4 * 8192, 8192, 8192 * (len(pages) - 1)], np.uint32),
        ),
    )
    for column, values in changes.items():
        tables = with_column(tables, column.replace("_", "."), values)
    return tables


def test_each_page_comes_from_its_last_writer() -> None:
    tables = overlaid()
    check_tables(tables, 8192, WHERE)
    sources = tables.page_sources(0, 8192)
    assert sources.row.tolist() == [0, 1, 0, 0, 2, 2]
    assert sources.offset.tolist() == [0, 0, 2 * 8192, 3 * 8192, 0, 8192]
    assert tables.overlaid().tolist() == [0]
    placed = tables.placements()
    pieces = sorted(zip(*(column.tolist() for column in placed), strict=True), key=lambda p: p[2])
    assert pieces == [
        (0, 0, 0, 0, 8192),
        (1, 0, 8192, 0, 8192),
        (0, 0, 2 * 8192, 2 * 8192, 2 * 8192),
        (2, 0, 4 * 8192, 0, 2 * 8192),
    ]


def test_a_file_that_became_shorter_forgets_the_pages_behind_its_end() -> None:
    tables = overlaid(size=2)
    check_tables(tables, 8192, WHERE)
    assert tables.page_sources(0, 8192).row.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        pytest.param(overlaid(size=7), "pages that no layer holds", id="hole"),
        pytest.param(overlaid(size=1 << 50), "pages that no layer holds", id="huge"),
        pytest.param(overlaid(pages=(4, 1, 5)), "not in order", id="order"),
        pytest.param(overlaid(pages=(4, 4, 5)), "not in order", id="twice"),
        pytest.param(overlaid(file_size=[6 * 8192 + 1]), "of whole pages", id="odd size"),
        pytest.param(overlaid(layer_pages=[3, 0]), "whole copy", id="overlay first"),
        pytest.param(
            overlaid(chunk_plain=[4 * 8192, 8192, 100]), "do not fit its pages", id="too few bytes"
        ),
        pytest.param(
            overlaid(chunk_plain=[4 * 8192, 8192 + 1, 2 * 8192 - 1]), "within a page", id="cut page"
        ),
    ],
)
def test_overlays_that_do_not_fit_are_refused(tables: Tables, why: str) -> None:
    with pytest.raises(BadManifest, match=why):
        check_tables(tables, 8192, WHERE)


# Scenario 76: forty ways to damage a manifest. First bytes that nobody meant to change.

CONTENT = encoded(manifest_of(SKETCH))


@pytest.mark.parametrize("length", [0, 1, 31, 47, 48, 60, 100, 200, -1000, -100, -1])
def test_scenario_76_cut_off(length: int) -> None:
    with pytest.raises((BadManifest, Damaged)):
        decode(CONTENT[:length], SEALER, WHERE, OF_BACKUP)


def test_scenario_76_every_byte_is_guarded() -> None:
    """A flipped bit is found, or means nothing: zstd frames have a few bits without a use."""
    chance, right = random.Random(76), manifest_of(SKETCH)
    for place in {*range(HEADER_SIZE + 36), *chance.choices(range(len(CONTENT)), k=300)}:
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << chance.randrange(8)
        try:
            found = decode(bytes(damaged), SEALER, WHERE, OF_BACKUP)
        except PgkeepError:
            continue
        assert place >= HEADER_SIZE
        assert (found.facts, all_columns(found.tables)) == (right.facts, all_columns(right.tables))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(CONTENT + b"\0", "instead of", id="trailing garbage"),
        pytest.param(b"{}", "ends after 2 bytes", id="JSON"),
        pytest.param(b"PGKP" + CONTENT[4:], "begins with 50474b50", id="another magic"),
        pytest.param(CONTENT[:4] + b"\x00" + CONTENT[5:], "never written", id="version 0"),
        pytest.param(CONTENT[:32] + bytes(16) + CONTENT[48:], "belong together", id="binding"),
        pytest.param(
            CONTENT[:24] + struct.pack("<Q", 1 << 60) + CONTENT[32:], "never written", id="huge"
        ),
        pytest.param(
            CONTENT[:12] + struct.pack("<I", 1 << 31) + CONTENT[16:], "never written", id="blocks"
        ),
    ],
)
def test_scenario_76_a_wrong_frame(content: bytes, message: str) -> None:
    with pytest.raises(BadManifest, match=message):
        decode(content, SEALER, WHERE, OF_BACKUP)


def test_scenario_76_a_later_version_is_told_apart_from_damage() -> None:
    with pytest.raises(FormatTooNew) as caught:
        decode(CONTENT[:4] + b"\x02" + CONTENT[5:], SEALER, WHERE, OF_BACKUP)
    assert (caught.value.found, caught.value.known) == (2, 1)


def test_scenario_76_facts_of_a_later_format() -> None:
    def edit(record: Any) -> None:
        record["facts"] |= {"format": 2, "timeline": "one"}

    with pytest.raises(FormatTooNew):
        decode(with_record(CONTENT, edit), SEALER, WHERE, OF_BACKUP)


def test_scenario_76_parts_of_two_manifests() -> None:
    other = encoded(manifest_of(SKETCH, label="x"))
    ours, theirs = (HEADER_SIZE + int.from_bytes(c[8:12], "little") for c in (CONTENT, other))
    mixed = other[:theirs] + CONTENT[ours:]
    assert mixed == other  # same tables, same blocks: nothing was mixed
    other = encoded(manifest_of(SKETCH.replace("1259", "1258"), label="x"))
    mixed = other[:theirs] + CONTENT[ours:]
    with pytest.raises(BadManifest, match="do not belong together"):
        decode(mixed, SEALER, WHERE, OF_BACKUP)


def test_scenario_76_an_encrypted_manifest_cannot_be_swapped_for_an_open_one() -> None:
    with pytest.raises(Damaged):
        decode(CONTENT, Sealer(KEY), WHERE, OF_BACKUP)


# Then content that somebody wrote so, with every hash right.


def setting(*path: str | int, value: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        for step in path[:-1]:
            record = record[step]
        record[path[-1]] = value

    return edit


def without(*path: str | int) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        for step in path[:-1]:
            record = record[step]
        del record[path[-1]]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda _: b"", "are no JSON", id="nothing"),
        pytest.param(lambda _: b"[" * 100_000, "nested too deeply", id="deep nesting"),
        pytest.param(lambda _: b'{"facts":"\xff"}', "are no JSON", id="no UTF-8"),
        pytest.param(lambda _: b'{"facts":{"size":NaN}}', "NaN is no number", id="NaN"),
        pytest.param(lambda _: b'{"facts":' + b"9" * 9999 + b"}", "are no JSON", id="digits"),
        pytest.param(lambda _: b"[]", "wrong value", id="list"),
        pytest.param(lambda _: b"null", "wrong value", id="null"),
        pytest.param(without("facts"), "facts", id="no facts"),
        pytest.param(without("columns"), "columns", id="no columns"),
        pytest.param(without("facts", "id"), "id", id="no id"),
        pytest.param(without("facts", "generation"), "generation", id="no generation"),
        pytest.param(setting("facts", "timeline", value="1"), "timeline", id="text for a number"),
        pytest.param(setting("facts", "timeline", value=0), "timeline", id="timeline 0"),
        pytest.param(setting("facts", "size", value=-1), "size", id="negative"),
        pytest.param(setting("facts", "size", value=1 << 64), "size", id="huge"),
        pytest.param(setting("facts", "size", value=1.5), "size", id="fraction"),
        pytest.param(setting("facts", "duration_s", value=1e300), "duration_s", id="eternity"),
        pytest.param(setting("facts", "type", value="half"), "type", id="unknown type"),
        pytest.param(setting("facts", "start_lsn", value="0/XYZ"), "WAL position", id="LSN"),
        pytest.param(setting("facts", "stop_lsn", value="0/1"), "before their start", id="order"),
        pytest.param(setting("facts", "started_at", value="today"), "started_at", id="time"),
        pytest.param(
            setting("facts", "started_at", value="2026-01-01T00:00:00"), "started_at", id="no zone"
        ),
        pytest.param(
            setting("facts", "started_at", value="0001-01-01T00:00:00+10:00"), "time", id="year 0"
        ),
        pytest.param(
            setting("facts", "generation", "block_size", value=100), "block size", id="block size"
        ),
        pytest.param(
            setting("facts", "generation", "segment_size", value=0), "segment size", id="segment"
        ),
        pytest.param(
            setting("facts", "generation", "system_identifier", value=0), "identifier", id="system"
        ),
        pytest.param(
            setting("facts", "tablespaces", value=[{"oid": 1}]), "tablespaces", id="tablespace"
        ),
        pytest.param(setting("facts", "files", value=4), "files", id="miscounted"),
        pytest.param(without("columns", 0), "file.path is missing", id="no paths"),
        pytest.param(setting("columns", 0, "dtype", value="<f8"), "type '<f8'", id="floats"),
        pytest.param(setting("columns", 0, "dtype", value="O"), "type 'O'", id="objects"),
        pytest.param(setting("columns", 0, "count", value=1 << 40), "behind the end", id="long"),
        pytest.param(setting("columns", 0, "count", value=-1), "count", id="negative count"),
        pytest.param(setting("columns", 1, "offset", value=1 << 40), "behind the end", id="far"),
        pytest.param(setting("columns", 1, "offset", value=3), "offset", id="askew"),
        pytest.param(setting("columns", 1, "name", value="file.path"), "twice", id="twice"),
        pytest.param(setting("columns", 0, "count", value=3), "NUL", id="cut heap"),
    ],
)
def test_scenario_76_forged_facts(edit: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(BadManifest, match=message):
        decode(with_record(CONTENT, edit), SEALER, WHERE, OF_BACKUP)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("file.kind", [1, 1, 0, 0, 0, 1, 9], "unknown kind|target for each symlink"),
        ("file.kind", [1, 1, 1, 0, 0, 1, 2], "with content"),
        ("file.kind", [1, 1], "differ in length"),
        ("file.mode", [0o10000] * 7, "permissions"),
        ("file.link", Heap(b""), "target for each symlink"),
        ("file.link", Heap(b"\0"), "to nowhere"),
        ("file.link", Heap(b"/ssd"), "NUL"),
        ("file.size", [0, 0, 3000 * 1024 + 1, 8192, 0, 0, 0], "add up"),
        ("file.size", [0, 0, (1 << 64) - 1, 8192, 0, 0, 0], "add up"),
        ("file.size", [0, 0, 3000 * 1024, 8192, 5, 0, 0], "do not agree"),
        ("file.layers", [0, 0, 1, 1, 1, 0, 0], "3|2 rows"),
        ("file.layers", [0, 0, 2, 0, 0, 0, 0], "do not agree"),
        ("file.layers", [0, 0, 0xFFFFFFFF, 1, 0, 0, 0], "rows instead of"),
        ("layer.chunks", [3, 0], "rows instead of"),
        ("layer.chunks", [4, 0], "without chunks"),
        ("layer.chunks", [2, 2], "add up"),
        ("layer.pages", [0, 1], "rows instead of"),
        ("page.block", [0], "rows instead of"),
        ("chunk.pack", [0, 0, 0, 1], "pack that it does not name"),
        ("chunk.offset", [0, 1000, 2000, 0xFFFFFFFF], "end of its pack"),
        ("chunk.sealed", [1000, 1000, 1000, 0], "sealed length"),
        ("chunk.sealed", [1000, 1000, 1000, 0xFFFFFFFF], "sealed length"),
        ("chunk.plain", [1 << 20, 1 << 20, 0, 8192], "plain length"),
        ("chunk.plain", [1 << 30, 1 << 20, 974848, 8192], "plain length"),
        ("pack.size", [10], "end of its pack"),
    ],
)
def test_scenario_76_forged_tables(column: str, values: Any, message: str) -> None:
    before = manifest_of(SKETCH)
    forged = Manifest(before.facts, with_column(before.tables, column, values))
    with pytest.raises(BadManifest, match=message):
        decode(encoded(forged), SEALER, WHERE, OF_BACKUP)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "base/../../x",
        "base/..",
        "..",
        ".",
        "base/./x",
        "base//x",
        "base/",
        "",
        "base",  # twice
        "nowhere/x",
        "file/x",  # a file is no directory
        "link/x",  # neither is a symlink: a write would leave the target directory
        "pg_tblspc/16400/../x",
        "pg_tblspc/evil/x",
        "base/" + "x" * 5000,
    ],
)
def test_scenario_76_unsafe_paths(path: str) -> None:
    before = manifest_of("base/ file=8kB link>/etc pg_tblspc/ pg_tblspc/16400>/ssd")
    builder = ManifestBuilder()
    for entry in before.tables.entries():
        if entry.kind is EntryKind.DIRECTORY:
            builder.add_directory(entry.path, ATTRIBUTES)
        elif entry.kind is EntryKind.SYMLINK:
            builder.add_symlink(entry.path, entry.link, ATTRIBUTES)
        else:
            builder.add_file(0, entry.path, ATTRIBUTES)
    builder.add_symlink("pg_tblspc/evil", "/etc", ATTRIBUTES)
    builder.add_file(1, path, ATTRIBUTES)
    with pytest.raises(UnsafePath) as caught:
        decode(encoded(builder.build(some_facts())), SEALER, WHERE, OF_BACKUP)
    assert caught.value.path[:20] == path[:20]


def test_scenario_76_paths_out_of_order() -> None:
    before = manifest_of("a=8kB b=8kB")
    tables = with_column(before.tables, "file.path", Heap(b"b\0a\0"))
    with pytest.raises(UnsafePath, match="out of order"):
        decode(encoded(Manifest(before.facts, tables)), SEALER, WHERE, OF_BACKUP)


def test_files_of_a_tablespace_may_lie_under_its_link() -> None:
    content = encoded(
        manifest_of(
            "pg_tblspc/ pg_tblspc/16400>/ssd pg_tblspc/16400/PG_18/ pg_tblspc/16400/PG_18/1=8kB"
        )
    )
    assert decode(content, SEALER, WHERE, OF_BACKUP).facts.files == 1


def test_scenario_76_a_small_object_does_not_become_a_large_one() -> None:
    before = manifest_of("a=8kB")
    pages = PageTable(np.zeros(64 * BLOCK // 4, np.uint32))
    forged = encoded(Manifest(before.facts, replace(before.tables, page=pages)))
    assert len(forged) < 64 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(BadManifest, match="never written"):
            decode(forged, SEALER, WHERE, OF_BACKUP)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_errors_say_what_it_means_and_what_to_do() -> None:
    error = BadManifest(WHERE, "its parts do not belong together")
    assert str(error) == f"cannot restore from {WHERE}: its parts do not belong together"
    assert error.hint == (
        "other backups are not affected (pgkeep list); to save this one bring the object back "
        "from another copy of the repository"
    )
    unsafe = UnsafePath(WHERE, "/etc/passwd", "could lead out of the target directory")
    assert str(unsafe) == (
        f"cannot restore from {WHERE}: its path '/etc/passwd' could lead out of the target "
        "directory"
    )
    assert "who else can write" in unsafe.hint


def test_a_pack_table_names_packs() -> None:
    table = PackTable(np.frombuffer(bytes(15) + b"\1", "V16"), np.array([5], np.uint32))
    assert table.name(0) == bytes(15) + b"\1"
