"""What would be lost, how long a restore takes, and what that says of the objectives. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pgkeep.config.sections import ClusterConfig
from pgkeep.coverage.record import Record
from pgkeep.health.condition import Condition, Kind
from pgkeep.health.forecast import RestoreTime, restore_time, slope, wal_between
from pgkeep.health.seen import Seen
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Span
from pgkeep.model.lsn import Lsn
from pgkeep.repository.drills.report import Measures
from pgkeep.units import format_duration, format_size

_NEAR: Final = 0.8  # of an objective: it is at risk before it breaks
_AHEAD: Final = timedelta(days=60)  # within which growth is told of: disks are not bought in a day
_WEEKS: Final = timedelta(days=35)  # of backups by which growth is told: five weekly ones
_LEAST: Final = timedelta(days=14)  # from the first to the last of them
_ENOUGH: Final = 5  # of them
_KEEPS_UP: Final = 2  # segments that are not archived: the one in use, and one on its way


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is written and not in the repository yet."""

    bytes: int | None = None
    seconds: float | None = None  # since it may have been written; 0: nothing is


def newest_span(seen: Seen) -> Span | None:
    """Return the newest stretch of moments that can be restored."""
    record = seen.record
    latest = record.coverage.latest if record else None
    return latest.spans[-1] if latest and latest.spans else None


def exposure(seen: Seen) -> Exposure:
    """Say what would be lost if the server died now.

    Positions tell how much. How old it is nobody can tell exactly: what is not archived came after
    the newest commit that is. While nothing but the segment in use is missing it is younger: it
    came after the file that was archived last, and within archive_timeout.
    """
    span, server = newest_span(seen), seen.server
    record = seen.record
    newest = seen.listing.newest if seen.listing else None
    if span is None or record is None or newest is None:
        return Exposure()
    if server is None or server.generation != record.generation.id:
        # Nobody asked, or another server: its positions say nothing of this cluster.
        age = (seen.now - newest).total_seconds()
        return Exposure(None, max(0.0, age) if seen.has_server else None)
    behind = max(0, server.lsn - span.end)
    if behind == 0:
        # A standby may be behind itself: that it has nothing more says nothing.
        return Exposure(0, None if server.in_recovery else 0.0)
    there = seen.now + timedelta(seconds=server.ahead_s)  # its clock dated all of this
    size = record.generation.segment_size
    keeps_up = behind <= _KEEPS_UP * size and not _has_hole_after(record, span.end)
    archived = server.archiver.last_archived_time if keeps_up else None
    age = (there - max(newest, archived or newest)).total_seconds()
    if keeps_up and server.archive_timeout and server.archiving and not server.archiver.failed_at:
        # An idle server ends no segment: then nothing of what waits matters to anybody.
        age = min(age, float(server.archive_timeout))
    return Exposure(behind, max(0.0, age))


def _has_hole_after(record: Record, end: Lsn) -> bool:
    latest = record.coverage.latest
    holes = latest.holes if latest else ()
    return any(hole.last.number * record.generation.segment_size >= end for hole in holes)


def _base(seen: Seen) -> Backup | None:
    """Return the backup from which the newest moment is restored."""
    record = seen.record
    span = newest_span(seen)
    if record is None or span is None:
        return None
    return next((backup for backup in record.backups if backup.id == span.backups[-1]), None)


def _measures(seen: Seen) -> Measures | None:
    drill = seen.listing.drills.last_passed if seen.listing else None
    return drill.measures if drill else None


def time_to_restore(seen: Seen) -> RestoreTime | None:
    base, span = _base(seen), newest_span(seen)
    if base is None or span is None:
        return None
    return restore_time(base.size, max(0, span.end - base.start_lsn), _measures(seen))


def of_objectives(
    seen: Seen, config: ClusterConfig, loss: Exposure, restore: RestoreTime | None
) -> Iterator[Condition]:
    yield from _of_rpo(seen, config, loss)
    yield from _of_rto(seen, config, restore)
    yield from _of_plan(seen, config, restore)


def _of_rpo(seen: Seen, config: ClusterConfig, loss: Exposure) -> Iterator[Condition]:
    goal, server = config.objectives.rpo, seen.server
    if not goal or seen.listing is None:
        return
    if loss.seconds is not None and loss.seconds > goal * _NEAR:
        broken = loss.seconds > goal
        behind = f", {format_size(loss.bytes)} of WAL" if loss.bytes else ""
        yield (seen.critical if broken else seen.warning)(
            Kind.RPO_AT_RISK,
            f"up to {format_duration(loss.seconds)} would be lost now; "
            f"the objective is {format_duration(goal)}",
            f"what was written since is not archived{behind}",
            "pgkeep wal status",
            subject="now",
        )
    if server is not None and not server.in_recovery and server.archiving:
        timeout = server.archive_timeout
        if not timeout or timeout > goal:
            said = f"archive_timeout is {timeout} s" if timeout else "archive_timeout is off"
            yield seen.warning(
                Kind.RPO_AT_RISK,
                f"a quiet server can lose more than the objective of {format_duration(goal)}",
                f"{said}: a segment that does not fill up is not archived",
                f"ALTER SYSTEM SET archive_timeout = '{max(1, goal // 2)}s'; "
                "SELECT pg_reload_conf()",
                subject="archive_timeout",
            )


def _of_rto(seen: Seen, config: ClusterConfig, restore: RestoreTime | None) -> Iterator[Condition]:
    goal = config.objectives.rto
    if not goal or restore is None or restore.seconds <= goal * _NEAR:
        return
    yield (seen.critical if restore.seconds > goal else seen.warning)(
        Kind.RTO_AT_RISK,
        f"a restore would take {format_duration(restore.seconds)}; "
        f"the objective is {format_duration(goal)}",
        f"estimated {_basis(restore)}, from the size of the cluster and the WAL since the newest "
        "backup",
        "pgkeep backup: less WAL to replay; then pgkeep drill to measure again",
    )


def _basis(restore: RestoreTime) -> str:
    return "by the newest drill" if restore.measured else "by rates not measured here: pgkeep drill"


def _of_plan(seen: Seen, config: ClusterConfig, restore: RestoreTime | None) -> Iterator[Condition]:
    """Tell when the objective holds after a backup and not before the next one any more.

    Or when it will be so soon, as the cluster grows.
    """
    goal, base = config.objectives.rto, _base(seen)
    record = seen.record
    if not goal or restore is None or restore.seconds > goal or base is None or record is None:
        return
    between = wal_between(record.backups)
    if between is None:
        return
    longest = restore_time(base.size, between, _measures(seen))
    if longest.seconds > goal:
        yield seen.warning(
            Kind.PLAN_DRIFTED,
            f"your plan no longer meets the goal: before the next backup a restore takes "
            f"{format_duration(longest.seconds)}; the objective is {format_duration(goal)}",
            f"from one backup to the next come {format_size(between)} of WAL to replay",
            f"back up more often: backup in [clusters.{seen.cluster}.schedule] of pgkeep.toml",
        )
    else:
        yield from _of_growth(seen, float(goal), between, base)


def _of_growth(seen: Seen, goal: float, between: int, base: Backup) -> Iterator[Condition]:
    assert seen.record is not None
    growth = growth_per_day(seen.record.backups, seen.now)
    left = days_left(base.size, growth, between, _measures(seen), goal)
    if left is None:
        return
    drill = restore_time(base.size, between, _measures(seen))
    yield seen.warning(
        Kind.PLAN_DRIFTED,
        f"your plan meets the goal until about {seen.now + timedelta(days=left):%Y-%m-%d}: from "
        f"then on a restore takes longer than the objective of {format_duration(goal)}",
        f"the cluster grows by {format_size(int(growth * 7))} a week and has "
        f"{format_size(base.size)}; estimated {_basis(drill)}",
        "faster disks, a nearer repository, or data to let go of; then pgkeep drill to measure "
        f"again; else a longer rto in [clusters.{seen.cluster}.objectives] of pgkeep.toml",
        subject="growth",
    )


def growth_per_day(backups: Sequence[Backup], now: datetime) -> float:
    """Return by how many bytes a day a cluster grows; 0: it does not, or too few backups tell.

    The median of the rates between any two of them, so that one that is odd says nothing; and no
    more than that of their newer half, so that data loaded once is no growth.
    """
    recent = [backup for backup in backups if now - backup.started_at <= _WEEKS]
    newest_of_day = {backup.started_at.date(): backup for backup in recent}
    sizes = [(b.started_at.timestamp() / 86400, b.size) for b in newest_of_day.values()]
    if len(sizes) < _ENOUGH or sizes[-1][0] - sizes[0][0] < _LEAST.days:
        return 0.0
    return max(0.0, min(slope(sizes), slope(sizes[len(sizes) // 2 :])))


def days_left(
    size: int, growth: float, wal: int, drill: Measures | None, goal: float
) -> float | None:
    """Return how long a restore stays within the goal; None: longer than can be said, or no more.

    `wal` is what there is to replay, `growth` the bytes by which the cluster grows in a day.
    """
    today = restore_time(size, wal, drill).seconds
    then = restore_time(int(size + growth * _AHEAD.days), wal, drill).seconds
    if not today <= goal < then:
        return None
    return _AHEAD.days * (goal - today) / (then - today)
