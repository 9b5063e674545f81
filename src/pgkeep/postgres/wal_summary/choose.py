"""Which files of pg_wal/summaries tell what changed in a range of WAL.

Pure. Source: walsummary.c (GetWalSummaries, WalSummariesAreComplete). Summaries end at each
checkpoint's redo position, so a backup's start is always the end of one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History

_NAME: Final = re.compile(r"([0-9A-F]{8})([0-9A-F]{16})([0-9A-F]{16})\.summary")


class SummaryGap(Exception):
    """Some of the WAL asked for is not summarized: nobody can tell what it changed."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class SummaryFile(NamedTuple):
    """One file, by its name: it summarizes WAL of `timeline` from `start` up to `end`."""

    timeline: int
    start: Lsn
    end: Lsn
    name: str


def summary_files(names: Iterable[str]) -> list[SummaryFile]:
    """Read the names in pg_wal/summaries, in order of timeline and LSN; skip all others."""
    found = [
        SummaryFile(int(match[1], 16), Lsn(int(match[2], 16)), Lsn(int(match[3], 16)), name)
        for name in names
        if (match := _NAME.fullmatch(name)) is not None
    ]
    return sorted(file for file in found if file.start < file.end)


def choose_summaries(
    files: Sequence[SummaryFile], history: History, start: Lsn, end: Lsn
) -> list[SummaryFile]:
    """Return the files that together summarize [start, end) along `history`, in order of LSN.

    Raise SummaryGap when they do not. What they tell besides, of WAL before and after, is no
    error: more blocks are read then than changed.
    """
    if start > end:
        raise SummaryGap(f"WAL does not lead from {start} back to {end}")
    chosen: list[SummaryFile] = []
    for timeline, first, last in _pieces(history, start, end):
        chosen += _cover([f for f in files if f.timeline == timeline], timeline, first, last)
    return chosen


def _pieces(history: History, start: Lsn, end: Lsn) -> Iterator[tuple[int, Lsn, Lsn]]:
    """Yield which timelines [start, end) belongs to, and from where to where."""
    for branch in history.ancestors:
        if start < branch.switch and start < end:
            yield branch.timeline, start, min(branch.switch, end)
            start = branch.switch
    if start < end:
        yield history.timeline, start, end


def _cover(files: list[SummaryFile], timeline: int, start: Lsn, end: Lsn) -> list[SummaryFile]:
    chosen: list[SummaryFile] = []
    while start < end:
        furthest = max(
            (f for f in files if f.start <= start < f.end), key=lambda f: f.end, default=None
        )
        if furthest is None:
            upto = min((f.start for f in files if start < f.start < end), default=end)
            raise SummaryGap(f"no WAL summary covers timeline {timeline} from {start} to {upto}")
        chosen.append(furthest)
        start = furthest.end
    return chosen
