"""The whole first day as a user types it, with every field of --json that is promised."""

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, Result, archive_settings, run_pgkeep, write_config

ROOT = Path(__file__).parents[2]
SETTING = {
    "name", "current", "wanted", "reason", "pending", "needs_restart", "statement",
}  # fmt: skip
INIT = {
    "cluster", "repository", "created", "encrypted", "recovery_key", "generation",
    "system_identifier", "major", "identity", "says", "needed", "offers", "applied",
    "restart_needed", "copies",
}  # fmt: skip
BACKUP = {
    "id", "cluster", "type", "label", "system_identifier", "major", "timeline", "start_lsn",
    "stop_lsn", "started_at", "stopped_at", "first_segment", "last_segment", "files", "size",
    "read", "stored", "resumed_bytes", "reuse", "duration_s", "copy_s", "bytes_per_second",
    "corrupt_pages", "corrupt", "census", "notes", "error", "copies", "requests",
}  # fmt: skip
LISTED = {
    "id", "type", "label", "generation", "system_identifier", "major", "timeline", "start_lsn",
    "stop_lsn", "started_at", "stopped_at", "first_segment", "last_segment", "files", "size",
    "stored", "corrupt_pages", "restorable", "missing_segment", "proofs", "damaged", "pinned",
}  # fmt: skip
PLAN = {
    "cluster", "backup", "target_dir", "target", "timeline", "action", "stops", "stop_lsn",
    "settings", "first_segment", "last_segment", "wal_bytes", "standby", "tablespaces", "reasons",
    "warnings", "delta", "local_wal", "databases", "shells",
}  # fmt: skip
RESTORED = PLAN | {
    "files", "size", "seconds", "start_command", "promote_command", "notes", "recovery",
    "delta_counts", "requests",
}  # fmt: skip
RECOVERY = {
    "ending", "words", "stopped", "last_transaction", "timeline", "pid", "log_file", "seconds",
    "warnings",
}  # fmt: skip
WAL_STATUS = {
    "cluster", "repository", "archives", "archiver", "waiting", "pg_wal", "failing", "problems",
}  # fmt: skip
INSPECTED = {
    "directory", "state", "headline", "starts", "what_happens", "problems", "warnings",
    "never_delete", "next_steps", "facts",
}  # fmt: skip


class Day:
    """A cluster, its config, and the command."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.folder = folder
        self.config = folder / "pgkeep.toml"

    def text(self, *arguments: str | Path, **more: Any) -> Result:
        return run_pgkeep(*arguments, config=self.config, **more)

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        report = self.text(*arguments, "--json").ok().json
        assert isinstance(report, dict)
        return report


@pytest.fixture
def day(pg: ScratchCluster, tmp_path: Path) -> Iterator[Day]:
    day = Day(pg, tmp_path)
    yield day
    for directory in tmp_path.glob("back*"):
        server = ServerProcess.attach(directory, log_file=f"{directory}.log")
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                server.stop("immediate")


def set_up(day: Day, *options: str) -> dict[str, Any]:
    """Write the config, make the repository and turn archiving on."""
    repository = str(day.folder / "repository")
    place = ("--conninfo", day.pg.conninfo, "--url", repository)
    made = day.text("init", "--write-config", day.config, *place, *options, "--json").ok().json
    assert made["created"]
    assert day.json("init", "--apply")["restart_needed"]
    day.pg.restart()
    assert isinstance(made, dict)
    return made


@only(15, 17, 18)
def test_the_first_day(day: Day) -> None:
    made = set_up(day)
    assert set(made) == INIT
    assert {frozenset(change) for change in made["needed"]} == {frozenset(SETTING)}
    assert day.json("init")["needed"] == []

    checked = day.json("check")
    assert set(checked) == {"cluster", "ok", "checks"}
    assert {frozenset(check) for check in checked["checks"]} == {
        frozenset({"name", "state", "says", "fix"})
    }
    assert checked["ok"]
    assert {c["name"]: c["state"] for c in checked["checks"]}["delivery"] == "ok"

    day.pg.sql("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    backup = day.json("backup", "--label", "first\x1b[31m one")
    assert set(backup) == BACKUP
    assert set(day.json("point", "before_drop")) == {"name", "lsn", "time", "cluster"}
    day.pg.sql("DROP TABLE orders")
    assert day.json("check")["ok"]  # archives what there is

    listed = day.json("list")
    assert set(listed) == {"cluster", "repository", "backups", "unreadable", "coverage", "wal"}
    assert set(listed["backups"][0]) == LISTED
    span = listed["coverage"][0]["spans"][0]
    assert span["from"]["lsn"] == backup["stop_lsn"]
    assert span["to"]["time"] > span["from"]["time"]
    shown = day.text("list").ok().stdout
    assert backup["id"] in shown
    assert r"first\x1b[31m one" in shown  # scenario 174
    assert "timeline 1: restorable from" in shown
    assert day.json("show", backup["id"][:12])["id"] == backup["id"]
    assert backup["id"] in day.text("show").ok().stdout
    assert set(day.json("wal", "status")) == WAL_STATUS

    back = day.folder / "back"
    how = ("restore", "--target-dir", str(back), "--to", "name:before_drop")
    assert set(day.json(*how, "--dry-run")) == PLAN | {"dry_run"}
    assert not back.exists()
    port = str(day.pg.port + 1)
    restored = day.json(*how, "--start", "--port", port)
    assert set(restored) == RESTORED
    assert set(restored["recovery"]) == RECOVERY
    assert restored["recovery"]["ending"] == "promoted"
    place = f"host={day.pg.socket_directory} port={port} user=postgres dbname=postgres"
    assert orders(place) == 1000
    inspected = day.json("inspect", back)
    assert set(inspected) == INSPECTED
    assert inspected["state"] == "running"


def orders(conninfo: str) -> int:
    from pgkeep.server.session import Session

    with Session.connect(conninfo) as session:
        return int(session.query("SELECT count(*) FROM public.orders")[0][0])


@only(18)
def test_with_encryption_the_recovery_key_alone_brings_everything_back(day: Day) -> None:
    made = set_up(day, "--encrypt")
    key = made["recovery_key"]
    assert re.fullmatch(r"PGKEEP(-[0-9A-Z]+)+", key)
    assert day.json("init")["recovery_key"] is None
    assert day.json("check")["ok"]
    day.json("backup")
    # Another host, where nothing is left but the repository and the printed key.
    elsewhere = day.folder / "elsewhere"
    elsewhere.mkdir()
    repository = ("--repository", day.folder / "repository")
    listed = run_pgkeep(*repository, "list", cwd=elsewhere, env={"PGKEEP_PASSPHRASE": key}).ok()
    assert "cluster main" in listed.stdout
    secrets = [key, (day.folder / "pgkeep.passphrase").read_text().strip()]
    stored = b"".join(p.read_bytes() for p in (day.folder / "repository").rglob("*") if p.is_file())
    assert not any(secret.encode() in stored for secret in secrets)


@only(18)
def test_a_backup_that_is_stopped_leaves_nothing_behind(day: Day) -> None:
    set_up(day)
    command = [str(PGKEEP), "--config", str(day.config), "backup"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        assert run.stderr.readline()  # it has begun
        run.send_signal(signal.SIGTERM)
        said = run.stderr.read()
        assert run.wait(timeout=60) == 67
    assert "code: backup-interrupted" in said
    assert day.json("list")["backups"] == []
    day.json("backup")


def test_documented_fields_are_the_fields() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for fields in (INIT, BACKUP, LISTED, RESTORED, RECOVERY, WAL_STATUS, INSPECTED):
        missing = [field for field in fields if f"`{field}`" not in page]
        assert missing == [], json.dumps(missing)


@only(15, 18)
def test_the_role_of_the_docs_can_do_it_all(new_cluster: NewCluster, tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    pg = new_cluster(settings=archive_settings(config))
    pg.sql((ROOT / "docs" / "pgkeep-role.sql").read_text())
    place = f"host={pg.socket_directory} port={pg.port} dbname=postgres user=pgkeep"
    write_config(config, tmp_path / "repository", {"main": place})
    day = Day(pg, tmp_path)
    day.json("init")
    checked = {check["name"]: check for check in day.json("check")["checks"]}
    assert checked["privileges"]["says"] == "role pgkeep has all that a backup needs"
    assert checked["delivery"]["state"] == "ok"
    assert day.json("backup")["error"] is None
    day.json("point", "here")
    assert day.json("wal", "status")["waiting"] is not None


@only(18)
def test_check_sees_that_nothing_arrives(new_cluster: NewCluster, tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    # It is pgkeep's command, but its config is not there: every push fails.
    pg = new_cluster(settings=archive_settings(tmp_path / "moved.toml"))
    write_config(config, tmp_path / "repository", {"main": pg.conninfo})
    day = Day(pg, tmp_path)
    day.json("init")
    done = day.text("check", "--timeout", "3s", "--json")
    assert done.exit == 3
    delivery = next(c for c in done.json["checks"] if c["name"] == "delivery")
    assert delivery["state"] == "failed"
    assert "did not arrive in the repository within 3.0 s; the last failure was" in delivery["says"]
    command = next(c for c in done.json["checks"] if c["name"] == "archive_command")
    assert command["state"] == "note"
    assert "pgkeep-wal in another form than this config's" in command["says"]


@only(18)
def test_a_passphrase_that_only_the_user_has_is_noticed(day: Day) -> None:
    place = ("--conninfo", day.pg.conninfo, "--url", str(day.folder / "repository"))
    secret = {"PGKEEP_PASSPHRASE": "only in this shell"}
    config = day.folder / "pgkeep.toml"
    repository = f'[repository]\nurl = "{place[3]}"\nencryption = "passphrase"\n'
    config.write_text(f'{repository}[clusters.main]\nconninfo = "{day.pg.conninfo}"\n')
    assert day.text("init").exit == 36
    day.text("init", env=secret).ok()
    checked = day.text("check", "--json", env=secret).json
    passphrase = next(c for c in checked["checks"] if c["name"] == "passphrase")
    assert passphrase["state"] == "note"
    assert passphrase["says"] == "the passphrase is only in this command's environment"


@only(18)
def test_ctrl_c_ends_a_wait_at_once(new_cluster: NewCluster, tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    pg = new_cluster(settings=archive_settings(tmp_path / "moved.toml"))
    write_config(config, tmp_path / "repository", {"main": pg.conninfo})
    Day(pg, tmp_path).json("init")
    command = [str(PGKEEP), "--config", str(config), "check", "--timeout", "60s"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("waiting up to 1 min for ")
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
        assert run.wait(timeout=30) == 130
    assert said == "stopped by Ctrl-C\n"
