"""Which tables are loaded together, and which in parts by several workers at once. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pgkeep.units import KIB, MIB

INLINE: Final = 32 * MIB  # less is loaded before worker processes have begun
_TABLE: Final = 32 * KIB  # that could be sent in the time that beginning with a table takes
SMALL: Final = MIB  # a table below this shares a task with others
TOGETHER: Final = 256  # tables in a task, at most
_LEAST_PART: Final = 64 * MIB  # of a table that is loaded in parts
_SHARES: Final = 4  # parts for each worker, so that all end at about the same time


@dataclass(frozen=True, slots=True)
class Unit:
    """Tables of one task, by their index; or one table that is cut into parts."""

    tables: tuple[int, ...]
    parts: int = 1


def plan_units(sizes: Sequence[int], jobs: int) -> Iterator[Unit]:
    """Yield every table once, the largest first.

    A table is cut only when whole it would keep one worker busy after the others have ended: rows
    that are loaded in parts cannot be frozen, and all parts wait for one lock to add pages.
    """
    share = sum(sizes) / max(jobs, 1)
    group, held = list[int](), 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        size = sizes[index]
        if size >= SMALL:
            yield Unit((index,), _parts(size, share, jobs))
            continue
        if group and (held + size > SMALL or len(group) == TOGETHER):
            yield Unit(tuple(group))
            group, held = [], 0
        group.append(index)
        held += size
    if group:
        yield Unit(tuple(group))


def workers(total: int, tables: int, jobs: int) -> int:
    """Return how many processes are worth while; 1 means that this one does the work."""
    return 1 if total + tables * _TABLE < INLINE else max(jobs, 1)


def cuts(chunk_sizes: Sequence[int], parts: int) -> list[int]:
    """Return the chunks before which a file of these chunks is best cut, rising."""
    total, found, before = sum(chunk_sizes), list[int](), 0
    for index, size in enumerate(chunk_sizes):
        if index and before >= total * (len(found) + 1) / parts:
            found.append(index)
            if len(found) == parts - 1:
                break
        before += size
    return found


def _parts(size: int, share: float, jobs: int) -> int:
    if jobs <= 1 or size <= share * 1.05 or size < 2 * _LEAST_PART:
        return 1
    return max(2, min(size // _LEAST_PART, round(size / share * _SHARES)))
