"""Which of the events that were found are shown. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches

from pgkeep.undo.event import Event, EventKind, Hit
from pgkeep.undo.meaning.changes import Weight
from pgkeep.undo.meaning.names import Names, titles


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user looks for; nothing of a kind: all of it."""

    since: datetime | None = None
    until: datetime | None = None
    tables: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    kinds: tuple[EventKind, ...] = ()
    weight: Weight = field(default_factory=Weight)


@dataclass(frozen=True, slots=True)
class Chosen:
    events: tuple[Event, ...]  # numbered, by time
    not_shown: tuple[tuple[EventKind, int], ...]
    nameless: int  # events that --table or --database left out because they have no name


def choose(events: Iterable[Event], wanted: Wanted) -> Chosen:
    """Choose and number events; rewrites keep their rows and are shown only when asked for."""
    timely = [event for event in events if _in_time(event, wanted)]
    fitting = [event for event in timely if _fits(event, wanted)]
    shown = [e for e in fitting if e.kind in wanted.kinds or not wanted.kinds]
    rewrites = 0
    if not wanted.kinds:
        shown = [event for event in fitting if event.kind is not EventKind.REWRITE]
        rewrites = len(fitting) - len(shown)
    numbered = tuple(replace(event, number=n) for n, event in enumerate(shown, start=1))
    asked = wanted.tables or wanted.databases
    nameless = sum(1 for event in timely if asked and event not in fitting and _nameless(event))
    return Chosen(numbered, ((EventKind.REWRITE, rewrites),) if rewrites else (), nameless)


def _in_time(event: Event, wanted: Wanted) -> bool:
    early = wanted.since is not None and event.commit_time < wanted.since
    late = wanted.until is not None and event.commit_time > wanted.until
    return not early and not late


def _fits(event: Event, wanted: Wanted) -> bool:
    databases = {event.database, *(hit.database for hit in event.hits)}
    if wanted.databases and databases.isdisjoint(wanted.databases):
        return False
    if not wanted.tables:
        return True
    return any(not set(wanted.tables).isdisjoint(_titles(hit)) for hit in event.hits)


def _titles(hit: Hit) -> tuple[str, ...]:
    own = titles(hit.database, hit.schema, hit.name)
    if not hit.root:
        return own
    schema, _, name = hit.root.partition(".")
    return own + titles(hit.database, schema, name)


def _nameless(event: Event) -> bool:
    return bool(event.hits) and all(not hit.name for hit in event.hits)


def strangers(wanted: Sequence[str], names: Names, events: Iterable[Event]) -> dict[str, list[str]]:
    """Return the tables asked for that nobody knows, and which names are near."""
    known = {title for event in events for hit in event.hits for title in _titles(hit)}
    for database, one in names.relations():
        if one.kind in "rpm":
            known.update(titles(database.name, one.schema, one.name))
    missing = [table for table in wanted if table not in known]
    return {table: get_close_matches(table, known, 3) for table in missing}
