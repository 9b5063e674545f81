"""What a finished verify has to say."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.model.coverage import Span
from pgkeep.model.dump import noun_of
from pgkeep.repository.proofs import DamagedObject, Proof, Verdict
from pgkeep.units import format_size
from pgkeep.verify.hits import FileHit, FilesHit

MISSING: Final = "missing"  # why WAL is lost that is not there
_SHOWN: Final = 5  # names in the error's message; the report has them all


class VerifyFailed(PgkeepError):
    """A verify came to its end and found faults. They were recorded.

    run() does not raise it: the report carries it, so that the report is shown as well.
    """

    code = "verify-failed"
    exit_status = 230

    cluster: str
    faults: int
    backups: tuple[str, ...]  # backups and dumps that are hit
    good: int  # of the kinds that are hit: those that are not

    def __str__(self) -> str:
        lost = "no backup is hit"
        if self.backups:
            more = len(self.backups) - _SHOWN
            listed = ", ".join(self.backups[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            kinds = " and ".join(f"{noun}s" for noun in self._nouns)
            lost = f"{kinds} that cannot be restored whole: {listed}"
        faults = "1 fault" if self.faults == 1 else f"{self.faults} faults"
        return f"the repository of cluster {self.cluster} has {faults}; {lost}"

    @property
    def hint(self) -> str:
        new = " and a new ".join(self._nouns) or "backup"
        if self.backups and not self.good:
            return (
                f"take a new {new} now; bring the named objects back from another copy of the "
                "repository (pgkeep verify --repair), and verify again"
            )
        return (
            "bring the named objects back from another copy of the repository (pgkeep verify "
            f"--repair), or take a new {new}, and verify again; check the disks of the repository"
        )

    @property
    def _nouns(self) -> list[str]:
        return sorted({noun_of(id) for id in self.backups})


@dataclass(frozen=True, slots=True)
class WalLoss:
    """Segments that are missing or damaged, and what can no longer be reached for it."""

    generation: str
    first: str
    last: str
    why: str
    stranded: tuple[str, ...]  # backups that they make consistent
    cut: tuple[str, ...]  # backups that cannot be recovered further than to their start
    at: str  # where the first one begins

    @property
    def missing(self) -> bool:
        """Tell whether they are not there at all."""
        return self.why == MISSING


@dataclass(frozen=True, slots=True)
class BackupFound:
    """One backup or dump, and what it has lost."""

    id: str
    verdict: Verdict
    why: str
    files: FilesHit


@dataclass(frozen=True, slots=True)
class Proven:
    """A stretch of a timeline that can be restored with what was found good."""

    generation: str
    timeline: int
    span: Span


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at, what was found, and what was not looked at."""

    proof: Proof
    found: tuple[BackupFound, ...]  # backups, then dumps
    wal: tuple[WalLoss, ...]
    proven: tuple[Proven, ...]
    unproven: str  # what this level did not look at
    duration_s: float
    orphans: tuple[int, int] | None = None  # packs that no manifest names, and their bytes
    unexplained: tuple[str, ...] = ()  # the first of them
    unexplained_count: int = 0
    gone: tuple[str, ...] = ()  # what was there at the proof before, and is not any more
    gone_since: datetime | None = None  # when that proof was made
    notes: tuple[str, ...] = ()
    recorded: bool = True

    @property
    def backups(self) -> tuple[BackupFound, ...]:
        return tuple(found for found in self.found if noun_of(found.id) == "backup")

    @property
    def dumps(self) -> tuple[BackupFound, ...]:
        return tuple(found for found in self.found if noun_of(found.id) == "dump")

    @property
    def damaged(self) -> tuple[DamagedObject, ...]:
        return self.proof.damaged

    @property
    def problem(self) -> VerifyFailed | None:
        """What the command's exit status must tell although the verify came to its end."""
        hit = tuple(one.id for one in self.found if one.verdict is not Verdict.GOOD)
        faults = len(self.damaged)
        if not faults and not hit:
            return None
        kinds = {noun_of(id) for id in hit}
        alike = [one for one in self.found if noun_of(one.id) in kinds or not hit]
        return VerifyFailed(self.proof.cluster, faults, hit, len(alike) - len(hit))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        proof = self.proof
        return {
            "id": proof.id if self.recorded else None,
            "cluster": proof.cluster,
            "proven": proof.words,
            "not_proven": self.unproven,
            "level": proof.level.value,
            "sample": proof.sample or None,
            "seed": proof.seed or None,
            "since": proof.since,
            "everything": proof.everything,
            "started_at": proof.started_at,
            "finished_at": proof.finished_at,
            "duration_s": round(self.duration_s, 3),
            "packs": proof.packs,
            "wal_files": proof.wal_files,
            "read": proof.read,
            "backups": [_backup(found) for found in self.backups],
            "dumps": [_backup(found) for found in self.dumps],
            "damaged": list(self.damaged),
            "wal_losses": list(self.wal),
            "restorable": [
                {
                    "generation": proven.generation,
                    "timeline": proven.timeline,
                    "from": proven.span.start,
                    "to": proven.span.end,
                    "backups": list(proven.span.backups),
                }
                for proven in self.proven
            ],
            "orphan_packs": self.orphans and self.orphans[0],
            "orphan_bytes": self.orphans and self.orphans[1],
            "unexplained": list(self.unexplained),
            "unexplained_count": self.unexplained_count,
            "gone": list(self.gone),
            "notes": list(self.notes),
        }


def describe_blocks(hit: FileHit) -> str:
    """Return 'blocks 0-127, 300', or the lost bytes of a file that has no blocks."""
    if not hit.blocks:
        whole = hit.lost == hit.size
        return "all of it" if whole else f"{format_size(hit.lost)} of {format_size(hit.size)}"
    pieces = [f"{first}" if first == last else f"{first}-{last}" for first, last in hit.blocks]
    more = f" and {len(pieces) - _SHOWN} more ranges" if len(pieces) > _SHOWN else ""
    single = len(hit.blocks) == 1 and hit.blocks[0][0] == hit.blocks[0][1]
    return f"block{'' if single else 's'} {', '.join(pieces[:_SHOWN])}{more}"


def _backup(found: BackupFound) -> dict[str, Any]:
    return {
        "id": found.id,
        "verdict": found.verdict.value,
        "why": found.why,
        "damaged_files": found.files.count,
        "files": [
            {
                "path": hit.path,
                "database": hit.database or None,
                "size": hit.size,
                "lost": hit.lost,
                "ranges": [list(piece) for piece in hit.ranges],
                "blocks": [list(piece) for piece in hit.blocks],
                "packs": list(hit.packs),
            }
            for hit in found.files.first
        ],
    }
