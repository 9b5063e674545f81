"""Backups as text and JSON: backup, list, show, point. docs/commands.md lists the fields."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pgkeep.backup.incremental.parent import NO_PARENT
from pgkeep.backup.report import BackupReport
from pgkeep.cli.text import Look, fields, not_before, plain, safe, table
from pgkeep.model.backup import Backup
from pgkeep.repository.manifest.facts import Facts, Reuse
from pgkeep.units import format_duration, format_size, plural


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
        if reuse.maps_left_out:
            maps = plural(reuse.maps_left_out, "visibility map")
            pairs.append(("left out", f"{maps}: VACUUM makes them anew (docs/backup.md)"))
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


def short_range(backup: Backup) -> str:
    first, last = backup.first_segment.name, backup.last_segment.name
    return first if first == last else f"{first}..{last[-8:]}"


# show


def facts(found: Facts) -> dict[str, Any]:
    """Everything on record of a backup, except its file table."""
    shown = {name: getattr(found, name) for name in found.__struct_fields__}
    generation = plain(found.generation)
    # A string, because JSON readers elsewhere lose digits of 64-bit numbers.
    generation["system_identifier"] = str(found.generation.system_identifier)
    mode = f"{found.data_directory_mode:04o}"
    return {**shown, "generation": generation, "data_directory_mode": mode}


def facts_text(found: Facts, look: Look, pinned: str = "") -> str:
    backup = found.backup()
    generation = backup.generation
    duration = format_duration(found.duration_s)
    pairs = [
        ("cluster", found.cluster),
        ("label", found.label),
        ("pinned", safe(pinned)),
        ("type", backup.type.value),
        ("restorable from", look.when(not_before(backup.stopped_at))),
        ("began", f"{look.when(backup.started_at)}, took {duration}"),
        ("PostgreSQL", found.server_version),
        ("system identifier", str(generation.system_identifier)),
        ("from", f"{found.source_host}:{found.data_directory}"),
        ("timeline", str(backup.timeline)),
        ("WAL", f"{backup.start_lsn} to {backup.stop_lsn}, {short_range(backup)}"),
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
