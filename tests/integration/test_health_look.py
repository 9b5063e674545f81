"""Health of a real cluster: protected, WAL that is not archived, holes, everything away."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pgkeep.app import App
from pgkeep.health.condition import Kind, Level
from pgkeep.health.health import Health, State
from pgkeep.health.look import look
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep, write_config
from support.wait import wait_for

pytestmark = only(17)


class Stage:
    """A cluster that archives, with a backup."""

    def __init__(self, new_cluster: NewCluster, directory: Path) -> None:
        self.directory = directory
        self.repository = directory / "repository"
        self.config = directory / "pgkeep.toml"
        self.cluster: ScratchCluster = new_cluster(settings=archive_settings(self.config))
        goals = f'[service]\nstate_directory = "{directory}/state"\n'
        goals += '[clusters.main.objectives]\nrpo = "5min"\nrto = "1h"'
        write_config(self.config, self.repository, {"main": self.cluster.conninfo}, goals)
        run_pgkeep("init", config=self.config).ok()

    def back_up(self) -> None:
        run_pgkeep("backup", config=self.config).ok()

    def look(self) -> Health:
        return look(App(str(self.config)))

    def archive_with(self, command: str) -> None:
        self.cluster.sql(f"ALTER SYSTEM SET archive_command = '{command}'")
        self.cluster.sql("SELECT pg_reload_conf()")

    def write(self, segments: int) -> None:
        for _ in range(segments):
            self.cluster.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000))")
            self.cluster.sql("SELECT pg_switch_wal()")

    def archived(self) -> list[Path]:
        """Return the stored segments, oldest first."""
        stored = (self.repository / "clusters/main/wal").rglob("0*")
        return sorted(path for path in stored if path.is_file() and len(path.name) == 24)

    def status(self, *arguments: str) -> tuple[int, str]:
        done = run_pgkeep("status", *arguments, config=self.config)
        return done.exit, done.stdout


@pytest.fixture
def stage(new_cluster: NewCluster, tmp_path: Path) -> Stage:
    return Stage(new_cluster, tmp_path)


def kinds(health: Health) -> set[Kind]:
    return {condition.kind for condition in health.conditions}


def critical(health: Health) -> set[Kind]:
    return {one.kind for one in health.conditions if one.level is Level.CRITICAL}


def test_from_a_new_cluster_to_a_proven_one(stage: Stage) -> None:
    new = stage.look()
    assert (new.state, critical(new)) == (State.IN_DANGER, {Kind.NEVER_PROTECTED})
    assert new.conditions[0].todo == "pgkeep --cluster main backup"
    assert stage.status()[0] == 3

    stage.back_up()
    wait_for(lambda: stage.look().wal_behind_bytes == 0)
    kept = stage.look()
    assert (kept.state, kept.conditions) == (State.PROTECTED, ())
    assert kept.protected_to is not None
    assert kept.looked_at - kept.protected_to < timedelta(minutes=2)
    assert kept.proven is None
    assert stage.status()[0] == 0

    run_pgkeep("drill", config=stage.config).ok()
    proven = stage.look()
    assert proven.proven is not None
    assert proven.proven.backup == proven.newest_backup
    assert proven.restore_s is not None
    assert "by drill in" in stage.status()[1]


def test_a_database_that_our_role_may_not_enter_hides_nothing_else(stage: Stage) -> None:
    role = Path(__file__).parents[2] / "docs" / "pgkeep-role.sql"
    stage.cluster.sql(role.read_text())
    stage.back_up()
    stage.cluster.sql("CREATE DATABASE vault")
    stage.cluster.sql("REVOKE CONNECT ON DATABASE vault FROM PUBLIC")
    config = stage.config.read_text()
    stage.config.write_text(
        config.replace(conninfo := stage.cluster.conninfo, f"{conninfo} user=pgkeep")
    )
    found = stage.look()
    assert kinds(found) <= {Kind.WAL_LATE}
    assert found.cluster_bytes
    stage.archive_with("/bin/false")
    stage.write(1)
    wait_for(lambda: Kind.ARCHIVING_FAILS in kinds(stage.look()))


def test_archiving_that_breaks_in_two_ways(stage: Stage) -> None:
    stage.back_up()
    stage.archive_with("/bin/true")
    stage.write(4)
    wait_for(lambda: Kind.ARCHIVING_FAILS in critical(stage.look()))
    (found,) = [one for one in stage.look().conditions if one.kind is Kind.ARCHIVING_FAILS]
    assert found.effect == (
        "what is written now cannot be restored, although the server sees no failure"
    )

    stage.archive_with("/bin/false")
    stage.write(12)
    wait_for(lambda: Kind.DISK_FILLS in critical(stage.look()))
    health = stage.look()
    assert health.pg_wal_full_in_s is not None
    assert health.wal_behind_bytes is not None
    assert health.wal_behind_bytes > 12 << 20
    (disk,) = [one for one in health.conditions if one.kind is Kind.DISK_FILLS]
    assert disk.effect.startswith("PostgreSQL stops in ")
    exit, text = stage.status()
    assert exit == 3
    assert disk.todo in text


def test_a_hole_ends_what_can_be_restored(stage: Stage) -> None:
    stage.back_up()
    before = len(stage.archived())
    stage.write(4)
    wait_for(lambda: len(stage.archived()) >= before + 4)
    whole = stage.look()
    stage.archived()[-3].unlink()
    holed = stage.look()
    assert Kind.WAL_HOLE in critical(holed)
    assert holed.protected_to is not None
    assert whole.protected_to is not None
    assert holed.protected_to < whole.protected_to

    stage.back_up()  # what the condition says to do
    wait_for(lambda: stage.look().wal_behind_bytes == 0)
    assert Kind.WAL_HOLE not in critical(stage.look())


def test_what_is_away_is_told_and_what_is_known_stays(stage: Stage) -> None:
    stage.back_up()
    stage.cluster.stop()
    away = stage.look()
    assert (away.state, kinds(away)) == (State.AT_RISK, {Kind.SERVER_AWAY})
    assert away.protected_to is not None
    assert away.wal_behind_bytes is None

    shutil.move(stage.repository, stage.directory / "gone")
    nothing = stage.look()
    assert nothing.state is State.UNKNOWN
    assert kinds(nothing) == {Kind.SERVER_AWAY, Kind.REPOSITORY_AWAY}
    assert nothing.protected_to is None
    exit, text = stage.status()
    assert exit == 3
    assert "main: unknown, not known" in text
    assert "pgkeep init" in text
