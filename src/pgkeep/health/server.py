"""What the server says of health: archiving, its disk, its clock, who it is. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pgkeep.coverage.claims import claimed_elsewhere
from pgkeep.coverage.record import Record
from pgkeep.health.condition import Condition, Kind
from pgkeep.health.seen import Seen, ServerSeen
from pgkeep.units import format_duration, format_size

_CLOCK: Final = 60.0  # seconds: times that people type would mean other moments
_PATIENCE: Final = timedelta(minutes=5)  # for a failure that mends itself


def of_server(seen: Seen) -> Iterator[Condition]:
    server = seen.server
    if server is None:
        return
    if abs(server.ahead_s) >= _CLOCK:
        which = "ahead of" if server.ahead_s > 0 else "behind"
        yield seen.warning(
            Kind.CLOCK_OFF,
            "times that are typed as recovery targets mean other moments than you think",
            f"the server's clock is {format_duration(abs(server.ahead_s))} {which} this host's",
            "set the clocks by NTP: timedatectl status, on both hosts",
        )
    if not server.in_recovery:
        yield from _of_archiving(seen, server)


def _of_archiving(seen: Seen, server: ServerSeen) -> Iterator[Condition]:
    record = seen.record
    if record is None or not record.backups:
        return  # not set up, or kept by dumps alone
    if server.generation != record.generation.id:
        yield seen.critical(
            Kind.ARCHIVING_FAILS,
            "what this server writes is not archived here",
            f"it is another cluster ({server.generation}) than the one that was backed up "
            f"({record.generation.id})",
            "after an upgrade: pgkeep init; else correct conninfo",
        )
        return
    if not server.archiving:
        yield seen.critical(
            Kind.ARCHIVING_FAILS,
            "nothing that is written from now on can be restored, but by the next backup",
            "archiving is off: archive_mode or archive_command is not set",
            "pgkeep init --apply",
        )
        return
    yield from _of_failures(seen, server)
    yield from _of_claims(seen, server, record)


def _of_failures(seen: Seen, server: ServerSeen) -> Iterator[Condition]:
    stats, room = server.archiver, seen.room
    failed = stats.failed_at
    left = room.seconds_left if room else None
    if failed is not None:
        began = stats.last_archived_time or failed
        make = seen.critical if seen.now - began > _PATIENCE else seen.warning
        held = f"; {room}" if room else ""
        yield make(
            Kind.ARCHIVING_FAILS,
            "what was written since the last archived file would be lost with the server",
            f"archive_command fails with {stats.last_failed_wal}{held}",
            "read the server's log, then: pgkeep check",
            since=began,
        )
    elif room is not None and room.is_behind:
        yield seen.warning(
            Kind.WAL_LATE,
            f"{format_size(room.waiting_size)} of WAL would be lost with the server",
            str(room),
            "pgkeep wal status; is the store slower than WAL comes?",
        )
    if room is not None and left is not None and (room.is_short or (failed and room.is_behind)):
        yield seen.critical(
            Kind.DISK_FILLS,
            f"PostgreSQL stops in {format_duration(left)}, when its disk is full",
            str(room),
            "mend archiving, or make room beside pg_wal; never delete anything in pg_wal by hand",
        )
    if room is not None and room.given_up:
        yield seen.critical(
            Kind.WAL_HOLE,
            "moments are lost: WAL was given up to keep the server alive, with no backup since",
            f"{room.given_up} files were given up",
            "pgkeep backup",
            subject="given up",
        )


def _of_claims(seen: Seen, server: ServerSeen, record: Record) -> Iterator[Condition]:
    """Tell of WAL that the server believes to be archived and that is not here."""
    if seen.room is not None and seen.room.given_up:
        return  # said already
    found = claimed_elsewhere(server.archiver.last_archived_wal, record)
    if found is None:
        return
    away = " and ".join(trouble.what for trouble in seen.troubles if trouble.what != "server")
    perhaps = f", unless it is in {away}" if away else ""
    yield seen.critical(
        Kind.ARCHIVING_FAILS,
        "what is written now cannot be restored, although the server sees no failure",
        f"it believes that it has archived {found.claimed}, and {found} of that timeline is here"
        f"{perhaps}",
        "pgkeep check: does archive_command store WAL elsewhere, or nowhere?",
        subject="elsewhere",
    )
