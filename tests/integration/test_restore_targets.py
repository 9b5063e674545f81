"""Every kind of target, and what PostgreSQL itself would do wrong with some of them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pgkeep.inspect.look import inspect
from pgkeep.inspect.seen import State
from pgkeep.model.target import BadTarget, parse_target
from pgkeep.postgres.control import State as Control
from pgkeep.postgres.control import read_control
from pgkeep.restore.prepare import prepare
from pgkeep.restore.start import Ending, RecoveryFailed
from pgkeep.restore.target.unreachable import (
    BackupCannotReach,
    TargetBehindDamage,
    TargetNotFound,
    TargetTooLate,
)
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def commit(scene: Scene, entry: str) -> str:
    """Commit one entry; return the transaction's id."""
    with scene.pg.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO ledger VALUES (%s)", (entry,))
        row = connection.execute("SELECT txid_current()").fetchone()
        assert row
        return str(row[0])


def test_scenario_42_target_matrix(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    xid_b = commit(scene, "b")
    time_b = scene.now()
    lsn_b = scene.lsn()
    scene.pg.sql("SELECT pg_create_restore_point('after_b')")
    xid_c = commit(scene, "c")
    scene.enter("d")
    scene.archive()
    cells = [
        (f"xid:{xid_b}", True, "a b"),
        (f"xid:{xid_c}", False, "a b"),
        (time_b, True, "a b"),
        (f"lsn:{lsn_b}", False, "a b"),
        ("name:after_b", True, "a b"),
        (f"xid:{xid_c}", True, "a b c"),
        ("immediate", True, "a"),
        ("latest", True, "a b c d"),
    ]
    for number, (to, inclusive, expected) in enumerate(cells):
        held = scene.content_at(to, f"r{number}", inclusive=inclusive)
        assert held == expected, (to, inclusive)


def test_scenario_42_pause_and_shutdown(scene: Scene) -> None:
    scene.backup()
    xid = commit(scene, "a")
    scene.enter("b")
    scene.archive()
    report = scene.restore(f"xid:{xid}", "paused", action="pause")
    assert report.promote_command.endswith(" promote")
    with scene.started(report) as (paused, outcome):
        assert outcome.ending is Ending.PAUSED
        assert outcome.words.startswith(
            f"paused, open for reading: recovery stopped after commit of transaction {xid}"
        )
        assert read_ledger(paused) == "a"
        assert paused.value("SELECT pg_is_in_recovery()")
        paused.sql("SELECT pg_wal_replay_resume()")
    report = scene.restore(f"xid:{xid}", "shut", action="shutdown")
    with scene.started(report) as (_, outcome):
        assert outcome.ending is Ending.SHUT_DOWN
        assert outcome.pid is None
        assert read_control(report.plan.target_dir).state is Control.SHUT_DOWN_IN_RECOVERY
    assert inspect(report.plan.target_dir).state is State.RECOVERING


def test_scenario_43_an_inclusive_lsn_may_include_a_commit(scene: Scene) -> None:
    scene.backup()
    with scene.pg.connect() as second:
        second.execute("BEGIN")
        second.execute("INSERT INTO ledger VALUES ('b')")
        scene.enter("a")
        lsn = scene.lsn()
        second.execute("COMMIT")
    scene.archive()
    exclusive = prepare(scene.folder, scene.request(f"lsn:{lsn}", inclusive=False)).plan
    inclusive = prepare(scene.folder, scene.request(f"lsn:{lsn}")).plan
    assert str(exclusive.stop).startswith("right before the commit of transaction")
    assert str(inclusive.stop).startswith("right after the commit of transaction")
    assert scene.content_at(f"lsn:{lsn}", "before", inclusive=False) == "a"
    assert scene.content_at(f"lsn:{lsn}", "after") == "a b"


@only(18)
def test_scenario_44_times_are_moments_whatever_the_zones(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path, {"timezone": "Asia/Tokyo"})
    scene.backup()
    scene.enter("a")
    moment = datetime.fromisoformat(scene.now())
    scene.enter("b")
    scene.archive()
    tokyo = moment.astimezone(ZoneInfo("Asia/Tokyo"))
    naive = moment.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
    assert parse_target(str(naive), ZoneInfo("America/New_York")) == parse_target(str(moment), UTC)
    plan = prepare(scene.folder, scene.request(str(tokyo))).plan
    written = dict(plan.settings)["recovery_target_time"]
    assert written == f"{moment.astimezone(UTC).replace(tzinfo=None)}+00"
    assert plan.asked.endswith("+00:00")
    assert scene.content_at(str(tokyo), "tokyo") == "a"
    assert scene.content_at(str(moment), "utc") == "a"


def test_scenario_46_a_moment_during_a_backup_comes_from_the_one_before(scene: Scene) -> None:
    first = scene.backup()
    scene.enter("a")
    moment = scene.now()
    second = scene.backup()
    scene.enter("b")
    scene.archive()
    assert prepare(scene.folder, scene.request(moment)).plan.backup.id == first
    with pytest.raises(BackupCannotReach, match="was complete only at"):
        scene.restore(moment, "named", backup=second)
    assert scene.content_at(moment) == "a"


def test_scenario_49_unusual_transaction_ids(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    settings = {"max_prepared_transactions": 5}
    scene = make_scene(new_cluster, repository_directory, tmp_path, settings)
    scene.backup()
    with scene.pg.connect() as connection:
        connection.execute("BEGIN")
        row = connection.execute("SELECT txid_current()").fetchone()
        connection.execute("SAVEPOINT s")
        connection.execute("INSERT INTO ledger VALUES ('a')")
        connection.execute("COMMIT")
        assert row
        whole = int(row[0])
        connection.execute("BEGIN")
        connection.execute("INSERT INTO ledger VALUES ('never')")
        row = connection.execute("SELECT txid_current()").fetchone()
        connection.execute("ROLLBACK")
        assert row
        aborted = int(row[0])
        connection.execute("BEGIN")
        connection.execute("INSERT INTO ledger VALUES ('p')")
        row = connection.execute("SELECT txid_current()").fetchone()
        assert row
        prepared = int(row[0])
        connection.execute("PREPARE TRANSACTION 'p'")
    scene.enter("b")
    scene.pg.sql("COMMIT PREPARED 'p'")
    scene.enter("c")
    scene.archive()
    assert scene.content_at(f"xid:{(1 << 32) + whole}", "epoch") == "a"
    assert scene.content_at(f"xid:{aborted}", "aborted") == "a"
    assert scene.content_at(f"xid:{prepared}", "prepared") == "a b p"
    for unreachable in (whole + 1, prepared + 500):
        with pytest.raises(TargetNotFound, match="no end of this transaction is on record"):
            scene.restore(f"xid:{unreachable}", "never")


@only(15)
def test_scenario_50_commit_order_counts(scene: Scene) -> None:
    with scene.pg.connect() as late:
        late.execute("BEGIN")
        late.execute("INSERT INTO ledger VALUES ('late')")
        row = late.execute("SELECT txid_current()").fetchone()
        assert row
        scene.backup()
        first = commit(scene, "first")
        last = commit(scene, "second")
        late.execute("COMMIT")
    scene.enter("third")
    scene.archive()
    assert scene.content_at(f"xid:{row[0]}", "with") == "first late second"
    assert scene.content_at(f"xid:{row[0]}", "without", inclusive=False) == "first second"
    assert scene.content_at(f"xid:{last}", "last") == "first second"
    assert scene.content_at(f"xid:{first}", "early") == "first"


def test_scenario_51_targets_that_are_not_on_record(scene: Scene) -> None:
    scene.backup()
    scene.enter("a")
    scene.archive()
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for to, error in (
        ("name:nowhere", TargetNotFound),
        ("lsn:7/0", TargetTooLate),
        ("xid:999999", TargetNotFound),
        (future, TargetTooLate),
    ):
        with pytest.raises(error) as caught:
            scene.restore(to)
        assert caught.value.hint
    assert not (scene.place / "restored").exists()


def test_scenario_51_a_target_that_vanished_meanwhile_is_a_failure(scene: Scene) -> None:
    """pg_ctl would say 0 here: the server answers queries for a moment, then dies."""
    scene.backup()
    scene.enter("a")
    scene.pg.sql("SELECT pg_create_restore_point('here')")
    scene.archive()
    report = scene.restore("name:here")
    for path in Path(scene.folder.store.url).rglob("wal/*/*/*/0*"):
        if path.name > report.plan.backup.last_segment.name:
            path.unlink()
    with pytest.raises(RecoveryFailed) as caught, scene.started(report):
        pass
    assert "recovery to name:here failed" in str(caught.value)
    assert "WAL ended before the target" in str(caught.value)
    assert caught.value.exit_status == 92
    left = inspect(report.plan.target_dir)
    assert left.state is State.RECOVERING
    assert not list(Path(report.plan.target_dir, "pg_wal").glob("00000002*"))


def test_scenario_52_old_recovery_settings_are_neutralised(scene: Scene) -> None:
    auto = scene.pg.data_directory / "postgresql.auto.conf"
    mine = "# mine,  as it is\nwork_mem   = '5MB'   # keep\n"
    with auto.open("a") as file:
        file.write(f"{mine}recovery_target_time = '2020-01-01 00:00:00+00'\n")
        file.write("recovery_target_timeline = '7'\nrecovery_end_command = 'false'\n")
        file.write("restore_command = 'false'\nprimary_conninfo = 'password=secret'\n")
    scene.pg.configure(recovery_target_name="old")
    scene.backup()
    xid = commit(scene, "a")
    lsn = scene.lsn()
    scene.enter("b")
    scene.archive()
    assert scene.content_at(f"xid:{xid}", "xid") == "a"
    assert scene.content_at(f"lsn:{lsn}", "lsn", inclusive=False) == "a"
    assert scene.content_at("latest", "latest") == "a b"
    text = (scene.place / "latest/postgresql.auto.conf").read_text()
    assert mine in text
    assert "secret" not in text
    assert "2020-01-01" not in text
    standby = scene.restore("latest", "standby", standby=True)
    with scene.started(standby) as (server, outcome):
        assert outcome.ending is Ending.STANDBY
        assert server.value("SHOW work_mem") == "5MB"
        assert server.value("SELECT pg_is_in_recovery()")
        assert not (scene.place / "standby/recovery.signal").exists()


@only(17)
def test_scenario_53_a_clock_that_stepped_back(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("NOT TESTED: libfaketime is not installed (apt install faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    scene = make_scene(new_cluster, repository_directory, tmp_path, start=False, ledger=False)
    scene.pg.environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    scene.pg.start()
    scene.create_ledger()
    scene.backup()
    scene.enter("a")
    clock.write_text("+1h")
    scene.enter("c")
    clock.write_text("+0")
    scene.enter("d")
    target = scene.now()
    scene.enter("e")
    scene.archive()
    report = scene.restore(target)
    assert report.plan.warnings
    warning = report.plan.warnings[0]
    assert "the server's clock stepped back near the target" in warning
    proposed = re.search(r"--to (lsn:\S+)", warning)
    assert proposed
    with scene.started(report) as (server, _):
        assert read_ledger(server) == "a"
    held = scene.content_at(proposed[1], "proposed")
    assert set("acd") <= set(held.split())


def test_the_time_of_the_newest_change_is_reachable(scene: Scene) -> None:
    """What `list` shows as the newest moment can be restored to; PostgreSQL alone would fail."""
    scene.backup()
    scene.enter("a")
    with scene.pg.connect() as connection:
        connection.execute("INSERT INTO ledger VALUES ('b')")
    scene.archive()
    with pytest.raises(TargetTooLate) as caught:
        scene.restore("2099-01-01 00:00:00+00")
    newest = re.search(r"at (2\S+ \S+) UTC", str(caught.value))
    assert newest
    assert scene.content_at(f"{newest[1]}+00") == "a b"


@pytest.mark.parametrize("local", ["2026-11-01 01:30:00", "2026-03-08 02:30:00"])
def test_scenario_160_doubtful_local_times_are_refused(local: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_target(local, ZoneInfo("America/New_York"))
    assert len(re.findall(r"'2026-\S+ \S+\+00'", caught.value.hint)) == 2


@only(18)
def test_damaged_wal_before_a_backup_does_not_matter_to_it(
    scene: Scene, repository_directory: Path
) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    old = [path for path in repository_directory.glob("clusters/*/wal/**/*") if path.is_file()]
    scene.backup()
    scene.enter("c")
    scene.archive()
    for path in old:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert scene.content_at("latest") == "a b c"


def test_moments_before_a_damaged_segment(scene: Scene, repository_directory: Path) -> None:
    """Neither the search, nor the server's and our own reading ahead, stumble over it."""
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    time, lsn = scene.now(), scene.lsn()
    xid = commit(scene, "c")
    scene.pg.sql("SELECT pg_create_restore_point('before')")
    scene.archive()
    scene.enter("d")
    scene.archive()
    scene.enter("e")
    scene.archive()
    segments = [p for p in repository_directory.glob("clusters/*/wal/**/*") if len(p.name) == 24]
    *_, broken, newest = sorted(segments)
    for path in (broken, newest):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
    for to in ("latest", "2099-01-01 00:00:00+00", "name:never"):
        with pytest.raises(TargetBehindDamage) as caught:
            scene.restore(to)
        assert f"WAL segment {broken.name}, on the way there, is damaged" in str(caught.value)
        assert re.match(
            r"the last reachable moment before it: --to '2\S+ \S+'; ", caught.value.hint
        )
    report = scene.restore(time, "by_time")
    prefetch = dict(report.plan.settings).get("recovery_prefetch")
    assert prefetch == ("off" if report.plan.backup.generation.major >= 15 else None)
    assert any(f"{broken.name}, behind the target, is damaged" in w for w in report.plan.warnings)
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a b"
    assert scene.content_at(f"lsn:{lsn}", "by_lsn", inclusive=False) == "a b"
    assert scene.content_at(f"xid:{xid}", "by_xid") == "a b c"
    assert scene.content_at("name:before", "by_name") == "a b c"
    scene.backup()
    scene.enter("f")
    scene.archive()
    assert scene.content_at("latest", "afterwards") == "a b c d e f"
