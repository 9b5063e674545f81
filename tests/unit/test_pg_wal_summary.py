"""WAL summaries: which files are needed, what is in them, and what they say together."""

import random
import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History
from pgkeep.postgres.crc32c import crc32c as small_crc32c
from pgkeep.postgres.layout import RelationFile
from pgkeep.postgres.wal_summary.changed import Changed, ChangedBlocks
from pgkeep.postgres.wal_summary.checksum import crc32c
from pgkeep.postgres.wal_summary.choose import (
    SummaryFile,
    SummaryGap,
    choose_summaries,
    summary_files,
)
from pgkeep.postgres.wal_summary.content import BadSummary, SummaryEntry, read_summary
from support.wal_summaries import Told, write_summary

SEGMENT = 131072  # blocks of a relation's file


def files(sketch: str) -> list[SummaryFile]:
    """'1:0-5' is a summary of timeline 1 from 0/0 to 0/5."""
    names = []
    for word in sketch.split():
        timeline, _, span = word.partition(":")
        start, _, end = span.partition("-")
        names.append(f"{int(timeline):08X}{int(start):016X}{int(end):016X}.summary")
    return summary_files(names)


def sketch_of(chosen: list[SummaryFile]) -> str:
    return " ".join(f"{f.timeline}:{int(f.start)}-{int(f.end)}" for f in chosen)


def test_names_are_read_and_others_skipped() -> None:
    name = "0000000A00000001000000280000000200000030.summary"
    other = ["archive_status", "temp.summary", name + ".tmp", name.lower(), "x" + name]
    backwards = "0000000A00000002000000300000000100000028.summary"
    assert summary_files([*other, backwards, name]) == [
        SummaryFile(10, Lsn.parse("1/28"), Lsn.parse("2/30"), name)
    ]


FORKED = History(3, (Branch(1, Lsn(40)), Branch(2, Lsn(60))))


@pytest.mark.parametrize(
    ("there", "history", "span", "chosen"),
    [
        pytest.param("1:0-10 1:10-20 1:20-30", History(1), (10, 20), "1:10-20", id="just one"),
        pytest.param("1:20-30 1:0-10 1:10-20", History(1), (5, 25), "1:0-10 1:10-20 1:20-30",
                     id="wider than asked"),
        pytest.param("1:0-10 1:0-30 1:10-20", History(1), (0, 20), "1:0-30", id="overlapping"),
        pytest.param("1:0-9", History(1), (10, 10), "", id="nothing happened"),
        pytest.param("1:0-40 2:40-60 3:60-90", FORKED, (10, 80), "1:0-40 2:40-60 3:60-90",
                     id="along timelines"),
        pytest.param("1:0-50 2:40-60 2:60-70", FORKED, (10, 60), "1:0-50 2:40-60",
                     id="up to a switch"),
        pytest.param("3:60-90", FORKED, (60, 90), "3:60-90", id="from a switch"),
    ],
)  # fmt: skip
def test_the_summaries_that_cover_a_range(
    there: str, history: History, span: tuple[int, int], chosen: str
) -> None:
    assert sketch_of(choose_summaries(files(there), history, *map(Lsn, span))) == chosen


@pytest.mark.parametrize(
    ("there", "history", "span", "why"),
    [
        pytest.param("", History(1), (10, 20),
                     "no WAL summary covers timeline 1 from 0/A to 0/14", id="none at all"),
        pytest.param("1:0-10 1:15-20", History(1), (5, 20),
                     "no WAL summary covers timeline 1 from 0/A to 0/F", id="in the middle"),
        pytest.param("1:0-10", History(1), (5, 20),
                     "no WAL summary covers timeline 1 from 0/A to 0/14", id="at the end"),
        pytest.param("1:15-40", History(1), (5, 20),
                     "no WAL summary covers timeline 1 from 0/5 to 0/F", id="at the beginning"),
        pytest.param("1:0-40 1:40-60 3:60-90", FORKED, (10, 80),
                     "no WAL summary covers timeline 2 from 0/28 to 0/3C", id="a timeline"),
        pytest.param("1:0-40", History(1), (20, 10),
                     "WAL does not lead from 0/14 back to 0/A", id="backwards"),
    ],
)  # fmt: skip
def test_a_gap_is_named(there: str, history: History, span: tuple[int, int], why: str) -> None:
    with pytest.raises(SummaryGap) as gap:
        choose_summaries(files(there), history, *map(Lsn, span))
    assert gap.value.why == str(gap.value) == why


def test_a_summary_is_read() -> None:
    told = [
        Told(number=5, limit=7, blocks={1, 65536 + 3, 3}),
        Told(number=6, fork=2, blocks=set(range(5000))),
        Told(number=0, database=9, limit=0),
        Told(number=7, blocks={(1 << 32) - 2}),
    ]
    entries = read_summary(write_summary(told), "x")
    assert [(e.number, e.fork, e.limit, set(e.blocks().tolist())) for e in entries] == [
        (t.number, t.fork, t.limit, t.blocks) for t in told
    ]
    assert entries[2].database == 9
    assert read_summary(write_summary([]), "x") == []


GOOD = write_summary([Told(number=5, limit=7, blocks={1, 2, 3}), Told(number=6, blocks={9})])


def resealed(content: bytes) -> bytes:
    return content[:-4] + small_crc32c(content[:-4]).to_bytes(4, "little")


def patched(at: int, new: bytes) -> bytes:
    return resealed(GOOD[:at] + new + GOOD[at + len(new) :])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "is no WAL summary", id="empty"),
        pytest.param(bytes(100), "is no WAL summary", id="zeros"),
        pytest.param(GOOD[:-1], "its checksum is wrong", id="cut off"),
        pytest.param(GOOD[:40] + b"\x77" + GOOD[41:], "its checksum is wrong", id="flipped"),
        pytest.param(patched(len(GOOD) - 28, b"\1"), "it has no end", id="no end"),
        pytest.param(patched(4 + 12, b"\7"), "an entry of relation 5 is impossible", id="fork"),
        pytest.param(patched(4 + 20, b"\xff\xff\xff\xff"), "relation 5 is impossible", id="chunks"),
        pytest.param(patched(4 + 24, b"\x01\x10"), "blocks of relation 5 are cut off", id="usage"),
        pytest.param(patched(4 + 24, b"\x06\x00"), "an entry is cut off", id="misled"),
    ],
)
def test_a_damaged_summary_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BadSummary, match=why) as bad:
        read_summary(content, "pg_wal/summaries/1")
    assert str(bad.value).startswith("pg_wal/summaries/1 is ")


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 65536, 100_001, (4 << 20) + 9])
def test_long_contents_have_the_same_checksum(size: int) -> None:
    content = random.Random(size).randbytes(size)
    assert crc32c(memoryview(content)) == small_crc32c(content)


def union(*summaries: list[Told]) -> ChangedBlocks:
    changed = ChangedBlocks()
    for told in summaries:
        changed.add(read_summary(write_summary(told), "x"))
    return changed


def file(number: int = 5, segment: int = 0, *, database: int = 1) -> RelationFile:
    return RelationFile(1663, database, number, segment=segment)


def plain(changed: Changed) -> tuple[bool, int | None, list[int]]:
    assert changed.blocks.dtype == np.uint32
    return changed.recreated, changed.limit, changed.blocks.tolist()


@dataclass
class Case:
    """Summaries in order, and what must follow for the files of relation 5."""

    summaries: list[list[Told]]
    expected: list[tuple[bool, int | None, list[int]]] = field(default_factory=list)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case([], [(False, None, [])]), id="nothing"),
        pytest.param(Case([[Told(6, blocks={1})], [Told(5, fork=2, limit=0)]],
                          [(False, None, [])]), id="others only"),
        pytest.param(Case([[Told(5, blocks={7, 3})], [Told(5, blocks={3, SEGMENT, 70000})]],
                          [(False, None, [3, 7, 70000]), (False, None, [0]), (False, None, [])]),
                     id="blocks of all, by file"),
        pytest.param(Case([[Told(5, blocks={1, 60})], [Told(5, limit=50)], [Told(5, blocks={70})]],
                          [(False, 50, [1])]), id="truncated, then grown"),
        pytest.param(Case([[Told(5, limit=20)], [Told(5, limit=50, blocks={30, 10})]],
                          [(False, 20, [10])]), id="the lowest limit counts"),
        pytest.param(Case([[Told(5, limit=SEGMENT + 5, blocks={SEGMENT + 1})]],
                          [(False, None, []), (False, 5, [1]), (True, 0, [])]),
                     id="truncated in the second file"),
        pytest.param(Case([[Told(5, limit=SEGMENT, blocks={9})]],
                          [(False, None, [9]), (True, 0, [])]), id="truncated between files"),
        pytest.param(Case([[Told(5, limit=0, blocks={9})]], [(True, 0, []), (True, 0, [])]),
                     id="created"),
        pytest.param(Case([[Told(0, limit=0)], [Told(5, blocks={9})]], [(True, 0, [])]),
                     id="database created"),
        pytest.param(Case([[Told(0, limit=0, database=2)], [Told(5, blocks={9})]],
                          [(False, None, [9])]), id="another database created"),
    ],
)  # fmt: skip
def test_what_changed_in_a_file(case: Case) -> None:
    changed = union(*case.summaries)
    found = [plain(changed.of(file(segment=n), SEGMENT)) for n in range(len(case.expected))]
    assert found == case.expected


def test_recreated_databases_are_listed() -> None:
    changed = union([Told(0, limit=0, database=2), Told(0, limit=0, tablespace=1700)])
    assert changed.databases_recreated == {(1663, 2), (1700, 1)}


def test_files_need_not_be_multiples_of_a_chunk() -> None:
    changed = union([Told(5, blocks={999, 1000, 1999, 2000, 65536})])
    assert plain(changed.of(file(segment=1), 1000)) == (False, None, [0, 999])
    assert plain(changed.of(file(segment=65), 1000)) == (False, None, [536])


def test_the_same_blocks_again_take_no_more_memory() -> None:
    summary = read_summary(write_summary([Told(n, blocks={1, 2, 3}) for n in range(1, 2001)]), "x")
    np.unique(np.zeros(1))  # imports numpy.ma when it is first called: no block's use of memory
    changed = ChangedBlocks()
    tracemalloc.start()
    try:
        for _ in range(200):
            changed.add(summary)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 2000 * 1000
    assert plain(changed.of(file(1999), SEGMENT)) == (False, None, [1, 2, 3])


def test_many_blocks_take_little_memory() -> None:
    summaries = [[Told(5, blocks=set(range(start, 1 << 19, 11)))] for start in range(6)]
    contents = [read_summary(write_summary(told), "x") for told in summaries]
    changed = ChangedBlocks()
    tracemalloc.start()
    try:
        for entries in contents:
            changed.add(entries)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 512 << 10  # 8 chunks
    expected = {n for told in summaries for n in told[0].blocks}
    found = set[int]()
    for segment in range(4):
        blocks = changed.of(file(segment=segment), SEGMENT).blocks
        assert np.all(np.diff(blocks.astype(np.int64)) > 0)
        found |= {int(n) + segment * SEGMENT for n in blocks}
    assert found == expected


def test_entries_are_read_without_copying() -> None:
    (entry,) = read_summary(write_summary([Told(5, blocks={1, 2})]), "x")
    assert isinstance(entry, SummaryEntry)
    assert [(n, bytes(c)) for n, c in entry.chunks()] == [(0, b"\1\0\2\0")]
