"""What a policy keeps of several copies of a cluster, taken together as if they were one.

So that a copy brings nothing that the next expire at its target would let go, nor again what an
expire there has let go already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from pgkeep.coverage.record import read_record
from pgkeep.model.backup import in_order
from pgkeep.model.dump import Dump
from pgkeep.repository import dumps
from pgkeep.repository.census.shelf import listed as listed_censuses
from pgkeep.repository.proofs import read_proofs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.retention.judging.branches import Known
from pgkeep.retention.judging.censuses import plan_censuses
from pgkeep.retention.judging.dumps import plan_dumps
from pgkeep.retention.judging.wal_files import KeptWal, WalFile, files_of
from pgkeep.retention.pins import holding, read_pins
from pgkeep.retention.plan import ExpirePlan, Marks, plan_expire
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.survey import known_of


@dataclass(frozen=True)
class Together:
    """What stays, and why the rest does not."""

    going: Mapping[str, str]  # backups and dumps, and why
    wal: frozenset[str]  # names of the objects that stay
    censuses: frozenset[str]  # ids of those that stay

    def why_not(self, id: str) -> str:
        """Return why a backup or dump goes; '' when it stays, or nothing is known of it."""
        return self.going.get(id, "")

    def wants_wal(self, name: str) -> bool:
        """Tell whether a WAL file stays, by the object's name."""
        return name in self.wal

    def wants_census(self, name: str) -> bool:
        """Tell whether a census stays, by the object's name."""
        return name.rpartition("/")[2] in self.censuses


def judge_together(
    clusters: Sequence[ClusterFolder], policy: KeepPolicy, now: datetime, zone: tzinfo
) -> Together:
    """Apply a policy to all that any of the copies has. Damage counts where any has found it."""
    known: dict[str, Known] = {}
    files: dict[tuple[str, str], WalFile] = {}
    found: dict[str, Dump] = {}
    pinned: dict[str, str] = {}
    damaged: dict[str, str] = {}
    censuses: dict[str, datetime] = {}
    for cluster in clusters:
        for part in read_record(cluster).generations:
            generation = str(part.generation.id)
            here = known_of(part)
            known[generation] = _merged(known[generation], here) if generation in known else here
            files.update({(generation, file.object): file for file in files_of(part)})
        found.update({str(dump.id): dump for dump in dumps.dumps(cluster).dumps})
        pinned |= holding(read_pins(cluster), now)
        damaged |= read_proofs(cluster).damaged_backups()
        censuses |= {one.id: one.moment for one in listed_censuses(cluster)}
    marks = Marks(pinned, damaged)
    plan = plan_expire(list(known.values()), marks, policy, now, zone)
    dump_plan = plan_dumps(found.values(), marks, policy, now, zone)
    going = {str(v.backup.id): ", ".join(v.why) for v in plan.backups if not v.keep}
    going |= {str(v.dump.id): ", ".join(v.why) for v in dump_plan.dumps if not v.keep}
    told = plan_censuses(censuses, plan, zone)
    return Together(going, _staying(plan, files), frozenset(told.keep))


def _staying(plan: ExpirePlan, files: dict[tuple[str, str], WalFile]) -> frozenset[str]:
    kept = KeptWal(plan)
    return frozenset(
        name for (generation, name), file in files.items() if kept.holds(generation, file)
    )


def _merged(one: Known, other: Known) -> Known:
    """Return what two copies have of one generation."""
    backups = {backup.id: backup for backup in (*one.backups, *other.backups)}
    segments = {
        timeline: sorted({*one.segments.get(timeline, ()), *other.segments.get(timeline, ())})
        for timeline in {*one.segments, *other.segments}
    }
    archived_at = dict(one.archived_at)
    for timeline, moment in other.archived_at.items():
        archived_at[timeline] = max(moment, archived_at.get(timeline, moment))
    return Known(
        one.generation,
        tuple(in_order(backups.values())),
        segments,
        {**other.histories, **one.histories},
        archived_at,
    )
