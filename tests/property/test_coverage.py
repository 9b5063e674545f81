"""Coverage against a slow, obvious model: walk the segments one by one."""

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History

SIZE = 1 << 20
GENERATION = Generation(system_identifier=42, major=18, segment_size=SIZE)
LAST = 12  # segments


@st.composite
def histories(draw: st.DrawFn) -> dict[int, History]:
    """Up to four timelines, each branching off an earlier one anywhere after its own beginning."""
    made = {1: History(1)}
    for number in range(2, draw(st.integers(1, 4)) + 1):
        parent = made[draw(st.sampled_from(sorted(made)))]
        begin = int(parent.ancestors[-1].switch) if parent.ancestors else 0
        switch = Lsn(draw(st.integers(begin, LAST * SIZE)))
        made[number] = History(number, (*parent.ancestors, Branch(parent.timeline, switch)))
    return made


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[int, History], dict[int, list[int]], list[Backup]]:
    known = draw(histories())
    archived = {t: sorted(draw(st.sets(st.integers(0, LAST)))) for t in known}
    backups = []
    for index in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, LAST * SIZE))
        stop = draw(st.integers(start + 1, min(start + 2 * SIZE, LAST * SIZE + SIZE)))
        backups.append(
            Backup(
                id=BackupId(f"b{index}"),
                type=BackupType.FULL,
                generation=GENERATION,
                timeline=draw(st.sampled_from(sorted(known))),
                start_lsn=Lsn(start),
                stop_lsn=Lsn(stop),
                started_at=datetime(2026, 1, 1, tzinfo=UTC),
                stopped_at=datetime(2026, 1, 2, tzinfo=UTC),
            )
        )
    return known, archived, backups


def server_finds(number: int, history: History, archived: dict[int, list[int]]) -> bool:
    """Ask as XLogFileReadAnyTLI does: the newest timeline that begins in or before the segment."""
    begin = int(history.ancestors[-1].switch) // SIZE if history.ancestors else 0
    if number >= begin:
        return number in archived.get(history.timeline, [])
    parent = history.ancestors[-1]
    return server_finds(number, History(parent.timeline, history.ancestors[:-1]), archived)


def model_reach(backup: Backup, history: History, archived: dict[int, list[int]]) -> int | None:
    """Return the LSN up to which the backup recovers along the history, or None."""
    if backup.timeline != history.timeline:
        switches = [b.switch for b in history.ancestors if b.timeline == backup.timeline]
        if not switches or backup.stop_lsn > switches[0]:
            return None
    number = int(backup.start_lsn) // SIZE
    while server_finds(number, history, archived):
        number += 1
    end = number * SIZE
    return end if end >= backup.stop_lsn and end > backup.start_lsn else None


@given(worlds())
def test_reaches_equal_the_segment_by_segment_model(
    world: tuple[dict[int, History], dict[int, list[int]], list[Backup]],
) -> None:
    known, archived, backups = world
    result = coverage(GENERATION, backups, archived, known)
    for number, history in known.items():
        timeline = result.timeline(number)
        assert timeline is not None
        found = {reach.backup: int(reach.end) for reach in timeline.reaches}
        expected = {b.id: model_reach(b, history, archived) for b in backups}
        assert found == {name: end for name, end in expected.items() if end is not None}


@given(worlds())
def test_spans_are_the_union_of_reaches_and_do_not_touch(
    world: tuple[dict[int, History], dict[int, list[int]], list[Backup]],
) -> None:
    known, archived, backups = world
    for timeline in coverage(GENERATION, backups, archived, known).timelines:
        spans = timeline.spans
        assert all(a.end < b.start for a, b in pairwise(spans))
        for reach in timeline.reaches:
            assert any(s.start <= reach.start and reach.end <= s.end for s in spans)
        for hole in timeline.holes:
            assert hole.first.number <= hole.last.number
            assert hole.first.number not in archived.get(hole.first.timeline, [])


@given(worlds())
def test_every_backup_is_usable_somewhere_or_stranded(
    world: tuple[dict[int, History], dict[int, list[int]], list[Backup]],
) -> None:
    known, archived, backups = world
    result = coverage(GENERATION, backups, archived, known)
    usable = {reach.backup for timeline in result.timelines for reach in timeline.reaches}
    assert usable.isdisjoint(s.backup for s in result.stranded)
    assert usable | {s.backup for s in result.stranded} == {b.id for b in backups}
