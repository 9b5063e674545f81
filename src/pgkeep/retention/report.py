"""What expire and delete decided and did: for text, JSON and tests."""

from collections.abc import Mapping
from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.repository.catalog import Unreadable
from pgkeep.repository.dumps import UnreadableDump
from pgkeep.repository.store.base import BlobStat
from pgkeep.retention.judging.censuses import CensusPlan
from pgkeep.retention.judging.dumps import DumpPlan
from pgkeep.retention.judging.wal_files import WalFile
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.packs import Packs
from pgkeep.retention.plan import ExpirePlan
from pgkeep.retention.removal import NOTHING, Held, NotAllDeleted, Removed


@dataclass(frozen=True)
class Decision:
    """All that expire would do, and why; the same for a dry run and a real one."""

    cluster: str
    repository: str
    plan: ExpirePlan
    dumps: DumpPlan
    unreadable: tuple[Unreadable | UnreadableDump, ...]
    packs: Packs | None  # None: it is unknown who needs them
    wal_sizes: Mapping[WalVerdict, int]
    wal_files: tuple[WalFile, ...]  # those that go, oldest first
    proofs: tuple[BlobStat, ...]  # those that no later verify leaves a use for
    censuses: CensusPlan
    drills: tuple[BlobStat, ...] = ()  # reports that are old
    acts: tuple[tuple[str, int], ...] = ()  # those that are old: names and sizes
    refusal: PgkeepError | None = None  # why nothing of it may be done

    @property
    def dropped(self) -> list[str]:
        """Return the ids of all that goes."""
        return [*(one.id for one in self.plan.dropped), *(one.id for one in self.dumps.dropped)]

    @property
    def freed(self) -> int:
        """Bytes that backups, dumps and WAL give back; manifests are not counted."""
        packs = self.packs.freed_size if self.packs else 0
        return packs + sum(file.size for file in self.wal_files)


@dataclass(frozen=True)
class Outcome:
    """What was deleted."""

    backups: tuple[str, ...] = ()
    dumps: tuple[str, ...] = ()
    packs: Removed = NOTHING
    orphans: Removed = NOTHING
    wal: Removed = NOTHING
    censuses: Removed = NOTHING
    proofs: Removed = NOTHING
    drills: Removed = NOTHING
    acts: Removed = NOTHING
    temp: Removed = NOTHING
    took_over: tuple[str, ...] = ()  # dead holders whose locks gave way
    problem: NotAllDeleted | None = None
    held: Held | None = None  # what is locked, and goes later

    @property
    def size(self) -> int:
        records = (self.censuses, self.proofs, self.drills, self.acts)
        parts = (self.packs, self.orphans, self.wal, *records, self.temp)
        return sum(part.size for part in parts)


@dataclass(frozen=True)
class Expired:
    """An expire as a whole."""

    decision: Decision
    outcome: Outcome | None = None  # None: a dry run, or a refusal
