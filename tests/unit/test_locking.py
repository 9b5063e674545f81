"""What is said of locks, and what the config takes."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.cli.locking import text as locking
from pgkeep.cli.render import retention as render
from pgkeep.cli.text import Look
from pgkeep.config.whole import read_config
from pgkeep.config_reader import BadConfig
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.store.bucket.options import parse
from pgkeep.repository.store.bucket.reading import Answer, translate
from pgkeep.repository.store.objectlock.errors import LocksNotInstalled
from pgkeep.repository.store.objectlock.protection import UNKNOWN, Protection, protection
from pgkeep.repository.store.objectlock.tampering import (
    Deed,
    Suspect,
    Tampering,
    is_passing,
    judge,
    suspects,
)
from pgkeep.repository.store.objectlock.vault import LockMode, ObjectLock, open_vault
from pgkeep.repository.store.objectlock.versions import Version, as_of
from pgkeep.repository.store.open import open_store
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.locking.hidden import Hidden
from pgkeep.retention.locking.plan import extension
from pgkeep.retention.locking.report import LockReport
from pgkeep.retention.policy import KeepPolicy
from pgkeep.setup.locking import judge_locks
from pgkeep.setup.verdicts import State
from support.shelves import NOW, PACK_SIZE, Shelf

T = datetime(2026, 11, 20, 3, 14, 7, tzinfo=UTC)
LOOK = Look()
GOOD = Protection(True, LockMode.COMPLIANCE, 7, True, False, 7)


class Ends(dict[str, datetime]):
    """Locks of objects, by name."""

    def locked_until(self, names: Sequence[str], now: datetime) -> Mapping[str, datetime]:
        return {name: self[name] for name in names if name in self and self[name] > now}


def version(name: str, seconds: int, *, tag: str = "a", marker: bool = False) -> Version:
    return Version(name, f"v{seconds}", T + timedelta(seconds=seconds), False, marker, 5, tag)


# Expire


def shelf_of_two() -> Shelf:
    shelf = Shelf()
    shelf.wal(0, 19, 0)
    shelf.backup("a", 9, 1, packs="ax")
    shelf.backup("b", 8, 5, packs="bx")
    shelf.at(0)
    return shelf


def test_what_is_locked_stays_whole_and_listed() -> None:
    shelf = shelf_of_two()
    before = [blob.name for blob in shelf.cluster.store.list()]
    [manifest] = (n for n in before if "/backups/" in n and n.endswith("a/manifest"))
    locks = Ends({manifest: NOW + timedelta(days=2), "nothing": NOW})
    wish = Wish(KeepPolicy(daily=1, minimum=1), UTC, NOW, locks)
    outcome = expire(shelf.cluster, wish).outcome
    assert outcome is not None
    assert outcome.backups == ()
    assert outcome.packs.objects == 0
    assert outcome.problem is None
    gone = {*before} - {blob.name for blob in shelf.cluster.store.list()}
    assert gone
    assert all("/wal/" in name and not name.endswith("001") for name in gone)  # nobody's
    shown = render.outcome(outcome)
    assert shown.endswith(
        "\nleft alone: 1 object (0 B), locked until "
        f"{NOW + timedelta(days=2):%Y-%m-%d %H:%M} UTC; a later pgkeep expire deletes them"
    )


def test_a_locked_pack_does_not_keep_its_backup() -> None:
    shelf = shelf_of_two()
    packs = [blob.name for blob in shelf.cluster.store.list("clusters/")]
    goes = expire(shelf_of_two().cluster, Wish(KeepPolicy(daily=1, minimum=1), UTC, NOW)).outcome
    assert goes is not None
    assert goes.packs.objects == 1
    locks = Ends(dict.fromkeys((n for n in packs if "/packs/" in n), NOW + timedelta(days=1)))
    outcome = expire(shelf.cluster, Wish(KeepPolicy(daily=1, minimum=1), UTC, NOW, locks)).outcome
    assert outcome is not None
    assert len(outcome.backups) == 1
    assert outcome.held is not None
    assert (outcome.held.objects, outcome.held.size) == (1, PACK_SIZE)
    facts = render.outcome_facts(outcome)
    assert facts["locked"]["objects"] == 1
    assert facts["packs"] == {"objects": 0, "size": 0}


@pytest.mark.parametrize(
    ("held", "wanted", "found"),
    [
        pytest.param(None, "governance 5", "governance 5", id="none yet"),
        pytest.param("governance 3", "governance 5", "governance 5", id="too short"),
        pytest.param("governance 5", "governance 5", None, id="long enough"),
        pytest.param("governance 9", "governance 5", None, id="longer"),
        pytest.param("governance 3", "compliance 5", "compliance 5", id="harder and longer"),
        pytest.param("governance 9", "compliance 5", "compliance 9", id="harder, no shorter"),
        pytest.param("compliance 3", "governance 5", "compliance 5", id="no weaker"),
        pytest.param("compliance 9", "governance 5", None, id="hard and long enough"),
    ],
)
def test_no_lock_becomes_weaker(held: str | None, wanted: str, found: str | None) -> None:
    def lock(sketch: str | None) -> ObjectLock | None:
        mode, days = sketch.split() if sketch else ("", "")
        return ObjectLock(LockMode(mode), T + timedelta(days=int(days))) if sketch else None

    aim = lock(wanted)
    assert aim is not None
    assert extension(lock(held), aim.mode, aim.until) == lock(found)
    almost = ObjectLock(aim.mode, aim.until - timedelta(minutes=9))
    assert extension(almost, aim.mode, aim.until) is None


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        ("lock a", "s3:PutObjectRetention"),
        ("look at the lock of a", "s3:GetObjectRetention"),
        ("see the versions of everything", "s3:ListBucketVersions"),
        ("recall a", "s3:GetObjectVersion"),
    ],
)
def test_what_is_not_allowed_is_called_by_its_name(action: str, permission: str) -> None:
    answer = Answer(403, "AccessDenied", "Access Denied", "")
    assert f"{permission} is needed" in str(translate(answer, action, parse("s3://bucket/p")))


# Versions


def test_what_was_current_at_a_moment() -> None:
    history = [version("a", 0), version("a", 10, marker=True), version("a", 20, tag="b")]
    for seconds, found in ((0, None), (1, "v0"), (10, "v0"), (11, None), (20, None), (21, "v20")):
        was = as_of(history, T + timedelta(seconds=seconds))
        assert (was.id if was else None) == found, seconds
    same_second = [version("a", 0), version("a", 0, marker=True)]
    assert as_of(same_second, T + timedelta(seconds=1)) == same_second[0]


def test_only_what_a_lock_held_was_tampered_with() -> None:
    name = "clusters/main/backups/x/manifest"
    original, marker = version(name, 0), version(name, 10, marker=True)
    [suspect] = suspects([marker, original])
    assert suspect == Suspect(original, marker)
    assert judge(suspect, None) is None
    assert judge(suspect, ObjectLock(LockMode.GOVERNANCE, marker.since)) is None
    held = ObjectLock(LockMode.GOVERNANCE, marker.since + timedelta(seconds=1))
    assert judge(suspect, held) == Tampering(name, Deed.HIDDEN, marker.since, original)
    over = version(name, 5, tag="b")
    found = judge(Suspect(original, over), held)
    assert found is not None
    assert found.deed is Deed.OVERWRITTEN
    assert list(suspects([version(name, 20), marker, original])) == []  # it is back
    assert list(suspects([version(name, 5), original])) == []  # the same was stored twice
    back = version(name, 20)
    assert list(suspects([back, over, original])) == []  # what had been put over it was removed
    again = version(name, 30, tag="c")
    deeds = [Suspect(original, over), Suspect(back, again)]
    assert list(suspects([again, back, over, original])) == deeds  # and then a second attack


@pytest.mark.parametrize(
    ("name", "passing"),
    [
        ("pgkeep.json", False),
        ("keys/0.json", False),
        ("clusters/main/wal/18-1/x", False),
        ("clusters/main/locks/backup-1.json", True),
        ("clusters/main/attempts/1.json", True),
        ("clusters/main/pins/1/2.json", True),
        ("probes/1", True),
        (".tmp/x", True),
    ],
)
def test_which_objects_come_and_go(name: str, passing: bool) -> None:
    assert is_passing(name) is passing


# What is said


def test_a_report_of_locks() -> None:
    done = LockReport(
        "main", "s3://b/p", LockMode.GOVERNANCE, False, 412, 38, 0,
        T, T + timedelta(days=30), False, (), (),
    )  # fmt: skip
    assert locking.text(done, LOOK) == (
        "412 objects must be locked; 38 were locked, or locked longer\n"
        f"all of them are locked until {LOOK.when(T)}, "
        f"the longest until {LOOK.when(T + timedelta(days=30))}"
    )
    assert locking.facts(done)["error"] is None


def test_tampering_is_an_error_that_says_what_to_read() -> None:
    deed = Tampering("pgkeep.json", Deed.HIDDEN, T, version("pgkeep.json", -5))
    found = Hidden("s3://b/p", (deed,), "s3://b/p?versions=before:2026-11-20T03:14:07Z", 0)
    assert str(found.problem) == (
        "cannot trust all that is shown in s3://b/p: 1 locked object was hidden or overwritten: "
        "pgkeep.json was hidden at 2026-11-20 03:14:07 UTC"
    )
    assert found.problem is not None
    assert "versions=before:2026-11-20T03:14:07Z" in found.problem.hint
    shown = locking.hidden_text(found, LOOK)
    assert shown.startswith("1 locked object hidden, 0 overwritten, from ")
    assert "  pgkeep --repository 's3://b/p?versions=before:2026-11-20T03:14:07Z' list" in shown
    none = Hidden("s3://b/p", (), "", 0)
    assert none.problem is None
    assert locking.hidden_text(none, LOOK) == "nothing that was locked is hidden in s3://b/p"


def test_a_missing_marker_in_a_bucket_may_be_a_hidden_one() -> None:
    assert NotARepository("s3://b/p").hint.endswith("if somebody emptied the bucket: pgkeep hidden")
    assert "hidden" not in NotARepository("/var/lib/pgkeep").hint


@pytest.mark.parametrize(
    ("found", "states"),
    [
        (GOOD, {"locks": State.OK}),
        (UNKNOWN, {"locks": State.NOTE}),
        (GOOD._replace(locks=False), {"locks": State.FAILED}),
        (GOOD._replace(default_days=0), {"locks": State.NOTE}),
        (GOOD._replace(destroys=True), {"locks": State.OK, "credentials": State.NOTE}),
        (GOOD._replace(noncurrent_days=0), {"locks": State.OK, "lifecycle": State.NOTE}),
        (GOOD._replace(noncurrent_days=None, destroys=None), {"locks": State.OK}),
    ],
)
def test_check_names_the_gaps(found: Protection, states: dict[str, State]) -> None:
    assert {verdict.name: verdict.state for verdict in judge_locks(found)} == states


def test_without_its_library_nothing_is_locked_and_nothing_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    store = open_store("s3://bucket/prefix?region=eu-central-1")
    with pytest.raises(LocksNotInstalled) as caught:
        open_vault(store)
    assert caught.value.hint == "install it: pip install 'pgkeep[objectlock]'"
    assert protection(store) == UNKNOWN
    with pytest.raises(LocksNotInstalled):
        open_store("s3://bucket/prefix?versions=before:2026-11-20T03:00Z")


def test_the_least_is_no_longer_than_the_most() -> None:
    table = {"url": "s3://bucket/p", "lock_ahead": "10d", "lock_maximum": "9d"}
    with pytest.raises(BadConfig, match="lock_ahead is longer than lock_maximum"):
        read_config({"repository": table}, "pgkeep.toml")
