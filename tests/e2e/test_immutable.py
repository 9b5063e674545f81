"""Backups that nobody can delete: docs/immutable.md with its own policies, which are enforced."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep
from support.object_servers import KEY, REGION, SECRET, ObjectServer, locking_server

GUIDE = Path(__file__).parents[2] / "docs" / "immutable.md"
ROLES = ("writer", "expirer", "reader")


class Keys(NamedTuple):
    """A role's access key."""

    id: str
    secret: str


OWNER = Keys(KEY, SECRET)


class Vaulted(NamedTuple):
    """A bucket as the guide sets it up, and the keys of the guide's roles."""

    server: ObjectServer
    bucket: str
    keys: dict[str, Keys]

    def client(self, role: str) -> Any:
        return client(self.server, "s3", self.keys[role])

    def config(self, folder: Path, role: str, conninfo: str, more: str = "") -> Path:
        """Write a role's pgkeep.toml, with its credentials beside it."""
        folder.mkdir(exist_ok=True)
        key = self.keys[role]
        credentials = folder / "bucket-credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n"
        )
        credentials.chmod(0o600)
        config = folder / "pgkeep.toml"
        lines = [
            "[repository]",
            f'url = "s3://{self.bucket}/pgkeep"',
            f'endpoint = "{self.server.endpoint}"',
            f'region = "{REGION}"',
            'credentials_file = "bucket-credentials"',
            'lock = "governance"',
            "[clusters.main]",
            f"conninfo = {json.dumps(conninfo)}",
            more,
        ]
        config.write_text("\n".join([*lines, ""]))
        return config


def client(server: ObjectServer, service: str, keys: Keys = OWNER) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        aws_access_key_id=keys.id,
        aws_secret_access_key=keys.secret,
        region_name=REGION,
    )


def policies() -> dict[str, dict[str, Any]]:
    """Return the policies of the guide, by role."""
    found = re.findall(r"<!-- policy: (\w+) -->\n```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return {role: json.loads(text) for role, text in found}


@pytest.fixture(scope="module")
def vaulted() -> Iterator[Vaulted]:
    """The bucket; from here on nobody does what no policy allows."""
    with locking_server() as server:
        name = "my-backups"
        s3, iam = client(server, "s3"), client(server, "iam")
        s3.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=True,
        )
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}
        s3.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        [rules] = re.findall(
            r"`lifecycle.json`:\n\n```json\n(.*?)```", GUIDE.read_text(), re.DOTALL
        )
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=json.loads(rules))
        keys = {}
        for role, policy in policies().items():
            iam.create_user(UserName=role)
            text = json.dumps(policy)
            iam.put_user_policy(UserName=role, PolicyName=role, PolicyDocument=text)
            made = iam.create_access_key(UserName=role)["AccessKey"]
            keys[role] = Keys(made["AccessKeyId"], made["SecretAccessKey"])
        connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=30)
        connection.request("POST", "/moto-api/reset-auth", b"0")
        assert connection.getresponse().status == 200
        connection.close()
        yield Vaulted(server, name, keys)


def denied(what: Any, **wanted: str) -> bool:
    try:
        what(**wanted)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDenied")
    return False


def objects(vaulted: Vaulted) -> list[str]:
    pages = vaulted.client("reader").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=vaulted.bucket)
    return [entry["Key"] for page in found for entry in page.get("Contents", ())]


def test_the_guide_has_a_policy_for_each_role_and_nobody_may_destroy_anything() -> None:
    found = policies()
    assert tuple(found) == ROLES
    for policy in found.values():
        actions = [action for part in policy["Statement"] for action in _listed(part["Action"])]
        assert not {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:*"} & {*actions}


@only(18)
def test_scenario_l_everything_is_deleted_and_overwritten_and_restored_all_the_same(
    vaulted: Vaulted, new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster(settings=archive_settings(tmp_path / "writer" / "pgkeep.toml"))
    retention = '[clusters.main.retention]\nwindow = "1s"\nminimum = 1\n'
    config = vaulted.config(tmp_path / "writer", "writer", pg.conninfo, retention)
    run_pgkeep("init", config=config).ok()
    checked = run_pgkeep("check", "--json", config=config)
    states = {c["name"]: c["state"] for c in checked.json["checks"]}
    assert (states["writable"], states["locks"]) == ("ok", "ok"), checked.stdout
    assert not {"credentials", "lifecycle"} & states.keys(), checked.stdout
    pg.sql("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    first = run_pgkeep("backup", "--type", "full", "--json", config=config).ok().json
    [locks] = first["locks"]
    assert locks["error"] is None
    assert locks["extended"] == locks["needed"] > 3
    pg.sql("INSERT INTO orders SELECT generate_series(1001, 1500)")
    run_pgkeep("backup", "--type", "full", config=config).ok()
    pg.sql("INSERT INTO orders SELECT generate_series(1501, 1600)")
    pg.switch_wal()
    _expire_says_what_is_locked(vaulted, tmp_path, retention)
    _attack(vaulted)
    _restore(vaulted, pg, tmp_path)


def _expire_says_what_is_locked(vaulted: Vaulted, tmp_path: Path, retention: str) -> None:
    """The first backup is no longer kept, and still locked: by retention, and by the bucket."""
    config = vaulted.config(tmp_path / "expirer", "expirer", "", retention)
    run_pgkeep("lock", config=config).ok()
    before = objects(vaulted)
    result = run_pgkeep("expire", config=config).ok()
    assert re.search(r"left alone: \d objects \(.*\), locked until 20", result.stdout)
    assert "nothing was deleted" in result.stdout
    # But for the act that says so, which the expirer may store.
    (act,) = set(objects(vaulted)) - set(before)
    assert act.endswith(".expire.json")
    assert set(before) < set(objects(vaulted))
    again = run_pgkeep("expire", "--json", config=config).ok().json
    assert again["deleted"]["locked"]["objects"] > 1  # the manifest, and WAL that only it needs
    assert again["error"] is None


def _attack(vaulted: Vaulted) -> None:
    """Do all the harm that the keys of the writer and the expirer can do."""
    writer, expirer = vaulted.client("writer"), vaulted.client("expirer")
    found = objects(vaulted)
    versions = vaulted.client("reader").list_object_versions(Bucket=vaulted.bucket)["Versions"]
    for version in versions[:5]:
        which = {"Bucket": vaulted.bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        assert denied(writer.delete_object, **which)
        assert denied(expirer.delete_object, **which)
    manifests = [key for key in found if key.endswith("/manifest")]
    assert denied(writer.delete_object, Bucket=vaulted.bucket, Key=manifests[0])
    for key in (manifests[0], "pgkeep/pgkeep.json"):
        writer.put_object(Bucket=vaulted.bucket, Key=key, Body=b"pay", ChecksumAlgorithm="SHA256")
    for key in found:
        if key != "pgkeep/pgkeep.json":
            expirer.delete_object(Bucket=vaulted.bucket, Key=key)


def _restore(vaulted: Vaulted, pg: ScratchCluster, tmp_path: Path) -> None:
    config = vaulted.config(tmp_path / "reader", "reader", "")
    assert run_pgkeep("list", config=config).exit != 0
    seen = run_pgkeep("hidden", "--json", config=config)
    assert seen.exit == 24, seen.stderr
    assert {deed["deed"] for deed in seen.json["tampering"]} == {"hidden", "overwritten"}
    told = run_pgkeep("hidden", config=config)
    address = seen.json["before"]
    assert f"pgkeep --repository '{address}' list" in told.stdout
    assert "were hidden or overwritten" in told.stderr
    back, port = tmp_path / "back", pg.port + 1
    where = ("--target-dir", back, "--start", "--port", str(port))
    try:
        result = run_pgkeep("--repository", address, "restore", *where, "--json")
        restored = result.ok().json
        assert restored["recovery"]["ending"] == "promoted", restored
        place = f"host={pg.socket_directory} port={port} user=postgres dbname=postgres"
        with Session.connect(place) as session:
            assert session.query("SELECT count(*) FROM public.orders") == [(1600,)]
    finally:
        server = ServerProcess.attach(back, log_file=f"{back}.log")
        if server is not None:
            server.stop("immediate")


def _listed(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given
