"""Lists as text: what is wrong is loud, what is new is normal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.cli.render import listing as render_listing
from pgkeep.cli.render import setup as render_setup
from pgkeep.cli.spending.text import about
from pgkeep.cli.text import Look
from pgkeep.coverage.listing import Dated, Listing
from pgkeep.coverage.lost_wal import LostWal
from pgkeep.coverage.record import ClusterRecord, Record
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.repository.catalog import Unreadable
from pgkeep.repository.seal import Damaged
from pgkeep.repository.wal_archive import WalListing
from pgkeep.setup import store_verdicts, verdicts
from pgkeep.setup.check import CheckReport, StoresReport

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
GENERATION = Generation(7711, 18, 1 << 24)


def backup(segment: int, label: str = "", corrupt_pages: int = 0) -> Backup:
    start = Lsn(segment << 24)
    began = NOON + timedelta(minutes=segment)
    return Backup(
        BackupId(f"b{segment}"),
        BackupType.FULL,
        GENERATION,
        1,
        start + 40,
        start + 400,
        began,
        began + timedelta(seconds=2.5),
        label=label,
        size=5 << 30,
        stored=1 << 30,
        corrupt_pages=corrupt_pages,
    )


def listing(backups: list[Backup], segments: list[int], *bad: Unreadable) -> Listing:
    reach = coverage(GENERATION, backups, {1: segments}, {})
    wal = WalListing({1: segments}, [], [], [], [], [], {})
    part = Record(GENERATION, tuple(backups), wal, reach, ())
    stops = {b.id: b.stopped_at for b in backups}
    dates = {
        (GENERATION.id, 1, span): Dated(stops[span.backups[0]], NOON + timedelta(hours=1))
        for timeline in reach.timelines
        for span in timeline.spans
    }
    return Listing("/repo", ClusterRecord("main", (part,), bad), dates)


def text(found: Listing) -> list[str]:
    return render_listing.text([found], Look()).splitlines()


def test_nothing_yet_is_a_normal_state() -> None:
    assert text(Listing("/repo", ClusterRecord("main", (), ()), {})) == [
        "cluster main in /repo",
        "",
        "no backups yet: take the first one with pgkeep backup",
    ]


def test_a_list_with_everything_in_it() -> None:
    damaged = Damaged("clusters/main/backups/b9/manifest", "its tables are cut off")
    found = listing(
        [backup(3, "before v2\n"), backup(6), backup(7, corrupt_pages=2)],
        [3, 4, 7, 8],
        Unreadable(BackupId("b9"), damaged),
    )
    assert text(found) == [
        "cluster main in /repo",
        "",
        "1 backup CANNOT BE READ, and so cannot be restored:",
        "  b9: cannot use clusters/main/backups/b9/manifest, it is damaged: its tables are cut off",
        "",
        "BACKUP  TYPE  RESTORABLE FROM           SIZE  STORED   TOOK  WAL                       "
        "VERIFIED  "
        f"{'STATE':<51}  LABEL",
        "b3      full  2026-01-15 12:03:03 UTC  5 GiB   1 GiB  2.5 s  000000010000000000000003  "
        "never     "
        f"{'ok':<51}  before v2\\n",
        "b6      full  2026-01-15 12:06:03 UTC  5 GiB   1 GiB  2.5 s  000000010000000000000006  "
        "never     "
        "NOT RESTORABLE, 000000010000000000000006 is missing",
        "b7      full  2026-01-15 12:07:03 UTC  5 GiB   1 GiB  2.5 s  000000010000000000000007  "
        "never     "
        "2 DAMAGED PAGES",
        "",
        "PostgreSQL 18, system identifier 7711",
        "  4 WAL segments archived, 0 B",
        "  verified: never",
        "  timeline 1: restorable from 2026-01-15 12:03:03 UTC, 0/3000190 to "
        "2026-01-15 13:00:00 UTC, 0/5000000",
        "  timeline 1: restorable from 2026-01-15 12:07:03 UTC, 0/7000190 to "
        "2026-01-15 13:00:00 UTC, 0/9000000",
        "    HOLE: WAL segments 000000010000000000000005 to 000000010000000000000006 (2) are "
        "missing",
    ]


def test_a_hole_that_a_server_made_says_why() -> None:
    found = listing([backup(3)], [3, 5])
    given_up = LostWal(
        "000000010000000000000004",
        "000000010000000000000004",
        1,
        "2026-01-15T12:04:05.5+00:00",
        "it was full",
    )
    found = replace(found, losses=(given_up,))
    (line,) = [line for line in text(found) if "HOLE" in line]
    assert line.endswith(
        "is missing, given up at 2026-01-15 12:04:05 UTC, so that the server could go on: it was "
        "full"
    )
    facts = render_listing.facts([found], all_clusters=False)
    assert facts["coverage"][0]["holes"][0]["why"].endswith("it was full")


def test_json_tells_the_same() -> None:
    facts = render_listing.facts([listing([backup(3)], [3, 5])], all_clusters=False)
    assert facts["backups"][0]["restorable"]
    assert facts["coverage"][0]["spans"][0]["to"]["lsn"] == Lsn.parse("0/4000000")
    assert [hole["segments"] for hole in facts["coverage"][0]["holes"]] == [1]
    several = render_listing.facts([listing([], [])], all_clusters=True)
    assert [cluster["cluster"] for cluster in several["clusters"]] == ["main"]


def test_a_tested_store_has_a_line_each_and_its_own_end() -> None:
    good = verdicts.ok("reads", "objects and ranges come back as they were stored")
    bad = store_verdicts.of_lack("long listing", store_verdicts.Lack("a listing ends"))
    report = StoresReport((("/backups", (good,)), ("s3://b/p", (bad,))))
    assert render_setup.check_stores(report, Look()).splitlines() == [
        "ok      reads  objects and ranges come back as they were stored",
        "",
        "repository /backups: all is well",
        "",
        "FAILED  long listing  WAL and backups that are there would be called missing: a listing "
        "ends",
        "                      fix: the store, or a proxy in front of it, loses the mark by which "
        "a listing goes on: update it, or use another",
        "",
        "repository s3://b/p: 1 check failed",
    ]
    assert not report.is_good


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0.0, "about $0.00"),
        (0.00001, "less than $0.0001"),
        (0.0019, "about $0.0019"),
        (0.28, "about $0.28"),
        (1234.5, "about $1,234.50"),
    ],
)
def test_amounts_have_the_digits_that_say_something(amount: float, said: str) -> None:
    assert about(amount) == said


def test_a_check_has_a_line_each_and_the_fix_below() -> None:
    report = CheckReport(
        "main",
        (
            verdicts.ok("connection", "role postgres"),
            verdicts.note("coverage", "no backup yet", "pgkeep backup"),
            verdicts.failed("archive_mode", "it is 'off'", "ALTER SYSTEM ...\nrestart"),
        ),
    )
    assert render_setup.check(report, Look()).splitlines() == [
        "ok      connection    role postgres",
        "note    coverage      no backup yet",
        "                      fix: pgkeep backup",
        "FAILED  archive_mode  it is 'off'",
        "                      fix: ALTER SYSTEM ...",
        "                           restart",
        "",
        "cluster main: 1 check failed",
    ]
    assert not report.is_good
