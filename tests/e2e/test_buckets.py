"""A repository in a bucket, as its user sets it up: everything by the commands."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep, run_pgkeep_wal
from support.fault_proxy import Fault, FaultProxy, Pass, Reply, Request
from support.object_servers import REGION, SECRET, ObjectServer
from support.wait import wait_for


@pytest.fixture
def keep(s3_server: ObjectServer, s3_proxy: FaultProxy, tmp_path: Path) -> Path:
    """A folder with credentials and a pgkeep.toml for a bucket behind the proxy, as documented."""
    bucket = f"keep-{os.urandom(6).hex()}"
    s3_server.make_bucket(bucket)
    folder = tmp_path / "keep"
    folder.mkdir()
    s3_server.credentials(folder / "bucket-credentials")
    lines = [
        "[repository]",
        f'url = "s3://{bucket}/pgkeep"',
        f'endpoint = "{s3_proxy.endpoint}"',
        f'region = "{REGION}"',
        'credentials_file = "bucket-credentials"',
        'retry_for = "1s"',
        'timeout = "20s"',
    ]
    (folder / "pgkeep.toml").write_text("\n".join([*lines, ""]))
    return folder


@pytest.fixture
def pg(new_cluster: NewCluster, keep: Path) -> ScratchCluster:
    """A cluster that archives to the bucket."""
    config = keep / "pgkeep.toml"
    made = new_cluster(settings=archive_settings(config))
    with config.open("a") as file:
        file.write(f"[clusters.main]\nconninfo = {json.dumps(made.conninfo)}\n")
    run_pgkeep("init", config=config).ok()
    return made


def dying(proxy: FaultProxy) -> Fault:
    def fault(_request: Request, _passing: Pass) -> Reply | None:
        proxy.die()
        return None

    return fault


def archived(pg: ScratchCluster) -> str:
    name: str | None = pg.value("SELECT last_archived_wal FROM pg_stat_archiver")
    return name or ""


@only(18)
def test_scenario_l_the_whole_story_in_a_bucket(
    pg: ScratchCluster, keep: Path, tmp_path: Path
) -> None:
    config = keep / "pgkeep.toml"
    checked = run_pgkeep("check", "--json", config=config).ok().json
    assert {c["name"]: c["state"] for c in checked["checks"]}["delivery"] == "ok"
    pg.sql("CREATE TABLE orders AS SELECT generate_series(1, 50000) AS id")
    run_pgkeep("backup", config=config).ok()
    pg.sql("INSERT INTO orders SELECT generate_series(50001, 60000)")
    run_pgkeep("point", "before_drop", config=config).ok()
    pg.sql("DROP TABLE orders")
    second = run_pgkeep("backup", "--json", config=config).ok().json
    assert second["type"] == "incremental"
    pg.switch_wal()
    listed = run_pgkeep("list", "--json", config=config).ok().json
    assert len(listed["backups"]) == 2
    run_pgkeep("verify", "--level", "bytes", config=config).ok()
    run_pgkeep("expire", "--dry-run", config=config).ok()
    back = tmp_path / "back"
    port = pg.port + 1
    where = ("--target-dir", back, "--to", "name:before_drop", "--start", "--port", str(port))
    try:
        restored = run_pgkeep("restore", *where, "--json", config=config).ok().json
        assert restored["recovery"]["ending"] == "promoted", restored
        place = f"host={pg.socket_directory} port={port} user=postgres dbname=postgres"
        with Session.connect(place) as session:
            assert session.query("SELECT count(*), max(id) FROM public.orders") == [(60000, 60000)]
    finally:
        server = ServerProcess.attach(back, log_file=f"{back}.log")
        if server is not None:
            server.stop("immediate")
    said = run_pgkeep("show", second["id"], config=config)
    assert SECRET not in said.stdout + said.stderr + (back / "postgresql.auto.conf").read_text()


@only(18)
def test_scenario_l_the_store_dies_in_mid_backup(
    pg: ScratchCluster, keep: Path, s3_proxy: FaultProxy
) -> None:
    config = keep / "pgkeep.toml"
    pg.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 30000) i")
    s3_proxy.when(dying(s3_proxy), method="PUT", path="*/packs/*", times=1)
    died = run_pgkeep("backup", config=config)
    assert died.exit == 24
    assert "the connection to" in died.stderr
    s3_proxy.heal()
    assert run_pgkeep("list", "--json", config=config).ok().json["backups"] == []
    run_pgkeep("backup", config=config).ok()
    run_pgkeep("verify", config=config).ok()


@only(18)
def test_scenario_l_the_store_dies_in_mid_restore_and_in_mid_recovery(
    pg: ScratchCluster, keep: Path, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    config, back = keep / "pgkeep.toml", tmp_path / "back"
    pg.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
    run_pgkeep("backup", config=config).ok()
    pg.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
    last = pg.switch_wal()
    wait_for(lambda: archived(pg) >= last, 60)

    s3_proxy.when(dying(s3_proxy), method="GET", path="*/packs/*", times=1)
    died = run_pgkeep("restore", "--target-dir", back, config=config)
    assert died.exit == 24
    assert not (back / "global" / "pg_control").exists()
    s3_proxy.heal()
    run_pgkeep("restore", "--target-dir", back, "--delta", config=config).ok()

    restored = ScratchCluster.over(pg.binaries, back)
    restored.create()
    try:
        with s3_proxy.dead(), pytest.raises(Exception, match=r"."):
            restored.start()  # "not there" would end recovery here, without the second half of t
        restored.start()
        wait_for(lambda: restored.value("SELECT NOT pg_is_in_recovery()"), 60)
        assert restored.value("SELECT count(*) FROM t") == 2000
    finally:
        restored.destroy()


@only(18)
def test_scenario_l_archiving_resumes_by_itself(
    pg: ScratchCluster, keep: Path, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    config = keep / "pgkeep.toml"
    with s3_proxy.dead():
        pg.sql("CREATE TABLE t AS SELECT 1")
        segment = pg.switch_wal()
        gone = run_pgkeep_wal("fetch", segment, tmp_path / "x", config=config)
        assert gone.exit == 200
        assert "recovery stops here" in gone.stderr
    wait_for(lambda: archived(pg) >= segment, 90)
    run_pgkeep_wal("fetch", segment, tmp_path / "x", config=config).ok()
    assert (tmp_path / "x").stat().st_size == 1 << 20
    missing = run_pgkeep_wal("fetch", "0000000100000000000000F0", tmp_path / "y", config=config)
    assert missing.exit == 1


def test_what_a_user_does_wrong_with_a_bucket(keep: Path, s3_server: ObjectServer) -> None:
    config = keep / "pgkeep.toml"
    right = config.read_text()

    def said(change: Callable[[str], str]) -> str:
        config.write_text(change(right))
        done = run_pgkeep("list", config=config)
        assert done.exit not in (0, 1, 3), done
        assert SECRET not in done.stdout + done.stderr
        return done.stderr

    wrong = said(lambda text: text.replace("s3://keep-", "s3://kept-"))
    assert "there is no bucket kept-" in wrong
    assert "make the bucket kept-" in wrong
    assert "nobody listens at http://127.0.0.1:1" in said(
        lambda text: text.replace(text.split('endpoint = "')[1].split('"')[0], "http://127.0.0.1:1")
    )
    assert "bucket-credentials2 cannot be read" in said(
        lambda text: text.replace("bucket-credentials", "bucket-credentials2")
    )
    assert "S3 has no option 'account'" in said(lambda text: text + 'account = "x"\n')
    assert "repository.secret_key is not an option" in said(lambda t: t + f'secret_key = "{1}"\n')
