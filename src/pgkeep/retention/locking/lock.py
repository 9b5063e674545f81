"""Sets and extends the locks of a cluster's objects, as far as retention needs them.

It never shortens a lock, so it can be stopped and run again at any time, by credentials that may do
nothing else; two at once do no harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps, names
from pgkeep.repository.dumps import manifest_name
from pgkeep.repository.manifest.shelf import BAD_MANIFEST
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.objectlock.client import NotThere
from pgkeep.repository.store.objectlock.tampering import find_tampering, is_passing
from pgkeep.repository.store.objectlock.vault import LockMode, Vault
from pgkeep.repository.store.objectlock.versions import Version
from pgkeep.retention.expire import Wish, demand_agreement, plans
from pgkeep.retention.judging.wal_files import KeptWal, files_of
from pgkeep.retention.locking.plan import LockPlan, LockRules, Moment, extension, plan_locks
from pgkeep.retention.locking.report import LockReport
from pgkeep.retention.plan import ExpirePlan
from pgkeep.retention.survey import Survey, look


@dataclass(frozen=True, slots=True)
class LockWish:
    """What is asked of locking."""

    keep: Wish
    mode: LockMode
    rules: LockRules


class Needed(NamedTuple):
    """Objects that must be locked, and why that may be too few."""

    until: dict[str, datetime]  # by name
    longest: datetime
    unreadable: tuple[str, ...]


def lock_objects(
    cluster: ClusterFolder,
    vault: Vault,
    wish: LockWish,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> LockReport:
    """Lock what retention keeps until it can let it go. Raise ClockDiffers, NoLocks, StoreFailed.

    When objects were tampered with, or a manifest cannot be read, everything there is counts as
    needed: what it was is for people to find out.
    """
    progress = progress or Silent()
    now = _agreed_time(vault)
    progress.phase("looking at what retention keeps")
    needed = find_needed(cluster, wish, now)
    progress.phase("listing versions")
    objects = list(vault.versions())
    tampering = tuple(find_tampering(vault, objects))
    frozen = bool(tampering or needed.unreadable)
    everything = now + wish.rules.ahead if frozen else None
    targets = list(_targets(cluster.name, objects, needed, everything))
    job = _Job(vault, wish.mode, dry_run)
    done = job.run(targets, progress)
    ends = [state.until for state in done if state.until is not None]
    return LockReport(
        cluster=cluster.name,
        repository=cluster.store.url,
        mode=wish.mode,
        dry_run=dry_run,
        needed=len(targets),
        extended=sum(state.extended for state in done),
        gone=sum(state.until is None for state in done),
        until=min(ends, default=None),
        longest=max(ends, default=None),
        frozen=frozen,
        unreadable=needed.unreadable,
        tampering=tampering,
    )


def freeze(vault: Vault, mode: LockMode, rules: LockRules, progress: Progress | None = None) -> int:
    """Lock everything there, if objects were tampered with. Return how many versions that are.

    For when the repository cannot be opened, or does not show what it holds.
    """
    progress = progress or Silent()
    progress.phase("looking for what was hidden")
    objects = list(vault.versions())
    if not find_tampering(vault, objects):
        return 0
    until = _agreed_time(vault) + rules.ahead
    targets = [
        _Target(version, until)
        for versions in objects
        for version in versions
        if not version.marker and not is_passing(version.name)
    ]
    return len(_Job(vault, mode, dry_run=False).run(targets, progress))


def find_needed(cluster: ClusterFolder, wish: LockWish, now: datetime) -> Needed:
    """Return what must be locked, and until when, by what can be read now."""
    found = look(cluster, now)
    backups, kept_dumps = plans(cluster, found, found.marks, wish.keep, now)
    plan = plan_locks(
        backups, kept_dumps, Moment(wish.keep.policy, wish.rules, now, wish.keep.zone)
    )
    until: dict[str, datetime] = dict(_wal(found, backups, plan))
    unreadable = [str(bad.id) for bad in found.unreadable]
    for id, end in plan.whole.items():
        try:
            packs = dumps.read_packs(cluster, id).id.tolist()
        except BAD_MANIFEST:
            unreadable.append(id)
            continue
        objects = [manifest_name(cluster.name, id), *(names.pack(cluster.name, p) for p in packs)]
        for name in objects:
            until[name] = max(end, until.get(name, end))
    return Needed(until, plan.longest, tuple(unreadable))


def _agreed_time(vault: Vault) -> datetime:
    """Return the store's time. Raise ClockDiffers: a lock until a wrong date cannot be undone."""
    here, there = datetime.now(UTC), vault.now()
    demand_agreement(vault.url, here, there)
    return there


def _wal(found: Survey, backups: ExpirePlan, plan: LockPlan) -> Iterator[tuple[str, datetime]]:
    kept = KeptWal(backups)
    for part in found.record.generations:
        generation = part.generation.id
        for file in files_of(part):
            if kept.holds(generation, file):
                yield file.object, plan.of_wal(generation, file.segment)


class _Target(NamedTuple):
    """A version that must be locked until a moment."""

    version: Version
    until: datetime


def _targets(
    cluster: str, objects: list[tuple[Version, ...]], needed: Needed, everything: datetime | None
) -> Iterator[_Target]:
    """Yield all versions of what is needed: the newest may not be the one that matters."""
    for versions in objects:
        name = versions[0].name
        until = needed.until.get(name)
        if until is None and _is_for_all(cluster, name):
            until = needed.longest
        if everything is not None and _is_of(cluster, name) and not is_passing(name):
            until = max(until or everything, everything)
        if until is not None:
            for version in versions:
                if not version.marker:
                    yield _Target(version, until)


def _is_for_all(cluster: str, name: str) -> bool:
    """Tell what all need: the marker, keys, generations, histories, records of lost WAL."""
    prefix = names.cluster_prefix(cluster)
    own = name.startswith(tuple(f"{prefix}{kind}/" for kind in ("generations", "wal", "lost")))
    return (
        name == names.MARKER
        or name.startswith(names.KEYS)
        or (own and name.endswith((".json", ".history")))
    )


def _is_of(cluster: str, name: str) -> bool:
    return _is_for_all(cluster, name) or name.startswith(names.cluster_prefix(cluster))


class _State(NamedTuple):
    """How a version is locked in the end; until None: it is gone."""

    until: datetime | None
    extended: bool


class _Job(NamedTuple):
    """Locks being extended."""

    vault: Vault
    mode: LockMode
    dry_run: bool

    def run(self, targets: list[_Target], progress: Progress) -> list[_State]:
        progress.phase("looking at locks" if self.dry_run else "locking", len(targets), "objects")
        done = []
        for state in self.vault.in_parallel(self._one, targets):
            done.append(state)
            progress.advance(len(done))
        return done

    def _one(self, target: _Target) -> _State:
        version = target.version
        held = self.vault.lock_of(version.name, version.id)
        wanted = extension(held, self.mode, target.until)
        if wanted is None:
            return _State(held.until if held else None, False)
        if not self.dry_run:
            try:
                self.vault.lock(version.name, version.id, wanted)
            except NotThere:
                return _State(None, False)
        return _State(wanted.until, True)
