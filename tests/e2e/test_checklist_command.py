"""The production checklist from "nothing is set up" to "all that can be shown is ok"."""

from pathlib import Path
from typing import Any

import pytest

from pgkeep.repository.seal import WrongKey
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import Result, archive_settings, run_pgkeep, write_config
from support.wait import wait_for

MORE = """
[clusters.main.retention]
window = "14d"

[drill]
directory = "{place}/drills"
"""


@pytest.fixture
def cluster(new_cluster: NewCluster, tmp_path: Path) -> ScratchCluster:
    return new_cluster(settings=archive_settings(tmp_path / "pgkeep.toml"))


def encrypted(place: Path, cluster: ScratchCluster) -> Path:
    secret = place / "secret"
    secret.write_text("some secret words\n")
    secret.chmod(0o600)
    more = MORE.format(place=place)
    config = write_config(
        place / "pgkeep.toml", place / "repository", {"main": cluster.conninfo}, more
    )
    options = '[repository]\nencryption = "passphrase"\npassphrase_file = "secret"'
    config.write_text(config.read_text().replace("[repository]", options))
    return config


def states(config: Path, **more: Any) -> dict[str, str]:
    done = run_pgkeep("checklist", "--json", config=config, **more)
    assert done.exit in (0, 3), done.stderr
    found = done.json
    assert (done.exit == 0) == found["ok"]
    for row in found["rows"]:
        assert row["proof"]
        assert row["state"] != "ok" or row["last_done"]
    return {row["key"]: row["state"] for row in found["rows"]}


@only(18)
def test_a_cluster_gets_its_house_in_order(cluster: ScratchCluster, tmp_path: Path) -> None:
    config = encrypted(tmp_path, cluster)
    key = run_pgkeep("init", "--json", config=config).ok().json["recovery_key"]
    before = states(config)
    assert {key for key, state in before.items() if state == "ok"} == {"checksums"}
    kit = tmp_path / "kit.txt"
    kit.write_text(f"{key}\n")
    kit.chmod(0o600)

    cluster.sql("CREATE TABLE orders (id int)")
    backup = run_pgkeep("backup", "--json", config=config).ok().json["id"]
    run_pgkeep("dump", "create", "--all", config=config).ok()
    run_pgkeep("point", "before_v2", "--wait", config=config).ok()
    cluster.switch_wal()
    wait_for(
        lambda: cluster.value("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver"),
        what="archived WAL",
    )
    run_pgkeep("drill", config=config).ok()
    run_pgkeep("expire", config=config).ok()
    tested = run_pgkeep("key", "test", "--file", kit, config=config).ok()
    assert "this recovery key opens" in tested.stdout
    assert f"unsealed with it: {backup} of cluster main" in tested.stdout
    after = states(config)
    recorded = run_pgkeep("checklist", "--record", config=config).ok()
    lines = [line for line in recorded.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    assert recorded.stdout.endswith("cluster main: 14 rows: 10 ok, 4 not set up\n")
    assert states(config) == after | {"storage-size": "ok"}
    assert after == {
        "logical-backup": "ok",
        "physical-backup": "ok",
        "wal-archiving": "ok",
        "archive-command": "ok",
        "storage-size": "due",
        "rotation": "ok",
        "test-restore": "ok",
        "three-two-one": "not set up",
        "locked-copy": "not set up",
        "restore-point": "ok",
        "checksums": "ok",
        "recovery-kit": "ok",
        "alerts": "not set up",
        "runbook": "not set up",
    }

    cluster.configure(archive_command="/bin/true")
    cluster.sql("SELECT pg_reload_conf()")
    lost = cluster.switch_wal()
    wait_for(
        lambda: cluster.value("SELECT last_archived_wal FROM pg_stat_archiver") >= lost,
        what="WAL archived to nowhere",
    )
    told = run_pgkeep("checklist", config=config)
    assert told.exit == 3
    assert "is not in the repository" in " ".join(told.stdout.split())

    cluster.stop()
    away = states(config)
    unknown = {"wal-archiving", "archive-command", "three-two-one", "locked-copy", "checksums"}
    assert {key for key, state in away.items() if state == "not known"} == unknown
    assert {key: state for key, state in away.items() if key not in unknown} == {
        key: state for key, state in (after | {"storage-size": "ok"}).items() if key not in unknown
    }


@only(18)
def test_the_kit_must_open_it_without_what_the_config_has(
    cluster: ScratchCluster, tmp_path: Path
) -> None:
    config = encrypted(tmp_path, cluster)
    key = run_pgkeep("init", "--json", config=config).ok().json["recovery_key"]
    kit = tmp_path / "kit.txt"

    def tried(secret: str, **more: Any) -> Result:
        kit.write_text(f"{secret}\n")
        kit.chmod(0o600)
        return run_pgkeep("key", "test", "--file", kit, config=config, **more)

    own = tried("some secret words")
    assert (own.exit, "it is the one that the config has" in own.stderr) == (37, True)
    slip = tried(key[:-1] + ("A" if key[-1] != "A" else "B"))
    assert (slip.exit, "a character of the recovery key is mistyped" in slip.stderr) == (37, True)
    assert states(config)["recovery-kit"] == "due"

    wrong = tried("another passphrase")
    assert (wrong.exit, "this passphrase fits none" in wrong.stderr) == (WrongKey.exit_status, True)
    assert states(config)["recovery-kit"] == "failed"

    # As on a host where nothing is left: no passphrase of ours, and the act is kept all the same.
    (tmp_path / "secret").rename(tmp_path / "lost")
    opened = tried(key).ok()
    assert "nothing is stored there yet, so nothing could be unsealed" in opened.stdout
    assert "warning: that this was done is not on record" in opened.stderr
    (tmp_path / "lost").rename(tmp_path / "secret")
    assert states(config)["recovery-kit"] == "ok"
    assert "no terminal to ask on" in run_pgkeep("key", "test", config=config).stderr

    # A job of the schedule has done what it is for, although much is due.
    recorded = run_pgkeep("checklist", "--record", "--json", config=config).ok().json
    assert not recorded["ok"]
    assert states(config)["storage-size"] == "ok"
