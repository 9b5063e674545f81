"""What expire does to a repository, and when it refuses."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.model.backup import BackupId
from pgkeep.model.cluster import Generation
from pgkeep.repository import names
from pgkeep.repository.acts.act import EXPIRE, KEY_TEST, RUNBOOK
from pgkeep.repository.acts.storing import acts, record_act
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockLost, LockTaken
from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import read_reports, write_report
from pgkeep.repository.marker import timed_id
from pgkeep.repository.proofs import (
    BackupProof,
    DamagedObject,
    Level,
    Proof,
    Verdict,
    write_proof,
)
from pgkeep.repository.store.base import StoreFailed, TempFile
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.retention.expire import ClockDiffers, Wish, expire, preview
from pgkeep.retention.packs import PacksMissing
from pgkeep.retention.pins import add_pin
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.report import Decision, Expired, Outcome
from pgkeep.retention.survey import NothingListed, PinnedMissing, Unprovable
from support.acts import an_act
from support.drill_reports import a_report
from support.shelves import NOW, PACK_SIZE, SIZE, Shelf

DAILY_1 = KeepPolicy(daily=1, minimum=1)


def wish(policy: KeepPolicy = DAILY_1) -> Wish:
    return Wish(policy, UTC, NOW)


def run(shelf: Shelf, policy: KeepPolicy = DAILY_1) -> Expired:
    shelf.at(0)
    return expire(shelf.cluster, wish(policy))


def done(shelf: Shelf, policy: KeepPolicy = DAILY_1) -> Outcome:
    outcome = run(shelf, policy).outcome
    assert outcome is not None
    return outcome


def shelf_of_three() -> Shelf:
    """Three backups a day apart, each with a pack of its own and one shared with its neighbour."""
    shelf = Shelf()
    shelf.wal(0, 19, 0)
    shelf.backup("a", 9, 1, packs="ax")
    shelf.backup("b", 8, 5, packs="bxy")
    shelf.backup("c", 7, 9, packs="cy")
    return shelf


def test_scenario_105_a_dry_run_tells_the_real_effect_and_changes_nothing() -> None:
    shelf = shelf_of_three()
    before = shelf.everything()
    seen: list[Decision] = []
    shelf.at(0)
    told = preview(shelf.cluster, wish())
    assert shelf.everything() == before
    expired = expire(shelf.cluster, wish(), seen.append)
    assert seen == [expired.decision]
    assert expired.decision.plan == told.plan
    assert expired.decision.packs == told.packs
    gone = {names.manifest("main", name) for name in ("a", "b")}
    gone |= {names.pack("main", letter.encode() * 16) for letter in "abx"}
    gone |= {file.object for file in told.wal_files}
    assert before - shelf.everything() == gone
    assert shelf.everything() < before
    assert (shelf.ids(), shelf.packs(), shelf.segments()) == ("c", "cy", list(range(9, 20)))
    outcome = expired.outcome
    assert outcome is not None
    assert (outcome.backups, outcome.packs, outcome.problem) == (("a", "b"), (3, 3600), None)
    assert outcome.size == told.freed


def test_a_second_run_finds_nothing_to_do() -> None:
    shelf = shelf_of_three()
    run(shelf)
    assert done(shelf) == Outcome()


def test_without_a_policy_nothing_goes() -> None:
    shelf = shelf_of_three()
    before = shelf.everything()
    assert done(shelf, KeepPolicy()) == Outcome()
    assert shelf.everything() == before


def test_order_is_manifests_then_packs_then_wal_oldest_first() -> None:
    shelf = shelf_of_three()
    deleted: list[str] = []

    class Watching(MemoryStore):
        def delete(self, name: str) -> None:
            deleted.append(name.split("/")[2])
            super().delete(name)

        def secure(self, prefix: str) -> None:
            deleted.append(f"secured {prefix}")

    watching = Watching(clock=shelf.clock)
    watching._blobs = shelf.store._blobs
    expire(shelf.seen_through(watching), wish())
    # Should a power cut bring back a manifest that an expire deleted which died: not after that.
    assert deleted.pop(0) == "secured clusters/main/backups/"
    assert deleted.pop(0) == "secured clusters/main/dumps/"
    assert deleted == ["backups"] * 2 + ["packs"] * 3 + ["wal"] * 9 + ["locks"]


# Orphans


def test_remains_of_interrupted_backups_stay_for_a_day() -> None:
    shelf = shelf_of_three()
    shelf.pack("o", 1.01)
    shelf.pack("n", 0.99)
    found = preview(shelf.cluster, wish(KeepPolicy()))
    assert found.packs is not None
    assert [(orphan.goes, orphan.why) for orphan in found.packs.orphans] == [
        (False, "younger than 1 d: the next one may go on with it"),
        (True, "no backup and no dump names it"),
    ]
    assert done(shelf, KeepPolicy()).orphans == (1, PACK_SIZE)
    assert shelf.packs() == "abcnxy"


def test_temporary_files_of_dead_writers_go() -> None:
    shelf = shelf_of_three()
    asked: list[tuple[float, float]] = []

    class WithTemp(MemoryStore):
        def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
            asked.append((older_than, now))
            return [TempFile(".tmp/x", 7)]

    store = WithTemp(clock=shelf.clock)
    store._blobs = shelf.store._blobs
    outcome = expire(shelf.seen_through(store), wish()).outcome
    assert outcome is not None
    assert outcome.temp == (1, 7)
    assert asked == [(86400, NOW.timestamp())]


# Beside others


@pytest.mark.parametrize("kind", ["backup", "restore", "verify", "expire", "pin"])
def test_scenario_109_expire_waits_for_whoever_needs_the_objects(kind: str) -> None:
    shelf = shelf_of_three()
    before = shelf.everything()
    with (
        locks.hold(shelf.cluster, kind, f"pgkeep {kind}", ()),
        pytest.raises(LockTaken, match=rf"'pgkeep {kind}' is at work"),
    ):
        run(shelf)
    assert shelf.everything() == before


def test_scenario_109_what_a_new_backup_took_over_stays() -> None:
    """Of 'a' only the new backup needs pack x: it came while expire could not run."""
    shelf = shelf_of_three()
    with locks.hold(shelf.cluster, "backup", "pgkeep backup", {"backup", "expire"}):
        with pytest.raises(LockTaken):
            run(shelf)
        shelf.backup("d", 0, 17, packs="ax")
    run(shelf)
    assert (shelf.ids(), shelf.packs()) == ("d", "ax")


def test_a_lost_lock_stops_it_before_anything_is_deleted() -> None:
    shelf = shelf_of_three()

    def lose(found: Decision) -> None:
        for blob in list(shelf.store.list("clusters/main/locks/")):
            shelf.store.delete(blob.name)

    before = shelf.everything()
    with pytest.raises(LockLost):
        expire(shelf.cluster, wish(), lose)
    assert shelf.everything() == before


def test_the_clocks_of_host_and_repository_must_agree() -> None:
    shelf = shelf_of_three()
    shelf.clock.moment = datetime.now(UTC) - timedelta(hours=2)
    with pytest.raises(ClockDiffers, match="this host's clock says 2"):
        expire(shelf.cluster, Wish(DAILY_1, UTC))
    shelf.clock.moment = datetime.now(UTC)
    assert expire(shelf.cluster, Wish(DAILY_1, UTC)).outcome is not None
    assert shelf.ids() == "c"


# Scenario 107: what does not count


def prove(shelf: Shelf, day: float, *, damaged: dict[str, str] | None = None) -> None:
    """Store the proof of a verify that read everything, and found these damaged."""
    moment = shelf.at(day)
    damaged = damaged or {}
    ids = shelf.ids().split()
    proof = Proof(
        id=timed_id(moment, b"abcd"),
        cluster="main",
        level=Level.BYTES,
        everything=True,
        pgkeep_version="1",
        started_at=moment,
        finished_at=moment,
        backups=tuple(
            BackupProof(i, Verdict.DAMAGED if i in damaged else Verdict.GOOD, damaged.get(i, ""))
            for i in ids
        ),
        damaged=tuple(
            DamagedObject(names.pack("main", i.encode() * 16), why, (i,), files=True)
            for i, why in damaged.items()
        ),
    )
    write_proof(shelf.cluster, proof)


def test_scenario_107_a_backup_that_a_verify_found_damaged_does_not_count() -> None:
    shelf = shelf_of_three()
    prove(shelf, 1, damaged={"c": "3 files are lost"})
    found = preview(shelf.cluster, wish(KeepPolicy(daily=1, minimum=1)))
    verdicts = {str(v.backup.id): (v.keep, v.usable, v.why) for v in found.plan.backups}
    assert verdicts["b"][:2] == (True, True)
    assert verdicts["c"] == (False, False, ("damaged: 3 files are lost", "no rule keeps it"))
    run(shelf)
    assert shelf.ids() == "b"


def test_old_proofs_go_when_one_that_read_everything_is_newer() -> None:
    shelf = shelf_of_three()
    for number in range(103):
        prove(shelf, 200 - number)
    assert done(shelf, KeepPolicy()).proofs.objects == 3
    assert len(list(shelf.store.list(names.proofs_prefix("main")))) == 100


def test_old_reports_of_drills_go_but_for_the_newest_that_passed() -> None:
    shelf = shelf_of_three()
    for days, status in ((900, "passed"), (600, "passed"), (500, "failed"), (3, "could not test")):
        ended = NOW - timedelta(days=days)
        write_report(shelf.cluster, a_report(timed_id(ended, b"\1"), Status(status)))
    other = names.drill("main", "notes")
    shelf.store.put(other, [b"{}"])
    asked = Wish(KeepPolicy(), UTC, NOW, drills=timedelta(days=400))
    assert len(preview(shelf.cluster, asked).drills) == 2
    outcome = expire(shelf.cluster, asked).outcome
    assert outcome is not None
    assert outcome.drills.objects == 2
    left = [report.status.value for report in read_reports(shelf.cluster).found]
    assert left == ["could not test", "passed"]
    assert preview(shelf.cluster, asked).drills == ()
    assert other in {blob.name for blob in shelf.store.list()}
    for_ever = Wish(KeepPolicy(), UTC, NOW + timedelta(days=9999))
    assert preview(shelf.cluster, for_ever).drills == ()


def test_old_acts_go_but_for_the_newest_of_each_kind() -> None:
    shelf = shelf_of_three()
    repository = shelf.cluster.repository
    for number, (days, what) in enumerate(
        ((900, KEY_TEST), (600, KEY_TEST), (500, RUNBOOK), (401, EXPIRE), (3, EXPIRE))
    ):
        for cluster in ("main", ""):
            act = an_act(NOW - timedelta(days=days), what, cluster=cluster, chance=number)
            record_act(repository, act)
    other = f"{names.acts_prefix('main')}notes.txt"
    shelf.store.put(other, [b"{}"])
    asked = Wish(KeepPolicy(), UTC, NOW, acts=timedelta(days=400))
    outcome = expire(shelf.cluster, asked).outcome
    assert outcome is not None
    assert outcome.acts.objects == 4
    for cluster in ("main", ""):
        left = [(NOW - act.at).days for act in acts(repository, cluster).found]
        assert left == [3, 500, 600]
    assert preview(shelf.cluster, asked).acts == ()
    assert other in {blob.name for blob in shelf.store.list()}
    assert preview(shelf.cluster, Wish(KeepPolicy(), UTC, NOW + timedelta(9999))).acts == ()


# Scenario 112: pinned, held and locked


def test_scenario_112_a_pinned_backup_stays_with_its_island_until_its_pin_ends() -> None:
    shelf = shelf_of_three()
    pinned = names.pins_prefix("main")
    add_pin(shelf.cluster, BackupId("a"), "audit", NOW + timedelta(days=1), NOW)
    plan = run(shelf).decision.plan
    assert plan.backups[0].why == ("pinned: audit, until 2026-03-02 12:00 UTC",)
    assert (shelf.ids(), shelf.packs()) == ("a c", "acxy")
    assert shelf.segments() == [1, *range(9, 20)]
    shelf.at(-2)
    expire(shelf.cluster, Wish(DAILY_1, UTC, NOW + timedelta(days=2)))
    assert shelf.ids() == "c"
    assert list(shelf.store.list(pinned)) == []  # nothing is left of it


class Refusing(MemoryStore):
    """A store that does not delete certain objects: object lock, or lost permissions."""

    held: tuple[str, ...] = ()

    def delete(self, name: str) -> None:
        if any(part in name for part in self.held):
            raise StoreFailed(self.url, f"delete {name}", "object is locked")
        super().delete(name)


def refusing(shelf: Shelf, *held: str) -> Expired:
    store = Refusing(clock=shelf.clock)
    store._blobs, store.held = shelf.store._blobs, held
    return expire(shelf.seen_through(store), wish())


def test_scenario_112_a_manifest_that_the_store_holds_keeps_all_it_needs() -> None:
    shelf = shelf_of_three()
    outcome = refusing(shelf, "/backups/a/").outcome
    assert outcome is not None
    assert outcome.backups == ("b",)
    assert (shelf.ids(), shelf.packs()) == ("a c", "acxy")
    assert shelf.segments() == [1, *range(9, 20)]
    assert str(outcome.problem) == (
        "cannot delete 1 of the objects of cluster main that should go: "
        "clusters/main/backups/a/manifest: cannot delete clusters/main/backups/a/manifest in "
        "memory:: object is locked"
    )
    run(shelf)
    assert (shelf.ids(), shelf.packs()) == ("c", "cy")


def test_scenario_112_a_pack_that_the_store_holds_is_shown_again() -> None:
    shelf = shelf_of_three()
    outcome = refusing(shelf, "/packs/").outcome
    assert outcome is not None
    assert outcome.problem is not None
    assert (outcome.problem.failed, outcome.packs.objects, outcome.wal.objects) == (3, 0, 9)
    found = preview(shelf.cluster, wish())
    assert found.packs is not None
    assert len(found.packs.orphans) == 3
    assert done(shelf).orphans.objects == 3
    assert shelf.packs() == "cy"


def test_a_store_that_refuses_everything_is_not_asked_for_ever() -> None:
    shelf = Shelf()
    shelf.wal(0, 60, 0)
    shelf.backup("a", 9, 50)
    outcome = refusing(shelf, "/wal/").outcome
    assert outcome is not None
    assert outcome.problem is not None
    assert outcome.problem.failed == 50  # of which 20 were tried
    assert len(shelf.segments()) == 61


# Scenario 113: a damaged repository


def test_scenario_113_a_manifest_that_cannot_be_read_stops_everything() -> None:
    shelf = shelf_of_three()
    shelf.damage_manifest("b")
    before = shelf.everything()
    expired = run(shelf)
    assert expired.outcome is None
    refusal = expired.decision.refusal
    assert isinstance(refusal, Unprovable)
    assert str(refusal).startswith(
        "cannot delete anything of cluster main: backup b cannot be read, so what it needs is "
        "unknown: "
    )
    assert refusal.hint.endswith("or give the backup up: pgkeep delete b --yes")
    assert shelf.everything() == before


def test_scenario_113_a_manifest_whose_tables_alone_are_damaged_stops_everything() -> None:
    shelf = shelf_of_three()
    name = names.manifest("main", "c")
    content = bytearray(shelf.store.get(name))
    content[-1] ^= 1
    shelf.store.put(name, [bytes(content)])
    before = shelf.everything()
    assert isinstance(run(shelf).decision.refusal, Unprovable)
    assert shelf.everything() == before


def test_scenario_113_no_listed_backup_but_packs() -> None:
    shelf = shelf_of_three()
    for name in "abc":
        shelf.store.delete(names.manifest("main", name))
    before = shelf.everything()
    with pytest.raises(
        NothingListed, match="no backup and no dump is listed in memory:, though 5 packs"
    ):
        run(shelf)
    assert shelf.everything() == before


def test_scenario_113_a_pinned_backup_that_is_not_listed() -> None:
    shelf = shelf_of_three()
    add_pin(shelf.cluster, BackupId("b"), "audit", None, NOW)
    shelf.store.delete(names.manifest("main", "b"))
    with pytest.raises(PinnedMissing, match="backup b is pinned, and not listed"):
        run(shelf)


def test_scenario_113_a_pack_that_is_not_there() -> None:
    shelf = shelf_of_three()
    shelf.store.delete(names.pack("main", b"y" * 16))
    before = shelf.everything()
    refusal = run(shelf).decision.refusal
    assert isinstance(refusal, PacksMissing)
    assert (refusal.backup, refusal.missing) == ("c", 1)
    assert shelf.everything() == before
    # Once verify has said so, the damaged backup counts no longer.
    prove(shelf, 0, damaged={"c": "a file is lost", "b": "a file is lost"})
    run(shelf)
    assert shelf.ids() == "a"


def test_scenario_113_a_generation_that_is_not_on_record() -> None:
    shelf = shelf_of_three()
    shelf.store.delete(names.generation("main", shelf.generation.id))
    before = shelf.everything()
    with pytest.raises(NothingListed):
        run(shelf)
    assert shelf.everything() == before
    other = Shelf(generation=Generation(99, 19, SIZE), clock=shelf.clock)
    other.store = shelf.store
    other.cluster.add_generation(other.generation)
    other.wal(0, 3, 0)
    other.backup("d", 1, 1)
    with pytest.raises(Unprovable, match="its generation 18-7710983248089545577 is not on record"):
        run(shelf)


def test_scenario_113_wal_that_is_not_listed_strands_all_and_nothing_goes() -> None:
    shelf = shelf_of_three()
    for blob in list(shelf.store.list("clusters/main/wal/")):
        shelf.store.delete(blob.name)
    before = shelf.everything()
    plan = run(shelf).decision.plan
    assert plan.keeps_all == "no backup can be restored: nothing goes until one can"
    assert shelf.everything() == before
