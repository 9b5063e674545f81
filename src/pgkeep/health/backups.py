"""What backups and dumps on record say of health: none, late, shrunken, hollow, cut off. Pure."""

from collections.abc import Iterator
from datetime import tzinfo
from statistics import median
from typing import Final

from pgkeep.config.sections import ClusterConfig
from pgkeep.health.condition import Condition, Kind
from pgkeep.health.forecast import Late, late
from pgkeep.health.seen import Seen, is_ahead
from pgkeep.model.coverage import Coverage, Hole
from pgkeep.units import format_duration, format_size

_SHRUNKEN: Final = 0.5  # of what backups were before
_HOLLOW: Final = 0.1
_BEFORE: Final = 5  # backups that say what is usual
_MANY: Final = 3  # missed times that are no delay any more


def of_backups(seen: Seen, config: ClusterConfig, zone: tzinfo) -> Iterator[Condition]:
    if seen.listing is None:
        return
    yield from _of_protection(seen)
    yield from _of_dates(seen)
    backups, schedule = seen.listing.backups, config.schedule
    # One of a clock that was wrong must not be the newest until its date has come.
    done = [one.started_at for one in backups if not is_ahead(one.started_at, seen.now)]
    yield from _of_late(
        seen, Kind.BACKUP_LATE, late(schedule.backup, schedule, done, seen.now, zone)
    )
    taken = sorted(d.started_at for d in seen.dumps if not is_ahead(d.started_at, seen.now))
    yield from _of_late(seen, Kind.DUMP_LATE, late(schedule.dump, schedule, taken, seen.now, zone))
    yield from _of_sizes(seen)
    yield from _of_pages(seen)
    yield from _of_dumps(seen)
    yield from _of_holes(seen)


def _of_dates(seen: Seen) -> Iterator[Condition]:
    """Tell of what was made while a clock was ahead; or this host's is behind now."""
    assert seen.listing is not None
    ahead = [
        *((backup.started_at, f"backup {backup.id}") for backup in seen.listing.backups),
        *((dump.started_at, f"dump {dump.id}") for dump in seen.dumps),
    ]
    ahead = [(at, what) for at, what in ahead if is_ahead(at, seen.now)]
    if not ahead:
        return
    latest, what = max(ahead)
    more = f" and {len(ahead) - 1} more are" if len(ahead) > 1 else " is"
    yield seen.warning(
        Kind.CLOCK_OFF,
        "retention and schedules go by dates: what is dated ahead counts as the newest until then",
        f"{what} of {latest:%Y-%m-%d %H:%M} UTC{more} dated later than now",
        "set the clocks by NTP; if this host's is right, back up anew, then pgkeep delete what is "
        "dated ahead",
        subject="dates",
    )


def _of_protection(seen: Seen) -> Iterator[Condition]:
    assert seen.listing is not None
    record = seen.listing.record
    for bad in record.unreadable:
        yield seen.critical(
            Kind.BACKUP_FAILED,
            f"backup {bad.id} cannot be restored",
            f"its manifest cannot be read: {bad.why}",
            bad.error.hint or "pgkeep verify --repair",
            subject=str(bad.id),
        )
    if not seen.listing.backups:
        if seen.dumps:
            return  # a cluster that is kept by dumps alone
        yield seen.critical(
            Kind.NEVER_PROTECTED,
            "nothing can be restored yet",
            "there is no backup and no dump",
            f"pgkeep --cluster {seen.cluster} backup",
        )
    elif record.newest is not None and record.newest.coverage.latest is None:
        stranded = record.newest.coverage.stranded
        missing = f"WAL segment {stranded[0].missing} is missing" if stranded else "WAL is missing"
        yield seen.critical(
            Kind.NEVER_PROTECTED,
            "no backup can be restored: none becomes consistent",
            missing,
            "pgkeep backup: a new one; pgkeep wal status tells what is missing",
        )


def _of_late(seen: Seen, kind: Kind, found: Late | None) -> Iterator[Condition]:
    if found is None:
        return
    noun = "backup" if kind is Kind.BACKUP_LATE else "dump"
    make = seen.critical if found.missed >= _MANY else seen.warning
    times = "once" if found.missed == 1 else f"{found.missed} times"
    effect = (
        "restores replay more and more WAL, and what is damaged meanwhile is noticed later"
        if noun == "backup"
        else "the newest dump grows old: what changed since can only come from physical backups"
    )
    command = "pgkeep backup" if noun == "backup" else "pgkeep dump create"
    age = format_duration((seen.now - found.since).total_seconds())
    yield make(
        kind,
        effect,
        f"a {noun} is missing since {age}: {found.why}, and was missed {times}",
        f"{command}; and see why nothing runs it: pgkeep jobs list",
        since=found.since,
    )


def _of_sizes(seen: Seen) -> Iterator[Condition]:
    """Tell of a newest backup that holds much less than those before it."""
    record = seen.record
    if record is None or len(record.backups) < 2:
        return
    newest, before = record.backups[-1], record.backups[-_BEFORE - 1 : -1]
    usual = median(backup.size for backup in before)
    if not usual or newest.size >= usual * _SHRUNKEN:
        return
    hollow = newest.size < usual * _HOLLOW
    yield (seen.critical if hollow else seen.warning)(
        Kind.BACKUP_HOLLOW if hollow else Kind.BACKUP_SHRUNKEN,
        "data may be gone from the server, and expire will let go of the backups that have it",
        f"backup {newest.id} holds {format_size(newest.size)}, those before it "
        f"{format_size(int(usual))}",
        f"if that is not what you did: pgkeep pin {before[-1].id}; pgkeep undo find",
        since=newest.stopped_at,
    )


def _of_pages(seen: Seen) -> Iterator[Condition]:
    record = seen.record
    if record is None or not record.backups or not record.backups[-1].corrupt_pages:
        return
    newest = record.backups[-1]
    clean = next((b for b in reversed(record.backups) if not b.corrupt_pages), None)
    keep = f"pgkeep pin {clean.id}, the newest without; then " if clean else ""
    yield seen.critical(
        Kind.CORRUPT_PAGES,
        "damaged pages are on the server, and in each backup from now on",
        f"backup {newest.id} found {newest.corrupt_pages} with wrong checksums",
        f"{keep}pgkeep show {newest.id}; pgkeep repair --help",
        since=newest.stopped_at,
    )


def _of_dumps(seen: Seen) -> Iterator[Condition]:
    """Tell of dumps that cannot be read, and what looks wrong with the newest of each series."""
    for bad in seen.bad_dumps:
        yield seen.critical(
            Kind.BACKUP_FAILED,
            f"dump {bad.what} cannot be restored",
            f"its manifest cannot be read: {bad.why}",
            bad.hint or "pgkeep verify --repair",
            subject=bad.what,
        )
    newest = {dump.series: dump for dump in sorted(seen.dumps, key=lambda one: one.taken_at)}
    for dump in newest.values():
        if dump.suspicions:
            more = f", and {len(dump.suspicions) - 1} more" if len(dump.suspicions) > 1 else ""
            yield seen.warning(
                Kind.BACKUP_HOLLOW,
                f"dump {dump.id} of {dump.series_words} may lack data",
                f"{dump.suspicions[0]}{more}",
                f"pgkeep dump diff; pgkeep dump show {dump.id}",
                subject=dump.series_words,
                since=dump.taken_at,
            )


def _of_holes(seen: Seen) -> Iterator[Condition]:
    record = seen.record
    if record is None or not record.backups:
        return
    latest = record.coverage.latest
    start = record.backups[-1].first_segment
    for hole in latest.holes if latest else ():
        missing = _spell(hole)
        if hole.first.timeline == start.timeline and hole.last.number >= start.number:
            yield seen.critical(
                Kind.WAL_HOLE,
                f"nothing after {hole.first} can be restored, until there is a newer backup",
                f"{missing} not in the archive",
                "pgkeep backup; and see why: pgkeep wal status",
                subject=str(hole.first),
            )
        elif _matters(record.coverage, hole):
            yield seen.warning(
                Kind.WAL_HOLE,
                f"moments after {hole.first} and before the next backup cannot be restored",
                f"{missing} not in the archive",
                "pgkeep wal status; a copy may have it: pgkeep verify --repair",
                subject=str(hole.first),
            )


def _matters(found: Coverage, hole: Hole) -> bool:
    """Tell whether there is a backup before a hole: else nothing leads there anyway."""
    latest = found.latest
    return latest is not None and any(
        int(reach.start) <= hole.first.number * found.generation.segment_size
        for reach in latest.reaches
    )


def _spell(hole: Hole) -> str:
    if hole.segments == 1:
        return f"WAL segment {hole.first} is"
    return f"{hole.segments} WAL segments from {hole.first} to {hole.last} are"
