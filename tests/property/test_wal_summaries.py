"""WAL summaries against obvious models: sets of blocks, and bytes of WAL one at a time."""

from contextlib import suppress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History
from pgkeep.postgres.crc32c import crc32c as small_crc32c
from pgkeep.postgres.layout import RelationFile
from pgkeep.postgres.wal_summary.changed import ChangedBlocks
from pgkeep.postgres.wal_summary.checksum import crc32c
from pgkeep.postgres.wal_summary.choose import (
    SummaryFile,
    SummaryGap,
    choose_summaries,
    summary_files,
)
from pgkeep.postgres.wal_summary.content import BadSummary, read_summary
from support.wal_summaries import Told, write_summary

CHUNK = 65536
SEGMENT = 3 * CHUNK // 2  # files that do not end where chunks end, to be mean

near = st.sampled_from([0, SEGMENT - 1, SEGMENT, CHUNK, 2 * CHUNK, 2 * SEGMENT])
blocks = st.one_of(
    st.sets(st.builds(lambda base, n: max(0, base + n), near, st.integers(-3, 3)), max_size=8),
    st.builds(
        lambda start, count, step: set(range(start, start + count * step, step)),
        st.integers(0, 2 * SEGMENT),
        st.integers(0, 6000),
        st.integers(1, 5),
    ),
)
told = st.builds(
    Told,
    number=st.sampled_from([5, 5, 5, 6]),
    fork=st.sampled_from([0, 0, 0, 2]),
    limit=st.one_of(st.none(), near, st.integers(0, 3 * SEGMENT)),
    blocks=blocks,
)
databases = st.builds(Told, number=st.just(0), limit=st.just(0), database=st.sampled_from([1, 2]))
summary = st.tuples(st.lists(told, max_size=4), st.lists(databases, max_size=1)).map(
    lambda parts: parts[0] + parts[1]
)


def slow_union(summaries: list[list[Told]], number: int) -> tuple[int, set[int]]:
    """Return the limit and the blocks below it, entry by entry as the server would."""
    limit, found = 1 << 32, set[int]()
    for entry in (t for told in summaries for t in told if t.number == number and not t.fork):
        if entry.limit is not None:
            limit = min(limit, entry.limit)
        found |= entry.blocks
    return limit, {block for block in found if block < limit}


@settings(max_examples=150, deadline=None)
@given(st.lists(summary, max_size=6))
def test_the_union_is_that_of_sets(summaries: list[list[Told]]) -> None:
    changed = ChangedBlocks()
    for entries in summaries:
        changed.add(read_summary(write_summary(entries), "x"))
    recreated = {(t.tablespace, t.database) for told in summaries for t in told if not t.number}
    assert changed.databases_recreated == recreated
    for number in (5, 6, 7):
        limit, expected = slow_union(summaries, number)
        for segment in range(4):
            first = segment * SEGMENT
            found = changed.of(RelationFile(1663, 1, number, segment=segment), SEGMENT)
            listed = found.blocks.tolist()
            assert found.recreated == (limit <= first or (1663, 1) in recreated)
            if found.recreated:
                continue
            assert found.limit == (limit - first if limit < first + SEGMENT else None)
            assert listed == sorted(b - first for b in expected if first <= b < first + SEGMENT)


@settings(deadline=None)
@given(st.lists(told, max_size=5))
def test_what_is_written_is_read(entries: list[Told]) -> None:
    found = [
        Told(e.number, e.fork, e.limit, set(e.blocks().tolist()), e.database, e.tablespace)
        for e in read_summary(write_summary(entries), "x")
    ]
    assert found == [replace(entry) for entry in entries]


SAMPLE = write_summary(
    [Told(5, limit=3, blocks={1, 2, 70000}), Told(6, blocks=set(range(5000))), Told(7, limit=0)]
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SAMPLE) - 5), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_summary_is_refused_or_harmless(at: int, new: bytes, resealed: bool) -> None:
    damaged = (SAMPLE[:at] + new + SAMPLE[at + len(new) :])[: len(SAMPLE) - 4]
    crc = small_crc32c(damaged) if resealed else small_crc32c(SAMPLE[:-4])
    with suppress(BadSummary):
        entries = read_summary(damaged + crc.to_bytes(4, "little"), "x")
        assert resealed or damaged == SAMPLE[:-4]
        changed = ChangedBlocks()
        changed.add(entries)
        assert all((block.blocks() >= 0).all() for block in entries)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_summary(content: bytes) -> None:
    for candidate in (content, SAMPLE[:4] + content):
        with suppress(BadSummary):
            read_summary(candidate, "x")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 60_000))
def test_the_checksum_is_that_of_the_obvious_algorithm(pattern: bytes, size: int) -> None:
    content = (pattern * (size // len(pattern) + 1))[:size]
    assert crc32c(memoryview(content)) == small_crc32c(content)


spans = st.tuples(st.integers(1, 3), st.integers(0, 30), st.integers(0, 12))
histories = st.sampled_from(
    [
        History(1),
        History(2, (Branch(1, Lsn(15)),)),
        History(3, (Branch(1, Lsn(10)), Branch(2, Lsn(20)))),
        History(3, (Branch(1, Lsn(10)), Branch(2, Lsn(10)))),
        History(3, (Branch(2, Lsn(18)),)),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(spans, max_size=12), histories, st.integers(0, 40), st.integers(0, 25))
def test_a_range_is_covered_or_a_gap_is_named(
    spans: list[tuple[int, int, int]], history: History, start: int, length: int
) -> None:
    names = [f"{t:08X}{s:016X}{s + n:016X}.summary" for t, s, n in spans]
    files = summary_files(names)
    end = start + length

    def covered(byte: int) -> bool:
        timeline = history.timeline_at(Lsn(byte))
        return any(f.timeline == timeline and f.start <= byte < f.end for f in chosen or files)

    chosen: list[SummaryFile] = []
    complete = all(map(covered, range(start, end)))
    try:
        chosen = choose_summaries(files, history, Lsn(start), Lsn(end))
    except SummaryGap:
        assert not complete
        return
    assert complete
    assert set(chosen) <= set(files)
    assert all(map(covered, range(start, end)))
    assert chosen == sorted(chosen, key=lambda f: (f.timeline, f.start))
    assert bool(chosen) == (length > 0)
