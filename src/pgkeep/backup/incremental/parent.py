"""Which backup an incremental one may build on, and why the others won't do. Pure.

A page that looks unchanged is taken from the parent, so the parent must be a state that this
cluster went through: same generation, and all that was copied for it on the history of the server's
timeline. Checksums that were switched on or off change pages without touching their LSNs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgkeep.model.backup import Backup, BackupId
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History

NO_PARENT: Final = "cannot be its parent"


@dataclass(frozen=True, slots=True)
class Now:
    """The cluster that is backed up, when it begins."""

    generation: Generation
    checksums: bool
    history: History  # of the timeline that the server is on
    start: Lsn
    archiving: bool
    running_since: datetime | None  # the server; None: not known


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A backup that was looked at as parent, and why it is none."""

    backup: BackupId
    why: str

    def __str__(self) -> str:
        return f"{self.backup} {NO_PARENT}: {self.why}"


def unfit(backup: Backup, now: Now) -> str:
    """Return why a backup cannot be the parent; '' when it can."""
    if backup.generation != now.generation:
        return _other_generation(backup.generation, now.generation)
    if backup.checksums != now.checksums:
        before, after = ("on", "off") if backup.checksums else ("off", "on")
        return f"data checksums were {before} then and are {after} now"
    # All of it, not only its start: what it copied up to its stop must have happened here as well.
    if not now.history.includes(backup.timeline, backup.stop_lsn):
        line, switch = backup.timeline, now.history.switch_of(backup.timeline)
        if switch is None:
            return f"timeline {line} is not on the way to timeline {now.history.timeline}"
        return f"it ended at {backup.stop_lsn}, after timeline {line} was left at {switch}"
    if backup.stop_lsn > now.start:
        return f"it ended at {backup.stop_lsn}, and the cluster has gone back to {now.start}"
    return ""


def may_have_gone_back(backup: Backup, now: Now) -> bool:
    """Tell whether the cluster may have been set back since, and have run past this backup again.

    A snapshot of the disk, or files copied over it, take it back without a new timeline. A server
    that archives gets stuck then: the archive has other WAL of that name. One that ran all the time
    was not set back.
    """
    if now.archiving:
        return False
    return now.running_since is None or now.running_since > backup.stopped_at


def candidates(backups: Sequence[Backup], now: Now) -> tuple[list[Backup], list[PassedOver]]:
    """Return the backups that can be the parent, the best first, and newer ones that cannot."""
    fit: list[Backup] = []
    passed_over: list[PassedOver] = []
    for backup in sorted(backups, key=lambda b: (b.stop_lsn, b.started_at), reverse=True):
        why = unfit(backup, now)
        if not why:
            fit.append(backup)
        elif not fit and backup.generation == now.generation:
            passed_over.append(PassedOver(backup.id, why))
    return fit, passed_over


def _other_generation(theirs: Generation, ours: Generation) -> str:
    if theirs.system_identifier != ours.system_identifier:
        return f"it is of another cluster, system identifier {theirs.system_identifier}"
    if theirs.major != ours.major:
        return f"it is of PostgreSQL {theirs.major}"
    return "its blocks or segments have another size"
