"""Stop a backup at every call to the store: nothing incomplete is ever listed, nothing is lost."""

import contextlib
import itertools
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import pytest

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.copying import copy as copying
from pgkeep.backup.incremental import cleaning
from pgkeep.backup.incremental.base import DEFAULT_CLEANING, Cleaning
from pgkeep.backup.report import BackupReport
from pgkeep.repository import catalog, names
from pgkeep.repository.pack import PackWriter, read_contents
from pgkeep.repository.packs.attempts import list_packs
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import read_header
from pgkeep.repository.store.base import Store, StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.backups import contents, inline
from support.dying_store import DyingStore, Killed, forget_locks
from support.page_model import ModelSource, PageModel

CONTROL = b"control" * 100
PAGES = 24  # of each table


@dataclass
class World:
    """A cluster and a repository: a state to begin from again and again."""

    model: PageModel
    store: MemoryStore
    repository: Repository
    truths: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by backup

    @classmethod
    def new(cls) -> "World":
        store = MemoryStore()
        world = cls(PageModel(), store, Repository.create(store, "none", None))
        for number in range(3):
            path = f"base/5/{1000 + number}"
            world.model.create(path)
            for block in range(PAGES):
                world.model.write(path, block, fill=number * 30 + block + 1)
        world.model.create("base/5/2000", 9)
        world.model.replace("base/5/2000_fsm", bytes(8192))
        world.model.replace("PG_VERSION", b"18\n")
        return world

    def copy(self) -> "World":
        store = MemoryStore()
        store._blobs = dict(self.store._blobs)
        repository = Repository(store, self.repository.id, None)
        return World(deepcopy(self.model), store, repository, dict(self.truths))

    @property
    def cluster(self) -> ClusterFolder:
        return self.repository.cluster("main")

    def back_up(self, store: Store | None = None, **options: object) -> BackupReport:
        chosen = BackupOptions(**{"jobs": 1, **options})  # type: ignore[arg-type]
        cluster = Repository(store or self.store, self.repository.id, None).cluster("main")
        source = ModelSource({}, model=self.model)
        try:
            return run(source, cluster, chosen, make_workers=inline(cluster))
        finally:
            truth = {**source.truth, "global/pg_control": CONTROL}
            for backup in catalog.backups(self.cluster).backups:
                self.truths.setdefault(backup.id, truth)

    def change(self, fill: int) -> None:
        for number, blocks in enumerate([range(9), range(3, 20, 7), range(10, 12)]):
            for block in blocks:
                self.model.write(f"base/5/{1000 + number}", block, fill)
        self.model.change_unlogged("base/5/2000_fsm", 0, fill)

    def check(self, where: str) -> None:
        """Everything that is listed can be read back whole, with the WAL that it needs."""
        found = catalog.backups(self.cluster)
        assert found.unreadable == (), where
        for backup in found.backups:
            assert contents(self.cluster, backup.id) == self.truths[backup.id], where
            archive = self.cluster.wal(backup.generation.id)
            for number in range(backup.first_segment.number, backup.last_segment.number + 1):
                name = backup.first_segment._replace(number=number).name
                assert archive.has(name), where

    def named(self) -> set[bytes]:
        """Return the packs that are named by a manifest."""
        found = set()
        for backup in catalog.backups(self.cluster).backups:
            packs = catalog.read_packs(self.cluster, backup.id)
            found |= {packs.name(row) for row in range(len(packs))}
        return found

    def orphaned(self) -> int:
        """Return the plain bytes that are in packs of nobody and in no others.

        But for pg_control, which is read last, and stored anew each time.
        """
        sealer, sizes = self.repository.sealer(), dict[bytes, int]()
        named = self.named()
        for pack in sorted(list_packs(self.cluster), key=lambda pack: pack in named):
            content = self.store.get(names.pack("main", pack))
            for row in read_contents(self.cluster, sealer, pack):
                header = read_header(memoryview(content)[row["offset"] :], "a chunk")
                if pack not in named:
                    sizes[header.id] = header.plain_length
                else:
                    sizes.pop(header.id, None)
        sizes.pop(sealer.chunk_id(CONTROL), None)
        return sum(sizes.values())


def full() -> World:
    return World.new()


def incremental() -> World:
    world = World.new()
    world.back_up()
    world.change(fill=201)
    return world


def resumed() -> World:
    """A full backup of which two thirds are there already."""
    world = World.new()
    dying = DyingStore(world.store, 10**9, after=False, error=Killed)
    create = dying.create

    def die_at_third_pack(name: str, parts: object) -> None:
        if "/packs/" in name and sum("/packs/" in seen for seen in dying.seen) == 2:
            raise Killed
        create(name, parts)  # type: ignore[arg-type]

    dying.create = die_at_third_pack  # type: ignore[method-assign]
    with contextlib.suppress(Killed):
        world.back_up(dying)
    forget_locks(world.store)
    assert world.orphaned() == PAGES * 8192
    return world


@dataclass
class Command:
    """A backup that is to die, and what is true of it when it does not."""

    prepare: Callable[[], World]
    limits: Cleaning = DEFAULT_CLEANING
    moves: bool = False
    adopts: bool = False
    overlays: bool = False

    def run(self, world: World, store: Store | None = None) -> BackupReport:
        return world.back_up(store, cleaning=self.limits)


COMMANDS = {
    "full": Command(full),
    "incremental": Command(incremental, Cleaning(50, 0), overlays=True),
    "incremental with cleaning": Command(incremental, Cleaning(50, 100), moves=True, overlays=True),
    "resumed": Command(resumed, adopts=True),
}


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk is a pack of its own, and worth moving."""
    monkeypatch.setattr(copying, "PackWriter", partial(PackWriter, target=1))
    monkeypatch.setattr(cleaning, "_WORTH_WHILE", 0)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("error", "after"), [(Killed, True), (StoreFailed, False)], ids=["killed", "refused"]
)
def test_scenario_83_whatever_call_a_backup_dies_at(
    name: str, error: type[BaseException], after: bool
) -> None:
    command = COMMANDS[name]
    ready = command.prepare()
    for deadly in itertools.count(1):
        world = ready.copy()
        dying = DyingStore(world.store, deadly, after, error)
        with contextlib.suppress(error):
            command.run(world, dying)
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        if error is Killed and dying.seen[-1].split()[0] in ("get", "stat", "list"):
            continue  # what is stored is the same as after the call before
        forget_locks(world.store)
        where = f"call {deadly}: {dying.seen[-1]}"
        world.check(where)
        demand_next(command, world, where)
    assert deadly > 20
    report = command.run(ready)
    assert (report.reuse is not None and report.reuse.moved_bytes > 0) is command.moves
    assert (report.resumed > 0) is command.adopts
    assert (report.reuse is not None and report.reuse.changed_pages > 0) is command.overlays


def demand_next(command: Command, world: World, where: str) -> None:
    """Demand that the next backup is made, uses what the dead one stored, and forgets it."""
    listed = len(catalog.backups(world.cluster).backups)
    # What was moved is moved again; everything else that the dead one stored is used.
    usable = world.orphaned()
    report = command.run(world)
    assert report.resumed == usable, where
    assert len(catalog.backups(world.cluster).backups) == listed + 1, where
    assert list(world.store.list("clusters/main/attempts/")) == [], where
    assert list(world.store.list("clusters/main/locks/")) == [], where
    world.check(where)


def first_pack(world: World) -> int:
    """Return at which call to the store a backup stores its first pack."""
    trial = world.copy()
    watched = DyingStore(trial.store, 1 << 20, after=False, error=Killed)
    trial.back_up(watched)
    stored = (call.startswith("create clusters/main/packs/") for call in watched.seen)
    return 1 + list(stored).index(True)


def test_two_dead_attempts_are_both_made_use_of() -> None:
    world = World.new()
    for _ in range(2):
        dying = DyingStore(world.store, first_pack(world), after=True, error=Killed)
        with contextlib.suppress(Killed):
            world.back_up(dying)
        forget_locks(world.store)
    assert len(list(world.store.list("clusters/main/attempts/"))) == 2
    usable = world.orphaned()
    assert usable > PAGES * 8192
    assert world.back_up(kind=Kind.FULL).resumed == usable
    world.check("afterwards")
