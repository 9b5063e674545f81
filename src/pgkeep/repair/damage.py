"""Find the pages of a stopped cluster that fail their checksum."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pgkeep.postgres.control import ControlFile
from pgkeep.postgres.datadir import (
    Entry,
    MissingTablespace,
    NotADataDirectory,
    Skipped,
    Unreadable,
    open_file,
    walk,
)
from pgkeep.postgres.layout import RelationFile, Rule, relation_of_path
from pgkeep.postgres.pages import BATCH_PAGES, PAGE_SIZE, PageChecker
from pgkeep.progress import Progress
from pgkeep.repair.plan import BadPage
from pgkeep.repair.refused import CannotRepair
from pgkeep.units import MIB
from pgkeep.workers.pool import enough_workers, light_main, make_pool

_RANGE: Final = 256 * MIB  # bytes of one task
_WORTH: Final = 256 * MIB  # less is checked sooner than processes begin
_NO_LSN: Final = 1 << 63
MOST: Final = 5000  # pages; more are no case for single-page repair


class Part(NamedTuple):
    """A part of one relation file."""

    root: str
    path: str
    relation: RelationFile
    unlogged: bool
    first_block: int  # of the part, counted over the fork
    position: int
    size: int


@dataclass
class Damage:
    """What was looked at and what was found."""

    files: int = 0
    pages: int = 0
    bad: list[BadPage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_damage(root: str, control: ControlFile, jobs: int, progress: Progress) -> Damage:
    """Check every page of every relation. Raise CannotRepair."""
    found = Damage()
    try:
        parts = list(_parts(root, control, found))
    except (MissingTablespace, NotADataDirectory, Unreadable) as error:
        raise _unreadable(root, str(error).removeprefix("cannot back up "), error.hint) from error
    size = sum(part.size for part in parts)
    found.pages = size // PAGE_SIZE
    progress.phase("checking pages", size)
    done = 0
    for part, bad in _checked(parts, jobs if size >= _WORTH else 1, root):
        done += part.size
        found.bad += bad
        if len(found.bad) > MOST:
            raise CannotRepair(
                root,
                f"more than {MOST:,} pages are damaged, too many to bring back one by one",
                f"bring the cluster back: pgkeep restore --delta --target-dir {root}",
            )
        progress.advance(done)
    found.bad.sort(key=lambda page: (page.path, page.block))
    return found


def _parts(root: str, control: ControlFile, found: Damage) -> Iterator[Part]:
    for item in walk(root, control.tablespace_folder):
        relation, unlogged, size = _relation(root, item)
        if relation is None:
            continue
        found.files += 1
        if size % PAGE_SIZE:
            found.notes.append(f"{item.path} ends in the middle of a page, which is left alone")
        whole = size // PAGE_SIZE * PAGE_SIZE
        for position in range(0, whole, _RANGE):
            first = relation.first_block(control.segment_blocks) + position // PAGE_SIZE
            length = min(_RANGE, whole - position)
            yield Part(root, item.path, relation, unlogged, first, position, length)


def _relation(root: str, item: Entry | Skipped) -> tuple[RelationFile | None, bool, int]:
    """Return which relation's file this is, whether it is unlogged, and its size."""
    if isinstance(item, Entry):
        return item.relation, False, item.size
    if item.rule is not Rule.UNLOGGED:
        return None, False, 0
    try:
        size = os.stat(os.path.join(root, item.path), follow_symlinks=False).st_size
    except OSError:
        return None, False, 0
    return relation_of_path(item.path), True, size


def _checked(parts: Iterable[Part], jobs: int, root: str) -> Iterator[tuple[Part, list[BadPage]]]:
    if jobs <= 1:
        yield from ((part, check_part(part)) for part in parts)
        return

    def refused(why: str, advice: str) -> CannotRepair:
        return CannotRepair(root, why, advice)

    pool = make_pool(jobs, _begin, preload=[__name__])
    remaining, running = iter(parts), dict[Future[list[BadPage]], Part]()
    try:
        while True:
            with light_main(), enough_workers(jobs, refused):
                while len(running) < 2 * jobs and (part := next(remaining, None)):
                    running[pool.submit(check_part, part)] = part
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        why = "a worker process was killed, perhaps because memory ran out"
        raise CannotRepair(root, why, "run it again with --jobs 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Be ready."""


def check_part(part: Part) -> list[BadPage]:
    """Return the pages of a part that fail their checksum."""
    path = os.path.join(part.root, part.path)
    try:
        descriptor = open_file(path)
    except Unreadable as error:
        why = str(error).removeprefix("cannot back up ")
        raise _unreadable(part.root, why, error.hint) from error
    if descriptor is None:
        return []
    checker, buffer = PageChecker(), bytearray(BATCH_PAGES * PAGE_SIZE)
    bad: list[BadPage] = []
    try:
        for start in range(0, part.size, len(buffer)):
            wanted = memoryview(buffer)[: min(len(buffer), part.size - start)]
            try:
                read = os.preadv(descriptor, [wanted], part.position + start)
            except OSError as error:
                why = f"{path}: {(error.strerror or str(error)).lower()}"
                advice = "should its disk be failing, restore the cluster to another one"
                raise _unreadable(part.root, why, advice) from error
            first = part.first_block + start // PAGE_SIZE
            for page in checker.suspicious(wanted[:read], first, _NO_LSN).tolist():
                position = part.position + start + page * PAGE_SIZE
                where = (part.path, part.relation, first + page, position, part.unlogged)
                bad.append(BadPage(*where))
    finally:
        os.close(descriptor)
    return bad


def _unreadable(root: str, why: str, advice: str) -> CannotRepair:
    return CannotRepair(root, f"it cannot be read whole: {why}", advice)
