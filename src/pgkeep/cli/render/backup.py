"""Backups as text and JSON: backup, list, show, point. docs/commands.md lists the fields."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pgkeep.backup.incremental.parent import NO_PARENT
from pgkeep.backup.report import BackupReport
from pgkeep.cli.render import verify as render_verify
from pgkeep.cli.text import Look, fields, not_before, plain, plural, safe, table
from pgkeep.coverage.listing import Dated, Listing
from pgkeep.coverage.record import Record
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Hole, Span, TimelineCoverage
from pgkeep.model.lsn import Lsn
from pgkeep.repository.manifest.facts import Facts, Reuse
from pgkeep.units import format_duration, format_size


def report(made: BackupReport, look: Look) -> str:
    """Say what was backed up, and whether anything is wrong with it."""
    backup = made.backup
    saved = f"{format_size(made.read)} read, {format_size(backup.stored)} stored"
    speed = f", {format_size(made.speed)}/s" if made.speed else ""
    lines = [
        look.good(f"backup {backup.id} of cluster {safe(made.cluster)} is complete"),
        fields(
            [
                ("type", backup.type.value),
                ("restorable", f"from {look.when(not_before(backup.stopped_at))} on"),
                ("size", f"{format_size(backup.size)} in {plural(backup.files, 'file')}, {saved}"),
                *_reuse(made.reuse, made.resumed),
                ("took", f"{format_duration(made.duration_s)}{speed}"),
                ("WAL", _segments(list(made.segments))),
                ("label", backup.label),
            ],
            indent="  ",
        ),
        *_notes(made, look),
    ]
    if backup.corrupt_pages:
        lines.append(look.bad(f"  {plural(backup.corrupt_pages, 'damaged page')} in the cluster:"))
        lines += [
            f"    {safe(page.relation or page.path)} block {page.block}" for page in made.corrupt
        ]
    return "\n".join(lines)


def _notes(made: BackupReport, look: Look) -> list[str]:
    """Return the notes; why a backup took longer than anybody expects comes first, and loudly."""
    why_full = [note for note in made.notes if made.reuse is None and NO_PARENT in note]
    others = [note for note in made.notes if note not in why_full]
    return [
        *(look.bad(f"  FULL, although there are older ones: {safe(note)}") for note in why_full),
        *(f"  note: {safe(note)}" for note in others),
    ]


def _reuse(reuse: Reuse | None, resumed: int) -> list[tuple[str, str]]:
    """Say what was not read or not stored again, and how pgkeep knew."""
    pairs = []
    if reuse is not None:
        how = "by WAL summaries" if reuse.method == "summaries" else "by their LSNs"
        pages = f"{plural(reuse.changed_pages, 'page')} of {_files(reuse.paged_files)}"
        whole = f"{_files(reuse.whole_files)}, {format_size(reuse.whole_bytes)}"
        if reuse.known_bytes:
            whole += f" ({format_size(reuse.known_bytes)} stored already)"
        why = ", ".join(f"{count:,} {safe(reason)}" for reason, count in _most(reuse))
        unchanged = f"{_files(reuse.unchanged_files)}, {format_size(reuse.unchanged_bytes)}"
        pairs += [
            ("parent", reuse.parent),
            ("unchanged", f"{unchanged}, not read"),
            ("changed pages", f"{pages}, found {how}"),
            ("read whole", f"{whole}: {why}" if why else whole),
        ]
        if reuse.reason:
            pairs.append(("no summaries", safe(reuse.reason)))
        if reuse.moved_bytes:
            pairs.append(("cleaned", f"{format_size(reuse.moved_bytes)} moved to new packs"))
    if resumed:
        pairs.append(("resumed", f"{format_size(resumed)} stored by an interrupted backup"))
    return pairs


def _most(reuse: Reuse) -> list[tuple[str, int]]:
    return sorted(reuse.whole_reasons.items(), key=lambda item: -item[1])


def _files(count: int) -> str:
    return plural(count, "file")


def _segments(names: Sequence[str]) -> str:
    return names[0] if names[0] == names[-1] else f"{names[0]} to {names[-1]}"


# list


def listing_facts(listings: Sequence[Listing], *, all_clusters: bool) -> dict[str, Any]:
    if all_clusters:
        return {"clusters": [_listing_facts(listing) for listing in listings]}
    return _listing_facts(listings[0])


def _listing_facts(listing: Listing) -> dict[str, Any]:
    stranded, lost = _stranded(listing), listing.proofs.damaged_backups()
    return {
        "cluster": listing.cluster,
        "repository": listing.repository,
        "backups": [
            {
                **_backup_facts(backup, stranded),
                "proofs": render_verify.proof_facts(listing.proofs.of(backup.id)),
                "damaged": lost.get(backup.id),
            }
            for backup in listing.backups
        ],
        "unreadable": [
            {"id": bad.id, "code": bad.error.code, "message": bad.why}
            for bad in listing.record.unreadable
        ],
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
            {"first": hole.first, "last": hole.last, "segments": hole.segments}
            for hole in timeline.holes
        ],
    }


def _span_facts(span: Span, dated: Dated) -> dict[str, Any]:
    return {
        "from": {"lsn": span.start, "time": dated.start},
        "to": {"lsn": span.end, "time": dated.end},
        "backups": list(span.backups),
    }


def listings(found: Sequence[Listing], look: Look) -> str:
    return "\n\n".join(_listing(listing, look) for listing in found)


def _listing(listing: Listing, look: Look) -> str:
    name = safe(listing.cluster)
    title = look.bold(f"cluster {name} in {safe(listing.repository)}")
    parts = [title, *_unreadable(listing, look)]
    if not listing.backups:
        parts.append("no backups yet: take the first one with pgkeep backup")
    else:
        parts.append(_backups(listing, look))
    parts += [_generation(listing, part, look) for part in listing.record.generations]
    return "\n\n".join(parts)


def _unreadable(listing: Listing, look: Look) -> list[str]:
    bad = listing.record.unreadable
    if not bad:
        return []
    count = len(bad)
    head = look.bad(f"{plural(count, 'backup')} CANNOT BE READ, and so cannot be restored:")
    return ["\n".join([head, *(f"  {b.id}: {safe(b.why)}" for b in bad)])]


def _backups(listing: Listing, look: Look) -> str:
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
            _short_range(backup),
            render_verify.proof_words(listing.proofs, backup.id, look),
            _state(backup, stranded, lost),
        ]
        rows.append([*row, backup.label] if with_labels else row)
    header = [*header, "LABEL"] if with_labels else header
    return table(header, rows, look, right=(3, 4, 5))


def _short_range(backup: Backup) -> str:
    first, last = backup.first_segment.name, backup.last_segment.name
    return first if first == last else f"{first}..{last[-8:]}"


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
    lines += [look.bad(f"    HOLE: {_hole(hole)}") for hole in timeline.holes]
    if not timeline.history_known:
        lines.append(look.bad("    its history file is not archived: how it began is unknown"))
    return lines


def _edge(moment: datetime | None, lsn: Lsn, look: Look) -> str:
    return f"{look.when(moment)}, {lsn}" if moment else f"{lsn}"


def _hole(hole: Hole) -> str:
    if hole.segments == 1:
        return f"WAL segment {hole.first} is missing"
    return f"WAL segments {hole.first} to {hole.last} ({hole.segments:,}) are missing"


# show


def facts(found: Facts) -> dict[str, Any]:
    """Everything on record of a backup, except its file table."""
    shown = {name: getattr(found, name) for name in found.__struct_fields__}
    generation = plain(found.generation)
    # A string, because JSON readers elsewhere lose digits of 64-bit numbers.
    generation["system_identifier"] = str(found.generation.system_identifier)
    mode = f"{found.data_directory_mode:04o}"
    return {**shown, "generation": generation, "data_directory_mode": mode}


def facts_text(found: Facts, look: Look) -> str:
    backup = found.backup()
    generation = backup.generation
    duration = format_duration(found.duration_s)
    pairs = [
        ("cluster", found.cluster),
        ("label", found.label),
        ("type", backup.type.value),
        ("restorable from", look.when(not_before(backup.stopped_at))),
        ("began", f"{look.when(backup.started_at)}, took {duration}"),
        ("PostgreSQL", found.server_version),
        ("system identifier", str(generation.system_identifier)),
        ("from", f"{found.source_host}:{found.data_directory}"),
        ("timeline", str(backup.timeline)),
        ("WAL", f"{backup.start_lsn} to {backup.stop_lsn}, {_short_range(backup)}"),
        ("size", f"{format_size(found.size)} in {plural(found.files, 'file')}"),
        ("read", format_size(found.read)),
        ("stored", f"{format_size(found.stored)}; it needs {plural(found.packs, 'pack')}"),
        *_reuse(found.reuse, found.resumed_bytes),
        ("checksums", "on" if found.checksums else "off"),
        ("made by", f"pgkeep {found.pgkeep_version}"),
    ]
    parts = [look.bold(f"backup {found.id}"), fields(pairs, indent="  ")]
    if found.corrupt_pages:
        parts.append(look.bad(f"{plural(found.corrupt_pages, 'damaged page')}:"))
        rows = [[p.relation or "-", str(p.block), p.path] for p in found.corrupt]
        parts.append(table(["RELATION", "BLOCK", "FILE"], rows, look, right=(1,)))
    if found.tablespaces:
        rows = [[str(space.oid), space.path] for space in found.tablespaces]
        parts.append(table(["TABLESPACE", "DIRECTORY"], rows, look))
    if found.databases:
        rows = [[d.name, d.encoding, d.collate, d.collation_version] for d in found.databases]
        parts.append(table(["DATABASE", "ENCODING", "COLLATION", "ITS VERSION"], rows, look))
    if found.extensions:
        rows = [[e.database, e.name, e.version] for e in found.extensions]
        parts.append(table(["DATABASE", "EXTENSION", "VERSION"], rows, look))
    if found.config_files:
        rows = [[file.name, file.path] for file in found.config_files]
        parts.append(table(["CONFIG FILE", "CAME FROM"], rows, look))
    return "\n\n".join(parts)


# point


def point_facts(name: str, lsn: Any, moment: datetime, cluster: str) -> dict[str, Any]:
    return {"name": name, "lsn": lsn, "time": moment, "cluster": cluster}


def point(name: str, lsn: Any, moment: datetime, look: Look) -> str:
    return (
        f"restore point {safe(name)} at {lsn}, {look.when(moment)}\n"
        f"come back to it with: pgkeep restore --target-dir DIR --to name:{safe(name)}"
    )
