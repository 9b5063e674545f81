"""`pgkeep drill` as a process: what it prints, how it ends, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgkeep.server.processes import all_pids
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, Result, archive_settings, run_pgkeep, write_config
from support.wait import wait_for

CHECKS = """
[drill]
directory = "{place}"

[[clusters.main.drill.checks]]
query = "SELECT count(*) FROM accounts"
expect = "1000"
words = "accounts are missing"

[[clusters.main.drill.checks]]
query = "SELECT sum(balance) FROM accounts"
expect = "= {balance}"
words = "the books do not add up"
"""


# With it a drill is at work until somebody ends it.
ENDLESS = """
[[clusters.main.drill.checks]]
query = "SELECT pg_sleep(500)"
"""
BOOKS = """
CREATE TABLE accounts (id int PRIMARY KEY, balance int);
INSERT INTO accounts SELECT g, 0 FROM generate_series(1, 1000) g
"""


class Stage:
    """A cluster with a backup, and a config with checks."""

    def __init__(self, new_cluster: NewCluster, directory: Path) -> None:
        self.directory = directory
        self.place = directory / "drills"
        self.config = directory / "pgkeep.toml"
        self.cluster = new_cluster(settings=archive_settings(self.config))
        self.repository = directory / "repository"
        self.expect(balance=0)
        self.run("init").ok()
        self.cluster.sql(BOOKS)
        self.backup: str = self.run("backup", "--json").ok().json["id"]

    def expect(self, balance: int, more: str = "") -> None:
        more = CHECKS.format(place=self.place, balance=balance) + more
        write_config(self.config, self.repository, {"main": self.cluster.conninfo}, more)

    def run(self, *words: str | Path, **more: Any) -> Result:
        return run_pgkeep(*words, config=self.config, **more)

    @contextmanager
    def drilling(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start a drill; yield it when its server is at work."""
        words = [str(PGKEEP), "--config", str(self.config), "-q", "drill", "--jobs", "1"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            try:
                wait_for(lambda: list(self.place.glob("*/data/postmaster.pid")), what="a server")
                yield process
            finally:
                process.kill()

    def is_clean(self) -> bool:
        """Tell whether no file and no process is left."""
        return not list(self.place.iterdir()) and not any(map(self._works_there, all_pids()))

    def _works_there(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/cwd").startswith(str(self.place))
        except OSError:
            return False


@pytest.fixture
def stage(new_cluster: NewCluster, tmp_path: Path) -> Stage:
    return Stage(new_cluster, tmp_path)


@only(18)
def test_what_a_drill_prints_and_how_it_ends(stage: Stage) -> None:
    assert "never proven by a restore" in stage.run("list").ok().stdout
    page = stage.directory / "report.html"
    done = stage.run("drill", "--html", page)
    assert done.exit == 0, done
    lines = done.stdout.splitlines()
    assert lines[0] == f"drill of backup {stage.backup} of cluster main: passed"
    assert "  passed          query SELECT count(*) FROM accounts: returned 1000" in lines
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert f"proven by a restore of {stage.backup}" in stage.run("list").ok().stdout

    stage.expect(balance=7)
    failed = stage.run("drill", "--json")
    assert failed.exit == 3, failed
    assert failed.json["status"] == "failed"
    assert failed.json["checks"][-1]["words"] == (
        "the books do not add up: it returned 0, expected 7"
    )
    untested = stage.run("drill", "--json", "--pg-bin", stage.directory)
    assert untested.exit == 4, untested
    assert untested.json["status"] == "could not test"

    listed = stage.run("drill", "--list", "--json").ok().json["drills"]
    assert [one["status"] for one in listed] == ["could not test", "failed", "passed"]
    shown = stage.run("drill", "--show", failed.json["id"], "--json").ok().json
    assert shown == {key: failed.json[key] for key in shown}
    told = stage.run("list", "--json").ok().json["drills"]
    assert (told["last"]["status"], told["last_passed"]["of"]) == ("could not test", stage.backup)
    assert stage.run("drill", "nonsense").exit == 31
    assert stage.run("drill", "--show", "nonsense").exit == 31
    assert list(stage.place.iterdir()) == []


@only(17)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_drill_that_is_ended(stage: Stage, number: signal.Signals) -> None:
    stage.expect(balance=0, more=ENDLESS)
    with stage.drilling() as process:
        process.send_signal(number)
        process.wait(60)
        wait_for(stage.is_clean, timeout=60, what="the sandbox to go")
    assert not list((stage.repository / "clusters/main").glob("drills/*"))


@only(15)
def test_two_drills_at_once(stage: Stage) -> None:
    with stage.drilling() as first, stage.drilling() as second:
        told = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], told
    assert stage.is_clean()


@only(18)
def test_a_dump_is_drilled_too(pg: ScratchCluster, tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    pg.sql(BOOKS)
    pg.sql("CREATE DATABASE shop")
    pg.sql("CREATE ROLE clerk; CREATE TABLE t (); ALTER TABLE t OWNER TO clerk", dbname="shop")
    more = CHECKS.format(place=tmp_path / "drills", balance=0)
    write_config(config, tmp_path / "repository", {"main": pg.conninfo}, more)
    run_pgkeep("init", "--dumps-only", config=config).ok()
    dump = run_pgkeep("dump", "create", "--json", config=config).ok().json["id"]
    done = run_pgkeep("drill", "--dump", "--json", config=config)
    assert done.exit == 0, done
    report = done.json
    assert (report["status"], report["of"], report["untested"]) == ("passed", dump, [])
    assert [check["kind"] for check in report["checks"]] == [
        "restore", "connect", "expected", "query", "query",
    ]  # fmt: skip
    assert (report["measures"]["tables"], report["measures"]["rows"]) == (2, 1000)
    assert list((tmp_path / "drills").iterdir()) == []
    packs = list((tmp_path / "repository").glob("clusters/main/packs/*/*"))
    for pack in packs:
        content = bytearray(pack.read_bytes())
        content[100] ^= 255
        pack.chmod(0o600)
        pack.write_bytes(content)
    bad = run_pgkeep("drill", dump, "--json", config=config)
    assert bad.exit == 3, bad
    words = json.dumps(bad.json["checks"][0])
    assert "damaged" in words
