"""pgkeep point and pgkeep run: a moment gets a name, and a failed command says how to go back."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from pgkeep.app import App
from pgkeep.model.target import AtName, RecoveryTarget
from pgkeep.repository.acts import act as kinds
from pgkeep.repository.acts.storing import acts
from pgkeep.sandbox.sandbox import open_sandbox
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, archive_settings, run_pgkeep, write_config
from support.wait import wait_for

POINT = {"cluster", "name", "lsn", "time", "segment", "archived", "why", "restorable", "commands"}


@pytest.fixture
def cluster(new_cluster: NewCluster) -> ScratchCluster:
    return new_cluster(start=False)


@pytest.fixture
def config(cluster: ScratchCluster, tmp_path: Path) -> Path:
    config = write_config(
        tmp_path / "pgkeep.toml", tmp_path / "repository", {"main": cluster.conninfo}
    )
    cluster.configure(**archive_settings(config))
    cluster.start()
    run_pgkeep("init", config=config).ok()
    return config


@only(15, 18)
def test_a_point_leads_back_to_exactly_its_moment(
    cluster: ScratchCluster, config: Path, tmp_path: Path
) -> None:
    cluster.sql("CREATE TABLE ledger (entry text)")
    made = run_pgkeep("point", "too early", config=config).ok()
    assert "there is no backup yet" in made.stdout
    run_pgkeep("backup", config=config).ok()
    cluster.sql("INSERT INTO ledger VALUES ('before')")
    point = run_pgkeep("point", "it's v2", "--wait", "--json", config=config).ok().json
    cluster.sql("INSERT INTO ledger VALUES ('after')")
    cluster.switch_wal()
    assert set(point) == POINT
    assert point["archived"]
    assert point["restorable"]
    command = point["commands"]["restore"]
    assert command == (
        f"pgkeep --config {config} restore --to 'name:it'\"'\"'s v2' --target-dir DIR"
    )
    target = tmp_path / "restored"
    shell = command.replace("pgkeep ", f"{PGKEEP} ", 1).replace(" DIR", f" {target}")
    subprocess.run(shell, shell=True, check=True, capture_output=True)
    restored = ScratchCluster.over(cluster.binaries, target)
    restored.create()
    try:
        restored.start()
        wait_for(lambda: not restored.value("SELECT pg_is_in_recovery()"), what="promotion")
        assert restored.sql("SELECT entry FROM ledger") == [("before",)]
    finally:
        restored.destroy()

    again = run_pgkeep("point", "it's v2", config=config)
    assert again.exit == 16
    assert 'cannot set restore point "it\'s v2": there is one of that name already' in again.stderr


@only(17)
def test_a_sandbox_opens_what_the_config_opens(
    cluster: ScratchCluster, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a drill and undo make one: the private server needs the passphrase's file too."""
    secret = tmp_path / "secret"
    secret.write_text("some secret words\n")
    secret.chmod(0o600)
    text = config.read_text().replace(str(tmp_path / "repository"), str(tmp_path / "encrypted"))
    encrypted = '[repository]\nencryption = "passphrase"\npassphrase_file = "secret"'
    config.write_text(
        text.replace("[repository]", encrypted) + f'[sandbox]\ndirectory = "{tmp_path}/boxes"\n'
    )
    run_pgkeep("init", config=config).ok()
    cluster.sql("CREATE TABLE ledger (entry text)")
    run_pgkeep("backup", config=config).ok()
    cluster.sql("INSERT INTO ledger VALUES ('before')")
    run_pgkeep("point", "p", "--wait", config=config).ok()
    cluster.sql("INSERT INTO ledger VALUES ('after')")
    for name in ("PGOPTIONS", "LC_ALL", "AWS_PROFILE"):
        monkeypatch.setenv(name, "-c work_mem=77MB")
    app = App(str(config))
    request = app.sandbox_request(RecoveryTarget(AtName("p")), "a test", None, None)
    assert "AWS_PROFILE" in dict(request.environment)
    assert not {"PGOPTIONS", "LC_ALL", "HOME"} & set(dict(request.environment))
    monkeypatch.delenv("PGOPTIONS")
    with open_sandbox(app.cluster_to_read, request) as box:
        assert box.directory.parent == tmp_path / "boxes"
        with box.session() as session:
            assert session.query("SELECT entry FROM public.ledger") == [("before",)]
        asked = subprocess.run(
            f"{box.psql()} -Atc 'SELECT entry FROM ledger'",
            shell=True,
            check=True,
            capture_output=True,
            text=True,
        )
        assert asked.stdout == "before\n"


@only(17)
def test_run_passes_everything_on_and_tells_the_way_back(config: Path) -> None:
    script = "read line; echo out $line; echo err >&2; exit 7"
    done = run_pgkeep(
        *("run", "--point", "p1", "--", "sh", "-c", script), config=config, stdin="in\n"
    )
    assert done.exit == 7
    assert done.stdout == "out in\n"
    assert "err\n" in done.stderr
    assert "sh ended with exit status 7; nothing was undone" in done.stderr
    assert f"pgkeep --config {config} restore --to name:p1 --target-dir DIR" in done.stderr
    assert f"pgkeep --config {config} undo sandbox --at name:p1" in done.stderr

    good = run_pgkeep("run", "--point", "p2", "--json", "--", "true", "--json", config=config).ok()
    assert good.stdout == ""
    facts = json.loads(good.stderr[good.stderr.index("{") :])
    assert (facts["exit_status"], facts["command"]) == (0, ["true", "--json"])

    secret = ("echo", "password=hunter2")
    run_pgkeep("run", "--point", "p4", *secret, config=config).ok()
    app = App(str(config))
    newest, *older = acts(app.repository, "main", what=kinds.POINT).found
    assert [act.facts["name"] for act in (newest, *older)] == ["p4", "p2", "p1"]
    assert newest.words == ("pgkeep", "point", "p4")

    missing = run_pgkeep("run", "--point", "p3", "--", "no-such-program", config=config)
    assert missing.exit == 2
    assert "there is no program 'no-such-program'" in missing.stderr


@only(17)
def test_a_signal_goes_to_the_command_which_decides(config: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 33' TERM; touch {ready}; while :; do sleep 0.05; done"
    words = [str(PGKEEP), "--config", str(config), "run", "--point", "p1", "--"]
    words += ["sh", "-c", script]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_for(ready.exists, what="the command to run")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 33
    assert "sh ended with exit status 33" in said


@only(17)
def test_points_that_would_be_none_are_refused(cluster: ScratchCluster, config: Path) -> None:
    for name, why in (
        ("x" * 64, "its name has 64 bytes, 63 at most"),
        ("a\nb", "its name has characters that nobody sees"),
        ("", "it has no name"),
    ):
        refused = run_pgkeep("point", name, config=config)
        assert (refused.exit, why in refused.stderr) == (16, True)
    cluster.configure(archive_mode="off")
    cluster.restart()
    refused = run_pgkeep("point", "p", config=config)
    assert refused.exit == 16
    assert "archive_mode is off, so it would never reach the repository" in refused.stderr


@only(17)
def test_a_point_that_is_not_archived_in_time_is_a_no(
    cluster: ScratchCluster, config: Path
) -> None:
    text = config.read_text().replace("[clusters.main]", '[clusters.main]\nwal_timeout = "1s"')
    config.write_text(text)
    cluster.configure(archive_command="false")
    cluster.restart()
    waited = run_pgkeep("point", "p", "--wait", config=config)
    assert waited.exit == 3
    assert "is not in the repository: it did not arrive within 1.0 s" in waited.stdout
    ran = run_pgkeep("run", "--point", "q", "--wait", "--", "echo", "ran", config=config)
    assert (ran.exit, ran.stdout) == (3, "")
