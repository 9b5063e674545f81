"""`wal status` as text and JSON. docs/commands.md lists the fields."""

from collections.abc import Sequence
from typing import Any

from pgkeep.cli.text import Look, fields, safe, table
from pgkeep.model.wal_room import WalRoom
from pgkeep.units import format_duration, format_size, plural
from pgkeep.wal.status import ArchiveStatus, TimelineStatus, WalStatus
from pgkeep.wal.takeover import TakenOver


def facts(found: WalStatus) -> dict[str, Any]:
    archiver, waiting = found.archiver, found.waiting
    return {
        "cluster": found.cluster,
        "repository": found.repository,
        "archives": [_archive_facts(archive) for archive in found.archives],
        "archiver": archiver._asdict() if archiver else None,
        "waiting": {"count": waiting.count, "oldest": waiting.oldest} if waiting else None,
        "pg_wal": _room(found.room),
        "failing": found.failing,
        "problems": list(found.problems),
    }


def _room(room: WalRoom | None) -> dict[str, Any] | None:
    if room is None:
        return None
    return {
        "waiting_size": room.waiting_size,
        "free": room.free,
        "rate": int(room.rate),
        "seconds_left": None if room.seconds_left is None else int(room.seconds_left),
    }


def _archive_facts(archive: ArchiveStatus) -> dict[str, Any]:
    return {
        "generation": archive.generation.id,
        "timelines": [_timeline_facts(timeline) for timeline in archive.timelines],
        "histories": list(archive.histories),
        "partials": list(archive.partials),
        "cut_off": list(archive.cut_off),
        "foreign": list(archive.foreign),
        "given_up": [lost._asdict() for lost in archive.losses],
    }


def _timeline_facts(timeline: TimelineStatus) -> dict[str, Any]:
    return {
        "timeline": timeline.timeline,
        "first": timeline.first,
        "last": timeline.last,
        "segments": timeline.segments,
        "stored": timeline.stored_size,
        "newest_archived_at": timeline.newest_at,
        "has_history": timeline.has_history,
        "holes": [
            {"first": hole.first, "last": hole.last, "segments": hole.segments}
            for hole in timeline.holes
        ],
    }


def status(found: WalStatus, look: Look) -> str:
    """Say what is archived by timeline, how the server's archiver does, and what is wrong."""
    title = look.bold(f"WAL of cluster {safe(found.cluster)} in {safe(found.repository)}")
    parts = [title, *(_archive(archive, look) for archive in found.archives)]
    parts.append(_server(found, look))
    if found.problems:
        parts.append("\n".join(look.bad(f"PROBLEM: {safe(text)}") for text in found.problems))
    else:
        parts.append(look.good("nothing is missing"))
    return "\n\n".join(part for part in parts if part)


def _archive(archive: ArchiveStatus, look: Look) -> str:
    generation = archive.generation
    head = f"PostgreSQL {generation.major}, system identifier {generation.system_identifier}"
    if not archive.timelines:
        return f"{head}\n  nothing archived yet"
    rows = [
        [
            str(line.timeline),
            f"{line.first} to {line.last}",
            f"{line.segments:,}",
            format_size(line.stored_size),
            look.at(line.newest_at),
            f"{plural(len(line.holes), 'hole')}" if line.holes else "none",
        ]
        for line in archive.timelines
    ]
    header = ["TIMELINE", "ARCHIVED", "SEGMENTS", "STORED", "NEWEST CAME", "HOLES"]
    return f"{head}\n{table(header, rows, look, right=(0, 2, 3))}"


def _server(found: WalStatus, look: Look) -> str:
    archiver, waiting = found.archiver, found.waiting
    pairs = []
    if waiting is not None:
        first = f", first {waiting.oldest}" if waiting.oldest else ""
        pairs.append(("waiting on the server", f"{plural(waiting.count, 'file')}{first}"))
    if found.room is not None:
        left = found.room.seconds_left
        full = "" if left is None else f", full in {format_duration(left)} without archiving"
        pairs.append(("room beside pg_wal", f"{format_size(found.room.free)}{full}"))
    if archiver is not None:
        if archiver.last_archived_wal and archiver.last_archived_time:
            last = f"{archiver.last_archived_wal} at {look.when(archiver.last_archived_time)}"
            pairs.append(("last archived", last))
        else:
            pairs.append(("last archived", "nothing yet"))
        if archiver.last_failed_wal and archiver.last_failed_time:
            over = "" if found.failing else ", and succeeded since"
            failed = f"{archiver.last_failed_wal} at {look.when(archiver.last_failed_time)}{over}"
            pairs.append(("last failure", failed))
    return fields(pairs)


def taken_over(done: Sequence[TakenOver]) -> str:
    """Say who archives from now on."""
    lines = []
    for one in done:
        instead = f" instead of {safe(one.instead_of)}" if one.instead_of and one.changed else ""
        since = "from now on" if one.changed else "already"
        lines.append(
            f"{safe(one.writer)} archives cluster {safe(one.cluster)} in {safe(one.repository)} "
            f"{since}{instead}"
        )
    return "\n".join(lines)
