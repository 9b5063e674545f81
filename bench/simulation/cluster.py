"""The simulated cluster: real files of pages with LSNs and checksums, changed day by day.

Sizes are small, shares are not: a hundredth of the pages changes at random each day, hot tables are
written all over, one table grows, one is dropped and made anew now and then, and each week another
one goes through VACUUM FULL.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres.pages import PAGE_SIZE, PageChecker
from pgkeep.units import MIB

DATABASE: Final = "base/5"
DAY_OF_WAL: Final = 64 * MIB  # how far the LSN goes in a day
_WORDS: Final = PAGE_SIZE // 4
_HEADER: Final = 6  # words
_PHRASE: Final = 4  # words, of which the last is never the same: pages compress 2 to 1
_VOCABULARY: Final = 256  # phrases
_COLD: Final = 2  # of eight parts of the large tables: never written again
_PER_MIB: Final = MIB // PAGE_SIZE

Pages = NDArray[np.uint32]  # one row a page


@dataclass
class Table:
    """One relation's main fork, in one file."""

    number: int  # relfilenode
    pages: int
    changed: bool = False  # today

    @property
    def path(self) -> str:
        return f"{DATABASE}/{self.number}"


@dataclass
class SimulatedCluster:
    """Files below `root`, and the time."""

    root: Path
    size: int  # bytes, about, on the first day
    seed: int = 1
    day: int = 0
    large: list[Table] = field(default_factory=list)
    hot: list[Table] = field(default_factory=list)
    small: list[Table] = field(default_factory=list)
    times_ns: dict[str, int] = field(default_factory=dict)  # of each file's last change

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._checker = PageChecker()
        self._vocabulary = self._rng.integers(0, 1 << 32, (_VOCABULARY, _PHRASE), np.uint32)
        self._next = 16384
        unit = self.size // MIB * _PER_MIB // 100  # pages of a hundredth
        (self.root / DATABASE).mkdir(parents=True)
        self.large = [self._table(unit * 10) for _ in range(8)]
        self.hot = [self._table(unit) for _ in range(2)]
        self.small = [self._table(2 + number % 7) for number in range(unit // 2)]
        self.growing = self._table(unit * 8)
        self.dropped = self._table(unit * 4)
        self._write_plain("PG_VERSION", b"18\n")
        self._step = max(1, unit // 8)
        self._write_others()

    @property
    def now_ns(self) -> int:
        """Return the time: past, so that no file seems to have changed while it was copied."""
        return 1735689600_000000000 + self.day * 86400_000000000  # 2025-01-01

    @property
    def lsn(self) -> int:
        """Return where a backup that begins now begins."""
        return (self.day + 1) * DAY_OF_WAL + 0x28

    @property
    def tables(self) -> list[Table]:
        return [*self.large, *self.hot, *self.small, self.growing, self.dropped]

    def live(self) -> int:
        """Return the bytes of all files."""
        return sum((self.root / path).stat().st_size for path in self.times_ns)

    def next_day(self) -> None:
        """Let a day go by."""
        self.day += 1
        self._update_at_random()
        for table in self.hot:
            self._write(table, np.arange(table.pages))
        self._grow(self.growing, self._step)
        if self.day % 7 == 3:
            self._vacuum_full(self.day // 7 % len(self.large))
        if self.day % 23 == 11:
            self._remove(self.dropped)
            self.dropped = self._table(self.dropped.pages)
        self._write_others()

    def _update_at_random(self) -> None:
        """Change a hundredth of the pages of all tables but the cold ones."""
        tables = [*self.large[_COLD:], *self.small, self.growing]
        counts = np.array([table.pages for table in tables])
        total = int(counts.sum())
        chosen = np.sort(self._rng.choice(total, total // 100, replace=False))
        begins = np.concatenate(([0], np.cumsum(counts)))
        owners = np.searchsorted(begins, chosen, "right") - 1
        for owner in np.unique(owners).tolist():
            self._change(tables[owner], chosen[owners == owner] - begins[owner])

    def _table(self, pages: int) -> Table:
        table = Table(self._next, 0)
        self._next += 1
        (self.root / table.path).touch()
        self._grow(table, pages)
        return table

    def _grow(self, table: Table, pages: int) -> None:
        first, table.pages = table.pages, table.pages + pages
        self._write(table, np.arange(first, table.pages))

    def _remove(self, table: Table) -> None:
        for suffix in ("", "_fsm", "_vm"):
            (self.root / f"{table.path}{suffix}").unlink()
            del self.times_ns[f"{table.path}{suffix}"]

    def _vacuum_full(self, index: int) -> None:
        """Write a table anew under another number, its rows packed elsewhere."""
        old = self.large[index]
        self.large[index] = self._table(old.pages)
        self._remove(old)

    def _write(self, table: Table, blocks: NDArray[np.int64]) -> None:
        """Write pages with wholly new content."""
        self._store(table, blocks, self._text(len(blocks), _WORDS))

    def _change(self, table: Table, blocks: NDArray[np.int64]) -> None:
        """Change an eighth of each page, as updates of some rows do."""
        content = np.memmap(self.root / table.path, np.uint32, "r").reshape(-1, _WORDS)
        pages = np.array(content[blocks])
        part = _WORDS // 8
        begin = int(self._rng.integers(_HEADER, _WORDS - part))
        pages[:, begin : begin + part] = self._text(len(blocks), part)
        self._store(table, blocks, pages)

    def _text(self, pages: int, words: int) -> Pages:
        """Return so many words for each page."""
        phrases = self._rng.integers(0, _VOCABULARY, (pages, words // _PHRASE), np.uint16)
        text: Pages = self._vocabulary[phrases].reshape(pages, words)
        text[:, _PHRASE - 1 :: _PHRASE] = self._rng.integers(
            0, 1 << 32, (pages, words // _PHRASE), np.uint32
        )
        return text

    def _store(self, table: Table, blocks: NDArray[np.int64], pages: Pages) -> None:
        before = self.lsn - DAY_OF_WAL
        lsns = before + 1 + np.sort(self._rng.integers(0, DAY_OF_WAL - 256, len(blocks)))
        pages[:, 0], pages[:, 1] = lsns >> 32, lsns & 0xFFFFFFFF
        # no flags, pd_lower 64, pd_upper 4096, pd_special 8192, page version 4 (bufpage.h)
        pages[:, 2:_HEADER] = (0, 64 << 16, 4096 | 8192 << 16, 0x2004)
        pages[:, 3] = 64 << 16
        shorts = pages.view(np.uint16)
        first = 0
        with (self.root / table.path).open("r+b") as file:
            while first < len(blocks):
                run = blocks[first:]
                length = int(np.count_nonzero(run == run[0] + np.arange(len(run))))
                rows = pages[first : first + length]
                start = int(run[0])
                shorts[first : first + length, 4] = self._checker.checksums(rows.tobytes(), start)
                file.seek(start * PAGE_SIZE)
                file.write(rows.tobytes())
                first += length
        self._touch(table.path)
        table.changed = True

    def _write_others(self) -> None:
        """Write what goes along: visibility and free space maps, and the commit log."""
        for table in self.tables:
            if table.changed:
                for suffix in ("_vm", "_fsm"):
                    self._write_plain(f"{table.path}{suffix}", self._rng.bytes(PAGE_SIZE))
            table.changed = False
        self._write_plain("pg_xact/0000", self._rng.bytes(4 * PAGE_SIZE))

    def _write_plain(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
        self._touch(path)

    def _touch(self, path: str) -> None:
        self.times_ns[path] = self.now_ns


def folders(paths: list[str]) -> list[str]:
    """Return every directory that these files are in."""
    found = {str(up) for path in paths for up in Path(path).parents}
    return sorted(found - {os.curdir})
