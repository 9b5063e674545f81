"""What becomes of a damaged page, and why. Pure.

A page of a backup is what the page must be now when no WAL since then changed it; a whole page in
WAL is, when no WAL behind it did. Everything else would be a guess.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from pgkeep.model.backup import BackupId
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.layout import Fork, RelationFile
from pgkeep.postgres.pages import PAGE_SIZE, PageChecker, page_lsns
from pgkeep.postgres.wal_blocks.scan import Block, Change, PageLog

_FORKS: Final = {Fork.MAIN: 0, Fork.FSM: 1, Fork.VM: 2, Fork.INIT: 3}
_NO_LSN: Final = 1 << 63  # no page is excused for being new
_NAMED: Final = 3  # positions in a sentence; all that are known are in the report
_ELSEWHERE: Final = (
    "bring the whole cluster back with all changes: pgkeep restore --delta; or restore to another "
    "directory and copy the table from there"
)


class BadPage(NamedTuple):
    """A page that fails its checksum."""

    path: str  # relative to PGDATA
    relation: RelationFile
    block: int  # counted over the fork
    position: int  # in the file, bytes
    unlogged: bool = False

    @property
    def wal_block(self) -> Block:
        """The page as WAL names it."""
        found = self.relation
        locator = (found.tablespace, found.database, found.number)
        return Block(locator, _FORKS[found.fork], self.block)

    @property
    def derived(self) -> bool:
        """Tell whether the server can make the page again from others."""
        return self.relation.fork in {Fork.FSM, Fork.VM}


class Base(NamedTuple):
    """The page as a backup has it, intact."""

    backup: BackupId
    start: Lsn  # all that changed the page before is in it
    content: bytes

    @property
    def known_to(self) -> Lsn:
        """All changes up to here are in it."""
        return Lsn(max(self.start, int(page_lsns(self.content)[0])))


class WalProof(NamedTuple):
    """The WAL that was followed, without a gap, to where the cluster was stopped."""

    first: Lsn | None  # from here on; None: it does not lead to the end at all
    gap: str  # why not from further back


class Fate(StrEnum):
    """What becomes of a page."""

    BACKUP = "from-backup"
    WAL = "from-wal"
    ZEROED = "zeroed"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One page's fate and why."""

    page: BadPage
    fate: Fate
    why: str
    content: bytes = b""  # to be written, PAGE_SIZE bytes
    backup: BackupId | None = None
    changes: tuple[Lsn, ...] = ()  # the last records that changed the page since
    advice: str = ""


def decide(page: BadPage, base: Base | None, no_base: str, log: PageLog, wal: WalProof) -> Verdict:
    """Return what to do about a page. `no_base` says why there is no `base`."""
    if page.derived:
        return _derived(page)
    if page.unlogged:
        why = "the table is unlogged: neither backups nor WAL hold it"
        return Verdict(page, Fate.CANNOT, why, advice="TRUNCATE the table, and load it again")
    if wal.first is not None and log.image is not None and log.image_end and not log.count:
        why = f"WAL holds it whole at {log.image_end}, and nothing changed it since"
        return Verdict(page, Fate.WAL, why, _sealed(log.image, log.image_end, page.block))
    if base is None:
        return _cannot(page, no_base, log)
    if wal.first is None or wal.first > base.known_to:
        why = f"WAL since backup {base.backup} is not all there: {wal.gap}"
        return _cannot(page, why, log)
    newer = [change for change in log.last if change.end > base.known_to]
    if newer:
        return _cannot(page, _changed(base, newer, many=len(newer) < log.count), log)
    why = f"nothing changed it since backup {base.backup}"
    return Verdict(page, Fate.BACKUP, why, base.content, base.backup)


def is_intact(content: bytes, block: int, checker: PageChecker) -> bool:
    """Tell whether a page has the checksum that block needs, or is new."""
    if len(content) != PAGE_SIZE:
        return False
    return not len(checker.suspicious(content, block, _NO_LSN))


def _derived(page: BadPage) -> Verdict:
    if page.relation.fork is Fork.FSM:
        what = "free space is noted in it, which VACUUM finds again"
    else:
        what = "it only notes which pages need no VACUUM and no visibility check"
    why = f"{what}; PostgreSQL zeroes such a page itself when it meets it"
    return Verdict(page, Fate.ZEROED, why, bytes(PAGE_SIZE), advice="VACUUM the table when it runs")


def _cannot(page: BadPage, why: str, log: PageLog) -> Verdict:
    changes = tuple(change.lsn for change in log.last)
    return Verdict(page, Fate.CANNOT, why, changes=changes, advice=_ELSEWHERE)


def _changed(base: Base, newer: Sequence[Change], *, many: bool) -> str:
    where = ", ".join(str(change.lsn) for change in newer[-_NAMED:])
    often = "once" if len(newer) == 1 else f"{len(newer):,} times"
    since = (
        f"since backup {base.backup} WAL changed it {'more than ' * many}{often}, last at {where}"
    )
    what = newer[-1].what
    return since if what == "changed" else f"{since} ({what})"


def _sealed(image: bytes, end: Lsn, block: int) -> bytes:
    """Return a page of WAL as the server would write it: with its LSN and its checksum."""
    page = bytearray(image)
    if not struct.unpack_from("<H", page, 14)[0]:
        return bytes(page)  # new: it has neither
    struct.pack_into("<II", page, 0, end >> 32, end & 0xFFFFFFFF)
    checksum = PageChecker().checksums(page, block)
    struct.pack_into("<H", page, 8, int(np.uint16(checksum[0])))
    return bytes(page)
