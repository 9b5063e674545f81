"""What was seen, as health: what can be restored, and what endangers that. Pure.

From coverage, never from exit codes. Idle, empty and brand-new are normal; unknown is not.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from pgkeep.config.sections import ClusterConfig
from pgkeep.health.backups import of_backups
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.forecast import RestoreTime, Stored, filling_per_s, full_at, growth_per_s
from pgkeep.health.health import Health, Proven, RepositoryRoom, State
from pgkeep.health.objectives import (
    Exposure,
    exposure,
    newest_span,
    of_objectives,
    time_to_restore,
)
from pgkeep.health.proofs import of_proofs
from pgkeep.health.seen import Seen
from pgkeep.health.server import of_server
from pgkeep.units import format_size

_FULL_WARNING: Final = timedelta(days=14)
_FULL_CRITICAL: Final = timedelta(days=2)


def judge(seen: Seen, config: ClusterConfig, zone: tzinfo) -> Health:
    """Return the health of a cluster as it was seen."""
    record = seen.record
    backups = record.backups if record else ()
    proven = _proven(seen)
    loss = exposure(seen)
    restore = time_to_restore(seen)
    rooms = _rooms(seen, config)
    conditions = [
        *_of_troubles(seen),
        *of_backups(seen, config, zone),
        *of_server(seen),
        *of_proofs(seen, config),
        *_of_rooms(seen, rooms),
        *_of_copies(seen),
        *of_objectives(seen, config, loss, restore),
    ]
    conditions.sort(key=lambda one: (one.level is not Level.CRITICAL, one.kind, one.subject))
    dumps = [dump.taken_at for dump in seen.dumps]
    return Health(
        cluster=seen.cluster,
        state=_state(seen, conditions),
        looked_at=seen.now,
        protected_to=_newest(seen, loss),
        protected_from=_oldest(seen),
        proven=proven,
        conditions=tuple(conditions),
        newest_backup=backups[-1].id if backups else "",
        newest_backup_at=backups[-1].stopped_at if backups else None,
        newest_dump_at=max(dumps, default=None),
        cluster_bytes=seen.server.size if seen.server else (backups[-1].size if backups else None),
        wal_behind_bytes=loss.bytes,
        wal_behind_s=loss.seconds,
        wal_bytes_per_s=seen.room.rate if seen.room else None,
        pg_wal_full_in_s=seen.room.seconds_left if seen.room and seen.room.is_behind else None,
        restore_s=restore.seconds if restore else None,
        rpo_s=loss.seconds,
        rpo_goal_s=float(config.objectives.rpo) or None,
        rto_goal_s=float(config.objectives.rto) or None,
        repositories=rooms,
        notes=tuple(_notes(seen, restore)),
    )


def _state(seen: Seen, conditions: list[Condition]) -> State:
    if seen.listing is None:
        return State.UNKNOWN
    if any(one.level is Level.CRITICAL for one in conditions):
        return State.IN_DANGER
    return State.AT_RISK if conditions else State.PROTECTED


def _newest(seen: Seen, loss: Exposure) -> datetime | None:
    """Return up to when everything can be restored: now, if nothing waits to be archived."""
    newest = seen.listing.newest if seen.listing else None
    if newest is not None and loss.seconds is not None:
        return max(newest, seen.now - timedelta(seconds=loss.seconds))
    return newest


def _oldest(seen: Seen) -> datetime | None:
    """Return from when on every moment can be restored, up to the newest."""
    span = newest_span(seen)
    record = seen.record
    if span is None or record is None:
        return None
    stops = {backup.id: backup.stopped_at for backup in record.backups}
    return min((stops[id] for id in span.backups if id in stops), default=None)


def _proven(seen: Seen) -> Proven | None:
    drill = seen.listing.drills.last_passed if seen.listing else None
    if drill is None:
        return None
    took = drill.measures.ready_s
    if took is None:
        took = (drill.finished_at - drill.started_at).total_seconds()
    return Proven(drill.id, drill.finished_at, took, drill.of)


def _rooms(seen: Seen, config: ClusterConfig) -> tuple[RepositoryRoom, ...]:
    """Return how full each repository is, and when it will be full.

    By what was weighed; where that is not enough, by what has come while nothing had to go.
    """
    backups = seen.listing.backups if seen.listing else []
    retention = config.retention
    window = timedelta(seconds=retention.window)
    kept = retention.daily or retention.weekly or retention.monthly or retention.yearly
    settled = bool(kept or window) and bool(backups) and seen.now - backups[0].started_at > window
    growth = None if settled else growth_per_s(backups, _archived(seen), seen.now)
    found = []
    for place in seen.places:
        weighed = filling_per_s(place.weighed, seen.now)
        full = full_at(place.room.free, growth if weighed is None else weighed, seen.now)
        found.append(replace(place.room, full_at=full))
    return tuple(found)


def _archived(seen: Seen) -> list[Stored]:
    """Return what each WAL file in the repository takes, and when it came."""
    parts = seen.listing.record.generations if seen.listing else ()
    return [
        Stored(stat.modified, stat.size) for part in parts for stat in part.listing.stats.values()
    ]


def _of_rooms(seen: Seen, rooms: tuple[RepositoryRoom, ...]) -> Iterator[Condition]:
    backups = seen.listing.backups if seen.listing else []
    wanted = 2 * max((backup.stored for backup in backups[-3:]), default=0)
    for room in rooms:
        left = room.full_at - seen.now if room.full_at else None
        short = room.free is not None and bool(wanted) and room.free < wanted
        if not short and (left is None or left > _FULL_WARNING):
            continue
        assert room.free is not None
        make = seen.critical if short or (left and left < _FULL_CRITICAL) else seen.warning
        when = f"full by {room.full_at:%Y-%m-%d}" if room.full_at else "no room for two backups"
        yield make(
            Kind.REPOSITORY_FILLS,
            "backups and WAL will stop when the repository is full",
            f"{room.name} has {format_size(room.free)} free: {when} at the present growth",
            f"give {room.address} more room, or keep less: pgkeep expire --dry-run",
            subject=room.name,
        )


def _of_copies(seen: Seen) -> Iterator[Condition]:
    """Tell of repositories that lack the newest backup that others have had for a day."""
    if len(seen.places) < 2 or seen.listing is None:
        return
    settled = [b for b in seen.listing.backups if seen.now - b.stopped_at > timedelta(hours=26)]
    if not settled:
        return
    for place in seen.places:
        if settled[-1].id in place.backups or any(
            backup.id in place.backups
            for backup in seen.listing.backups
            if backup.stopped_at > settled[-1].stopped_at
        ):
            continue
        yield seen.warning(
            Kind.COPY_BEHIND,
            f"if the other repositories are lost, {place.room.name} has nothing of the last day",
            f"it lacks backup {settled[-1].id} of {settled[-1].stopped_at:%Y-%m-%d %H:%M} UTC",
            f"pgkeep copy --to {place.room.name}",
            subject=place.room.name,
        )


def _of_troubles(seen: Seen) -> Iterator[Condition]:
    for trouble in seen.troubles:
        if trouble.what == "server":
            yield seen.warning(
                Kind.SERVER_AWAY,
                "whether WAL is archived and how much would be lost is not known",
                trouble.why,
                trouble.hint or f"pgkeep --cluster {seen.cluster} check",
            )
        elif seen.listing is None:
            yield seen.critical(
                Kind.REPOSITORY_AWAY,
                "nothing can be restored or backed up while no repository can be used",
                trouble.why,
                trouble.hint or f"pgkeep --cluster {seen.cluster} check",
            )
        else:
            yield seen.warning(
                Kind.REPOSITORY_AWAY,
                f"there is one copy less: {trouble.what} cannot be used",
                trouble.why,
                trouble.hint or f"pgkeep --repository {trouble.what} check",
                subject=trouble.what,
            )


def _notes(seen: Seen, restore: RestoreTime | None) -> Iterator[str]:
    if not seen.has_server:
        yield "the config gives no conninfo: the server was not asked"
    if restore is not None and not restore.measured:
        yield "the time of a restore is a guess until a drill has measured it"
    if seen.server is not None and seen.server.in_recovery:
        yield "the server is a standby"
