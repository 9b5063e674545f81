"""Copies carried out between stores in memory: what arrives, what does not, and who waits."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.model.segment import Segment
from pgkeep.replicate.copy import CopyOptions, preview, run
from pgkeep.replicate.plan import Only, Send
from pgkeep.replicate.report import CopyIncomplete
from pgkeep.replicate.send import Fate, Sent, Unconfirmed
from pgkeep.replicate.threads import Threads
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.acts.storing import acts, record_act
from pgkeep.repository.census.shelf import listed, write_census
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockLost, LockTaken
from pgkeep.repository.copies.identity import AnotherRepository, CopyRefused
from pgkeep.repository.copies.object_names import ObjectKind
from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import read_reports, write_report
from pgkeep.repository.marker import encode_document
from pgkeep.repository.proofs import Verdict
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import BlobStat, Store, StoreFailed, StoreFull
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.pins import add_pin
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.together import judge_together
from support.acts import an_act
from support.censuses import census_at
from support.copies import KEY, Pair, common, demand_clean, full_source
from support.drill_reports import a_report
from support.small_repository import FIRST, GENERATION, SIZE, Small

NOW = FIRST + timedelta(days=60)


def pack_of(small: Small, backup_id: str, row: int = 0) -> str:
    return names.pack("main", small.manifest(backup_id).tables.pack.name(row))


def ids(small: Small) -> list[str]:
    return [str(backup.id) for backup in catalog.backups(small.folder).backups]


def wal_name(number: int) -> str:
    return names.wal("main", GENERATION.id, Segment(1, number, SIZE).name)


def spoil(store: Store, name: str, at: int = 100) -> bytes:
    """Flip a bit of an object; return what it was."""
    content = store.get(name)
    damaged = bytearray(content)
    damaged[at] ^= 1
    store.put(name, [bytes(damaged)])
    return content


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("jobs", [1, 4])
def test_everything_that_copies_have_in_common_arrives_byte_for_byte(
    key: object, jobs: int
) -> None:
    pair = Pair(full_source(key=KEY if key else None))
    first, second = ids(pair.source)
    add_pin(pair.source.folder, first, "the audit", None, NOW)
    before = pair.source.blobs()
    done = pair.copy(jobs=jobs, verify=True)
    assert common(pair.store) == common(pair.source.store)
    assert pair.source.blobs() == before, "nothing is left at the source, not even a lock"
    assert done.problem is None
    (dump,) = dumps.dumps(pair.source.folder).ids()
    assert set(done.listed) == {first, second, dump}
    assert done.counts() == {
        ObjectKind.GENERATION: 1,
        ObjectKind.PACK: 4,
        ObjectKind.MANIFEST: 3,
        ObjectKind.WAL: 7,
        ObjectKind.PIN: 1,
        ObjectKind.CENSUS: 1,
    }
    demand_clean(pair.verify())


def test_a_second_copy_sends_only_what_is_new() -> None:
    pair = Pair()
    pair.copy()
    assert pair.copy().plan.batches == ()
    pair.source.archive(2)
    third = pair.source.backup({"base/5/16384": b"three" * 9000})
    done = pair.copy()
    assert [batch.title for batch in done.plan.batches] == [
        f"WAL that carries on backup {ids(pair.source)[1]}",
        f"backup {third}",
    ]
    assert common(pair.store) == common(pair.source.store)


def test_locks_attempts_and_proofs_stay_where_they_are() -> None:
    """What one store was found to hold proves nothing of another."""
    pair = Pair()
    own = [f"clusters/main/{name}" for name in ("attempts/x.json", "proofs/y.json", "notes.txt")]
    for name in own:
        pair.source.store.put(name, [b"{}"])
    pair.copy()
    assert pair.there().isdisjoint(own)


def test_a_copy_knows_who_archives() -> None:
    """Else a copy of production could claim it before production does."""
    pair = Pair()
    folder = f"clusters/main/generations/{GENERATION.id}.writer"
    name = f"{folder}/000001-00000001-d7599a76631d9d35.json"
    lost = f"clusters/main/lost/{GENERATION.id}/{'0' * 23}3-{'0' * 23}4.json"  # and why WAL is gone
    for one in (name, lost):
        pair.source.store.put(one, [encode_document({"host": "db1"})])
    pair.copy()
    for one in (name, lost):
        assert pair.store.get(one) == pair.source.store.get(one)
    assert pair.verify().unexplained == ()


def test_reports_of_drills_are_copied_if_they_can_be_read() -> None:
    pair = Pair()
    folder = pair.source.folder
    write_report(folder, a_report("20261128T005242.230407Z-953a65ff", Status.PASSED))
    torn = "clusters/main/drills/20261128T005242.230407Z-00000000.json"
    pair.source.store.put(torn, [b"{}"])
    done = pair.copy()
    assert done.counts()[ObjectKind.DRILL] == 1
    assert read_reports(pair.target).found == read_reports(folder).found
    assert [one.name for one in done.troubles] == [torn]
    assert pair.verify().unexplained == ()


def test_acts_are_copied_the_repositorys_own_too_if_they_can_be_read() -> None:
    pair = Pair()
    repository = pair.source.folder.repository
    ours, whole = an_act(NOW), an_act(NOW, cluster="")
    for act in (ours, whole):
        record_act(repository, act)
    torn = "acts/20261128T005242.230407Z-00000000.key-test.json"
    for strange in (torn, "clusters/main/acts/notes.txt"):
        repository.store.put(strange, [b"{}"])
    done = pair.copy()
    assert done.counts()[ObjectKind.ACT] == 2
    assert [one.name for one in done.troubles] == [torn]
    copied = pair.target.repository
    assert acts(copied, "main").found == (ours,)
    assert acts(copied).found == (whole,)
    assert pair.verify().unexplained == ()


def test_what_was_deleted_at_the_source_stays_in_the_copy() -> None:
    pair = Pair()
    pair.copy()
    before = common(pair.store)
    first = ids(pair.source)[0]
    pair.source.store.delete(names.manifest("main", first))
    pair.source.store.delete(wal_name(8))
    pair.copy()
    assert common(pair.store) == before


def test_a_dry_run_shows_the_same_plan_and_writes_nowhere() -> None:
    pair = Pair()
    empty = pair.target
    before = (pair.source.blobs(), set(pair.store.list()))
    shown = preview(pair.source.folder, empty, CopyOptions())
    assert (pair.source.blobs(), set(pair.store.list())) == before
    assert shown.plan == pair.copy().plan
    assert shown.to_dict()["planned_bytes"] == shown.plan.size > 0


# damage


def test_a_damaged_pack_is_not_sent_and_its_backup_is_not_listed() -> None:
    pair = Pair()
    first, second = ids(pair.source)
    spoil(pair.source.store, pack_of(pair.source, second))
    done = pair.copy()
    (trouble,) = done.troubles
    assert (trouble.name, trouble.thing) == (pack_of(pair.source, second), second)
    assert "damaged" in trouble.why
    assert isinstance(done.problem, CopyIncomplete)
    assert second in str(done.problem)
    report = pair.verify()
    demand_clean(report)
    assert {found.id for found in report.backups} == {first}
    assert pack_of(pair.source, second) not in pair.there()


def test_a_damaged_segment_is_not_sent_and_hits_only_the_backup_that_needs_it() -> None:
    pair = Pair()
    first, second = ids(pair.source)
    (number,) = {catalog.read_facts(pair.source.folder, first).backup().first_segment.number}
    spoil(pair.source.store, wal_name(number), 150)
    done = pair.copy()
    assert {(t.name, t.thing) for t in done.troubles} >= {(wal_name(number), first)}
    assert {trouble.name for trouble in done.troubles} == {wal_name(number)}
    assert first not in done.listed
    assert second in done.listed
    behind = Pair()
    spoil(behind.source.store, wal_name(number + 1), 150)
    done = behind.copy()
    assert {trouble.name for trouble in done.troubles} == {wal_name(number + 1)}
    assert set(done.listed) >= {first, second}


def test_a_damaged_manifest_is_told_and_all_else_is_copied() -> None:
    pair = Pair()
    first, second = ids(pair.source)
    spoil(pair.source.store, names.manifest("main", first))
    done = pair.copy()
    assert [trouble.name for trouble in done.troubles] == [names.manifest("main", first)]
    assert second in done.listed
    demand_clean(pair.verify())


def test_what_the_copy_has_already_need_not_be_intact_at_the_source() -> None:
    pair = Pair()
    pair.copy()
    spoil(pair.source.store, names.manifest("main", ids(pair.source)[0]))
    assert pair.copy().problem is None


@pytest.mark.parametrize("which", ["pack", "wal", "manifest"])
def test_an_object_that_was_cut_off_at_the_target_is_replaced(which: str) -> None:
    pair = Pair()
    pair.copy()
    first = ids(pair.source)[0]
    manifest = names.manifest("main", first)
    name = {"pack": pack_of(pair.source, first), "wal": wal_name(9), "manifest": manifest}[which]
    pair.store.put(name, [pair.store.get(name)[:-10]])
    if which == "pack":  # packs are looked at where a manifest is missing
        pair.store.delete(manifest)
    done = pair.copy()
    assert done.replaced == (name,)
    assert common(pair.store) == common(pair.source.store)


def test_two_intact_objects_that_differ_are_both_left_alone() -> None:
    pair = Pair()
    pair.copy()
    file = Segment(1, 9, SIZE).name
    pair.store.delete(wal_name(9))
    pair.target.wal(GENERATION.id).push(file, b"another history" * 5000)
    before = pair.store.get(wal_name(9))
    done = pair.copy()
    (trouble,) = done.troubles
    assert trouble.name == wal_name(9)
    assert trouble.why == "both ends have one that is intact, and they are not the same"
    assert pair.store.get(wal_name(9)) == before


def test_wal_that_was_pushed_to_both_ends_is_the_same_whatever_its_length() -> None:
    pair = Pair()
    pair.copy()
    file = Segment(1, 9, SIZE).name
    content = b"".join(pair.source.folder.wal(GENERATION.id).fetch(file))
    pair.source.store.delete(wal_name(9))
    pair.source.folder.wal(GENERATION.id).push(file, content, level=19)
    assert pair.source.store.stat(wal_name(9)).size != pair.store.stat(wal_name(9)).size
    done = pair.copy()
    assert (done.troubles, done.plan.batches) == ((), ())


class Liar(MemoryStore):
    """A store that keeps another thing than it was given."""

    lies: Callable[[bytes], bytes] | None = None

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        if self.lies is not None and "/packs/" in name:
            parts = [self.lies(b"".join(parts))]
        super().create(name, parts)


def rotten(content: bytes) -> bytes:
    return content[:50] + b"X" + content[51:]


def test_a_store_that_loses_bytes_is_found_out_and_nothing_of_it_stays() -> None:
    store = Liar("target")
    pair = Pair(store=store)
    store.lies = lambda content: content[:-1]
    with pytest.raises(Unconfirmed, match="bytes instead of"):
        pair.copy()
    assert not [name for name in pair.there() if "/packs/" in name or "/manifest" in name]


def test_with_verify_a_store_that_changes_bytes_is_found_out_too() -> None:
    store = Liar("target")
    pair = Pair(store=store)
    store.lies = rotten
    with pytest.raises(Unconfirmed, match="reads otherwise than it was written"):
        pair.copy(verify=True)
    assert not [name for name in pair.there() if "/packs/" in name]
    store.lies = None
    assert pair.copy(verify=True).problem is None
    demand_clean(pair.verify())


# two at once


class Eventful(MemoryStore):
    """A store where something happens once, when an object of a name is first touched."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.event: tuple[str, Callable[[], object]] | None = None

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self._happen(f"get {name}")
        return super().get(name, start, length)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._happen(f"create {name}")
        super().create(name, parts)

    def stat(self, name: str) -> BlobStat:
        self._happen(f"stat {name}")
        return super().stat(name)

    def _happen(self, call: str) -> None:
        if self.event is not None and self.event[0] in call:
            (_, happens), self.event = self.event, None
            happens()


@pytest.mark.parametrize("end", ["source", "target"])
def test_nobody_expires_at_either_end_while_a_copy_is_at_work(end: str) -> None:
    store = Eventful("target")
    pair = Pair(store=store)
    folder = pair.source.folder if end == "source" else pair.target
    refused: list[LockTaken] = []

    def meanwhile() -> None:
        with pytest.raises(LockTaken) as told:
            expire(folder, Wish(KeepPolicy(window=timedelta(days=1), minimum=1), UTC, NOW))
        refused.append(told.value)

    store.event = ("/packs/", meanwhile)
    assert pair.copy().problem is None
    assert [error.command for error in refused] == ["pgkeep copy"]
    demand_clean(pair.verify())


def test_a_second_copy_to_the_same_target_gives_way() -> None:
    store = Eventful("target")
    pair = Pair(store=store)
    refused: list[BaseException] = []

    def meanwhile() -> None:
        with pytest.raises(LockTaken) as told:
            pair.copy()
        refused.append(told.value)

    store.event = ("/packs/", meanwhile)
    assert pair.copy().problem is None
    assert len(refused) == 1


def test_one_repository_is_copied_to_two_targets_at_once() -> None:
    store = Eventful("target")
    pair, other = Pair(store=store), Pair(store=MemoryStore("another"))
    other.source = pair.source
    store.event = ("create clusters/main/packs/", other.copy)
    assert pair.copy().problem is None
    assert common(store) == common(other.store) == common(pair.source.store)


def test_a_backup_at_the_target_pushes_what_the_copy_was_about_to_send() -> None:
    """Somebody else stores an object between the listing and the sending of it."""
    store = Eventful("target")
    pair = Pair(store=store)
    content = pair.source.store.get(wal_name(9))
    store.event = (f"create {wal_name(9)}", lambda: store.put(wal_name(9), [content]))
    done = pair.copy()
    assert [one.send.name for one in done.sent if one.fate is Fate.THERE] == [wal_name(9)]
    assert common(store) == common(pair.source.store)


def test_a_lock_that_was_lost_ends_the_copy_before_the_next_manifest() -> None:
    store = Eventful("target")
    pair = Pair(store=store)

    def taken() -> None:
        for blob in list(store.list("clusters/main/locks/")):
            store.delete(blob.name)

    store.event = ("create clusters/main/packs/", taken)
    with pytest.raises(LockLost):
        pair.copy()
    assert not [name for name in pair.there() if name.endswith("/manifest")]


class ReadOnly(Eventful):
    """A store that its user may only read."""

    closed = False

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        if self.closed:
            raise StoreFailed(self.url, f"create {name}", "permission denied")
        super().create(name, parts)


def test_a_source_that_can_only_be_read_is_copied_and_what_goes_meanwhile_is_left_out() -> None:
    store = ReadOnly("source")
    pair = Pair(full_source(store))
    first, second = ids(pair.source)
    manifest, pack = names.manifest("main", first), pack_of(pair.source, first)
    store.closed = True

    def expired() -> None:
        store.delete(manifest)
        store.delete(pack)

    store.event = (f"get {pack_of(pair.source, second)}", expired)
    done = pair.copy()
    assert done.problem is None
    assert (done.gone, second in done.listed) == ((first,), True)
    assert done.notes[0].startswith("nothing can be written at the source")
    demand_clean(pair.verify())


def test_what_is_lost_at_the_source_while_its_manifest_stays_is_told() -> None:
    store = Eventful("source")
    pair = Pair(full_source(store))
    first, second = ids(pair.source)
    lost = pack_of(pair.source, first)
    store.event = (f"get {pack_of(pair.source, second)}", lambda: store.delete(lost))
    done = pair.copy()
    assert [(t.name, t.why) for t in done.troubles] == [(lost, "it is no longer at the source")]
    assert first not in done.listed
    demand_clean(pair.verify())


class Cramped(MemoryStore):
    """A store with little room."""

    room = 1 << 40

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        if size > self.room:
            raise StoreFull(self.url, f"create {name}", "no room")
        self.room -= size
        super().create(name, parts)


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_full_target_ends_the_copy_and_the_next_one_goes_on(jobs: int) -> None:
    store = Cramped("target")
    pair = Pair(store=store)
    _ = pair.repository
    store.room = 4000
    with pytest.raises(StoreFull):
        pair.copy(jobs=jobs)
    store.room = 1 << 40
    before = pair.verify()
    demand_clean(before)
    assert before.found == ()
    done = pair.copy(jobs=jobs)
    whole = preview(pair.source.folder, Pair(pair.source).target, CopyOptions()).plan.size
    assert done.size < whole, "what had arrived is not sent again"
    assert common(store) == common(pair.source.store)


# what is no copy


def test_the_source_is_no_target_under_whatever_address() -> None:
    class Alias(MemoryStore):
        @property
        def address(self) -> str:
            return "memory:another-name"

    small = full_source()
    alias = Alias("source")
    alias._blobs = small.store._blobs  # type: ignore[attr-defined]
    before = small.blobs()
    same = Repository(alias, small.folder.repository.id, None).cluster("main")
    for target in (small.folder, same):
        with pytest.raises(CopyRefused, match="both are one and the same place"):
            run(small.folder, target)
    assert small.blobs() == before


def test_another_repository_is_no_target() -> None:
    small = full_source()
    other = Repository.create(MemoryStore("target"), "none", None)
    with pytest.raises(AnotherRepository):
        run(small.folder, other.cluster("main"))
    assert [blob.name for blob in other.store.list()] == [names.MARKER]


# the target's own retention


def test_what_the_targets_retention_let_go_is_not_copied_again() -> None:
    pair = Pair()
    first, second = ids(pair.source)
    policy = KeepPolicy(window=timedelta(days=1), minimum=1)
    pair.copy()
    expire(pair.target, Wish(policy, UTC, NOW))
    left = common(pair.store)
    assert names.manifest("main", first) not in left

    def choose() -> object:
        return judge_together([pair.source.folder, pair.target], policy, NOW, UTC)

    done = pair.copy(choose=choose)
    assert (done.plan.batches, done.problem) == ((), None)
    assert [skipped.id for skipped in done.plan.skipped] == [first]
    assert done.plan.skipped[0].why == "older than the window"
    assert common(pair.store) == left
    expire(pair.target, Wish(policy, UTC, NOW))
    assert common(pair.store) == left, "what is copied is what expire keeps"
    assert second in {found.id for found in pair.verify().found}


def test_an_interrupted_first_copy_does_not_keep_a_policy_from_being_applied() -> None:
    pair = Pair()
    name = pack_of(pair.source, ids(pair.source)[0])
    _ = pair.repository
    pair.store.put(name, [pair.source.store.get(name)])
    policy = KeepPolicy(window=timedelta(days=1), minimum=1)
    done = pair.copy(
        choose=lambda: judge_together([pair.source.folder, pair.target], policy, NOW, UTC)
    )
    assert done.problem is None
    assert ids(pair.source)[1] in done.listed


def test_without_rules_everything_is_wanted() -> None:
    small = full_source()
    found = judge_together([small.folder], KeepPolicy(), datetime.now(UTC), UTC)
    assert found.going == {}
    assert len(found.wal) == 7
    assert found.censuses == {"20261128T003000Z-8000"}


def test_censuses_go_last_the_newest_first_and_by_the_targets_rules() -> None:
    pair = Pair()
    for hour in (1, 2, 3):
        write_census(pair.source.folder, census_at(hour))
    taken = [one.name for one in listed(pair.source.folder)]
    policy = KeepPolicy(window=timedelta(days=1), minimum=1)
    late = census_at(0).taken_at + timedelta(days=30)
    both = [pair.source.folder, pair.target]
    done = pair.copy(choose=lambda: judge_together(both, policy, late, UTC))
    assert done.problem is None
    assert [send.name for send in done.plan.batches[-1].first] == [taken[-1]]
    assert [one.name for one in listed(pair.target)] == [taken[-1]], "the last of its day"
    done = pair.copy()
    assert [send.name for send in done.plan.batches[-1].first] == taken[-2::-1]
    assert [one.name for one in listed(pair.target)] == taken


def test_a_backup_that_is_copied_alone_takes_its_census_along() -> None:
    pair = Pair()
    write_census(pair.source.folder, census_at(1))
    first, last = listed(pair.source.folder)
    pair.copy(choose=lambda: Only(ids(pair.source)[1], first.id))
    assert [one.id for one in listed(pair.target)] == [first.id]
    pair.copy(choose=lambda: Only(ids(pair.source)[0]))
    assert last.id not in [one.id for one in listed(pair.target)]


# threads


def test_the_first_error_of_a_thread_reaches_its_owner_and_ends_the_others() -> None:
    calls: list[str] = []
    lock = threading.Lock()

    def work(send: Send) -> Sent:
        with lock:
            calls.append(send.name)
        if send.name == "3":
            raise StoreFailed("store", "create 3", "injected")
        return Sent(send, Fate.SENT)

    sends = [Send(str(n), 1, ObjectKind.WAL, "missing") for n in range(1000)]
    with pytest.raises(StoreFailed), Threads(3) as threads:
        for _ in threads.carry_out(sends, work, lambda: None):
            pass
    assert threads.stopped.is_set()
    assert len(calls) < 100


def test_verdicts_of_a_copy_are_those_of_its_own_verify() -> None:
    pair = Pair()
    pair.copy()
    assert {found.verdict for found in pair.verify().found} == {Verdict.GOOD}
    assert locks.holders(pair.target, 0) == []
