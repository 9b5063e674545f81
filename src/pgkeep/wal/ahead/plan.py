"""Which WAL files are pushed next, and when what failed is tried again. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from pgkeep.model.wal_file import kind_of

FIRST_PAUSE: Final = 0.5  # seconds
MANY: Final = 8  # files with setbacks of their own: then it is not the files
LONGEST_PAUSE: Final = 60.0  # seconds: PostgreSQL itself tries again after a minute


class Setback(NamedTuple):
    """Something failed, and is not tried before a moment."""

    failures: int  # in a row
    not_before: float  # on the caller's clock, in seconds


def in_order_of_need(files: Iterable[str]) -> list[str]:
    """Return files as PostgreSQL will ask for them: histories first, then the oldest.

    Source: pgarch.c (ready_file_comparator).
    """
    return sorted(files, key=lambda file: (kind_of(file) != "history", file))


class Setbacks(NamedTuple):
    """What has failed so far."""

    files: Mapping[str, Setback]  # those that could not be archived for what they are
    store: Setback | None = None  # when it is the store that fails


def choose(
    needed: Sequence[str], busy: Collection[str], setbacks: Setbacks, now: float, jobs: int
) -> list[str]:
    """Return what is to be pushed now, of `needed` in its order, with at most `jobs` at once.

    While the store fails, a single file at a time finds out whether it works again.
    """
    files, store = setbacks
    if store is not None:
        jobs = 0 if now < store.not_before else 1
    elif len(files) >= MANY:
        needed = needed[:1]  # the one that PostgreSQL waits for
    room = jobs - len(busy)
    chosen: list[str] = []
    for file in needed:
        if len(chosen) >= room:
            break
        setback = files.get(file)
        if file not in busy and (setback is None or now >= setback.not_before):
            chosen.append(file)
    return chosen


def choose_to_spread(
    needed: Sequence[str], busy: Collection[str], reached: Collection[str], jobs: int
) -> list[str]:
    """Return what goes to the repositories that work, while another fails that must have it too.

    `reached` are there already. What is pushed everywhere counts among `busy`, and goes first.
    """
    left = (file for file in needed if file not in busy and file not in reached)
    return list(islice(left, max(0, jobs - len(busy))))


def set_back(before: Setback | None, now: float, chance: float) -> Setback:
    """Return the next setback: twice the pause of the one before, more or less by `chance`.

    `chance` is random, from 0 to 1: many servers must not come back to one store all at once.
    """
    failures = 1 if before is None else before.failures + 1
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    return Setback(failures, now + pause * (0.5 + chance / 2))


def to_give_up(needed: Sequence[str], busy: Collection[str], size: int, limit: int) -> list[str]:
    """Return the oldest of the files that wait, so that what is left is at most `limit` bytes.

    Segments have `size` bytes. With limit 0 nothing is ever given up, and what is being pushed is
    not: it may still be read. What PostgreSQL asks for before a segment that is given up goes with
    it, small as it is; else it would never come to that segment.
    """
    if limit <= 0:
        return []
    excess = sum(_size(file, size) for file in needed) - limit
    given_up: list[str] = []
    for file in needed:
        if excess <= 0:
            return given_up
        if file not in busy:
            given_up.append(file)
            excess -= _size(file, size)
    return given_up


def _size(file: str, size: int) -> int:
    return size if kind_of(file) in ("segment", "partial") else 0
