"""Versions and locks of objects against a server that has them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.repository.store.bucket.errors import StoreDenied
from pgkeep.repository.store.objectlock.errors import NoLocks, NoVersions, PastIsReadOnly
from pgkeep.repository.store.objectlock.protection import NOTHING, protection
from pgkeep.repository.store.objectlock.tampering import Deed, find_tampering
from pgkeep.repository.store.objectlock.vault import LockMode, ObjectLock, open_vault
from pgkeep.repository.store.open import BadStoreUrl, open_store
from pgkeep.retention.delete import delete
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.locking.hidden import look_for_hidden
from pgkeep.retention.locking.lock import LockWish, freeze, lock_objects
from pgkeep.retention.locking.plan import LockRules
from pgkeep.retention.locking.report import LockReport
from pgkeep.retention.policy import KeepPolicy
from support.object_servers import ObjectServer, locking_server
from support.small_repository import Small
from support.vaults import LockingBucket, locking_bucket
from support.wait import wait_for

DAY = timedelta(days=1)
LAST = KeepPolicy(daily=1, minimum=1)
GOVERNANCE = LockMode.GOVERNANCE


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with locking_server() as running:
        yield running


@pytest.fixture
def bucket(server: ObjectServer, tmp_path: Path) -> LockingBucket:
    return locking_bucket(server, tmp_path)


@pytest.fixture
def small(bucket: LockingBucket) -> Small:
    return two_backups(bucket)


def two_backups(bucket: LockingBucket) -> Small:
    """Make a repository with two backups, of the 8th and the 9th of November."""
    Repository.create(bucket.store, "none", None)
    small = Small(bucket.store).begin()
    for text in (b"one", b"two"):
        small.backup({"base/5/1": text * 5000})
    return small


def next_second() -> datetime:
    """Return the next second, once it has begun: stores tell times of versions in whole ones."""
    began = datetime.now(UTC).replace(microsecond=0)
    wait_for(lambda: datetime.now(UTC) >= began + timedelta(seconds=1), what="the next second")
    return datetime.now(UTC).replace(microsecond=0)


def past(bucket: LockingBucket, moment: datetime) -> str:
    return f"{bucket.address}&versions=before:{moment:%Y-%m-%dT%H:%M:%SZ}"


def lock(bucket: LockingBucket, small: Small, keep: KeepPolicy = LAST, days: int = 7) -> LockReport:
    rules = LockRules(days * DAY, 30 * DAY)
    wish = LockWish(Wish(keep, UTC), GOVERNANCE, rules)
    return lock_objects(small.folder, bucket.vault, wish)


# Locks


def test_a_lock_is_set_and_extended_and_keeps_a_version_from_being_deleted(
    bucket: LockingBucket,
) -> None:
    bucket.store.put("a/b", [b"one"])
    vault, [version] = bucket.vault, bucket.versions("a/b")
    assert vault.lock_of("a/b") is None
    until = vault.now() + DAY
    for end in (until, until + DAY):
        vault.lock("a/b", version["VersionId"], ObjectLock(GOVERNANCE, end))
        assert vault.lock_of("a/b", version["VersionId"]) == ObjectLock(GOVERNANCE, end)
    assert vault.locked_until(["a/b", "a/missing"], until) == {"a/b": until + DAY}
    assert vault.locked_until(["a/b"], until + DAY) == {}
    with pytest.raises(StoreDenied):
        vault.lock("a/b", version["VersionId"], ObjectLock(GOVERNANCE, until))
    with pytest.raises(Exception, match="Access Denied"):
        bucket.s3.delete_object(
            Bucket=bucket.name, Key=version["Key"], VersionId=version["VersionId"]
        )


def test_a_bucket_without_object_lock_says_so(server: ObjectServer, tmp_path: Path) -> None:
    server.make_bucket("plain-bucket")
    file = server.credentials(tmp_path / "credentials")
    store = open_store(server.address("plain-bucket", credentials_file=str(file)))
    store.put("pgkeep.json", [b"{}"])
    vault = open_vault(store)
    assert vault.lock_of("pgkeep.json") is None
    with pytest.raises(NoLocks) as caught:
        vault.lock("pgkeep.json", "", ObjectLock(GOVERNANCE, vault.now() + DAY))
    assert "Object Lock" in caught.value.hint
    with pytest.raises(NoVersions):
        list(vault.versions())
    found = protection(store)
    assert (found.locks, found.default_days, found.versioning) == (False, 0, False)
    assert found.words == ""


def test_stores_that_lock_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(NoLocks):
        open_vault(store)
    assert protection(store) == NOTHING._replace(destroys=True)


def test_what_a_bucket_guarantees_is_asked_for(server: ObjectServer, tmp_path: Path) -> None:
    bucket = locking_bucket(server, tmp_path, days=5)
    found = protection(bucket.store)
    assert found[:5] == (True, GOVERNANCE, 5, True, True)
    assert found.noncurrent_days == 0
    assert found.words == "Object Lock, governance, 5 d for each new object"
    rule = {
        "ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3},
    }  # fmt: skip
    bucket.s3.put_bucket_lifecycle_configuration(
        Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    assert protection(bucket.store).noncurrent_days == 3
    bucket.store.put("a", [b"x"])  # the bucket locks it by itself
    held = bucket.vault.lock_of("a")
    assert held is not None
    assert timedelta(days=4) < held.until - datetime.now(UTC) <= timedelta(days=5)


# The past


def test_a_store_as_it_was(bucket: LockingBucket) -> None:
    store = bucket.store
    for name in ("a/b", "a/bc", "x"):
        store.put(name, [name.encode() * 3])
    moment = next_second()
    store.delete("a/b")
    store.put("a/bc", [b"another"])
    store.put("new", [b"new"])
    was = open_store(past(bucket, moment))
    assert was.url == f"{store.url} as it was before {moment:%Y-%m-%d %H:%M:%S} UTC"
    assert open_store(was.address).url == was.url
    assert [(blob.name, blob.size) for blob in was.list()] == [("a/b", 9), ("a/bc", 12), ("x", 3)]
    assert [blob.name for blob in was.list("a/b")] == ["a/b", "a/bc"]
    fresh = open_store(past(bucket, moment))  # has listed nothing
    assert fresh.get("a/b") == b"a/ba/ba/b"
    assert fresh.get("a/bc", 4, 4) == b"a/bc"
    assert fresh.get("x", 3) == fresh.get("x", 1, 0) == b""
    assert fresh.stat("x").size == 3
    for name in ("new", "a", "a/none"):
        with pytest.raises(BlobMissing):
            fresh.get(name)
    with pytest.raises(ShortRead):
        fresh.get("x", 0, 4)
    assert list(open_store(past(bucket, moment - DAY)).list()) == []


def test_the_past_can_be_changed_by_nobody(bucket: LockingBucket) -> None:
    was = open_store(past(bucket, datetime.now(UTC)))
    changes = (
        lambda: was.put("a", [b""]),
        lambda: was.create("a", [b""]),
        lambda: was.delete("a"),
        lambda: was.sweep_temp(0, 0),
    )
    for change in changes:
        with pytest.raises(PastIsReadOnly):
            change()
    with pytest.raises(BadStoreUrl) as caught:
        open_store(f"{bucket.address}&versions=before:yesterday")
    assert "before:2026-11-20T03:00Z" in caught.value.hint


def test_more_versions_than_a_page_holds(bucket: LockingBucket) -> None:
    store = bucket.store
    for number in range(3):
        store.put("a", [b"x" * number])
        store.put(f"b{number}", [b"x"])
    vault = bucket.vault
    s3 = vault.client.ask("open it", lambda s3: s3)
    original = s3.list_object_versions
    s3.list_object_versions = lambda **wanted: original(**wanted, MaxKeys=2)
    found = list(vault.versions())
    assert [(versions[0].name, len(versions)) for versions in found] == [
        ("a", 3), ("b0", 1), ("b1", 1), ("b2", 1),
    ]  # fmt: skip
    assert [version.size for version in found[0]] == [2, 1, 0]
    assert [version.latest for version in found[0]] == [True, False, False]


# Locking what is kept, and expire


def test_what_is_kept_is_locked_and_what_goes_is_not(bucket: LockingBucket, small: Small) -> None:
    done = lock(bucket, small)
    newest, oldest = small.manifest(_ids(small)[1]), small.manifest(_ids(small)[0])
    assert done.until is not None
    assert done.extended == done.needed > 4
    assert not done.tampering
    locks = {blob.name: bucket.vault.lock_of(blob.name) for blob in bucket.store.list()}
    locked = {name for name, held in locks.items() if held is not None}
    prefix = "clusters/main"
    assert {"pgkeep.json", f"{prefix}/backups/{newest.facts.id}/manifest"} <= locked
    assert f"{prefix}/backups/{oldest.facts.id}/manifest" not in locked
    assert any(name.startswith(f"{prefix}/generations/") for name in locked)
    assert any(name.startswith(f"{prefix}/wal/") for name in locked)
    again = lock(bucket, small)
    assert (again.extended, again.needed) == (0, done.needed)
    longer = lock(bucket, small, days=9)
    assert longer.extended == done.needed
    assert longer.until is not None
    assert longer.until > done.until + DAY


def test_a_dry_run_locks_nothing(bucket: LockingBucket, small: Small) -> None:
    wish = LockWish(Wish(LAST, UTC), GOVERNANCE, LockRules(DAY, DAY))
    done = lock_objects(small.folder, bucket.vault, wish, dry_run=True)
    assert done.extended == done.needed > 0
    assert bucket.vault.lock_of("pgkeep.json") is None


def test_expire_leaves_alone_what_is_locked_and_deletes_it_later(
    bucket: LockingBucket, small: Small
) -> None:
    first, second = _ids(small)
    lock(bucket, small, KeepPolicy(daily=2), days=7)
    names = [blob.name for blob in bucket.store.list()]
    wish = Wish(LAST, UTC, locks=bucket.vault)
    outcome = expire(small.folder, wish).outcome
    assert outcome is not None
    assert outcome.problem is None
    assert outcome.backups == ()
    assert outcome.held is not None
    assert outcome.held.objects == 1  # the manifest; the rest is not asked for, as it is needed
    assert [blob.name for blob in bucket.store.list()] == names
    assert small.read(first, "base/5/1") == b"one" * 5000
    # When the locks have ended:
    later = Wish(LAST, UTC, locks=_Later(bucket))
    outcome = expire(small.folder, later).outcome
    assert outcome is not None
    assert outcome.backups == (first,)
    assert outcome.held is None
    assert _ids(small) == [second]


def test_packs_that_are_locked_longer_than_their_manifest_go_later(
    bucket: LockingBucket, small: Small
) -> None:
    first, _ = _ids(small)
    [pack] = (
        blob.name
        for blob in bucket.store.list("clusters/main/packs/")
        if bytes.fromhex(blob.name.rpartition("/")[2])
        in small.manifest(first).tables.pack.id.tolist()
    )
    until = bucket.vault.now() + DAY
    bucket.vault.lock(pack, "", ObjectLock(GOVERNANCE, until))
    outcome = expire(small.folder, Wish(LAST, UTC, locks=bucket.vault)).outcome
    assert outcome is not None
    assert outcome.backups == (first,)
    assert outcome.held is not None
    assert (outcome.held.objects, outcome.held.last) == (1, until)
    assert bucket.store.stat(pack).size == outcome.held.size
    # It is nobody's now, and goes with an expire a day later, as remains of interrupted work do.
    assert bucket.vault.lock_of(pack) == ObjectLock(GOVERNANCE, until)


def test_a_backup_that_is_locked_is_not_deleted(bucket: LockingBucket, small: Small) -> None:
    first, second = _ids(small)
    lock(bucket, small, KeepPolicy(daily=2))
    names = [blob.name for blob in bucket.store.list()]
    _, outcome = delete(small.folder, first, locks=bucket.vault)
    assert (outcome.backups, outcome.problem) == ((), None)
    assert outcome.held is not None
    assert [blob.name for blob in bucket.store.list()] == names
    assert _ids(small) == [first, second]


@pytest.mark.parametrize(
    ("address", "instead"),
    [
        ("az://box/p?account=me", "use the container's version-level immutability"),
        ("gs://box/p", "use the bucket's soft delete and versioning"),
        ("sftp://me@box/p", "have snapshots made on that host"),
        ("/srv/p", "keep a copy in a bucket that locks: pgkeep copy"),
    ],
)
def test_where_pgkeep_sets_no_locks_it_says_what_to_use_instead(address: str, instead: str) -> None:
    with pytest.raises(NoLocks, match="in buckets of S3 and its kin alone") as caught:
        open_vault(open_store(address))
    assert caught.value.hint.startswith(f"take lock = ... out, and {instead}")


# Attacks


def test_what_was_hidden_is_seen_and_brought_back(bucket: LockingBucket, small: Small) -> None:
    ids = _ids(small)
    done = lock(bucket, small, KeepPolicy(daily=2))
    moment = next_second()
    bucket.hide_everything()
    bucket.store.put(f"clusters/main/backups/{ids[0]}/manifest", [b"garbage"])
    assert small.folder.store.get(f"clusters/main/backups/{ids[0]}/manifest") == b"garbage"
    was = Small(open_store(past(bucket, moment)))
    assert _ids(was) == ids
    assert was.read(ids[0], "base/5/1") == b"one" * 5000
    found = look_for_hidden(bucket.store, bucket.vault)
    assert len(found.tampering) == done.needed
    assert found.first is not None
    assert found.first >= moment
    assert found.problem is not None
    assert found.before.endswith(f"versions=before:{found.first:%Y-%m-%dT%H:%M:%SZ}")
    assert _ids(Small(open_store(found.before))) == ids
    healed = look_for_hidden(bucket.store, bucket.vault, bring_back=True)
    assert healed.brought_back == done.needed
    assert healed.problem is None
    assert _ids(small) == ids
    assert look_for_hidden(bucket.store, bucket.vault).tampering == ()


def test_a_bucket_that_locks_by_itself_gets_everything_back(
    server: ObjectServer, tmp_path: Path
) -> None:
    """As docs/immutable.md sets buckets up: garbage is locked then, too."""
    bucket = locking_bucket(server, tmp_path, days=5)
    small = two_backups(bucket)
    next_second()
    bucket.hide_everything()
    bucket.store.put("pgkeep.json", [b"garbage"])
    healed = look_for_hidden(bucket.store, bucket.vault, bring_back=True)
    assert healed.problem is None
    assert small.read(_ids(small)[0], "base/5/1") == b"one" * 5000
    assert Repository.open(bucket.store, None).clusters() == ["main"]


def test_the_good_version_stays_locked_when_another_lies_over_it(
    bucket: LockingBucket, small: Small
) -> None:
    lock(bucket, small, days=3)
    name = f"clusters/main/backups/{_ids(small)[1]}/manifest"
    next_second()
    bucket.store.put(name, [b"garbage"])
    done = lock(bucket, small, days=5)
    [deed] = done.tampering
    assert (deed.name, deed.deed) == (name, Deed.OVERWRITTEN)
    assert done.frozen
    assert done.problem is not None
    assert "overwritten" in str(done.problem)
    held = bucket.vault.lock_of(name, deed.original.id)
    assert held is not None
    assert held.until > datetime.now(UTC) + 4 * DAY
    # What nobody knows to be needed is kept, too, while that is so.
    other = f"clusters/main/backups/{_ids(Small(open_store(past(bucket, deed.at))))[0]}/manifest"
    assert bucket.vault.lock_of(other) is not None


def test_what_pgkeep_does_itself_is_no_tampering(server: ObjectServer, tmp_path: Path) -> None:
    bucket = locking_bucket(server, tmp_path, days=5)  # every object is locked, also these
    store = bucket.store
    for name in ("clusters/main/locks/a.json", "clusters/main/attempts/b.json", "pgkeep-check-1"):
        store.put(name, [b"one"])
        store.put(name, [b"two"])
        store.delete(name)
    store.put("clusters/main/packs/00/aa", [b"same"])
    store.put("clusters/main/packs/00/aa", [b"same"])  # an answer was lost, and it was sent again
    assert find_tampering(bucket.vault, bucket.vault.versions()) == []


def test_when_nothing_can_be_opened_any_more_everything_is_locked_longer(
    bucket: LockingBucket, small: Small
) -> None:
    rules = LockRules(20 * DAY, 30 * DAY)
    lock(bucket, small, days=3)
    assert freeze(bucket.vault, GOVERNANCE, rules) == 0  # nobody has done anything
    oldest = f"clusters/main/backups/{_ids(small)[0]}/manifest"  # retention lets it go
    next_second()
    bucket.hide_everything()
    assert freeze(bucket.vault, GOVERNANCE, rules) > 4
    for name in ("pgkeep.json", oldest):
        [version] = bucket.versions(name)
        held = bucket.vault.lock_of(name, version["VersionId"])
        assert held is not None
        assert held.until > datetime.now(UTC) + 19 * DAY


class _Later:
    """The locks of a bucket, as they will be in a year."""

    def __init__(self, bucket: LockingBucket) -> None:
        self._vault = bucket.vault

    def locked_until(self, names: Sequence[str], now: datetime) -> Mapping[str, datetime]:
        return self._vault.locked_until(names, now + 365 * DAY)


def _ids(small: Small) -> list[str]:
    from pgkeep.repository import catalog

    return [str(backup.id) for backup in catalog.backups(small.folder).backups]
