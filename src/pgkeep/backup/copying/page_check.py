"""Pages judged while they are copied: torn is normal, damaged is not (basebackup.c has the rule).

A page that the server writes while we read it may come to us half old and half new. WAL replay
writes such a page again, so it is no damage. Telling the two apart takes a second look.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from pgkeep.backup.source import Reader
from pgkeep.postgres.pages import PAGE_SIZE, Numbers, PageChecker, page_lsns

_LOOKS: Final = 4  # at a suspicious page, before it is called damaged
_PAUSE_S: Final = 0.1  # between two looks: writing 8 KiB takes the kernel microseconds
_ALL: Final = (1 << 64) - 1  # as start LSN: leave no page out


class PageRun(NamedTuple):
    """Consecutive pages of one file in the buffer."""

    entry: int
    path: str
    begin: int  # in the buffer, bytes
    pages: int
    position: int  # in the file, bytes
    first_block: int  # of the run, in its relation


class BadPage(NamedTuple):
    """A page that did not pass. With an LSN in WAL still to come it may just be torn."""

    entry: int
    block: int  # in its relation
    lsn: int


class PageCheck:
    """Checks the pages in a buffer, and looks again at those that seem wrong."""

    def __init__(
        self,
        reader: Reader,
        *,
        checksums: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._checker = PageChecker()
        self._reader = reader
        self._checksums = checksums
        self._sleep = sleep

    def check(self, buffer: memoryview, runs: Sequence[PageRun], start_lsn: int) -> list[BadPage]:
        """Return the pages that stay wrong. A page that is right on another look is replaced.

        Pages changed since `start_lsn` are returned too, without another look: they are damaged
        only if their LSN turns out to be beyond the end of the backup.
        """
        bad: list[BadPage] = []
        for group in _neighbours(runs):
            begin, end = group[0].begin, group[-1].begin + group[-1].pages * PAGE_SIZE
            view = buffer[begin:end]
            for index in self._doubtful(view, _blocks(group)):
                page = view[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
                run = next(r for r in reversed(group) if r.begin <= begin + index * PAGE_SIZE)
                offset = begin + index * PAGE_SIZE - run.begin
                bad += self._judge(page, run, offset, start_lsn)
        return bad

    def _judge(
        self, page: memoryview, run: PageRun, offset: int, start_lsn: int
    ) -> Iterator[BadPage]:
        """Yield the page if it is bad, after looking at it again."""
        block = run.first_block + offset // PAGE_SIZE
        lsn = int(page_lsns(page)[0])
        if lsn >= start_lsn:
            yield BadPage(run.entry, block, lsn)
            return
        for _ in range(_LOOKS - 1):
            fresh = self._look(run.path, run.position + offset)
            if fresh is None:
                return  # truncated or dropped by now, and WAL says so
            if not len(self._doubtful(memoryview(fresh), block)):
                page[:] = fresh
                return
            if int(page_lsns(fresh)[0]) >= start_lsn:
                return  # changed since we read it: replay writes it whole
            self._sleep(_PAUSE_S)
        yield BadPage(run.entry, block, lsn)

    def _look(self, path: str, position: int) -> bytes | None:
        opened = self._reader.open(path, position, position + PAGE_SIZE)
        if opened is None:
            return None
        fresh = bytearray(PAGE_SIZE)
        with opened as file:
            got = file.read_into(memoryview(fresh), position)
        return bytes(fresh) if got == PAGE_SIZE else None

    def _doubtful(self, pages: memoryview, blocks: Numbers) -> list[int]:
        found = self._checker.suspicious(pages, blocks, _ALL, checksums=self._checksums)
        return [int(index) for index in found]


def _neighbours(runs: Sequence[PageRun]) -> Iterator[list[PageRun]]:
    """Gather runs that lie back to back in the buffer, so that they are checked in one go."""
    group: list[PageRun] = []
    for run in runs:
        if group and group[-1].begin + group[-1].pages * PAGE_SIZE != run.begin:
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def _blocks(group: Sequence[PageRun]) -> Numbers:
    if len(group) == 1:
        return group[0].first_block
    return np.concatenate(
        [np.arange(run.first_block, run.first_block + run.pages, dtype=np.uint32) for run in group]
    )
