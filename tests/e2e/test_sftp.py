"""A repository on another machine, as its user sets it up: everything by the commands."""

import json
from pathlib import Path

import pytest

from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep, run_pgkeep_wal
from support.sshd import Sshd, sshd_running
from support.wait import wait_for


def write_config(folder: Path, server: Sshd, url: str, conninfo: str, more: str = "") -> Path:
    """Write a pgkeep.toml that stands beside the key and the known hosts, as in docs/sftp.md."""
    for name, source in (("id_ed25519", server.identity), ("known_hosts", server.known_hosts)):
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o600)
    config = folder / "pgkeep.toml"
    lines = [
        "[repository]",
        f'url = "{url}"',
        'identity_file = "id_ed25519"',
        'known_hosts = "known_hosts"',
        more,
        "[clusters.main]",
        f"conninfo = {json.dumps(conninfo)}",
    ]
    config.write_text("\n".join([*lines, ""]))
    return config


def url_of(server: Sshd, folder: Path) -> str:
    return f"sftp://{server.user}@127.0.0.1:{server.port}{folder}"


def archived(pg: ScratchCluster) -> str | None:
    name: str | None = pg.value("SELECT last_archived_wal FROM pg_stat_archiver")
    return name


@pytest.fixture
def archiving(new_cluster: NewCluster, sshd: Sshd, tmp_path: Path) -> ScratchCluster:
    """A cluster that archives to a repository behind SFTP by tmp_path/keep/pgkeep.toml."""
    keep = tmp_path / "keep"
    keep.mkdir()
    pg = new_cluster(settings=archive_settings(keep / "pgkeep.toml"))
    url = url_of(sshd, sshd.folder() / "backups" / "main")
    write_config(keep, sshd, url, pg.conninfo)
    return pg


@only(18)
def test_scenario_l_backup_and_recovery_over_sftp(
    archiving: ScratchCluster, tmp_path: Path
) -> None:
    pg, config = archiving, tmp_path / "keep" / "pgkeep.toml"
    assert run_pgkeep("init", "--json", config=config).ok().json["created"]
    checked = run_pgkeep("check", "--json", config=config).ok().json
    assert {c["name"]: c["state"] for c in checked["checks"]}["delivery"] == "ok"
    pg.sql("CREATE TABLE orders AS SELECT generate_series(1, 2000) AS id")
    run_pgkeep("backup", config=config).ok()
    pg.sql("INSERT INTO orders SELECT generate_series(2001, 3000)")
    run_pgkeep("point", "before_drop", config=config).ok()
    pg.sql("DROP TABLE orders")
    second = run_pgkeep("backup", "--json", config=config).ok().json
    assert second["type"] == "incremental"
    pg.sql("SELECT pg_switch_wal()")
    run_pgkeep("verify", "--level", "bytes", config=config).ok()
    back = tmp_path / "back"
    port = pg.port + 1
    where = ("--target-dir", back, "--to", "name:before_drop", "--start", "--port", str(port))
    try:
        restored = run_pgkeep("restore", *where, "--json", config=config).ok().json
        assert restored["recovery"]["ending"] == "promoted"
        place = f"host={pg.socket_directory} port={port} user=postgres dbname=postgres"
        with Session.connect(place) as session:
            assert session.query("SELECT count(*), max(id) FROM public.orders") == [(3000, 3000)]
    finally:
        server = ServerProcess.attach(back, log_file=f"{back}.log")
        if server is not None:
            server.stop("immediate")


@only(18)
def test_scenario_l_archiving_waits_for_a_server_that_is_away(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    with sshd_running() as server:
        folder = server.folder()
        pg = new_cluster(settings=archive_settings(keep / "pgkeep.toml"))
        more = 'retry_for = "0s"\ntimeout = "5s"'
        config = write_config(keep, server, url_of(server, folder), pg.conninfo, more)
        run_pgkeep("init", config=config).ok()
        server.stop()
        pg.sql("CREATE TABLE t AS SELECT 1")
        segment = pg.switch_wal()
        # "Not there" would make recovery end too early: a server that is away stops it.
        gone = run_pgkeep_wal("fetch", segment, tmp_path / "x", config=config)
        assert gone.exit == 200
        assert "cannot be reached: connection refused" in gone.stderr
        server.start()
        wait_for(lambda: (archived(pg) or "") >= segment, 90)
        run_pgkeep_wal("fetch", segment, tmp_path / "x", config=config).ok()
        assert (tmp_path / "x").stat().st_size == 1 << 20


def test_an_address_on_the_command_line_needs_no_config(sshd: Sshd, tmp_path: Path) -> None:
    address = sshd.address(sshd.folder())
    done = run_pgkeep("--repository", address, "list", cwd=tmp_path)
    assert "is no repository" in done.stderr or "not-a-repository" in done.stderr
    password = address.replace("@127", ":s3cret@127")
    done = run_pgkeep("--repository", password, "list", cwd=tmp_path)
    assert done.exit == 30
    assert "s3cret" not in done.stdout + done.stderr
    assert "passwords don't belong in addresses; pgkeep logs in by key" in done.stderr
