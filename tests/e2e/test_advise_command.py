"""`pgkeep advise`: measured on a real cluster, and the config it writes is one that works."""

import json
import os
import pty
from pathlib import Path

from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.command import PGKEEP, run_pgkeep


@only(18)
def test_the_written_config_is_accepted_by_init_and_check(
    pg: ScratchCluster, tmp_path: Path
) -> None:
    before = tmp_path / "before.toml"
    before.write_text(
        f'[repository]\nurl = "repository"\n[clusters.shop]\nconninfo = {json.dumps(pg.conninfo)}\n'
    )
    after = tmp_path / "else" / "pgkeep.toml"
    after.parent.mkdir()
    wanted = ("--rpo", "60s", "--rto", "1h", "--no-offsite")
    made = run_pgkeep("advise", "--inspect", *wanted, "--write", after, "--json", config=before)
    report = made.ok().json
    found = report["inspection"]
    assert (found["major"], found["standby"], found["service"]) == (18, False, None)
    assert found["size"] > 1 << 20
    assert found["wal_source"].startswith("over ")  # nothing older tells of it
    assert found["wal_is_weak"]
    assert found["recorded"]["backups"] == 0
    assert "growth and measured rates are not known" in made.stderr
    assert report["wishes"]["checksums"] is True
    assert report["plans"][0]["fits"]
    assert report["plans"][0]["archive_timeout"] == 30
    assert after.read_text() == report["config"]
    pg.sql("ALTER SYSTEM SET archive_timeout = '30s'")
    pg.sql("SELECT pg_reload_conf()")
    run_pgkeep("init", "--apply", config=after).ok()
    pg.restart()
    assert pg.value("SHOW archive_timeout") == "30s"  # init leaves alone what the plan set
    checked = run_pgkeep("check", config=after)
    assert checked.exit == 0, checked.stdout
    assert (tmp_path / "repository" / "pgkeep.json").exists()  # a path of the config it came from
    # From now on a repository tells, and nobody says that it cannot.
    run_pgkeep("backup", config=after).ok()
    again = run_pgkeep("advise", "--inspect", "--json", config=after).ok()
    assert again.json["inspection"]["recorded"]["backups"] == 1
    assert "not known" not in again.stderr


@only(18)
def test_a_cluster_is_measured_without_any_config(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE ROLE rds_superuser")
    pg.sql("CREATE ROLE app LOGIN")
    boss = run_pgkeep("advise", "--conninfo", pg.conninfo, cwd=tmp_path).ok().stdout
    assert "no managed service" in boss  # a dump brought the role along: here is a superuser
    app = f"{pg.conninfo} user=app"
    report = run_pgkeep("advise", "--conninfo", app, "--json", cwd=tmp_path).ok().json
    assert report["inspection"]["service"] == "aws"
    assert report["wishes"]["hosting"] == "managed"
    assert report["chosen"] == "managed"
    assert f"conninfo = {json.dumps(app)}" in report["config"]
    secret = f"{app} password=hush"
    refused = run_pgkeep("advise", "--conninfo", secret, cwd=tmp_path)
    assert refused.exit == 2
    assert "hush" not in refused.stdout + refused.stderr


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    there = tmp_path / "pgkeep.toml"
    there.write_text('[repository]\nurl = "mine"\n')
    refused = run_pgkeep("advise", "--write", there, cwd=tmp_path)
    assert refused.exit == 2
    assert "was left alone" in refused.stderr
    assert there.read_text() == '[repository]\nurl = "mine"\n'
    two = run_pgkeep("advise", "--write", there, "--force", "--plan", "2", "--print", cwd=tmp_path)
    assert "backups every 6 hours" in there.read_text()
    assert two.ok().stdout == there.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["pgkeep.toml"]
    nowhere = run_pgkeep("advise", "--write", tmp_path / "no" / "x.toml", cwd=tmp_path)
    assert nowhere.exit == 2
    assert "no such file or directory" in nowhere.stderr


def test_wrong_wishes_are_refused(tmp_path: Path) -> None:
    for wrong, why in (
        (("--rpo", "0s"), "rpo must be more than nothing"),
        (("--plan", "best"), "there is no plan 'best'"),
        (("--growth", "nan"), "a number must be a number"),
        (("--budget", "inf"), "a number must be a number"),
    ):
        refused = run_pgkeep("advise", *wrong, cwd=tmp_path)
        assert refused.exit == 2
        assert why in " ".join(refused.stderr.replace("│", " ").split())


def converse(tmp_path: Path, typed: bytes) -> tuple[int, str]:
    """Type all answers at a terminal; return the exit status and what was shown."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(PGKEEP, [str(PGKEEP), "--config", "none.toml", "advise", "--size", "1TB"])
    os.write(terminal, typed)
    said = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), said.decode(errors="replace")


def test_on_a_terminal_it_asks_and_enter_accepts(tmp_path: Path) -> None:
    status, text = converse(tmp_path, b"nowhere\nself\n\n2MB/s\nsoon\n1min\n" + b"\n" * 5)
    assert status == 0, text
    assert "How large is the cluster" not in text  # that was given
    assert "that is not one of self, cloud-vm, kubernetes, managed" in text
    assert "cannot read 'soon' as a duration: write it like 90s, 15min" in text
    assert "wanted: at most 1 min lost, back within 4 h" in text
    assert "169 GiB of WAL a day" in text


def test_whoever_stops_answering_gets_nothing(tmp_path: Path) -> None:
    status, text = converse(tmp_path, b"\n\x04")
    assert status != 0
    assert "wanted:" not in text
    assert "Traceback" not in text


def test_methods_are_compared(tmp_path: Path) -> None:
    said = run_pgkeep("advise", "--compare", cwd=tmp_path).ok().stdout
    assert "It is no backup" in said
    report = run_pgkeep("advise", "--compare", "--json", cwd=tmp_path).ok().json
    assert len(report["methods"]) == said.count("brings back:")
    assert all(fact["source"] for fact in report["facts"])
