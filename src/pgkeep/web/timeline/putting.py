"""Puts what is on record on an axis of time: coverage, backups, dumps, drills. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from pgkeep.coverage.listing import Listing
from pgkeep.coverage.record import Record
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Hole, Span, TimelineCoverage
from pgkeep.model.dump import Dump
from pgkeep.model.segment import Segment
from pgkeep.repository.acts.act import Act
from pgkeep.repository.drills.report import Report, Status
from pgkeep.repository.wal_archive import WalListing
from pgkeep.undo.event import Event
from pgkeep.units import format_duration, format_size, plural
from pgkeep.web.timeline.facts import Band, Gap, Lane, Mark, MarkKind


def lanes(listing: Listing, now: datetime) -> Iterator[Lane]:
    """Yield a lane for each timeline of which something can be restored, or is missing."""
    generations = listing.record.generations
    for part in generations:
        for line in part.coverage.timelines:
            if not line.spans and not line.holes:
                continue
            name = f"Timeline {line.timeline}"
            if len(generations) > 1:
                name = f"{part.generation.id}, {name.lower()}"
            ends = _ends(listing, part, line)
            bands = tuple(_bands(ends))
            yield Lane(name, bands, tuple(_gaps(part, line, ends, now)))


_Ends = Sequence[tuple[Span, datetime | None, datetime | None]]


def _ends(listing: Listing, part: Record, line: TimelineCoverage) -> _Ends:
    found = []
    for span in line.spans:
        dated = listing.dates[part.generation.id, line.timeline, span]
        found.append((span, dated.start, dated.end))
    return found


def _bands(ends: _Ends) -> Iterator[Band]:
    for span, start, end in ends:
        first, last = start or end, end or start
        if first is not None and last is not None:
            yield Band(first, max(first, last), tuple(span.backups))


def _gaps(part: Record, line: TimelineCoverage, ends: _Ends, now: datetime) -> Iterator[Gap]:
    for hole in line.holes:
        size = hole.first.size
        # Of the spans beside it; where there is none, of when the segments beside it were stored.
        before = [end for span, _, end in ends if int(span.end) <= hole.first.number * size]
        after = [start for span, start, _ in ends if int(span.start) >= hole.last.number * size]
        start = next((m for m in reversed(before) if m), None) or _stored(part.listing, hole, -1)
        end = next((m for m in after if m), None) or _stored(part.listing, hole, 1) or now
        if start is not None:
            yield Gap(start, max(start, end), hole_words(hole))


def hole_words(hole: Hole) -> str:
    """'3 WAL segments are missing: 0000...05 to 0000...07'."""
    if hole.segments == 1:
        return f"1 WAL segment is missing: {hole.first.name}"
    return f"{hole.segments} WAL segments are missing: {hole.first.name} to {hole.last.name}"


def _stored(listing: WalListing, hole: Hole, side: int) -> datetime | None:
    """Return when the segment beside a hole was stored, by the store's clock."""
    beside = hole.first.number - 1 if side < 0 else hole.last.number + 1
    for timeline in range(hole.last.timeline, 0, -1):
        stat = listing.stats.get(Segment(timeline, beside, hole.first.size).name)
        if stat is not None and stat.modified:
            return datetime.fromtimestamp(stat.modified, UTC)
    return None


def backup_marks(listing: Listing) -> Iterator[Mark]:
    """Yield every backup, at the first moment that it can be restored to."""
    stranded = {s.backup for part in listing.record.generations for s in part.coverage.stranded}
    bad = listing.proofs.damaged_backups()
    for backup in listing.backups:
        trouble = bad.get(str(backup.id), "")
        if backup.id in stranded:
            trouble = "it cannot be restored: WAL that makes it consistent is missing"
        words = (*_backup_words(backup), *([trouble] if trouble else []))
        title = f"{backup.type.value.capitalize()} backup {backup.id}"
        yield Mark(MarkKind.BACKUP, backup.stopped_at, title, words, False if trouble else None)


def _backup_words(backup: Backup) -> Iterator[str]:
    took = (backup.stopped_at - backup.started_at).total_seconds()
    yield f"{format_size(backup.size)}, stored as {format_size(backup.stored)}"
    yield f"took {format_duration(max(0.0, took))}"
    if backup.label:
        yield f"label: {backup.label}"
    if backup.corrupt_pages:
        yield f"{backup.corrupt_pages} corrupt pages"


def dump_marks(dumps: Iterable[Dump]) -> Iterator[Mark]:
    """Yield every dump, at the moment that it shows."""
    for dump in dumps:
        words = [f"{dump.series_words}: {format_size(dump.size)}, {plural(dump.tables, 'table')}"]
        words += [f"label: {dump.label}"] if dump.label else []
        words += dump.suspicions
        good = False if dump.suspicions else None
        yield Mark(MarkKind.DUMP, dump.taken_at, f"Dump {dump.id}", tuple(words), good)


def drill_marks(reports: Iterable[Report]) -> Iterator[Mark]:
    """Yield every drill, when it was made."""
    for report in reports:
        words = [f"of {report.of}" if report.of else "nothing to test was found"]
        if report.measures.ready_s is not None:
            words.append(f"a server was ready after {format_duration(report.measures.ready_s)}")
        words += [f"{check.title}: {check.words}" for check in report.failed[:3]]
        passed = {Status.PASSED: True, Status.FAILED: False}.get(report.status)
        title = f"Drill {report.id}: {report.status.value}"
        yield Mark(MarkKind.DRILL, report.started_at, title, tuple(words), passed)


def point_marks(acts: Iterable[Act]) -> Iterator[Mark]:
    """Yield every restore point that pgkeep has set."""
    for act in acts:
        name = act.facts.get("name", "")
        if name and act.done:
            title = f"Restore point {name}"
            yield Mark(MarkKind.POINT, act.at, title, (f"by {act.who}",), None, f"name:{name}")


def event_marks(events: Iterable[Event]) -> Iterator[Mark]:
    """Yield what the last `undo find` has found; its target is the moment just before."""
    for event in events:
        rows = f", {event.rows:,} rows" if event.rows >= 0 else ""
        title = f"{event.kind.words.capitalize()}: {event.relation}{rows}"
        words = (f"transaction {event.xid}, event {event.number} of the last undo find",)
        yield Mark(
            MarkKind.EVENT, event.commit_time, title, words, None, f"lsn:{event.stop_lsn}", True
        )


def stored_times(listing: Listing) -> tuple[float, ...]:
    """Return when each segment was stored, by the store's clock, oldest first."""
    return tuple(
        sorted(
            stat.modified
            for part in listing.record.generations
            for file, stat in part.listing.stats.items()
            if len(file) == 24 and stat.modified
        )
    )
