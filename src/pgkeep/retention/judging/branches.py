"""Which branches of a cluster's history are alive, and from where on each must stay whole. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from pgkeep.model.backup import Backup, BackupId
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import Coverage, TimelineCoverage, coverage
from pgkeep.model.timeline import History
from pgkeep.retention.policy import age

# Without a window, or with a short one: servers that archive now and then must not look dead.
_ALIVE: Final = timedelta(days=1)


@dataclass(frozen=True)
class Known:
    """One generation of a cluster, as the repository has it."""

    generation: Generation
    backups: tuple[Backup, ...] = ()
    segments: Mapping[int, Sequence[int]] = field(default_factory=dict)  # sorted, by timeline
    histories: Mapping[int, History] = field(default_factory=dict)
    # When the newest file of each timeline came into the archive, by the store's clock.
    archived_at: Mapping[int, datetime] = field(default_factory=dict)

    @cached_property
    def coverage(self) -> Coverage:
        return coverage(self.generation, self.backups, self.segments, self.histories)

    @cached_property
    def stranded(self) -> Mapping[BackupId, str]:
        """Backups that cannot be restored, with the first segment they lack."""
        return {lost.backup: lost.missing.name for lost in self.coverage.stranded}

    def sound(self, damaged: Container[str]) -> list[Backup]:
        """Return the backups that count: restorable, and not known to be damaged."""
        stranded = self.stranded
        return [b for b in self.backups if b.id not in stranded and b.id not in damaged]

    def seen(self, damaged: Container[str], start: datetime) -> dict[int, datetime]:
        """Return the newest sign that somebody wrote on each timeline.

        Of backups that count, or are in the window: others may go, and what is alive must not
        depend on them.
        """
        signs = dict(self.archived_at)
        sound = {backup.id for backup in self.sound(damaged)}
        for backup in self.backups:
            if backup.id not in sound and backup.stopped_at <= start:
                continue
            former = signs.get(backup.timeline, backup.stopped_at)
            signs[backup.timeline] = max(former, backup.stopped_at)
        return signs


@dataclass(frozen=True, slots=True)
class Branch:
    """A timeline in use: from `first` on, every moment of it must stay restorable."""

    generation: Generation
    history: History
    anchor: Backup | None  # the backup that restores the window's beginning
    newer: tuple[Backup, ...]  # those after it along this history

    @property
    def timeline(self) -> int:
        return self.history.timeline

    @property
    def backups(self) -> tuple[Backup, ...]:
        return (self.anchor, *self.newer) if self.anchor else self.newer

    @property
    def first(self) -> int:
        """The first segment that must stay; 0 when there is no backup yet."""
        return min((backup.first_segment.number for backup in self.backups), default=0)

    def shares(self) -> list[tuple[int, int, int]]:
        """Return what must stay as (timeline, first segment, the one beyond the last)."""
        size = self.generation.segment_size
        timelines = [*(b.timeline for b in self.history.ancestors), self.timeline]
        begins = [0, *(b.switch // size for b in self.history.ancestors)]
        # The segment of the switch stays of the parent too: PostgreSQL asks for the child's first,
        # and this costs one file.
        ends = [*(-(-b.switch // size) for b in self.history.ancestors), 1 << 64]
        parts = zip(timelines, begins, ends, strict=True)
        return [(t, max(begin, self.first), end) for t, begin, end in parts if end > self.first]


def living(
    known: Sequence[Known], damaged: Container[str], window: timedelta, now: datetime
) -> dict[str, set[int]]:
    """Return the timelines in use, by generation: seen in the window, or newer than all others."""
    since = now - max(window, _ALIVE)
    seen = [k.seen(damaged, now - window) for k in known]
    newest = max((sign for signs in seen for sign in signs.values()), default=None)
    found = {}
    for k, signs in zip(known, seen, strict=True):
        last = max(signs.values(), default=None)
        if last is not None and (last >= since or last == newest):
            recent = {timeline for timeline, sign in signs.items() if sign >= min(since, last)}
            found[str(k.generation.id)] = _living(k, damaged, recent)
    return found


def _living(known: Known, damaged: Container[str], recent: set[int]) -> set[int]:
    found = set(recent)
    newest = max(known.sound(damaged), key=age, default=None)
    if newest is not None:
        found.add(newest.timeline)
    # Whose beginning is unknown may have begun on any older one.
    everything = known.coverage.timelines
    unknown = {timeline.timeline for timeline in everything if not timeline.history_known}
    youngest = max(found & unknown, default=0)
    return found | {t.timeline for t in everything if t.timeline < youngest}


def branch(
    known: Known, timeline: TimelineCoverage, damaged: Mapping[str, str], start: datetime
) -> Branch:
    """Return from which backup on a living timeline must stay whole; the window begins at `start`.

    A damaged backup is the anchor only where there is no other.
    """
    along = {reach.backup for reach in timeline.reaches}
    backups = [backup for backup in known.backups if backup.id in along]
    older = [backup for backup in backups if backup.stopped_at <= start]
    anchor = max(
        older, key=lambda b: (b.id not in damaged, b.stopped_at, -b.stop_lsn), default=None
    )
    newer = [
        backup
        for backup in backups
        if backup is not anchor
        and (backup.stopped_at > start or (backup.id not in damaged and _behind(backup, anchor)))
    ]
    newer.sort(key=age)
    return Branch(known.generation, timeline.history, anchor, tuple(newer))


def _behind(backup: Backup, anchor: Backup | None) -> bool:
    """Tell whether a backup lies behind the anchor in WAL, whatever the server's clock said."""
    return anchor is not None and backup.stop_lsn >= anchor.stop_lsn
