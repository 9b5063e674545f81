"""One WAL file and several repositories: where it goes, and who has it."""

from collections.abc import Callable

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TypeVar
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead, StoreFailed
from pgkeep.wal.fetch import AlienSegment, Fetched, Missing
from pgkeep.wal.place import Candidates, Opened

Done = TypeVar("Done")

AWAY = (StoreFailed, NotARepository)  # full, read-only, unreachable, not mounted
_NO_USE = (*AWAY, Damaged, FormatTooNew, WrongKey, ShortRead, AlienSegment)


def push_to(
    candidates: Candidates, push: Callable[[Opened], Done], told: Callable[[str], object]
) -> None:
    """Push to the first repository that takes it, or to every one; raise if that fails.

    Of those that must all have it none is passed over because another failed: each gets what it
    can, and a repetition is success there.
    """
    failed: PgkeepError | None = None
    for candidate in candidates.each:
        try:
            push(candidate())
        except AWAY as error:
            failed = failed or error
            continue
        if not candidates.all_of_them:
            if failed is not None:
                told(f"{failed}: archived in the next repository instead")
            return
    if failed is not None:
        raise failed


def fetch_from(
    candidates: Candidates,
    fetch: Callable[[Opened], Fetched | Missing],
    told: Callable[[str], object],
) -> Fetched | Missing:
    """Fetch from the first repository that has it intact; Missing only when all have answered so.

    Recovery would take "missing" for the end of WAL: a repository that cannot answer may have it.
    """
    failed: PgkeepError | None = None
    missing: Missing | None = None
    for candidate in candidates.each:
        try:
            found = fetch(candidate())
        except _NO_USE as error:
            failed = failed or error
            continue
        if isinstance(found, Fetched):
            if failed is not None:
                told(f"{failed}: fetched from the next repository instead")
            return found
        missing = missing or found
    if failed is not None:
        raise failed
    assert missing is not None
    return missing
