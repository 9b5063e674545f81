"""The sequence of a backup, on a cluster in memory."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.backup.backup import BackupOptions, new_id, run
from pgkeep.backup.report import BackupReport, CorruptPages
from pgkeep.backup.source import BackupAborted
from pgkeep.backup.wait_wal import Archiver, WalIncomplete
from pgkeep.model.lsn import Lsn
from pgkeep.repository import catalog
from pgkeep.repository.census.codec import CensusFacts
from pgkeep.repository.census.shelf import write_census
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockLost
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.backups import FakeSource, contents, inline, page
from support.censuses import some_census

FILES = {
    "PG_VERSION": b"18\n",
    "base/5/16384": b"".join(page(block) for block in range(300)),
    "base/5/16384_fsm": page(0) * 3,
    "base/5/16390": b"",
    "global/1262": page(0),
    "postgresql.conf": b"port = 5432\n",
}
FILES["base/5/16384_fsm"] = page(0) + page(1) + page(2)


@pytest.fixture
def cluster() -> ClusterFolder:
    return Repository.create(MemoryStore(), "none", None).cluster("main")


def back_up(cluster: ClusterFolder, source: FakeSource, **options: Any) -> BackupReport:
    options = {"jobs": 2, "archive_timeout": 0.2, **options}
    return run(source, cluster, BackupOptions(**options), make_workers=inline(cluster))


def test_a_backup_holds_every_file(cluster: ClusterFolder) -> None:
    report = back_up(cluster, FakeSource(dict(FILES)), label="before v2")
    assert contents(cluster, report.id) == {**FILES, "global/pg_control": b"control" * 100}
    facts = catalog.read_facts(cluster, report.id)
    assert (facts.label, facts.start_lsn, facts.stop_lsn) == ("before v2", "0/3000028", "0/5000100")
    assert facts.checkpoint_lsn == "0/3000060"
    assert facts.files == len(FILES) + 1
    assert facts.size == sum(map(len, FILES.values())) + 700 == facts.read
    assert facts.stored == sum(blob.size for blob in cluster.store.list("clusters/main/packs/"))


def test_the_report_as_json(cluster: ClusterFolder) -> None:
    facts = back_up(cluster, FakeSource(dict(FILES))).to_dict()
    assert next(iter(facts)) == "id"
    assert facts["first_segment"] == "000000010000000000000030"
    assert facts["last_segment"] == "000000010000000000000050"
    assert facts["corrupt"] == facts["notes"] == []


def test_pg_control_is_read_after_all_other_files_and_before_the_stop(
    cluster: ClusterFolder,
) -> None:
    source = FakeSource(dict(FILES))
    back_up(cluster, source)
    assert source.calls == ["facts", "start", "listing", "control_file", "stop"]


def test_without_archiving_the_backup_stores_its_own_wal(cluster: ClusterFolder) -> None:
    report = back_up(cluster, FakeSource(dict(FILES)))
    archive = cluster.wal(report.backup.generation.id)
    assert archive.list(1 << 20).segments == {1: list(range(0x30, 0x51))}


def test_wal_that_arrives_completes_the_backup(cluster: ClusterFolder) -> None:
    archive = cluster.wal("18-7710983248089545577")
    source = FakeSource(dict(FILES), archive=lambda name: void(archive.push(name, b"wal")))
    back_up(cluster, source)
    assert len(catalog.backups(cluster).backups) == 1


def void(_: object) -> None:
    """Swallow a result."""


def test_no_backup_without_its_wal(cluster: ClusterFolder) -> None:
    archive = cluster.wal("18-7710983248089545577")

    def all_but_the_last(name: str) -> None:
        if not name.endswith("50"):
            archive.push(name, b"wal")

    class Failing(FakeSource):
        def archiver(self) -> Archiver:
            at = datetime(2026, 1, 2, 3, 6, tzinfo=UTC)
            return Archiver(32, "00000001000000000000004F", "000000010000000000000050", at)

    with pytest.raises(WalIncomplete) as caught:
        back_up(cluster, Failing(dict(FILES), archive=all_but_the_last))
    assert str(caught.value) == (
        "no backup was made: what was copied is not restorable without WAL segment "
        "000000010000000000000050, which did not reach the repository: nothing arrived for 0.2 s, "
        "and archiving 000000010000000000000050 failed at 2026-01-02 03:06:00 UTC"
    )
    assert catalog.backups(cluster).backups == ()


def test_wal_that_goes_elsewhere_is_told(cluster: ClusterFolder) -> None:
    class Elsewhere(FakeSource):
        def archiver(self) -> Archiver:
            return Archiver(99, "000000010000000000000050")

    with pytest.raises(WalIncomplete) as caught:
        back_up(cluster, Elsewhere(dict(FILES), archive=lambda name: None))
    assert "33 WAL segments, 000000010000000000000030 to 000000010000000000000050" in str(
        caught.value
    )
    assert "the server says that it archived 000000010000000000000050, but not to here" in str(
        caught.value
    )


def test_wal_that_is_gone_from_a_server_that_does_not_archive(cluster: ClusterFolder) -> None:
    class Recycled(FakeSource):
        def wal_segment(self, segment: object) -> None:
            return None

    with pytest.raises(WalIncomplete, match="removed from pg_wal already") as caught:
        back_up(cluster, Recycled(dict(FILES)))
    assert "wal_keep_size" in caught.value.hint
    assert catalog.backups(cluster).backups == ()


def test_a_timeline_switch_voids_the_backup(cluster: ClusterFolder) -> None:
    with pytest.raises(BackupAborted, match="changed from timeline 1 to 2"):
        back_up(cluster, FakeSource(dict(FILES), stop_timeline=2))
    assert catalog.backups(cluster).backups == ()


def test_pg_version_may_not_vanish(cluster: ClusterFolder) -> None:
    class Vanishing(FakeSource):
        def reader(self) -> Any:
            self.files.pop("PG_VERSION")
            return super().reader()

        def listing(self) -> Any:
            self.files["PG_VERSION"] = b"18\n"
            return super().listing()

    with pytest.raises(BackupAborted, match="PG_VERSION vanished"):
        back_up(cluster, Vanishing(dict(FILES)))


def bad_files(lsn: int) -> dict[str, bytes]:
    damaged = page(7, lsn)[:-1] + b"!"
    content = b"".join(page(block) for block in range(7)) + damaged
    return {**FILES, "base/5/16384": content}


def test_scenario_72_a_damaged_page_is_reported_and_the_backup_kept(
    cluster: ClusterFolder,
) -> None:
    report = back_up(cluster, FakeSource(bad_files(0x1000)))
    problem = report.problem
    assert isinstance(problem, CorruptPages)
    assert report.exit_status == problem.exit_status == 65
    assert str(problem) == (
        f"the cluster has damaged pages: 1 failed their checksum in backup {report.id}, which was "
        "kept: shop.public.of_16384 block 7 (base/5/16384)"
    )
    (backup,) = catalog.backups(cluster).backups
    assert backup.corrupt_pages == 1


@pytest.mark.parametrize(
    ("lsn", "count"),
    [
        pytest.param("0/3000100", 0, id="written while it was read"),
        pytest.param("0/5000100", 0, id="written at the very end"),
        pytest.param("0/5000101", 1, id="from the future"),
        pytest.param("FFFFFFFF/0", 1, id="garbage that looks new"),
    ],
)
def test_a_wrong_checksum_is_excused_only_by_an_lsn_within_the_backup(
    cluster: ClusterFolder, lsn: str, count: int
) -> None:
    report = back_up(cluster, FakeSource(bad_files(int(Lsn.parse(lsn)))))
    assert report.backup.corrupt_pages == count


def test_scenario_73_without_checksums_odd_headers_are_noted_only(cluster: ClusterFolder) -> None:
    mad = bytearray(page(0))
    mad[12:14] = (9000).to_bytes(2, "little")
    report = back_up(cluster, FakeSource({**FILES, "base/5/16384": bytes(mad)}, checksums=False))
    assert report.exit_status == 0
    assert report.notes == [
        "shop.public.of_16384 looks odd: block 0 of base/5/16384 has an impossible header "
        "(the cluster has no checksums to prove it)"
    ]


def test_the_lock_is_given_back_whatever_happens(cluster: ClusterFolder) -> None:
    with pytest.raises(BackupAborted):
        back_up(cluster, FakeSource(dict(FILES), stop_timeline=2))
    assert list(cluster.store.list("clusters/main/locks/")) == []


def test_two_at_once_are_refused(cluster: ClusterFolder) -> None:
    with (
        locks.hold(cluster, "backup", command="pgkeep backup", conflicts={"backup"}),
        pytest.raises(locks.LockTaken),
    ):
        back_up(cluster, FakeSource(dict(FILES)))


def test_a_lost_lock_is_noticed_before_the_backup_is_listed(cluster: ClusterFolder) -> None:
    class Thief(FakeSource):
        def stop(self) -> Any:
            for blob in list(cluster.store.list("clusters/main/locks/")):
                cluster.store.delete(blob.name)
            return super().stop()

    with pytest.raises(locks.LockLost):
        back_up(cluster, Thief(dict(FILES)))
    assert catalog.backups(cluster).backups == ()


@given(st.integers(0, 999_983), st.integers(16, 999_983))
def test_ids_within_a_second_differ_and_are_in_order(first: int, after: int) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, first, UTC)
    assert new_id(moment).startswith("20260102T030405Z-")
    assert new_id(moment) < new_id(moment + timedelta(microseconds=after))


# The census


def with_census(
    cluster: ClusterFolder, source: FakeSource, take: Callable[[], CensusFacts]
) -> BackupReport:
    def take_census(folder: ClusterFolder, tick: Callable[[], object]) -> CensusFacts:
        source.calls.append("census")
        tick()
        return take()

    options = BackupOptions(jobs=2, archive_timeout=0.2)
    workers = inline(cluster)
    return run(source, cluster, options, make_workers=workers, take_census=take_census)


def test_a_census_is_taken_when_all_is_copied_and_before_the_stop(cluster: ClusterFolder) -> None:
    source = FakeSource(dict(FILES))
    unread = (("closed", "it allows no connections"), ("hidden", "permission denied"))
    census = some_census(unread=unread)
    report = with_census(cluster, source, lambda: write_census(cluster, census))
    assert source.calls == ["facts", "start", "listing", "census", "control_file", "stop"]
    assert report.census == report.to_dict()["census"] == census.id
    assert report.notes == ["the census lacks database hidden: permission denied"]


def test_a_census_that_fails_costs_the_backup_nothing_but_a_note(cluster: ClusterFolder) -> None:
    def fail() -> CensusFacts:
        raise StoreFailed("memory", "store it", "no reason")

    report = with_census(cluster, FakeSource(dict(FILES)), fail)
    assert report.to_dict()["census"] is None
    assert report.notes == [
        "no census was taken, so undo will miss names: cannot store it in memory: no reason"
    ]
    assert [backup.id for backup in catalog.backups(cluster).backups] == [report.id]


def test_a_lock_that_is_lost_meanwhile_ends_the_backup(cluster: ClusterFolder) -> None:
    def lose() -> CensusFacts:
        raise LockLost("main", "pgkeep backup", 700.0)

    with pytest.raises(LockLost):
        with_census(cluster, FakeSource(dict(FILES)), lose)
    assert catalog.backups(cluster).backups == ()
