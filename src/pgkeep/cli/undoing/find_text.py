"""What undo find found, as text. docs/undo.md explains it, and the JSON fields."""

import shlex
from typing import Final

from pgkeep.cli.text import Look, safe, table
from pgkeep.undo.event import Event, EventKind
from pgkeep.undo.finding.report import Blind, Found
from pgkeep.undo.meaning.names import in_sql
from pgkeep.units import format_duration, format_size, plural

_BARS: Final = " ▁▂▃▄▅▆▇█"
_SHORTEST: Final = 0.1  # seconds that are told apart
_SHOWN: Final = 10  # relations of one event that are listed; --json has them all


def report(found: Found, look: Look) -> str:
    """Say what was destroyed, how to stop just before it, and what could not be seen."""
    parts = [_head(found, look)]
    if found.events:
        parts.append(_events(found.events, look))
        details = [line for event in found.events for line in _details(event)]
        if details:
            parts.append("\n".join(details))
        parts.append("\n".join(_back(found.events[0])))
    if found.activity is not None and any(found.activity.rows):
        parts.append(_activity(found, look))
    if found.blind:
        parts.append("\n".join(_blind(blind, look) for blind in found.blind))
    beside = [*_not_shown(found), *(f"note: {safe(note)}" for note in found.notes)]
    return "\n\n".join([*parts, "\n".join(beside)] if beside else parts)


def _head(found: Found, look: Look) -> str:
    searched = (
        f"searched {format_size(found.bytes)} of WAL of cluster {safe(found.cluster)} in "
        f"{format_duration(found.seconds)}"
    )
    if found.live_segments:
        searched += f", {plural(found.live_segments, 'segment')} of it not archived yet"
    if found.first is None or found.last is None:
        return f"{look.bold('nothing found')}: no transaction ended in this WAL\n{searched}"
    if found.since is not None and found.last < found.since:
        newest = f"the newest transaction on record ended at {look.when(found.last)}"
        return f"{look.bold('nothing found')} since {look.when(found.since)}: {newest}\n{searched}"
    start, end = max(found.since or found.first, found.first), found.until or found.last
    between = f"between {look.when(min(start, end))} and {look.when(end)}"
    if not found.events:
        return f"{look.good('nothing found')} {between}\n{searched}"
    return f"{look.bold(plural(len(found.events), 'event'))} {between}\n{searched}"


def _events(events: tuple[Event, ...], look: Look) -> str:
    header = ["#", "COMMITTED", "WHAT", "OF", "ROWS", "SIZE", "TOOK", "XID", "STOP BEFORE"]
    rows = [
        [
            str(event.number),
            look.at(event.commit_time),
            event.kind.words,
            event.relation,
            _rows(event),
            _size(event),
            _took(event),
            str(event.xid),
            f"lsn:{event.stop_lsn}",
        ]
        for event in events
    ]
    return table(header, rows, look, right=(0, 4, 5))


def _rows(event: Event) -> str:
    if event.rows < 0:
        return ""
    if event.kind in (EventKind.DELETE, EventKind.UPDATE):
        return f"{event.rows:,}" if event.whole else f">= {event.rows:,}"
    return f"~{event.rows:,}"  # the census' estimate


def _size(event: Event) -> str:
    size = sum(hit.size for hit in event.hits if hit.size > 0)
    return format_size(size) if size else ""


def _took(event: Event) -> str:
    """Say how long it took at most: only commits carry a time, and one stood before it."""
    if event.began_after is None:
        return ""
    seconds = (event.commit_time - event.began_after).total_seconds()
    return f"<= {format_duration(seconds)}" if seconds >= _SHORTEST else f"< {_SHORTEST} s"


def _details(event: Event) -> list[str]:
    """Return what the table has no room for."""
    lines = []
    if len(event.hits) > 1:
        names = [safe(hit.title) for hit in event.hits[:_SHOWN]]
        more = len(event.hits) - len(names)
        lines.append(f"of {', '.join(names)}{f' and {more} more' if more else ''}")
    if event.columns:
        numbers = ", ".join(map(str, event.columns))
        lines.append(f"column number {numbers}: pg_attribute before it has the name")
    if event.kind is EventKind.DROP_DATABASE:
        lines.append(
            "recovery must stop before its files go, which is earlier than its commit: what others "
            "committed in between is not in such a copy"
        )
    if not event.whole:
        lines.append("it may have begun before the WAL that was searched: give an earlier --since")
    if not event.sure:
        lines.append("likely, not certain: other work can leave the same records")
    lines += [safe(note) for note in event.notes]
    return [f"  event {event.number}: {line}" for line in lines]


def _back(event: Event) -> list[str]:
    """Say what to type to have it back."""
    lines = []
    first = event.hits[0] if event.hits else None
    if event.kind is EventKind.DROP_DATABASE and event.database:
        lines.append(f"database {shlex.quote(event.database)} --event {event.number}")
    elif first is not None and first.name and first.kind == "r":
        name = in_sql(first.database, first.schema, first.name)
        lines.append(f"table {shlex.quote(name)} --event {event.number}")
    return [
        *(f"to bring back event {event.number}: pgkeep undo {safe(line)}" for line in lines),
        f"to restore the moment before it: pgkeep restore --to lsn:{event.stop_lsn} --exclusive "
        "--target-dir DIR",
    ]


def _activity(found: Found, look: Look) -> str:
    activity = found.activity
    assert activity is not None
    most = max(activity.rows)
    bars = "".join(_BARS[-(-rows * (len(_BARS) - 1) // most)] for rows in activity.rows)
    step = (activity.until - activity.since).total_seconds() / len(activity.rows)
    return (
        f"rows changed, {look.at(activity.since)} to {look.at(activity.until)}, at most {most:,} "
        f"in {format_duration(step)}:\n{bars}"
    )


def _blind(blind: Blind, look: Look) -> str:
    which = blind.first if blind.first == blind.last else f"{blind.first} to {blind.last}"
    if blind.after is not None and blind.before is not None:
        when = f"from {look.when(blind.after)} to {look.when(blind.before)}"
    elif blind.after is not None:
        when = f"after {look.when(blind.after)}"
    elif blind.before is not None:
        when = f"before {look.when(blind.before)}"
    else:
        when = "there"
    return look.bad(f"blind {when}: WAL {safe(which)}: {safe(blind.why)}")


def _not_shown(found: Found) -> list[str]:
    return [
        f"{plural(count, 'rewrite')} kept {'its' if count == 1 else 'their'} rows and "
        f"{'is' if count == 1 else 'are'} not shown (VACUUM FULL, CLUSTER, REFRESH, ALTER TABLE): "
        f"--kind {kind.value}"
        for kind, count in found.not_shown
    ]
