"""Whatever happens to a cluster, every listed backup gives the bytes that it had then.

PGKEEP_MODEL_EXAMPLES=1000 looks longer.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.incremental import changes, cleaning
from pgkeep.backup.incremental.base import Cleaning
from pgkeep.backup.report import BackupReport
from pgkeep.repository import catalog, names
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import StoreFull
from pgkeep.repository.store.memory import MemoryStore
from support.backups import contents, inline
from support.dying_store import DyingStore, Killed, forget_locks
from support.page_model import During, ModelSource, PageModel

EXAMPLES = int(os.environ.get("PGKEEP_MODEL_EXAMPLES", "25"))
STEPS = 40
# Shrinking takes minutes: only where somebody looks for a failure that is known.
SHRINK = "PGKEEP_MODEL_SHRINK" in os.environ
PHASES = [phase for phase in Phase if SHRINK or phase is not Phase.shrink]

MAIN = ["base/5/1000", "base/5/1000.1", "base/5/1001", "base/6/1000", "base/6/1001", "global/1260"]
MAPS = ["base/5/1000_fsm", "base/5/1000_vm", "base/5/1001_init"]
PLAIN = ["pg_xact/0000", "postgresql.conf"]

blocks = st.integers(0, 15)
fills = st.integers(1, 255)
mains, maps = st.sampled_from(MAIN), st.sampled_from(MAPS)
methods = st.sampled_from(["lsn", "summaries"])
percents = st.sampled_from([0, 30, 50, 80, 100])
Step = Callable[[], object]


@dataclass
class Taken:
    """A backup, and how to look whether it is whole."""

    source: ModelSource
    truth: dict[str, bytes]

    def check(self, cluster: ClusterFolder, backup_id: str) -> None:
        got = self.source.replayed(contents(cluster, backup_id))
        assert got.keys() <= self.truth.keys()
        assert all(path.endswith("_vm") for path in self.truth.keys() - got.keys())
        truth = self.truth
        if not self.source.model.checksums:  # then a scan may keep pages without their marks
            got, truth = without_marks(got, got.keys()), without_marks(truth, got.keys())
        wrong = [path for path in got if got[path] != truth[path]]
        assert not wrong, f"{backup_id}: {wrong}"


def without_marks(files: Mapping[str, bytes], there: Collection[str]) -> dict[str, bytes]:
    """Return the files, those of tables without a map without marks and checksums of pages."""
    found = {}
    for path, content in files.items():
        pages = bytearray(content)
        if path in MAIN and f"{path.partition('.')[0]}_vm" not in there:
            for page in range(0, len(pages), 8192):
                pages[page + 8 : page + 10] = b"\0\0"
                pages[page + 10] &= ~4
        found[path] = bytes(pages)
    return found


class ClusterLife(RuleBasedStateMachine):
    """A cluster, its backups, and what happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.repository = Repository.create(self.store, "none", None)
        self.cluster = self.repository.cluster("main")
        self.taken: dict[str, Taken] = {}
        self.look = True

    @initialize(checksums=st.booleans())
    def begin(self, checksums: bool) -> None:
        self.model = PageModel(checksums=checksums)
        for path in MAIN[:3]:
            self.model.create(path, 12)
        for path in MAPS:
            self.model.replace(path, b"")
            for block in range(3):
                self.model.change_unlogged(path, block, 1)
        for path in [*PLAIN, "PG_VERSION", "base/5/PG_VERSION"]:
            self.model.replace(path, b"18\n")

    # What happens to the cluster.

    @rule(path=mains, changed=st.sets(blocks, min_size=1, max_size=4), fill=fills)
    def write(self, path: str, changed: set[int], fill: int) -> None:
        self._write(path, changed, fill)

    def _write(self, path: str, changed: set[int], fill: int) -> None:
        if path in self.model.files:
            for block in sorted(changed):
                self.model.write(path, block, fill)

    @rule(path=maps, block=st.integers(0, 4), fill=fills)
    def change_a_map(self, path: str, block: int, fill: int) -> None:
        self.model.change_unlogged(path, block, fill)

    @rule(path=mains, block=blocks)
    def mark_all_visible(self, path: str, block: int) -> None:
        file = self.model.files.get(path)
        if file is not None and block < file.pages:
            self.model.mark_all_visible(path, block)

    @rule(path=mains, pages=st.integers(1, 6))
    def extend_by_zeros(self, path: str, pages: int) -> None:
        if path in self.model.files:
            self.model.extend_by_zeros(path, pages)

    @rule(path=mains, pages=blocks)
    def truncate(self, path: str, pages: int) -> None:
        self._truncate(path, pages)

    def _truncate(self, path: str, pages: int) -> None:
        if path in self.model.files:
            self.model.truncate(path, pages)

    @rule(path=mains, pages=blocks, fill=fills)
    def truncate_and_grow_again(self, path: str, pages: int, fill: int) -> None:
        if path in self.model.files:
            before = self.model.files[path].pages
            self.model.truncate(path, pages)
            for block in range(pages, before):
                self.model.write(path, block, fill)

    @rule(path=mains)
    def drop(self, path: str) -> None:
        self._drop(path)

    @rule(path=mains, pages=blocks, same_inode=st.booleans())
    def create(self, path: str, pages: int, same_inode: bool) -> None:
        before = self.model.files.get(path)
        inode = before.inode if before and same_inode else None
        self.model.create(path, pages, inode=inode)

    @rule(same_inodes=st.booleans())
    def copy_database(self, same_inodes: bool) -> None:
        self.model.copy_database("base/5/", "base/6/", same_inodes=same_inodes)

    @rule(path=st.sampled_from(PLAIN), content=st.binary(max_size=20))
    def rename_into_place(self, path: str, content: bytes) -> None:
        self.model.replace(path, content)

    @rule(path=st.sampled_from([*MAIN, *MAPS, *PLAIN]), mode_only=st.booleans())
    def touch(self, path: str, mode_only: bool) -> None:
        if path in self.model.files:
            self.model.touch(path, mode_only=mode_only)

    @rule(path=mains, block=blocks, fill=fills, method=methods)
    def write_twice_in_a_tick(self, path: str, block: int, fill: int, method: str) -> None:
        """A backup comes between two writes that leave the same times."""
        if path in self.model.files:
            self.model.write_young(path, block, fill)
            self._back_up(BackupOptions(jobs=1), method)
            self.model.write_unseen(path, block, fill ^ 255)

    @rule(changed=st.dictionaries(mains, st.sets(blocks, max_size=4)), fill=fills, method=methods)
    def a_day_and_a_night(self, changed: dict[str, set[int]], fill: int, method: str) -> None:
        for path, numbers in changed.items():
            self._write(path, numbers, fill)
        self._back_up(BackupOptions(jobs=1, cleaning=Cleaning(100, 50)), method)

    # What happens to the repository.

    @rule(
        method=methods,
        overlays=percents,
        live=percents,
        full=st.sampled_from([False] * 5 + [True]),
        during=st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from("wtdcg"), mains, blocks), max_size=5
        ),
    )
    def back_up(
        self,
        method: str,
        overlays: int,
        live: int,
        full: bool,
        during: list[tuple[int, str, str, int]],
    ) -> None:
        kind = Kind.FULL if full else Kind.AUTO
        options = BackupOptions(jobs=1, kind=kind, cleaning=Cleaning(overlays, live))
        steps = [(wait, self._during(what, path, block)) for wait, what, path, block in during]
        self._back_up(options, method, steps)

    def _during(self, what: str, path: str, block: int) -> Step:
        match what:
            case "w":
                return lambda: self._write(path, {block}, 77)
            case "t":
                return lambda: self._truncate(path, block)
            case "d":
                return lambda: self._drop(path)
            case "c":
                return lambda: self.model.create(path, block)
            case _:
                return lambda: self._grow(path, block)

    def _drop(self, path: str) -> None:
        if path in self.model.files:
            self.model.drop(path)

    def _grow(self, path: str, pages: int) -> None:
        if path in self.model.files:
            first = self.model.files[path].pages
            self._write(path, set(range(first, first + pages)), 78)

    def _back_up(
        self, options: BackupOptions, method: str, steps: list[tuple[int, Step]] | None = None
    ) -> BackupReport:
        source = ModelSource({}, model=self.model, method=method, during=During(steps or []))
        report = run(source, self.cluster, options, make_workers=inline(self.cluster))
        self.taken[report.id] = Taken(source, source.truth)
        assert list(self.store.list(names.attempts_prefix("main"))) == []
        self.look = True
        return report

    @rule(
        deadly=st.integers(5, 40),
        after=st.booleans(),
        error=st.sampled_from([Killed, StoreFull]),
        method=methods,
    )
    def a_backup_that_fails(
        self, deadly: int, after: bool, error: type[BaseException], method: str
    ) -> None:
        before = self._listed()
        dying = DyingStore(self.store, deadly, after, error)
        cluster = Repository(dying, self.repository.id, None).cluster("main")
        source = ModelSource({}, model=self.model, method=method)
        with contextlib.suppress(error):
            run(source, cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
        forget_locks(self.store)
        for backup_id in self._listed() - before:  # it had come to its end
            self.taken[backup_id] = Taken(source, source.truth)
        self.look = True

    def _listed(self) -> set[str]:
        return {backup.id for backup in catalog.backups(self.cluster).backups}

    @precondition(lambda self: len(self.taken) > 1)
    @rule(which=st.integers(0, 20))
    def delete(self, which: int) -> None:
        """First the manifest, then the packs that no other names."""
        going = list(self.taken)[which % len(self.taken)]
        freed = set(self._packs(going))
        self.store.delete(names.manifest("main", going))
        del self.taken[going]
        for backup_id in self.taken:
            freed.difference_update(self._packs(backup_id))
        for pack in freed:
            self.store.delete(names.pack("main", pack))
        self.look = True

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 100))
    def lose_a_pack(self, which: int) -> None:
        """Whoever needs it is worth nothing any more; later backups must not rely on it."""
        packs = [pack for backup_id in self.taken for pack in self._packs(backup_id)]
        lost = packs[which % len(packs)]
        self.store.delete(names.pack("main", lost))
        self.taken = {name: t for name, t in self.taken.items() if lost not in self._packs(name)}
        self.look = True

    def _packs(self, backup_id: str) -> list[bytes]:
        packs = catalog.read_packs(self.cluster, backup_id)
        return [packs.name(row) for row in range(len(packs))]

    @invariant()
    def every_backup_is_whole(self) -> None:
        if not self.look:
            return
        self.look = False
        assert catalog.backups(self.cluster).unreadable == ()
        for backup_id, taken in self.taken.items():
            taken.check(self.cluster, backup_id)


@pytest.fixture
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlays are merged after two of them, not after 31, and small packs are cleaned too."""
    monkeypatch.setattr(changes, "MOST_LAYERS", 3)
    monkeypatch.setattr(cleaning, "_WORTH_WHILE", 0)
    monkeypatch.setattr(cleaning, "_MOST_SMALL", 12)


def test_scenario_i_every_backup_gives_what_the_cluster_was(small_numbers: None) -> None:
    run_state_machine_as_test(
        ClusterLife,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
