"""A copy of production with its archive_command must not archive, nor keep production out."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep, write_config
from support.wait import wait_for


class Pair:
    """Production, and a snapshot of it that somebody started."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.config = write_config(
            folder / "pgkeep.toml", folder / "repository", {"main": pg.conninfo}
        )
        self.repository = folder / "repository"
        self.copy_directory = folder / "copy"
        self.clone: ScratchCluster | None = None

    def snapshot(self, *, promoted: bool = False) -> ScratchCluster:
        """Copy the data directory as a storage snapshot does, and start the copy."""
        self.pg.stop()
        shutil.copytree(self.pg.data_directory, self.copy_directory, symlinks=True)
        self.pg.start()
        clone = ScratchCluster.over(
            self.pg.binaries, self.copy_directory, settings=archive_settings(self.config)
        )
        self.clone = clone
        clone.create()
        if promoted:
            (self.copy_directory / "standby.signal").touch()
        clone.start()
        if promoted:
            clone.sql("SELECT pg_promote()")
        return clone

    def archive(self, server: ScratchCluster) -> Path:
        """Have a server end a segment; return the mark that says it is archived."""
        server.sql("CREATE TABLE IF NOT EXISTS filler (); DROP TABLE filler")
        name = server.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        server.sql("SELECT pg_switch_wal()")
        return server.data_directory / "pg_wal/archive_status" / f"{name}.done"


@pytest.fixture
def pair(new_cluster: NewCluster, tmp_path: Path) -> Iterator[Pair]:
    pg = new_cluster(start=False)
    pair = Pair(pg, tmp_path)
    pg.configure(**archive_settings(pair.config))
    pg.start()
    run_pgkeep("init", config=pair.config).ok()
    wait_for(pair.archive(pg).exists, what="production archives")
    yield pair
    if pair.clone is not None:
        pair.clone.destroy()


@only(15, 18)
def test_a_copy_of_production_is_refused_by_name(pair: Pair) -> None:
    clone = pair.snapshot()
    mark = pair.archive(clone)
    wait_for(lambda: "archives cluster main in" in clone.log, what="the refusal")
    assert f"from {_host()}:{pair.copy_directory}" in clone.log
    assert f"{_host()}:{pair.pg.data_directory} archives cluster main" in clone.log
    wait_for(pair.archive(pair.pg).exists, what="production archives on")
    assert not mark.exists()


@only(18)
def test_a_takeover_is_told_and_lasts(pair: Pair) -> None:
    clone = pair.snapshot(promoted=True)
    mark = pair.archive(clone)
    wait_for(lambda: "wal take-over" in clone.log, what="the refusal with what to type")
    config = pair.config.with_name("clone.toml")
    write_config(config, pair.repository, {"main": clone.conninfo})
    done = run_pgkeep("wal", "take-over", "--json", config=config).ok().json["archives"]
    assert done[0]["writer"] == f"{_host()}:{pair.copy_directory}"
    assert done[0]["instead_of"] == f"{_host()}:{pair.pg.data_directory}"
    again = run_pgkeep("wal", "take-over", config=config).ok()
    assert "already" in again.stdout
    wait_for(mark.exists, what="the new server archives")
    late = pair.archive(pair.pg)
    wait_for(lambda: "archives cluster main in" in pair.pg.log, what="the old one is refused")
    assert not late.exists()
    checked = run_pgkeep("check", "--no-switch", "--json", config=config).json["checks"]
    assert {one["name"]: one["state"] for one in checked}["writer"] == "ok"


@only(18)
def test_servers_of_one_group_take_over_by_themselves(pair: Pair) -> None:
    with pair.config.open("a") as config:
        config.write(f'may_take_over = ["{_host()}"]\n')
    clone = pair.snapshot(promoted=True)
    wait_for(pair.archive(clone).exists, what="the promoted server archives")
    late = pair.archive(pair.pg)
    wait_for(lambda: "archives cluster main in" in pair.pg.log, what="the old one is refused")
    assert not late.exists()


@only(18)
def test_a_new_generation_is_opened_only_when_that_is_said(
    pair: Pair, new_cluster: NewCluster, tmp_path: Path
) -> None:
    run_pgkeep("backup", config=pair.config).ok()
    other = new_cluster("other", fresh_identity=True)
    config = write_config(tmp_path / "other.toml", pair.repository, {"main": other.conninfo})
    refused = run_pgkeep("init", config=config)
    assert refused.exit == 73
    assert "init --new-generation" in refused.stderr
    made = run_pgkeep("init", "--new-generation", config=config).ok()
    assert "take a backup now with pgkeep backup" in made.stdout
    checked = run_pgkeep("check", "--no-switch", config=config)
    assert checked.exit == 3
    assert "no backup of this server yet: only what was before it can be restored" in checked.stdout
    listed = run_pgkeep("list", "--json", config=config).ok().json
    assert len(listed["backups"]) == 1


def _host() -> str:
    return os.uname().nodename
