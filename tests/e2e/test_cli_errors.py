"""Everything that can be wrong on the first day: what the command says, and its exit status."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from pgkeep.server.binaries import as_server_user
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, Result, run_pgkeep, write_config

REPOSITORY = '[repository]\nurl = "/nowhere"\n'


def told(done: Result) -> list[str]:
    """Return the lines of an error, without those that lead up to it."""
    lines = done.stderr.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("error: "))
    return lines[first:]


def test_a_question_that_gets_no_answer_is_no_bug(tmp_path: Path) -> None:
    config = write_config(tmp_path / "pgkeep.toml", tmp_path / "repository")
    ours, theirs = pty.openpty()
    command = [str(PGKEEP), "--config", str(config), "--cluster", "main", "key", "test"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        seen = ""
        for awaited, answer in (("passphrase: ", b"\x04"), ("stopped: no answer", b"")):
            while awaited not in seen:
                assert select.select([ours], [], [], 60)[0], seen
                seen += os.read(ours, 4096).decode()
            os.write(ours, answer)  # Ctrl-D
        assert process.wait(60) == 130
    os.close(ours)


# The config


def test_no_config(tmp_path: Path) -> None:
    done = run_pgkeep("list", cwd=tmp_path)
    assert done.exit == 17
    assert f"there is no {tmp_path}/pgkeep.toml and no /etc/pgkeep/pgkeep.toml" in done.stderr
    assert "hint: write one with: pgkeep init" in done.stderr


def test_a_misspelt_key_stops_the_program(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(REPOSITORY + '[clusters.main]\nconinfo = "host=/tmp"\n')
    done = run_pgkeep("list", config=config)
    assert (done.exit, done.stdout) == (101, "")
    assert told(done) == [
        f"error: cannot use {config}: line 4: clusters.main.coninfo is not an option",
        "hint: did you mean conninfo? [clusters.main] takes conninfo, data_directory, pg_bin, "
        "server_name, may_take_over, jobs, wal_timeout, archive, archive_jobs, "
        "on_archive_failure, archive_backlog_limit, rate, nice, ionice, cleaning, retention, "
        "drill, schedule, objectives",
        "code: bad-config, exit status 101",
    ]


def test_the_same_as_json(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(REPOSITORY + "jobs = 3\n")
    error = run_pgkeep("list", "--json", config=config).json["error"]
    assert set(error) == {"code", "exit_status", "message", "hint", "facts"}
    assert (error["code"], error["exit_status"]) == ("bad-config", 101)
    assert error["facts"]["line"] == 3


def test_not_toml(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text("url = /var/lib/pgkeep\n")
    done = run_pgkeep("list", config=config)
    assert done.exit == 19
    assert "line 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "cannot tell which cluster is meant"),
        (["--cluster", "blog"], "cannot find cluster 'blog'"),
    ],
)
def test_which_cluster(tmp_path: Path, arguments: list[str], message: str) -> None:
    repository = tmp_path / "repository"
    config = write_config(tmp_path / "pgkeep.toml", repository, {"shop": "", "web": ""})
    done = run_pgkeep("wal", "push", "x", *arguments, config=config)
    assert done.exit == 99
    assert message in done.stderr


# The repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without anything in it."""
    from pgkeep.repository.repository import Repository
    from pgkeep.repository.store.open import make_store

    path = tmp_path / "repository"
    Repository.create(make_store(str(path)), "none", None)
    return path


@pytest.fixture
def config(tmp_path: Path, repository: Path) -> Path:
    return write_config(tmp_path / "pgkeep.toml", repository, {"main": "host=/nowhere"})


def test_an_empty_repository_is_a_normal_state(config: Path) -> None:
    done = run_pgkeep("list", config=config).ok()
    assert "no backups yet: take the first one with pgkeep backup" in done.stdout


def test_no_repository(tmp_path: Path) -> None:
    config = write_config(tmp_path / "pgkeep.toml", tmp_path, {"main": ""})
    done = run_pgkeep("list", config=config)
    assert done.exit == 28
    assert f"there is no pgkeep repository in {tmp_path}" in done.stderr


def test_a_repository_that_is_not_mounted(tmp_path: Path) -> None:
    config = write_config(tmp_path / "pgkeep.toml", tmp_path / "away", {"main": ""})
    done = run_pgkeep("list", config=config)
    assert done.exit == 24
    assert f"hint: is {tmp_path}/away mounted?" in done.stderr


def test_a_repository_of_a_newer_pgkeep(config: Path, repository: Path) -> None:
    marker = repository / "pgkeep.json"
    marker.chmod(0o600)
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 99}))
    done = run_pgkeep("list", config=config)
    assert done.exit == 27
    assert "it has format version 99" in done.stderr


def test_a_repository_whose_marker_was_damaged(config: Path, repository: Path) -> None:
    marker = repository / "pgkeep.json"
    marker.chmod(0o600)
    marker.write_bytes(marker.read_bytes().replace(b"none", b"nope"))
    assert run_pgkeep("list", config=config).exit == 26


def test_encrypted_and_no_passphrase_or_a_wrong_one(tmp_path: Path) -> None:
    from pgkeep.repository.repository import Repository
    from pgkeep.repository.store.open import make_store

    repository = tmp_path / "sealed"
    Repository.create(make_store(str(repository)), "passphrase", "correct horse")
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": ""})
    assert run_pgkeep("list", config=config).exit == 36
    done = run_pgkeep("list", config=config, env={"PGKEEP_PASSPHRASE": "hunter2"})
    assert done.exit == 35
    assert "hunter2" not in done.stdout + done.stderr
    run_pgkeep("list", config=config, env={"PGKEEP_PASSPHRASE": "correct horse"}).ok()


def test_keys_can_be_added_listed_and_removed(tmp_path: Path) -> None:
    from pgkeep.repository.repository import Repository
    from pgkeep.repository.store.open import make_store

    repository = tmp_path / "sealed"
    Repository.create(make_store(str(repository)), "passphrase", "first secret")
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": ""})
    first, new = {"PGKEEP_PASSPHRASE": "first secret"}, tmp_path / "new"
    new.touch(0o600)
    new.write_text("second secret\n")

    def key(*arguments: str, env: dict[str, str] = first) -> Result:
        return run_pgkeep("key", *arguments, "--json", config=config, env=env).ok()

    old = key("list").json["slots"][0]["id"]
    key("add", "--new-passphrase-file", str(new), "--label", "the new one")
    recovery = key("recovery").json["recovery_key"]
    assert {s["kind"] for s in key("list").json["slots"]} == {"passphrase", "recovery"}
    key("remove", old)
    assert run_pgkeep("list", config=config, env=first).exit == 35
    for secret in ("second secret", recovery):
        run_pgkeep("list", config=config, env={"PGKEEP_PASSPHRASE": secret}).ok()


def test_an_unknown_backup(config: Path) -> None:
    done = run_pgkeep("show", "20260101T000000Z-aaaa", config=config)
    assert done.exit == 31
    assert "hint: take one with pgkeep backup" in done.stderr


def test_nothing_to_restore(config: Path, tmp_path: Path) -> None:
    done = run_pgkeep("restore", "--target-dir", tmp_path / "back", config=config)
    assert done.exit == 80
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("yesterday", "it is neither a known word nor an ISO 8601 time"),
        ("lsn:xyz", "cannot read 'xyz' as a WAL position"),
        ("xid:0", "a transaction id is a number from 3 on"),
        ("2026-10-25 02:30", "it comes twice in Europe/Berlin"),
    ],
)
def test_unreadable_targets(repository: Path, tmp_path: Path, to: str, message: str) -> None:
    config = tmp_path / "zoned.toml"
    config.write_text(
        f'timezone = "Europe/Berlin"\n[repository]\nurl = "{repository}"\n[clusters.main]\n'
    )
    done = run_pgkeep("restore", "--target-dir", tmp_path / "back", "--to", to, config=config)
    assert done.exit == 16
    assert message in done.stderr


def test_without_a_config_the_repository_is_enough(repository: Path, tmp_path: Path) -> None:
    done = run_pgkeep("--repository", repository, "list", "--cluster", "main", cwd=tmp_path)
    assert done.exit == 99  # it has no clusters yet
    assert f"{repository} has none" in done.stderr


# The server


def test_server_down(config: Path, tmp_path: Path) -> None:
    done = run_pgkeep("backup", config=config)
    assert done.exit == 112
    assert "cannot connect to PostgreSQL at /nowhere/.s.PGSQL.5432" in done.stderr
    checked = run_pgkeep("check", "--json", config=config)
    assert checked.exit == 3
    states = {check["name"]: check["state"] for check in checked.json["checks"]}
    assert states["connection"] == "failed"
    assert states["repository"] == "ok"


def test_no_conninfo(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "bare.toml"
    config.write_text(f'[repository]\nurl = "{repository}"\n[clusters.main]\n')
    done = run_pgkeep("point", "x", config=config)
    assert done.exit == 102
    assert "hint: add under [clusters.main]: conninfo = " in done.stderr


@only(18)
def test_wrong_role_wrong_password_missing_grants(
    pg: ScratchCluster, repository: Path, tmp_path: Path
) -> None:
    pg.sql("CREATE ROLE weak LOGIN PASSWORD 'right'")
    hba = pg.data_directory / "pg_hba.conf"
    hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    pg.sql("SELECT pg_reload_conf()")
    place = f"host={pg.socket_directory} port={pg.port} dbname=postgres"

    def run(conninfo: str, *command: str) -> Result:
        config = write_config(tmp_path / "pgkeep.toml", repository, {"main": conninfo})
        return run_pgkeep(*command, config=config, env={"HOME": str(tmp_path)})

    assert run(f"{place} user=nobody password=x", "backup").exit in (113, 115)
    wrong = run(f"{place} user=weak password=hunter2", "backup")
    assert wrong.exit == 113
    assert "as weak" in wrong.stderr
    assert "hunter2" not in wrong.stderr
    weak = run(f"{place} user=weak password=right", "check")
    assert weak.exit == 3
    assert "role weak lacks 6 of the privileges that a backup needs" in weak.stdout
    assert "GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean) TO weak;" in (
        weak.stdout
    )
    assert run(f"{place} user=weak password=right", "backup").exit == 122


@only(18)
def test_a_data_directory_that_may_not_be_read_and_a_repository_not_written(
    pg: ScratchCluster, repository: Path, tmp_path: Path
) -> None:
    # A user that is not root even when these tests are: root may read and write everything.
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": pg.conninfo})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o000)
    text = config.read_text().replace("conninfo", f'data_directory = "{elsewhere}"\nconninfo')
    config.write_text(text)
    repository.chmod(0o500)
    command = [str(PGKEEP), "--config", str(config), "--json", "check"]
    done = subprocess.run(
        as_server_user(command, pg.data_directory), capture_output=True, text=True, check=False
    )
    repository.chmod(0o700)
    assert done.returncode == 3, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["writable"]["state"] == "failed"
    assert "ermission denied" in checks["writable"]["says"]
    assert checks["data directory"]["state"] == "failed"
    assert "ermission denied" in checks["data directory"]["says"]


@only(18)
def test_another_cluster_under_the_same_name(
    new_cluster: NewCluster, repository: Path, tmp_path: Path
) -> None:
    first, second = new_cluster("first"), new_cluster("second", fresh_identity=True)
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": first.conninfo})
    assert run_pgkeep("init", "--json", config=config).ok().json["identity"] == "first"
    assert run_pgkeep("init", "--json", config=config).ok().json["identity"] == "known"
    write_config(config, repository, {"main": second.conninfo})
    checked = run_pgkeep("check", "--json", "--no-switch", config=config)
    identity = next(c for c in checked.json["checks"] if c["name"] == "identity")
    assert identity["state"] == "failed"
    assert "this is not the server that was backed up so far" in identity["says"]
    refused = run_pgkeep("backup", config=config)
    assert refused.exit == 73
    assert "hint: was this server upgraded or initialised again?" in refused.stderr
    assert run_pgkeep("init", config=config).exit == 73
    opened = run_pgkeep("init", "--new-generation", config=config).ok()
    assert "NOTE: this is not the server that was backed up so far" in opened.stdout
    assert "take a backup now with pgkeep backup" in opened.stdout


@only(18)
def test_locked_by_a_living_process_and_by_a_dead_one(
    pg: ScratchCluster, repository: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": pg.conninfo})
    run_pgkeep("init", config=config).ok()
    code = (
        "import sys, os\n"
        "from pgkeep.repository.claims.locks import hold\n"
        "from pgkeep.repository.repository import Repository\n"
        "from pgkeep.repository.store.open import open_store\n"
        "folder = Repository.open(open_store(sys.argv[1]), None).cluster('main')\n"
        "with hold(folder, 'backup', 'pgkeep backup', {'backup'}):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(repository)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        done = run_pgkeep("backup", config=config)
        assert done.exit == 40
        assert str(holder.pid) in done.stderr
        assert "hint: wait for it, or end it" in done.stderr
        holder.stdin.close()
        holder.wait(timeout=30)
    again = run_pgkeep("backup", config=config)
    assert again.exit != 40  # the lock of a dead process is taken over


@only(18)
def test_init_takes_over_from_another_program_only_when_told(
    new_cluster: NewCluster, repository: Path, tmp_path: Path
) -> None:
    pg = new_cluster(settings={"archive_mode": "on", "archive_command": "true"})
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": pg.conninfo})
    shown = run_pgkeep("init", config=config).ok()
    assert "NOTE: another program archives its WAL now: archive_command = 'true'" in shown.stdout
    refused = run_pgkeep("init", "--apply", config=config)
    assert refused.exit == 104
    assert pg.value("SHOW archive_command") == "true"
    run_pgkeep("init", "--apply", "--replace-archiver", config=config).ok()
    assert "pgkeep-wal" in pg.value("SELECT setting FROM pg_file_settings WHERE name = "
                                    "'archive_command' ORDER BY seqno DESC LIMIT 1")  # fmt: skip


@only(18)
def test_a_role_that_may_not_change_settings_gets_the_statements(
    pg: ScratchCluster, repository: Path, tmp_path: Path
) -> None:
    pg.sql("CREATE ROLE setter LOGIN")
    pg.sql("GRANT pg_read_all_settings TO setter")
    place = f"host={pg.socket_directory} port={pg.port} dbname=postgres user=setter"
    config = write_config(tmp_path / "pgkeep.toml", repository, {"main": place})
    done = run_pgkeep("init", "--apply", config=config)
    assert done.exit == 105
    assert "ALTER SYSTEM SET archive_mode = 'on';" in done.stderr
    assert "SELECT pg_reload_conf();" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another than the owner")
def test_root_is_sent_to_the_servers_user(repository: Path, tmp_path: Path) -> None:
    from pgkeep.setup.init import RunAsOwner, _refuse_strangers

    directory = tmp_path / "data"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with pytest.raises(RunAsOwner) as caught:
        _refuse_strangers(str(directory))
    assert str(caught.value) == (f"cannot set up backups as root: {directory} belongs to nobody")
