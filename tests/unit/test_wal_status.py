"""The WAL status, put together from a listing and what the server says."""

from datetime import UTC, datetime
from pathlib import Path

from pgkeep.model.cluster import Generation
from pgkeep.model.segment import Segment
from pgkeep.repository.store.base import BlobStat
from pgkeep.repository.wal_archive import WalListing
from pgkeep.server.session import ArchiverStats
from pgkeep.wal.status import ArchiveStatus, Waiting, WalStatus, wal_status
from pgkeep.wal.survey import files_waiting

SIZE = 16 << 20
GENERATION = Generation(77, 18, SIZE)


def listing(sketch: str, histories: str = "", foreign: str = "") -> WalListing:
    """'1:1 1:2 2:2' are segments 1 and 2 of timeline 1 and 2 of timeline 2; a second apart."""
    found = WalListing({}, [int(h) for h in histories.split()], [], [], [], foreign.split(), {})
    for second, word in enumerate(sketch.split()):
        timeline, number = map(int, word.split(":"))
        found.segments.setdefault(timeline, []).append(number)
        name = Segment(timeline, number, SIZE).name
        found.stats[name] = BlobStat(f"wal/{name}", 1000, second)
    return found


def status(
    sketch: str, histories: str = "", stats: ArchiverStats | None = None, foreign: str = ""
) -> WalStatus:
    found = listing(sketch, histories, foreign)
    return wal_status("main", "/srv", [(GENERATION, found, ())], stats, Waiting(4))


def archive(sketch: str, histories: str = "") -> ArchiveStatus:
    return status(sketch, histories).archives[0]


def test_a_whole_archive_has_one_line_for_each_timeline() -> None:
    first, second = archive("1:1 1:2 1:3 2:3 2:4", "2").timelines
    assert (first.timeline, first.first.name, first.last.name, first.segments) == (
        1,
        "000000010000000000000001",
        "000000010000000000000003",
        3,
    )
    assert first.stored_size == 3000
    assert second.newest_at == datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC)
    assert first.has_history
    assert second.has_history
    assert first.holes == second.holes == ()
    assert status("1:1 1:2 1:3 2:3 2:4", "2").problems == ()


def test_scenario_61_holes_are_named() -> None:
    shown = status("1:1 1:2 1:5 1:7")
    assert [(h.first.number, h.last.number) for h in shown.archives[0].timelines[0].holes] == [
        (3, 4),
        (6, 6),
    ]
    assert shown.problems == (
        "2 segments from 000000010000000000000003 to 000000010000000000000004 are missing on "
        "timeline 1: no recovery goes across",
        "segment 000000010000000000000006 is missing on timeline 1: no recovery goes across",
    )


def test_a_timeline_without_its_history_is_a_problem() -> None:
    shown = status("1:1 2:1")
    assert shown.problems == (
        "the history file of timeline 2 is missing: recovery cannot follow it",
    )


def test_foreign_objects_are_a_problem() -> None:
    assert status("1:1", foreign="wal/x wal/y").problems == (
        "2 objects are not pgkeep's, like wal/x",
    )


def at(minute: int) -> datetime:
    return datetime(2026, 11, 23, 5, minute, tzinfo=UTC)


def test_a_failing_archiver_comes_first() -> None:
    stats = ArchiverStats(5, "0" * 24, at(1), 3, "000000010000000000000006", at(2), None)
    shown = status("1:1 1:3", stats=stats)
    assert shown.failing
    assert shown.problems[0] == (
        "the server failed to archive 000000010000000000000006 at 2026-11-23 05:02:00 UTC; "
        "4 files wait: see its log"
    )


def test_an_archiver_that_recovered_is_not_failing() -> None:
    stats = ArchiverStats(5, "0" * 24, at(3), 3, "000000010000000000000006", at(2), None)
    assert status("1:1", stats=stats).problems == ()


def test_a_new_cluster_is_no_failure() -> None:
    never = ArchiverStats(0, None, None, 0, None, None, None)
    shown = status("", stats=never)
    assert shown.problems == ()
    assert shown.archives[0].newest_at is None


def test_an_unknown_cluster_says_so() -> None:
    assert wal_status("main", "/srv", []).problems == (
        "cluster main is not set up in /srv: pgkeep init",
    )


def test_waiting_files_are_counted_in_the_archiver_s_order(tmp_path: Path) -> None:
    folder = tmp_path / "pg_wal/archive_status"
    folder.mkdir(parents=True)
    for name in ("0" * 23 + "2.ready", "0" * 23 + "1.done", "0000000A.history.ready", "x.ready"):
        (folder / name).touch()
    assert files_waiting(str(tmp_path)) == Waiting(2, "0000000A.history")
    assert files_waiting(str(tmp_path / "nowhere")) is None
