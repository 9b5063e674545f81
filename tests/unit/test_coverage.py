"""Coverage in sketches: 'S' is an archived segment, '.' a missing one, one column a segment."""

from datetime import UTC, datetime

import pytest

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import Coverage, TimelineCoverage, coverage
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History

SIZE = 1 << 20
GENERATION = Generation(system_identifier=42, major=18, segment_size=SIZE)


def archive(sketch: str) -> list[int]:
    return [number for number, mark in enumerate(sketch) if mark == "S"]


def backup(name: str, start: float, stop: float, timeline: int = 1) -> Backup:
    """Make a backup from segment position `start` to `stop`; 2.5 is the middle of segment 2."""
    return Backup(
        id=BackupId(name),
        type=BackupType.FULL,
        generation=GENERATION,
        timeline=timeline,
        start_lsn=Lsn(int(start * SIZE)),
        stop_lsn=Lsn(int(stop * SIZE)),
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        stopped_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def history(timeline: int, *branches: tuple[int, float]) -> History:
    return History(timeline, tuple(Branch(t, Lsn(int(at * SIZE))) for t, at in branches))


def cover(
    backups: list[Backup], sketches: dict[int, str], histories: list[History] | None = None
) -> Coverage:
    archived = {timeline: archive(sketch) for timeline, sketch in sketches.items()}
    return coverage(GENERATION, backups, archived, {h.timeline: h for h in histories or []})


def shown(timeline: TimelineCoverage | None) -> str:
    """Print spans and holes in segments: '1.5-4 hole 4-5'."""
    assert timeline is not None
    spans = [f"{span.start / SIZE:g}-{span.end / SIZE:g}" for span in timeline.spans]
    holes = [f"hole {hole.first.number}-{hole.last.number}" for hole in timeline.holes]
    return " ".join([*spans, *holes])


@pytest.mark.parametrize(
    ("sketch", "expected"),
    [
        pytest.param("SSSS", "1.5-4", id="all there"),
        pytest.param("S.SS", "hole 1-1", id="the backup's own segment is missing"),
        pytest.param("SS..SS", "1.5-2 hole 2-3", id="a hole ends it"),
        pytest.param("....", "", id="nothing archived"),
    ],
)
def test_one_backup(sketch: str, expected: str) -> None:
    result = cover([backup("a", 1, 1.5)], {1: sketch})
    assert shown(result.timeline(1)) == expected
    usable = expected.startswith("1.5")
    assert [s.backup for s in result.stranded] == ([] if usable else ["a"])


def test_a_backup_over_two_segments_needs_both() -> None:
    result = cover([backup("a", 1, 2.5)], {1: "SS."})
    assert shown(result.timeline(1)) == ""
    assert result.stranded[0].missing.number == 2


def test_a_stop_lsn_on_the_border_does_not_need_the_next_segment() -> None:
    assert shown(cover([backup("a", 1, 2)], {1: "SS"}).timeline(1)) == "2-2"


def test_a_second_backup_covers_what_follows_a_hole() -> None:
    result = cover([backup("a", 0, 0.5), backup("b", 4, 4.5)], {1: "SS..SS"})
    assert shown(result.timeline(1)) == "0.5-2 4.5-6 hole 2-3"
    timeline = result.timeline(1)
    assert timeline is not None
    assert [r.backup for r in timeline.reaching(Lsn(5 * SIZE))] == ["b"]
    assert timeline.reaching(Lsn(3 * SIZE)) == ()


def test_overlapping_backups_make_one_span() -> None:
    result = cover([backup("a", 0, 0.5), backup("b", 2, 2.5)], {1: "SSSS"})
    assert shown(result.timeline(1)) == "0.5-4"
    timeline = result.timeline(1)
    assert timeline is not None
    assert [r.backup for r in timeline.reaching(Lsn(3 * SIZE))] == ["a", "b"]


def test_a_child_timeline_continues_its_parents_wal() -> None:
    result = cover([backup("a", 0, 0.5)], {1: "SSSSS", 2: "..SSSS"}, [history(2, (1, 2.5))])
    assert shown(result.timeline(1)) == "0.5-5"
    assert shown(result.timeline(2)) == "0.5-6"
    assert result.latest is result.timeline(2)


def test_the_segment_of_the_switch_comes_from_the_child() -> None:
    result = cover([backup("a", 0, 0.5)], {1: "SSSSS", 2: "...SS"}, [history(2, (1, 2.5))])
    assert shown(result.timeline(2)) == "0.5-2 hole 2-2"


def test_a_backup_taken_after_the_switch_is_not_on_the_child() -> None:
    result = cover([backup("late", 3, 3.5)], {1: "SSSSS", 2: "..SSSS"}, [history(2, (1, 2.5))])
    assert shown(result.timeline(2)) == ""
    assert result.stranded == ()


def test_siblings_do_not_share_what_follows_their_switches() -> None:
    histories = [history(2, (1, 2.5)), history(3, (1, 1.5))]
    result = cover([backup("a", 0, 0.5)], {1: "SSS", 2: "..SSSS", 3: ".SS"}, histories)
    assert shown(result.timeline(2)) == "0.5-6"
    assert shown(result.timeline(3)) == "0.5-3"


def test_a_timeline_without_its_history_keeps_to_its_own_backups() -> None:
    result = cover([backup("a", 0, 0.5), backup("b", 3, 3.5, timeline=2)], {1: "SSS", 2: "..SSSS"})
    child = result.timeline(2)
    assert child is not None
    assert not child.history_known
    assert shown(child) == "3.5-6"


def test_an_empty_cluster_has_timeline_one_and_nothing_else() -> None:
    result = cover([], {})
    assert shown(result.timeline(1)) == ""
    assert result.latest is None
