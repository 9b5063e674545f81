"""What the browser draws: facts as plain data, with every word that is shown. Pure.

The browser does what depends on its width and zoom: scales, ticks in its own zone, joining marks
that would lie over each other (assets: timeline.js).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from pgkeep.units import format_size, plural
from pgkeep.web.timeline.facts import Band, Facts, Gap, Lane, Mark, MarkKind
from pgkeep.web.words import long, target_time

ROWS: Final = (
    (MarkKind.EVENT, "Events"),
    (MarkKind.BACKUP, "Backups"),
    (MarkKind.DUMP, "Dumps"),
    (MarkKind.POINT, "Points"),
    (MarkKind.DRILL, "Drills"),
)
_MOST_BINS: Final = 1500  # of WAL activity: more than a screen has columns
_SHORTEST: Final = timedelta(minutes=15)  # of the axis
_LANES: Final = 12  # the newest


def drawing(facts: Facts, zone: tzinfo) -> dict[str, Any]:
    """Return what is drawn, with moments in milliseconds since 1970."""
    start, end = extent(facts)
    return {
        "cluster": facts.cluster,
        "now": _ms(facts.now),
        "start": _ms(start),
        "end": _ms(end),
        "lanes": [_lane(lane, zone) for lane in facts.lanes[-_LANES:]],
        "rows": [_row(kind, title, facts.marks, zone) for kind, title in ROWS],
        "bins": _bins(facts),
        "binWords": f"segments of {format_size(facts.segment_size)}",
    }


def extent(facts: Facts) -> tuple[datetime, datetime]:
    """Return the ends of the axis: all that is known, up to now, with some room."""
    moments = [facts.now]
    for lane in facts.lanes:
        moments += [m for band in lane.bands for m in (band.start, band.end)]
        moments += [m for gap in lane.gaps for m in (gap.start, gap.end)]
    moments += [mark.at for mark in facts.marks]
    start, end = min(moments), max(moments)
    start = min(start, end - _SHORTEST)
    room = (end - start) * 0.03
    return start - room, end + room


def _lane(lane: Lane, zone: tzinfo) -> dict[str, Any]:
    return {
        "title": lane.title,
        "bands": [_band(band, zone) for band in lane.bands],
        "gaps": [_gap(gap, zone) for gap in lane.gaps],
    }


def _band(band: Band, zone: tzinfo) -> dict[str, Any]:
    count = len(band.backups)
    return {
        "start": _ms(band.start),
        "end": _ms(band.end),
        "title": "Every moment can be restored",
        "words": [
            f"from {long(band.start, zone)}",
            f"to {long(band.end, zone)}",
            f"by {plural(count, 'backup')}",
        ],
    }


def _gap(gap: Gap, zone: tzinfo) -> dict[str, Any]:
    return {
        "start": _ms(gap.start),
        "end": _ms(gap.end),
        "title": "Hole: nothing in it can be restored",
        "words": [gap.words, f"between {long(gap.start, zone)}", f"and {long(gap.end, zone)}"],
    }


def _row(kind: MarkKind, title: str, marks: Sequence[Mark], zone: tzinfo) -> dict[str, Any]:
    return {
        "title": title,
        "kind": kind.name.lower(),
        "marks": [_mark(mark, zone) for mark in marks if mark.kind is kind],
    }


def _mark(mark: Mark, zone: tzinfo) -> dict[str, Any]:
    return {
        "at": _ms(mark.at),
        "title": mark.title,
        "words": [long(mark.at, zone), *mark.words],
        "good": mark.good,
        "target": target_of(mark),
        "before": mark.before,
    }


def target_of(mark: Mark) -> str:
    """Return what `restore --to` takes for a mark; '': it is of no moment of the cluster."""
    if mark.kind is MarkKind.DRILL:
        return ""
    return mark.target or target_time(mark.at)


def _bins(facts: Facts) -> list[tuple[int, int, int]]:
    """Return (start, end, segments) of WAL stored over time, without the empty ones."""
    return list(_counted(facts.archived)) if facts.archived else []


def _counted(times: Sequence[float]) -> Iterator[tuple[int, int, int]]:
    width = max(60.0, (times[-1] - times[0]) / _MOST_BINS)
    at = 0
    while at < len(times):
        begin = times[0] + ((times[at] - times[0]) // width) * width
        after = max(at + 1, bisect_right(times, begin + width))
        yield int(begin * 1000), int((begin + width) * 1000), after - at
        at = after


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
