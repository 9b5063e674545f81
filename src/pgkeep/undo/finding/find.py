"""Looks through WAL for what was destroyed: reads, folds, names, chooses."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from pgkeep.coverage.lost_wal import explanation, losses_on_record
from pgkeep.coverage.record import Record, read_record
from pgkeep.errors import PgkeepError
from pgkeep.model.census import Census
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_changes.piece import Catalogs
from pgkeep.postgres.wal_changes.scan import Gap, Thread
from pgkeep.postgres.wal_decode import Kind, to_time
from pgkeep.progress import Progress
from pgkeep.repository.repository import ClusterFolder
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.event import Event
from pgkeep.undo.finding.censuses import censuses_for
from pgkeep.undo.finding.report import Blind, Found, NameSource, activity_of
from pgkeep.undo.finding.scanning import Lost, Read, Setup, read_one, scanned
from pgkeep.undo.finding.wal import Line, Live, NoLive, look_at_live
from pgkeep.undo.finding.window import newest_time, segments_between
from pgkeep.undo.meaning.choose import Chosen, Wanted, choose, strangers
from pgkeep.undo.meaning.classify import events_of
from pgkeep.undo.meaning.deed import Deed
from pgkeep.undo.meaning.fold import Fold
from pgkeep.undo.meaning.links import OidKey
from pgkeep.undo.meaning.maker import Maker, Origin
from pgkeep.undo.meaning.names import Names

DEFAULT_SPAN: Final = timedelta(hours=24)  # before the newest transaction on record


@dataclass(frozen=True)
class FindRequest:
    """What is looked for, and who may be asked beside the repository."""

    wanted: Wanted
    jobs: int
    data_directory: Callable[[], str]  # raises why nobody knows it
    live_census: Callable[[], Census]  # raises why the server cannot be asked


@dataclass(frozen=True, slots=True)
class _Scene:
    """Whose WAL is read, and along which history."""

    cluster: ClusterFolder
    record: Record
    line: Line


@dataclass
class _Seen:
    """What reading the WAL came to."""

    fold: Fold
    deeds: list[Deed] = field(default_factory=list)
    blind: list[Blind] = field(default_factory=list)
    start: Lsn | None = None
    end: Lsn | None = None


def run(cluster: ClusterFolder, request: FindRequest, progress: Progress) -> Found:
    """Find what was destroyed. Raise CannotUndo, or what the store raises."""
    began = time.monotonic()
    record = _record(cluster)
    live, notes = _live(request, record)
    line = Line.of(record, live)
    setup = Setup.of(cluster, record.generation.id, line)
    wanted, numbers = _window(cluster, setup, request.wanted)
    seen = _read(numbers, setup, request, progress)
    _explain(seen, cluster, record)
    progress.phase("looking up names")
    scene = _Scene(cluster, record, line)
    chosen, census, more = _named(scene, wanted, seen, request.live_census)
    samples = seen.fold.samples
    return Found(
        cluster=cluster.name,
        generation=record.generation.id,
        timeline=line.history.timeline,
        since=wanted.since,
        until=wanted.until,
        events=chosen.events,
        not_shown=chosen.not_shown,
        blind=tuple(seen.blind),
        activity=activity_of(samples, wanted.since, wanted.until),
        first=min((to_time(one.time_us) for one in samples), default=None),
        last=max((to_time(one.time_us) for one in samples), default=None),
        start=seen.start,
        end=seen.end,
        bytes=len(numbers) * line.segment_size,
        segments=len(numbers),
        live_segments=sum(1 for number in numbers if line.only_live(number)),
        census=census,
        notes=(*notes, *more),
        seconds=time.monotonic() - began,
    )


def _record(cluster: ClusterFolder) -> Record:
    record = read_record(cluster).newest
    if record is None:
        what = f"find accidents in cluster {cluster.name}"
        raise CannotUndo(what, "nothing of it is on record", "begin with: pgkeep init")
    return record


def _live(request: FindRequest, record: Record) -> tuple[Live | None, list[str]]:
    try:
        found = look_at_live(request.data_directory(), record)
    except PgkeepError as error:
        found = NoLive(str(error))
    if isinstance(found, Live):
        return found, []
    return None, [f"WAL that is not archived yet was not searched: {found.why}"]


def _window(cluster: ClusterFolder, setup: Setup, wanted: Wanted) -> tuple[Wanted, Sequence[int]]:
    """Choose the segments to read, and fill in the time that nobody gave."""
    archive, line = setup.open(), setup.line
    numbers = line.numbers()
    if not numbers:
        what = f"find accidents in cluster {cluster.name}"
        raise CannotUndo(what, "no WAL of it is archived", "see: pgkeep check")

    def times(number: int) -> tuple[datetime, datetime] | None:
        found = read_one(archive, line, number)
        if isinstance(found, Lost):
            return None
        ends = found.piece.ends
        moments = ends.time_us[ends.kind != Kind.PREPARE]
        return (to_time(int(moments[0])), to_time(int(moments[-1]))) if len(moments) else None

    if wanted.since is None:
        last = wanted.until or newest_time(numbers, times)
        wanted = replace(wanted, since=last and last - DEFAULT_SPAN)
    return wanted, segments_between(numbers, times, wanted.since, wanted.until)


def _read(numbers: Sequence[int], setup: Setup, request: FindRequest, progress: Progress) -> _Seen:
    """Read the segments and put their transactions together."""
    line, size = setup.line, setup.line.segment_size
    seen, thread = _Seen(Fold(request.wanted.weight.floor)), Thread(Catalogs())
    progress.phase("searching WAL", len(numbers) * size)
    expected: int | None = None
    for done, read in enumerate(scanned(numbers, setup, request.jobs), start=1):
        segment = read.segment
        if expected is not None and segment.number != expected:
            first, last = line.segment(expected).name, line.segment(segment.number - 1).name
            _note_blind(seen, thread, Blind(first, last, "it is not archived"))
        expected = segment.number + 1
        for deed in _deeds(read, seen, thread, is_last=done == len(numbers)):
            seen.deeds.append(deed)
            progress.detail(f"{len(seen.deeds)} found")
        progress.advance(done * size)
    seen.end = thread.end
    return seen


def _deeds(read: Read, seen: _Seen, thread: Thread, *, is_last: bool) -> Iterator[Deed]:
    name = read.segment.name
    if isinstance(read, Lost):
        if not is_last:  # the last one is the server's, being written or recycled
            _note_blind(seen, thread, Blind(name, name, read.why))
        return
    try:
        pieces = list(thread.join(read))
    except Gap as gap:
        before = read.segment._replace(number=max(0, read.segment.number - 1)).name
        _note_blind(seen, thread, Blind(before, name, gap.why))
        pieces = list(thread.join(read))
    if seen.start is None:
        seen.start = read.piece.start
        if read.segment.number == 1:
            seen.fold.nothing_before()
    for piece in pieces:
        if piece.samples and seen.blind and seen.blind[-1].before is None:
            behind = to_time(piece.samples[0].time_us)
            seen.blind[-1] = replace(seen.blind[-1], before=behind)
        yield from seen.fold.take(piece)


def _note_blind(seen: _Seen, thread: Thread, blind: Blind) -> None:
    samples = seen.fold.samples
    after = to_time(samples[-1].time_us) if samples else None
    seen.blind.append(replace(blind, after=after))
    seen.fold.gap()
    thread.begin()


def _explain(seen: _Seen, cluster: ClusterFolder, record: Record) -> None:
    """Say why WAL is missing that was given up on purpose."""
    if not seen.blind:
        return
    losses = losses_on_record(cluster, record.generation.id)
    for index, blind in enumerate(seen.blind):
        why = explanation(losses, blind.first, blind.last)
        if why:
            seen.blind[index] = replace(blind, why=why)


def _named(
    scene: _Scene, wanted: Wanted, seen: _Seen, ask: Callable[[], Census]
) -> tuple[Chosen, NameSource | None, list[str]]:
    """Make events of the deeds, and choose from them; the server is asked for missing names."""
    span = (seen.start or Lsn(0), seen.end or Lsn(0))
    only = None if wanted.tables else _databases(seen.deeds)
    found = censuses_for(scene.cluster, scene.record.generation.id, scene.line.history, span, only)
    names = Names(
        censuses=found.censuses,
        toast=frozenset(seen.fold.toast),
        born=seen.fold.born,
    )
    notes, made = list(found.notes), list(_events(scene, wanted, seen, names))
    if _any_nameless(made) or strangers(wanted.tables, names, made):
        try:
            names = replace(names, live=ask())
            made = list(_events(scene, wanted, seen, names))
        except PgkeepError as error:
            notes.append(f"names that no census knows could not be asked of the server: {error}")
    _refuse_strangers(wanted, names, made)
    chosen = choose(made, wanted)
    if chosen.nameless:
        notes.append(
            f"{chosen.nameless} events of relations without a name are not shown: they may be what "
            "you look for; leave out --table and --database"
        )
    last = found.censuses[-1] if found.censuses else None
    return chosen, NameSource(last.id, last.taken_at) if last else None, notes


def _databases(deeds: Sequence[Deed]) -> set[int]:
    found = {locator[1] for deed in deeds for locator in (*deed.rows, *deed.files)}
    found |= {database for deed in deeds for database, _ in deed.dropped}
    found |= {folder.database for deed in deeds for folder in deed.folders}
    return found | {column.database for deed in deeds for column in deed.columns}


def _events(scene: _Scene, wanted: Wanted, seen: _Seen, names: Names) -> Iterator[Event]:
    makers = [
        Maker(deed, names, _origin(scene, deed, frozenset(seen.fold.swapped)))
        for deed in seen.deeds
    ]
    for maker in makers:
        maker.learn()
    for maker in makers:
        yield from events_of(replace(maker), wanted.weight)  # with all that was learned


def _origin(scene: _Scene, deed: Deed, swapped: frozenset[OidKey]) -> Origin:
    timeline = scene.line.history.timeline_at(deed.commit)
    return Origin(scene.record.generation.id, timeline, swapped)


def _any_nameless(made: Sequence[Event]) -> bool:
    return any(not hit.name for event in made for hit in event.hits)


def _refuse_strangers(wanted: Wanted, names: Names, made: Sequence[Event]) -> None:
    for table, near in strangers(wanted.tables, names, made).items():
        why = "no census and no event knows such a table"
        advice = (
            f"did you mean {' or '.join(near)}?" if near else "see all events: pgkeep undo find"
        )
        raise CannotUndo(f"find what happened to {table}", why, advice)
