"""The answer to `pgkeep list`, as text and JSON. docs/commands.md lists the fields."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pgkeep.cli.drilling import text as render_drill
from pgkeep.cli.render import verify as render_verify
from pgkeep.cli.render.backup import short_range
from pgkeep.cli.text import Look, not_before, safe, table
from pgkeep.coverage.listing import Dated, Listing
from pgkeep.coverage.lost_wal import explanation
from pgkeep.coverage.record import Record
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Hole, Span, TimelineCoverage
from pgkeep.model.lsn import Lsn
from pgkeep.units import format_duration, format_size, plural

Pins = Mapping[str, Mapping[str, str]]  # by cluster: the backups that are pinned, and why
_NO_PINS: Pins = {}


def facts(
    listings: Sequence[Listing], pins: Pins = _NO_PINS, *, all_clusters: bool
) -> dict[str, Any]:
    found = [_facts(listing, pins.get(listing.cluster, {})) for listing in listings]
    return {"clusters": found} if all_clusters else found[0]


def _facts(listing: Listing, pins: Mapping[str, str]) -> dict[str, Any]:
    stranded, lost = _stranded(listing), listing.proofs.damaged_backups()
    return {
        "cluster": listing.cluster,
        "repository": listing.repository,
        "backups": [
            {
                **_backup_facts(backup, stranded),
                "proofs": render_verify.proof_facts(listing.proofs.of(backup.id)),
                "damaged": lost.get(backup.id),
                "pinned": pins.get(backup.id),
            }
            for backup in listing.backups
        ],
        "unreadable": [
            {"id": bad.id, "code": bad.error.code, "message": bad.why}
            for bad in listing.record.unreadable
        ],
        "drills": render_drill.last_facts(listing.drills),
        "coverage": [
            _timeline_facts(listing, part, timeline)
            for part in listing.record.generations
            for timeline in part.coverage.timelines
        ],
        "wal": [
            {
                **_wal_facts(part),
                "proofs": render_verify.wal_proof_facts(listing.proofs),
                "faults": _wal_faults(listing, part),
            }
            for part in listing.record.generations
        ],
    }


def _wal_facts(part: Record) -> dict[str, Any]:
    return {
        "generation": part.generation.id,
        "segments": _segments_of(part),
        "stored": sum(stat.size for stat in part.listing.stats.values()),
        "newest_archived_at": _newest_archived(part),
        "damaged": part.listing.cut_off,
        "bad_histories": [str(error) for error in part.bad_histories],
    }


def _wal_faults(listing: Listing, part: Record) -> list[str]:
    return render_verify.damaged_wal(listing.proofs, listing.cluster, part.generation.id)


def _segments_of(part: Record) -> int:
    return sum(len(numbers) for numbers in part.listing.segments.values())


def _newest_archived(part: Record) -> datetime | None:
    newest = part.listing.newest
    return datetime.fromtimestamp(newest.modified, UTC) if newest else None


def _stranded(listing: Listing) -> dict[str, str]:
    """Return the backups that cannot be restored, with the first WAL segment they lack."""
    return {
        stranded.backup: stranded.missing.name
        for part in listing.record.generations
        for stranded in part.coverage.stranded
    }


def _backup_facts(backup: Backup, stranded: dict[str, str]) -> dict[str, Any]:
    return {
        "id": backup.id,
        "type": backup.type,
        "label": backup.label,
        "generation": backup.generation.id,
        "system_identifier": str(backup.generation.system_identifier),
        "major": backup.generation.major,
        "timeline": backup.timeline,
        "start_lsn": backup.start_lsn,
        "stop_lsn": backup.stop_lsn,
        "started_at": backup.started_at,
        "stopped_at": backup.stopped_at,
        "first_segment": backup.first_segment,
        "last_segment": backup.last_segment,
        "files": backup.files,
        "size": backup.size,
        "stored": backup.stored,
        "corrupt_pages": backup.corrupt_pages,
        "restorable": backup.id not in stranded,
        "missing_segment": stranded.get(backup.id),
    }


def _timeline_facts(listing: Listing, part: Record, timeline: TimelineCoverage) -> dict[str, Any]:
    return {
        "generation": part.generation.id,
        "timeline": timeline.timeline,
        "history_known": timeline.history_known,
        "spans": [
            _span_facts(span, listing.dates[part.generation.id, timeline.timeline, span])
            for span in timeline.spans
        ],
        "holes": [
            {
                "first": hole.first,
                "last": hole.last,
                "segments": hole.segments,
                "why": _why(listing, hole) or None,
            }
            for hole in timeline.holes
        ],
    }


def _span_facts(span: Span, dated: Dated) -> dict[str, Any]:
    return {
        "from": {"lsn": span.start, "time": dated.start},
        "to": {"lsn": span.end, "time": dated.end},
        "backups": list(span.backups),
    }


def text(found: Sequence[Listing], look: Look, pins: Pins = _NO_PINS) -> str:
    return "\n\n".join(_listing(listing, look, pins.get(listing.cluster, {})) for listing in found)


def _listing(listing: Listing, look: Look, pins: Mapping[str, str]) -> str:
    name = safe(listing.cluster)
    title = look.bold(f"cluster {name} in {safe(listing.repository)}")
    parts = [title, *_unreadable(listing, look)]
    if not listing.backups:
        parts.append("no backups yet: take the first one with pgkeep backup")
    else:
        parts.append(_backups(listing, look, pins))
        parts.append(_drilled(listing, look))
    parts += [_generation(listing, part, look) for part in listing.record.generations]
    return "\n\n".join(parts)


def _unreadable(listing: Listing, look: Look) -> list[str]:
    bad = listing.record.unreadable
    if not bad:
        return []
    count = len(bad)
    head = look.bad(f"{plural(count, 'backup')} CANNOT BE READ, and so cannot be restored:")
    return ["\n".join([head, *(f"  {b.id}: {safe(b.why)}" for b in bad)])]


def _drilled(listing: Listing, look: Look) -> str:
    words, drills = render_drill.last_words(listing.drills, look), listing.drills
    good = drills.last is not None and drills.last is drills.last_passed
    lines = [look.good(safe(words)) if good else look.weak(safe(words))]
    bad = drills.unreadable
    lines += [look.bad(f"a drill cannot be read: {safe(str(one.error))}") for one in bad]
    return "\n".join(lines)


def _backups(listing: Listing, look: Look, pins: Mapping[str, str]) -> str:
    stranded, lost = _stranded(listing), listing.proofs.damaged_backups()
    with_labels = any(backup.label for backup in listing.backups)
    header = [
        "BACKUP",
        "TYPE",
        "RESTORABLE FROM",
        "SIZE",
        "STORED",
        "TOOK",
        "WAL",
        "VERIFIED",
        "STATE",
    ]
    rows = []
    for backup in listing.backups:
        seconds = (backup.stopped_at - backup.started_at).total_seconds()
        row = [
            backup.id,
            backup.type.value,
            look.at(not_before(backup.stopped_at)),
            format_size(backup.size),
            format_size(backup.stored),
            format_duration(max(0.0, seconds)),
            short_range(backup),
            render_verify.proof_words(listing.proofs, backup.id, look),
            _state(backup, stranded, lost) + (", pinned" if backup.id in pins else ""),
        ]
        rows.append([*row, backup.label] if with_labels else row)
    header = [*header, "LABEL"] if with_labels else header
    return table(header, rows, look, right=(3, 4, 5))


def _state(backup: Backup, stranded: dict[str, str], lost: dict[str, str]) -> str:
    if backup.id in stranded:
        return f"NOT RESTORABLE, {stranded[backup.id]} is missing"
    if backup.id in lost:
        return f"DAMAGED, {lost[backup.id]}"
    if backup.corrupt_pages:
        return f"{plural(backup.corrupt_pages, 'DAMAGED PAGE', 'DAMAGED PAGES')}"
    return "ok"


def _generation(listing: Listing, part: Record, look: Look) -> str:
    generation = part.generation
    head = look.bold(
        f"PostgreSQL {generation.major}, system identifier {generation.system_identifier}"
    )
    facts = _wal_facts(part)
    wal = f"  {plural(facts['segments'], 'WAL segment')} archived, {format_size(facts['stored'])}"
    if newest := _newest_archived(part):
        wal += f", the newest at {look.when(newest)}"
    lines = [head, wal, f"  verified: {render_verify.wal_words(listing.proofs, look)}"]
    for timeline in part.coverage.timelines:
        lines += _timeline(listing, part, timeline, look)
    lines += [look.bad(f"  DAMAGED: {safe(name)} was cut off") for name in part.listing.cut_off]
    faults = _wal_faults(listing, part)
    lines += [look.bad(f"  DAMAGED: {safe(name)}, see pgkeep verify") for name in faults]
    lines += [look.bad(f"  {safe(str(error))}") for error in part.bad_histories]
    return "\n".join(lines)


def _timeline(listing: Listing, part: Record, timeline: TimelineCoverage, look: Look) -> list[str]:
    name = f"  timeline {timeline.timeline}: "
    lines = []
    for span in timeline.spans:
        dated = listing.dates[part.generation.id, timeline.timeline, span]
        first = not_before(dated.start) if dated.start else None
        # Nothing may have changed since the backup's last second, which is rounded up.
        last = max(dated.end, first) if dated.end and first else dated.end
        start, end = _edge(first, span.start, look), _edge(last, span.end, look)
        lines.append(f"{name}{look.good('restorable')} from {start} to {end}")
    if not lines:
        lines.append(f"{name}nothing restorable yet: no backup with its WAL")
    for hole in timeline.holes:
        why = _why(listing, hole)
        lines.append(look.bad(f"    HOLE: {_hole(hole)}{f', {safe(why)}' if why else ''}"))
    if not timeline.history_known:
        lines.append(look.bad("    its history file is not archived: how it began is unknown"))
    return lines


def _edge(moment: datetime | None, lsn: Lsn, look: Look) -> str:
    return f"{look.when(moment)}, {lsn}" if moment else f"{lsn}"


def _why(listing: Listing, hole: Hole) -> str:
    return explanation(listing.losses, hole.first.name, hole.last.name)


def _hole(hole: Hole) -> str:
    if hole.segments == 1:
        return f"WAL segment {hole.first} is missing"
    return f"WAL segments {hole.first} to {hole.last} ({hole.segments:,}) are missing"
