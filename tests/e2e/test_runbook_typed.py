"""A runbook is typed as it stands after a failover, an attack on the bucket, a failed upgrade."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.server.binaries import SERVER_ENVIRONMENT, as_server_user
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, Templates, only, require_binaries
from support.command import archive_settings, run_pgkeep, write_config
from support.object_servers import ObjectServer, locking_server, s3_client
from support.paper import Paper
from support.wait import wait_for

QUICK = {"wal_retrieve_retry_interval": "100ms"}


@contextmanager
def stopped_at_the_end(*directories: Path) -> Iterator[None]:
    """Stop what was started by hand."""
    try:
        yield
    finally:
        for directory in directories:
            server = ServerProcess.attach(directory, log_file=f"{directory}.log")
            if server is not None:
                server.stop("immediate")


@contextmanager
def destroyed(cluster: ScratchCluster) -> Iterator[ScratchCluster]:
    try:
        yield cluster
    finally:
        cluster.destroy()


def paper(config: Path, cluster: ScratchCluster) -> Paper:
    """Set the cluster up, back it up, and write its runbook."""
    run_pgkeep("init", config=config).ok()
    cluster.sql("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    run_pgkeep("backup", config=config).ok()
    page = run_pgkeep("runbook", config=config).ok().stdout
    return Paper(page, cluster.directory)


def archived(cluster: ScratchCluster, row: int) -> None:
    """Insert a row, and wait until it is in the repository."""
    cluster.sql(f"INSERT INTO orders VALUES ({row})")
    last = cluster.switch_wal()
    wait_for(
        lambda: cluster.value("SELECT last_archived_wal FROM pg_stat_archiver") >= last,
        what="the last WAL in the repository",
    )


@only(18)
def test_a_standby_takes_over_and_the_old_primary_follows_it(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    config = tmp_path / "pgkeep.toml"
    old = new_cluster(settings={**archive_settings(config), **QUICK})
    write_config(config, tmp_path / "repository", {"main": old.conninfo})
    page = paper(config, old)
    place = tmp_path / "other" / "data"
    run_pgkeep("restore", "--standby", "--target-dir", place, config=config).ok()
    new = ScratchCluster.over(old.binaries, place)
    new.port = old.port  # as on a host of its own
    with destroyed(new), stopped_at_the_end(place, old.data_directory):
        new.create()
        new.start()
        _fail_over(page, old, new, config)


def _fail_over(page: Paper, old: ScratchCluster, new: ScratchCluster, config: Path) -> None:
    archived(old, -1)
    wait_for(lambda: new.value("SELECT count(*) FROM orders") == 1001, what="replay")
    old.configure(archive_command="/bin/false")
    old.sql("SELECT pg_reload_conf()")
    old.sql("INSERT INTO orders VALUES (-2)")  # which only the old primary has
    lost = old.switch_wal()
    old.stop("immediate")
    write_config(config, config.parent / "repository", {"main": new.conninfo})

    page.put = {"DATA_DIRECTORY": str(new.data_directory), "REPLICATION_ROLE": "postgres",
                "NEW_PRIMARY": str(new.socket_directory)}  # fmt: skip
    promote, archive, restart, protect, rejoin, given_up, start = page.section("standby must take")
    for step in (promote, archive, restart):
        page.type(step)
    new.sql("INSERT INTO orders VALUES (-3)")
    checked, _ = page.type(protect)
    assert "all is well" in checked.stdout

    refused = page.enter(*rejoin.commands)
    assert refused.exit == 240
    assert "of timeline 1, while the restore follows timeline 2" in refused.stderr
    page.type(given_up)
    assert (Path(f"{old.data_directory}.lost") / "pg_wal" / lost).exists()
    page.type(start)
    new.sql("INSERT INTO orders VALUES (-4)")
    wait_for(lambda: old.value("SELECT min(id) FROM orders") == -4, what="the new primary's rows")
    assert old.sql("SELECT id FROM orders WHERE id < 0 ORDER BY 1 DESC") == [(-1,), (-3,), (-4,)]
    assert old.value("SELECT pg_is_in_recovery()")


@pytest.fixture(scope="module")
def vault() -> Iterator[ObjectServer]:
    with locking_server() as server:
        s3 = s3_client(server.endpoint)
        where = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(
            Bucket="vault", CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True
        )
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}
        s3.put_object_lock_configuration(
            Bucket="vault", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        yield server


def _attack(server: ObjectServer) -> None:
    s3 = s3_client(server.endpoint)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="vault")
    found = [entry for page in pages for entry in page.get("Contents", ())]
    newest = max(entry["LastModified"] for entry in found)
    # What was stored in the second in which the attack began counts as the attacker's.
    wait_for(lambda: datetime.now(UTC) >= newest + timedelta(seconds=2), what="another second")
    for key in (entry["Key"] for entry in found):
        if key.endswith(("/manifest", "/pgkeep.json")):
            s3.put_object(Bucket="vault", Key=key, Body=b"pay", ChecksumAlgorithm="SHA256")
        else:
            s3.delete_object(Bucket="vault", Key=key)


@only(18)
def test_an_attacked_bucket_is_read_as_it_was_and_made_whole(
    vault: ObjectServer, new_cluster: NewCluster, tmp_path: Path
) -> None:
    config, secret = tmp_path / "pgkeep.toml", tmp_path / "secret"
    secret.write_text("the passphrase of a test\n")
    secret.chmod(0o600)
    cluster = new_cluster(settings=archive_settings(config))
    options = {"credentials_file": str(vault.credentials(tmp_path / "keys")), "lock": "governance",
               "endpoint": vault.endpoint, "region": "eu-central-1", "encryption": "passphrase",
               "passphrase_file": str(secret)}  # fmt: skip
    more = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    config.write_text(
        f'[repository]\nurl = "s3://vault/pgkeep"\n{more}\n'
        f"[clusters.main]\nconninfo = {json.dumps(cluster.conninfo)}\n"
    )
    page = paper(config, cluster)
    page.secret = secret.read_text().strip()
    archived(cluster, -1)
    _attack(vault)
    cluster.stop("immediate")
    shutil.rmtree(cluster.data_directory)
    config.unlink()

    key, hidden, look, restore, start, bring_back, again = page.section("on purpose")
    page.type(key)
    seen = page.enter(*hidden.commands)
    assert seen.exit == 24
    [moment] = re.findall(r"versions=before:([^']+)' list", seen.stdout)
    page.type(look, MOMENT=moment)
    page.type(restore, MOMENT=moment)
    with stopped_at_the_end(cluster.data_directory):
        page.type(start)
        wait_for(lambda: not cluster.value("SELECT pg_is_in_recovery()"), what="promotion")
        assert cluster.value("SELECT count(*) FROM orders") == 1001
        page.type(bring_back)
        config.write_text(page.config)
        page.environment.clear()
        *_, checked, _ = page.type(again)
        assert "all is well" in checked.stdout
        assert page.enter(*hidden.commands).exit == 0


def _upgrade(old: ScratchCluster, new: ScratchCluster) -> None:
    """Upgrade by pg_upgrade --link."""
    words = [new.binaries.tool("pg_upgrade"), "--link", "-U", "postgres",
             "-b", str(old.binaries.directory), "-B", str(new.binaries.directory),
             "-d", str(old.data_directory), "-D", str(new.data_directory),
             "-s", str(new.socket_directory)]  # fmt: skip
    done = subprocess.run(
        as_server_user(words, new.data_directory), cwd=new.directory, env=dict(SERVER_ENVIRONMENT),
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@only(17)
def test_a_failed_upgrade_ends_in_the_old_version(
    new_cluster: NewCluster, templates: Templates, tmp_path: Path
) -> None:
    config = tmp_path / "pgkeep.toml"
    old = new_cluster(settings=archive_settings(config))
    write_config(config, tmp_path / "repository", {"main": old.conninfo})
    page = paper(config, old)
    archived(old, -1)
    old.stop()
    pg_ctl, binaries = old.binaries.tool("pg_ctl"), require_binaries(18)
    fresh = ScratchCluster(binaries, tmp_path / "new", wal_segsize=1).initdb
    template = templates.get(f"{binaries} 1 True ()", fresh)
    new = ScratchCluster(binaries, tmp_path / "new", template=template)
    with stopped_at_the_end(new.data_directory, old.data_directory), destroyed(new):
        new.create()
        _upgrade(old, new)
        stop, rename, start_old, aside, restore, start, protect, *_ = page.section("upgrade of")
        page.type(rename)
        page.type(start_old)
        assert old.value("SELECT count(*) FROM orders") == 1001
        archived(old, -2)
        page.put = {"NEW_PROGRAMS": str(new.binaries.directory),
                    "NEW_DATA_DIRECTORY": str(new.data_directory)}  # fmt: skip
        page.enter(f"{pg_ctl} -D {old.data_directory} -m fast -w stop").ok()
        new.start()  # on files that both have now
        page.type(stop)
        page.type(aside)
        listed = run_pgkeep("list", "--json", config=config).ok().json
        page.type(restore, BACKUP=listed["backups"][-1]["id"])
        page.type(start)
        wait_for(lambda: not old.value("SELECT pg_is_in_recovery()"), what="promotion")
        assert old.value("SELECT count(*) FROM orders") == 1002
        checked, _ = page.type(protect)
        assert "all is well" in checked.stdout
