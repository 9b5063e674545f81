"""Lets go what retention no longer keeps: decides first, shows it, then deletes.

Order: manifests of backups and dumps, then packs that no remaining manifest names, then WAL, oldest
first, then what nothing depends on: censuses and old proofs. So whatever stops it, all that is
still listed has what it needs, and the next run does the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps, names
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.dumps import is_dump_id
from pgkeep.repository.proofs import Proofs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobStat
from pgkeep.retention.evidence import old_acts, old_reports
from pgkeep.retention.judging.censuses import CensusPlan, plan_censuses
from pgkeep.retention.judging.dumps import DumpPlan, plan_dumps
from pgkeep.retention.judging.promise import demand_dumps, demand_promise
from pgkeep.retention.judging.wal_files import KeptWal, WalFile, files_of, oldest_first, weigh
from pgkeep.retention.packs import ORPHAN_AGE_S, Packs, PacksMissing, sort_packs
from pgkeep.retention.plan import ExpirePlan, Marks, plan_expire
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.removal import Locks, Remover
from pgkeep.retention.report import Decision, Expired, Outcome
from pgkeep.retention.survey import Survey, Unprovable, look, sort_found

# Who stores packs that no manifest names yet, or reads what might be deleted.
CONFLICTS: Final = frozenset(
    {
        "backup",
        "copy-from",
        "copy-to",
        "dump",
        "dump-restore",
        "expire",
        "pin",
        "restore",
        "verify",
    }
)
_PROOFS: Final = 100  # kept for people, after one that read everything made older ones useless
_SKEW: Final = timedelta(hours=1)


class ClockDiffers(PgkeepError):
    """This host's clock and the repository's disagree, so nobody knows how old anything is."""

    code = "clock-differs"
    exit_status = 219

    store: str
    here: str
    there: str

    def __str__(self) -> str:
        return (
            f"cannot judge how old backups are: this host's clock says {self.here}, "
            f"that of {self.store} says {self.there}"
        )

    @property
    def hint(self) -> str:
        return "nothing was deleted; set the clock that is wrong, and run it again"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of expire."""

    policy: KeepPolicy
    zone: tzinfo  # in which days, weeks, months and years begin
    now: datetime | None = None  # None: by the clock, which must agree with the store's
    locks: Locks | None = None  # of the store's objects, where they may be locked
    drills: timedelta | None = None  # how long reports of drills stay; None: for ever
    acts: timedelta | None = None  # and acts


def preview(cluster: ClusterFolder, wish: Wish) -> Decision:
    """Return what expire would do. Only reads."""
    now = wish.now or datetime.now(UTC)
    return _decide(cluster, look(cluster, now), wish, now, lambda: None)


def expire(
    cluster: ClusterFolder,
    wish: Wish,
    on_decision: Callable[[Decision], None] | None = None,
    progress: Progress | None = None,
) -> Expired:
    """Delete what goes, after `on_decision` was told. Raise LockTaken, LockLost, NothingListed...

    Deletions that the store refuses do not stop the others: see Outcome.problem.
    """
    with locks.hold(cluster, "expire", "pgkeep expire", CONFLICTS) as lock:
        now = wish.now or agreed_time(cluster)
        # Read under the lock: what anybody saw before may have changed.
        found = look(cluster, now)
        decision = _decide(cluster, found, wish, now, lock.beat)
        if on_decision is not None:
            on_decision(decision)
        if decision.refusal is not None or decision.packs is None:
            return Expired(decision)
        remover = Remover(cluster.store, lock, progress or Silent(), wish.locks, now)
        job = _Job(cluster, found, wish, lock, remover)
        return Expired(decision, job.run(decision, decision.packs, now))


def agreed_time(cluster: ClusterFolder) -> datetime:
    """Return the time. Raise ClockDiffers if the store, which saw us take the lock, disagrees."""
    here = datetime.now(UTC)
    prefix = names.lock(cluster.name, "x").removesuffix("x.json")
    stamps = [blob.modified for blob in cluster.store.list(prefix)]
    there = datetime.fromtimestamp(max(stamps, default=here.timestamp()), UTC)
    demand_agreement(cluster.store.url, here, there)
    return here


def demand_agreement(store: str, here: datetime, there: datetime) -> None:
    """Raise ClockDiffers when this host's time and the store's are more than an hour apart."""
    if abs(here - there) > _SKEW:
        raise ClockDiffers(store, f"{here:%Y-%m-%d %H:%M}", f"{there:%Y-%m-%d %H:%M}")


def _decide(
    cluster: ClusterFolder, found: Survey, wish: Wish, now: datetime, tick: Callable[[], None]
) -> Decision:
    plan, dump_plan = plans(cluster, found, found.marks, wish, now)
    going = {*(b.id for b in plan.dropped), *(d.id for d in dump_plan.dropped)}
    packs, refusal = None, None
    try:
        packs = sort_found(cluster, found, going, now, tick)
    except (Unprovable, PacksMissing) as error:
        refusal = error
    return Decision(
        cluster=cluster.name,
        repository=cluster.store.url,
        plan=plan,
        dumps=dump_plan,
        unreadable=found.unreadable,
        packs=packs,
        wal_sizes=weigh(plan.wal, found.record.generations),
        wal_files=tuple(_going(plan, found)),
        proofs=_old_proofs(cluster, found.proofs),
        drills=old_reports(cluster, now, wish.drills),
        acts=old_acts(cluster, now, wish.acts),
        censuses=_judged_censuses(found, plan, wish),
        refusal=refusal,
    )


def plans(
    cluster: ClusterFolder, found: Survey, marks: Marks, wish: Wish, now: datetime
) -> tuple[ExpirePlan, DumpPlan]:
    """Decide over backups with their WAL, and over dumps. Raise PlanBroken."""
    plan = plan_expire(found.known, marks, wish.policy, now, wish.zone)
    demand_promise(cluster.name, found.known, marks, plan)
    dump_plan = plan_dumps(found.dumps.dumps, marks, wish.policy, now, wish.zone)
    demand_dumps(cluster.name, dump_plan, marks, wish.policy, now)
    return plan, dump_plan


def _going(plan: ExpirePlan, found: Survey) -> list[WalFile]:
    """Return the WAL files that go. History files never do: they are small, and show the way."""
    kept = KeptWal(plan)
    return oldest_first(
        file
        for part in found.record.generations
        for file in files_of(part)
        if not kept.holds(part.generation.id, file)
    )


def _judged_censuses(found: Survey, plan: ExpirePlan, wish: Wish) -> CensusPlan:
    return plan_censuses({one.id: one.moment for one in found.censuses}, plan, wish.zone)


def _old_proofs(cluster: ClusterFolder, proofs: Proofs) -> tuple[BlobStat, ...]:
    """Return proofs that nobody reads: older than the newest that read everything, and many."""
    complete = next((proof for proof in proofs.found if proof.complete), None)
    if complete is None:
        return ()
    read = names.proof(cluster.name, complete.id)
    stored = sorted(cluster.store.list(names.proofs_prefix(cluster.name)), reverse=True)
    return tuple(blob for blob in stored[_PROOFS:] if blob.name < read)


@dataclass(frozen=True)
class _Job:
    """One expire being carried out."""

    cluster: ClusterFolder
    found: Survey
    wish: Wish
    lock: Lock
    remover: Remover

    def run(self, decision: Decision, packs: Packs, now: datetime) -> Outcome:
        secure_manifests(self.cluster)
        gone, stuck = self._manifests(decision.dropped)
        self.remover.remove("deleting attempts of dumps", _dead_attempts(self.cluster, now))
        files, censuses = decision.wal_files, decision.censuses
        if stuck:
            packs, files, censuses = self._hold_back(stuck, packs, now)
        outcome = Outcome(
            backups=tuple(id for id in gone if not is_dump_id(id)),
            dumps=tuple(filter(is_dump_id, gone)),
            packs=self.remover.remove("deleting packs", _blobs(packs, packs.freed)),
            orphans=self.remover.remove(
                "deleting remains of what was interrupted",
                ((orphan.name, orphan.size) for orphan in packs.orphans if orphan.goes),
            ),
            # Oldest first: if it stops half-way, what is left has no hole that was not there.
            wal=self.remover.remove("deleting WAL", ((f.object, f.size) for f in files)),
            censuses=self.remover.remove(
                "deleting censuses",
                ((one.name, one.size) for one in self.found.censuses if one.id in censuses.drop),
            ),
            proofs=self.remover.remove(
                "deleting old proofs", ((blob.name, blob.size) for blob in decision.proofs)
            ),
            drills=self.remover.remove(
                "deleting old reports of drills", ((b.name, b.size) for b in decision.drills)
            ),
            acts=self.remover.remove("deleting old acts", decision.acts),
            temp=self.remover.sweep_temp(ORPHAN_AGE_S, now.timestamp()),
            took_over=tuple(map(str, self.lock.took_over)),
        )
        problem = self.remover.problem(self.cluster.name)
        return replace(outcome, problem=problem, held=self.remover.held)

    def _manifests(self, dropped: list[str]) -> tuple[list[str], dict[str, str]]:
        """Delete manifests, first of all: nobody may be offered what is no longer complete."""
        manifests = {id: dumps.manifest_name(self.cluster.name, id) for id in dropped}
        self.remover.remove("deleting manifests", ((name, 0) for name in manifests.values()))
        why = self.remover.why_stuck()
        stuck = {id: why[name] for id, name in manifests.items() if name in why}
        gone = [id for id in manifests if id not in stuck]
        pins = [pin for id in gone for pin in ended_pins(self.cluster, self.found, id)]
        self.remover.remove("deleting ended pins", pins)
        return gone, stuck

    def _hold_back(
        self, stuck: dict[str, str], packs: Packs, now: datetime
    ) -> tuple[Packs, tuple[WalFile, ...], CensusPlan]:
        """Keep everything for what is still listed because the store refused."""
        marks = replace(self.found.marks, stuck=stuck)
        plan, _ = plans(self.cluster, self.found, marks, self.wish, now)
        named = [dumps.read_packs(self.cluster, id).id.tolist() for id in stuck]
        needed = set(packs.needed).union(*named)
        left = sort_packs(packs.stored, needed, set(packs.freed), now.timestamp())
        return left, tuple(_going(plan, self.found)), _judged_censuses(self.found, plan, self.wish)


def secure_manifests(cluster: ClusterFolder) -> None:
    """Let no power cut bring back a manifest whose packs are taken for orphans.

    Whoever deleted it may have died before his fsync.
    """
    cluster.store.secure(names.backups_prefix(cluster.name))
    cluster.store.secure(names.dumps_prefix(cluster.name))


def _dead_attempts(cluster: ClusterFolder, now: datetime) -> list[tuple[str, int]]:
    """Return what dumps left that died as long ago as their packs go; backups tidy up themselves.

    No dump is at work, or there would be no lock to expire under.
    """
    prefix = names.attempts_prefix(cluster.name)
    found = (b for b in cluster.store.list(prefix) if is_dump_id(b.name.removeprefix(prefix)))
    return [(b.name, b.size) for b in found if now.timestamp() - b.modified > ORPHAN_AGE_S]


def ended_pins(cluster: ClusterFolder, found: Survey, id: str) -> list[tuple[str, int]]:
    """Return the pins of what is gone. They had ended: else it would not have gone."""
    mine = [pin for pin in found.pins if pin.backup == id]
    return [(names.pin(cluster.name, id, pin.id), 0) for pin in mine]


def _blobs(packs: Packs, ids: tuple[bytes, ...]) -> list[tuple[str, int]]:
    return [(packs.stored[pack].name, packs.stored[pack].size) for pack in ids]
