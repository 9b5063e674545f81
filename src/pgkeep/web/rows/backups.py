"""Backups and dumps as the page lists them, what deleting one loses, and the commands. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgkeep.coverage.listing import Listing
from pgkeep.model.backup import Backup
from pgkeep.model.dump import Dump
from pgkeep.repository.drills.report import Report, Status
from pgkeep.repository.proofs import Proofs, Verdict
from pgkeep.retention.pins import Pin
from pgkeep.units import format_duration, format_size, plural


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing that is known beside a backup: a word with its colour, and the whole sentence."""

    word: str
    kind: str  # good, warn, bad, accent, muted: as of badges
    says: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One backup or dump."""

    id: str
    noun: str  # 'backup', 'dump'
    at: datetime | None  # from when on it can be restored, or which moment it shows
    title: str  # 'full backup', 'dump of all databases'
    words: str
    states: tuple[Shown, ...]
    pinned: bool


@dataclass(frozen=True, slots=True)
class Found:
    """All that is on record of a cluster's backups and dumps."""

    listing: Listing
    dumps: Sequence[Dump]
    unreadable: Sequence[tuple[str, str]]  # ids, and why
    pins: Sequence[Pin]
    drills: Sequence[Report]  # the newest first
    now: datetime


def rows(found: Found) -> list[Row]:
    """Return everything, the newest first; what cannot be read comes before all else."""
    made = [_backup(found, backup) for backup in found.listing.backups]
    made += [_dump(found, dump) for dump in found.dumps]
    made.sort(key=lambda row: (row.at is None, row.at), reverse=True)
    return [*(_unreadable(found, *bad) for bad in found.unreadable), *made]


def _backup(found: Found, backup: Backup) -> Row:
    took = (backup.stopped_at - backup.started_at).total_seconds()
    words = [
        f"{format_size(backup.size)}, stored as {format_size(backup.stored)}",
        f"took {format_duration(max(0.0, took))}",
        f"timeline {backup.timeline}",
    ]
    states = (*_verified(found, backup), *_beside(found, backup.id))
    title = f"{backup.type.value.capitalize()} backup"
    shown = ", ".join([*words, *([f"label: {backup.label}"] if backup.label else [])])
    return Row(
        backup.id, "backup", backup.stopped_at, title, shown, states, _pinned(found, backup.id)
    )


def _dump(found: Found, dump: Dump) -> Row:
    words = [
        f"{format_size(dump.size)}, stored as {format_size(dump.stored)}",
        f"{plural(dump.tables, 'table')}, {plural(dump.rows, 'row')}",
        *([f"PostgreSQL {dump.server_version}"] if dump.server_version else []),
        *([f"label: {dump.label}"] if dump.label else []),
    ]
    odd = tuple(Shown("suspicious", "warn", one) for one in dump.suspicions)
    states = (*odd, _proven(found.listing.proofs, dump.id), *_beside(found, dump.id))
    title = f"Dump of {dump.series_words}"
    return Row(
        dump.id, "dump", dump.taken_at, title, ", ".join(words), states, _pinned(found, dump.id)
    )


def _unreadable(found: Found, id: str, why: str) -> Row:
    noun = "dump" if id.startswith("D") else "backup"
    states = (Shown("cannot be read", "bad", why), *_beside(found, id))
    return Row(id, noun, None, noun.capitalize(), "", states, _pinned(found, id))


def _verified(found: Found, backup: Backup) -> tuple[Shown, ...]:
    stranded = {
        one.backup
        for record in found.listing.record.generations
        for one in record.coverage.stranded
    }
    if backup.id in stranded:
        why = "WAL that makes it consistent is missing"
        return (Shown("cannot be restored", "bad", why),)
    proven = _proven(found.listing.proofs, backup.id)
    if backup.corrupt_pages:
        return (Shown("corrupt pages", "bad", f"{backup.corrupt_pages:,} pages of it"), proven)
    return (proven,)


def _proven(proofs: Proofs, id: str) -> Shown:
    """Return what verify knows of it: damage that stands, else the proof that says most."""
    why = proofs.damaged_backups().get(id, "")
    if why:
        return Shown("damaged", "bad", why)
    strongest = proofs.of(id)
    if not strongest:
        return Shown("not verified", "muted", "pgkeep verify has not looked at it")
    proof = strongest[-1]
    verdict = proof.of(id)
    assert verdict is not None  # it is a proof of it
    when = f"{proof.words}, {proof.finished_at:%Y-%m-%d %H:%M} UTC"
    if verdict.verdict is Verdict.GOOD:
        return Shown("verified", "good", when)
    return Shown(verdict.verdict.value.replace("-", " "), "bad", f"{verdict.why} ({when})")


def _beside(found: Found, id: str) -> Iterator[Shown]:
    drill = next((report for report in found.drills if report.of == id), None)
    if drill is not None:
        kinds = {Status.PASSED: "good", Status.FAILED: "bad"}
        says = f"{drill.id}, {drill.finished_at:%Y-%m-%d %H:%M} UTC"
        yield Shown(f"drill {drill.status.value}", kinds.get(drill.status, "warn"), says)
    for pin in found.pins:
        if pin.backup == id and pin.holds(found.now):
            yield Shown("pinned", "accent", pin.words)


def _pinned(found: Found, id: str) -> bool:
    return any(pin.backup == id and pin.holds(found.now) for pin in found.pins)


# Commands


def drill_words(row: Row) -> tuple[str, ...]:
    """Return the words of a restore test."""
    return ("drill", row.id)


def pin_words(row: Row, reason: str, until: str) -> tuple[str, ...]:
    """Return the words that keep it whatever retention says."""
    end = ("--until", until.strip()) if until.strip() else ()
    return ("pin", row.id, "--reason", reason.strip(), *end)


def delete_words(row: Row, *, preview: bool, last: bool = False) -> tuple[str, ...]:
    """Return the words that delete it, or say what would be lost."""
    flags = [*(["--last"] if last else []), "--dry-run" if preview else "--yes"]
    return ("delete", row.id, *flags)


# What deleting loses


@dataclass(frozen=True, slots=True)
class Loss:
    """What goes with a backup or dump, out of the report of `delete --dry-run`."""

    says: str
    harmless: bool  # nothing that can be restored is lost
    facts: tuple[tuple[str, str], ...]


def loss_of(report: Mapping[str, Any]) -> Loss:
    """Read a report as docs/commands.md promises it."""
    freed = ("Frees", f"{format_size(report['bytes'])}, {plural(report['packs'] or 0, 'pack')}")
    if not report["readable"]:
        says = "It cannot be read: what would be lost is not known."
        return Loss(says, False, (freed,))
    if "lost" in report:
        return _backup_loss(report, freed)
    left, lost = report["left"], report["lost_databases"]
    facts = [("No other dump holds", ", ".join(lost))] if lost else []
    facts += [("Dumps of its series left", f"{len(left):,}"), freed]
    harmless = bool(left) and not lost
    says = "Other dumps hold the same databases." if harmless else "No other dump holds all of it."
    return Loss(says, harmless, tuple(facts))


def _backup_loss(report: Mapping[str, Any], freed: tuple[str, str]) -> Loss:
    lost = [("Lost for good", _stretch(one)) for one in report["lost"]]
    segments = sum(int(one["segments"]) for one in report["wal"])
    facts = (*lost, freed, ("WAL segments that go", f"{segments:,}"))
    if lost:
        return Loss("Moments can then not be restored any more, for good.", False, facts)
    return Loss("Nothing that can be restored is lost with it.", True, facts)


def _stretch(lost: Mapping[str, Any]) -> str:
    start, end = (_moment(lost[name]) for name in ("from", "to"))
    return f"timeline {lost['timeline']}, {start} to {end}"


def _moment(end: Mapping[str, Any]) -> str:
    return f"{end['time']} ({end['lsn']})" if end["time"] else str(end["lsn"])


# What a drill found


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill did and found, out of its report."""

    status: Status
    facts: tuple[tuple[str, str], ...]
    checks: tuple[tuple[str, str, str], ...]  # what, how it came out, in words


def drilled(report: Mapping[str, Any]) -> Drilled:
    """Read a report as docs/formats/drills.md promises it."""
    measures = report["measures"]
    ready = measures.get("ready_s")
    facts = (
        ("Of", str(report["of"])),
        ("Reached", str(report["reached"])),
        *([("A server was ready after", format_duration(ready))] if ready is not None else []),
        *(("Note", str(note)) for note in report["notes"]),
    )
    checks = tuple(
        (f"{one['kind']} {one.get('name') or ''}".strip(), str(one["status"]), str(one["words"]))
        for one in report["checks"]
    )
    return Drilled(Status(report["status"]), facts, checks)
