"""Healing: what is damaged or missing comes back from another copy, and nothing gets worse."""

from collections.abc import Callable, Sequence

import pytest

from pgkeep.model.segment import Segment
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.copies.identity import AnotherRepository, CopyRefused
from pgkeep.repository.proofs import Level, read_proofs
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import BlobStat, Store, StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.verify.heal import HealReport, heal
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.plan import MissingWal, in_need
from pgkeep.verify.verify import run as verify
from support.copies import KEY, Pair, common, demand_clean, full_source
from support.small_repository import GENERATION, SIZE, Small

BYTES = VerifyOptions(Level.BYTES)


@pytest.fixture
def pair() -> Pair:
    """A repository, and a copy of it that is complete."""
    made = Pair()
    made.copy()
    return made


def mend(pair: Pair, options: VerifyOptions = BYTES, *more: Repository) -> HealReport:
    return heal(pair.source.folder, options, [pair.repository, *more])


def wal_name(number: int) -> str:
    return names.wal("main", GENERATION.id, Segment(1, number, SIZE).name)


def some_name(small: Small, kind: str) -> str:
    """Return an object of a kind: of the first backup, or the dump."""
    first = str(catalog.backups(small.folder).backups[0].id)
    (dump,) = dumps.dumps(small.folder).ids()
    match kind:
        case "pack":
            return names.pack("main", small.manifest(first).tables.pack.name(0))
        case "wal":
            return wal_name(9)
        case "manifest":
            return names.manifest("main", first)
        case "dump":
            return names.dump("main", dump)
        case "census":
            return names.census("main", "20261128T003000Z-8000")
    return names.generation("main", GENERATION.id)


def flip(store: Store, name: str) -> None:
    content = bytearray(store.get(name))
    content[len(content) // 2] ^= 1
    store.put(name, [bytes(content)])


def cut(store: Store, name: str) -> None:
    store.put(name, [store.get(name)[:-5]])


def empty(store: Store, name: str) -> None:
    store.put(name, [])


def remove(store: Store, name: str) -> None:
    store.delete(name)


@pytest.mark.parametrize("kind", ["pack", "wal", "manifest", "dump", "generation", "census"])
@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_object_is_replaced_by_the_one_of_the_copy(
    pair: Pair, kind: str, harm: Callable[[Store, str], None]
) -> None:
    before, name = common(pair.source.store), some_name(pair.source, kind)
    harm(pair.source.store, name)
    report = mend(pair)
    assert [healed.name for healed in report.healed] == [name]
    assert report.healed[0].source == pair.store.url
    assert report.unhealed == ()
    assert common(pair.source.store) == before
    demand_clean(report.verified)
    assert list(read_proofs(pair.source.folder).standing()) == []


@pytest.mark.parametrize("kind", ["pack", "wal", "generation"])
def test_a_missing_object_comes_back(pair: Pair, kind: str) -> None:
    before, name = common(pair.source.store), some_name(pair.source, kind)
    pair.source.store.delete(name)
    report = mend(pair, VerifyOptions())
    assert name in [healed.name for healed in report.healed]
    assert common(pair.source.store) == before
    demand_clean(report.verified)


def test_all_missing_segments_come_back_not_only_the_first() -> None:
    source = full_source()
    source.archive(6)
    pair = Pair(source)
    pair.copy()
    before = common(source.store)
    for number in (14, 15, 16):
        source.store.delete(wal_name(number))
    report = mend(pair, VerifyOptions())
    assert [healed.name for healed in report.healed] == [wal_name(n) for n in (14, 15, 16)]
    assert common(source.store) == before


def test_packs_are_looked_at_that_only_a_damaged_manifest_names(pair: Pair) -> None:
    """What a manifest needs is not known before it is back."""
    before = common(pair.source.store)
    pack = some_name(pair.source, "pack")
    flip(pair.source.store, pack)
    empty(pair.source.store, some_name(pair.source, "manifest"))
    report = mend(pair)
    assert {h.name for h in report.healed} == {pack, some_name(pair.source, "manifest")}
    assert common(pair.source.store) == before
    demand_clean(report.verified)


def test_an_encrypted_repository_is_healed_too() -> None:
    pair = Pair(full_source(key=KEY))
    pair.copy()
    before = common(pair.source.store)
    for kind in ("pack", "wal", "manifest"):
        flip(pair.source.store, some_name(pair.source, kind))
    assert len(mend(pair).healed) == 3
    assert common(pair.source.store) == before


def test_what_no_copy_has_intact_stays_as_it_is_and_is_told(pair: Pair) -> None:
    pack, wal = some_name(pair.source, "pack"), some_name(pair.source, "wal")
    for store in (pair.source.store, pair.store):
        flip(store, pack)
    flip(pair.source.store, wal)
    pair.store.delete(wal)
    before = common(pair.source.store)
    report = mend(pair)
    assert report.healed == ()
    assert {u.name for u in report.unhealed} == {pack, wal}
    told = {u.name: u.why for u in report.unhealed}
    assert told[wal] == f"{pair.store.url}: it is not there"
    assert "damaged" in told[pack]
    assert common(pair.source.store) == before
    assert report.verified.problem is not None


def test_a_pack_that_is_intact_and_another_one_is_refused(pair: Pair) -> None:
    """Swapped by whoever can write to the copy: each chunk is sound, and none is the one."""
    first, second = (str(backup.id) for backup in catalog.backups(pair.source.folder).backups)
    mine = some_name(pair.source, "pack")
    other = names.pack("main", pair.source.manifest(second).tables.pack.name(0))
    pair.store.put(mine, [pair.store.get(other)])
    flip(pair.source.store, mine)
    before = common(pair.source.store)
    report = mend(pair)
    assert [u.name for u in report.unhealed] == [mine]
    assert common(pair.source.store) == before
    assert first in {one.id for one in report.verified.found if one.verdict.value != "good"}


def test_each_object_comes_from_whichever_copy_has_it(pair: Pair) -> None:
    another = Pair(pair.source, MemoryStore("another"))
    another.copy()
    pack, wal = some_name(pair.source, "pack"), some_name(pair.source, "wal")
    before = common(pair.source.store)
    for name, store in ((pack, pair.store), (wal, another.store)):
        flip(pair.source.store, name)
        flip(store, name)
    report = mend(pair, BYTES, another.repository)
    assert {h.name: h.source for h in report.healed} == {
        pack: another.store.url,
        wal: pair.store.url,
    }
    assert common(pair.source.store) == before


class Failing(MemoryStore):
    """A store that answers with errors once it is told to."""

    fails = False

    def stat(self, name: str) -> BlobStat:
        if self.fails:
            raise StoreFailed(self.url, f"read {name}", "no answer")
        return super().stat(name)


def test_a_copy_that_does_not_answer_is_passed_over(pair: Pair) -> None:
    store = Failing("another")
    away = Pair(pair.source, store)
    away.copy()
    opened = away.repository
    store.fails = True
    flip(pair.source.store, some_name(pair.source, "pack"))
    report = heal(pair.source.folder, BYTES, [opened, pair.repository])
    assert [h.source for h in report.healed] == [pair.store.url]
    flip(pair.source.store, some_name(pair.source, "pack"))
    report = heal(pair.source.folder, BYTES, [opened])
    assert "no answer" in report.unhealed[0].why


class Rotting(MemoryStore):
    """A store that damages every pack that is put into it."""

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        content = b"".join(parts)
        rotten = "/packs/" in name
        super().put(name, [content[:-1] + b"X" if rotten else content])


def test_what_does_not_read_back_as_it_was_written_ends_it() -> None:
    pair = Pair(full_source(Rotting("source")))
    pair.copy()
    pair.source.store.put(some_name(pair.source, "pack"), [b"too short"])
    with pytest.raises(StoreFailed, match="reads otherwise than it was written"):
        mend(pair)


def test_a_repository_without_faults_is_verified_once_and_left_alone(pair: Pair) -> None:
    before = common(pair.source.store)
    report = mend(pair)
    assert (report.found, report.healed, report.unhealed) == (0, (), ())
    assert common(pair.source.store) == before
    assert len(list(pair.source.store.list("clusters/main/proofs/"))) == 1


def test_only_what_is_in_scope_is_mended(pair: Pair) -> None:
    first, second = (str(backup.id) for backup in catalog.backups(pair.source.folder).backups)
    pack = some_name(pair.source, "pack")
    flip(pair.source.store, pack)
    report = mend(pair, VerifyOptions(Level.BYTES, (second,)))
    assert report.healed == ()
    assert mend(pair, VerifyOptions(Level.BYTES, (first,))).healed[0].name == pack


def test_what_an_earlier_verify_found_is_healed_at_every_level(pair: Pair) -> None:
    flip(pair.source.store, some_name(pair.source, "pack"))
    verify(pair.source.folder, BYTES)
    report = mend(pair, VerifyOptions())
    assert len(report.healed) == 1
    demand_clean(report.verified)
    assert read_proofs(pair.source.folder).damaged_backups() == {}


def test_another_repository_heals_nothing(pair: Pair) -> None:
    other = Repository.create(MemoryStore("other"), "none", None)
    with pytest.raises(AnotherRepository):
        heal(pair.source.folder, BYTES, [other])
    with pytest.raises(CopyRefused, match="one and the same place"):
        heal(pair.source.folder, BYTES, [pair.source.folder.repository])


def test_the_report_says_what_came_from_where(pair: Pair) -> None:
    pack, wal = some_name(pair.source, "pack"), some_name(pair.source, "wal")
    size = pair.source.store.stat(pack).size
    for name in (pack, wal):
        flip(pair.source.store, name)
    pair.store.delete(wal)
    told = mend(pair).to_dict()
    assert told["repair"] == {
        "found": 2,
        "healed": [{"name": pack, "from": pair.store.url, "size": size}],
        "unhealed": [{"name": wal, "why": f"{pair.store.url}: it is not there"}],
    }


def test_manifests_come_before_packs_and_wal_in_the_order_of_its_names() -> None:
    damaged = [wal_name(9), "clusters/main/packs/9c/9c5b21f0aa7de3440d5c8812ab90ee17"]
    damaged += ["clusters/main/backups/x/manifest", "clusters/main/notes.txt"]
    elsewhere = [wal_name(number) for number in (8, 11, 12, 13)]
    hole = MissingWal(GENERATION.id, Segment(1, 11, SIZE).name, Segment(1, 12, SIZE).name)
    found = in_need(damaged, [hole], elsewhere)
    assert [one.name for one in found] == [
        damaged[2],
        damaged[1],
        *(wal_name(number) for number in (9, 11, 12)),
    ]
