"""Several stores that hold copies of one repository, read as one: each object from whoever has it.

"It is not there" is a statement about all of them: it is only made when every one has answered.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple, TypeVar
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import (
    Beginning,
    BlobMissing,
    BlobStat,
    ShortRead,
    Store,
    StoreFailed,
    TempFile,
)

PREFIX: Final = "copies:"  # of the address: those of the stores follow, quoted, with commas between
_REST_S: Final = 30.0  # seconds until a store that failed is asked again

Answer = TypeVar("Answer")
Flaws = tuple[type[PgkeepError], ...]
FLAWED: Final[Flaws] = (Damaged, FormatTooNew, WrongKey)  # as flipped bits of a header look
Stores = list[Store]


class Away(NamedTuple):
    """A store that could not answer, and why."""

    error: StoreFailed
    until: float  # by the clock: it is not asked before


class Copies:
    """The union of `stores`: the first one has what is newest and is the nearest. See base.Store.

    Reads go from one to the next, whoever fails is left alone for a while. What is written (locks,
    pins) goes to all that take it: at least one must.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        unopened: Sequence[tuple[Store, StoreFailed]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unopened` could not be reached when the repository was opened, and are never asked."""
        assert stores
        self._stores: Final = (*stores, *(store for store, _ in unopened))
        self._clock = clock
        self._away: dict[str, Away] = {
            store.url: Away(error, float("inf")) for store, error in unopened
        }
        self._notes: list[str] = []
        self._helped: dict[tuple[str, str], int] = {}  # by helper and kind of error

    @property
    def url(self) -> str:
        first, *others = (store.url for store in self._stores)
        noun = "copy" if len(others) == 1 else "copies"
        return f"{first} and its {noun} {' and '.join(others)}" if others else first

    @property
    def address(self) -> str:
        from urllib.parse import quote

        return PREFIX + ",".join(quote(store.address, safe="") for store in self._stores)

    @property
    def union(self) -> "Copies":
        return self

    @property
    def calls_at_once(self) -> int:
        return max(store.calls_at_once for store in self._stores)

    @property
    def away(self) -> list[StoreFailed]:
        """Return why some of the stores could not be asked."""
        return [away.error for away in self._away.values()]

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._everywhere(lambda store: store.put(name, parts))

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._everywhere(lambda store: store.create(name, parts))

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self.intact(lambda store: store.get(name, start, length))

    def beginning(self, name: str, most: int) -> Beginning:
        return self.intact(lambda store: store.beginning(name, most))

    def stat(self, name: str) -> BlobStat:
        return self.intact(lambda store: store.stat(name))

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        """Yield what any of them has, once; see `away` for those that could not be asked.

        Of one name the largest: who was cut off must not hide who has it whole, as get() finds it.
        """
        from heapq import merge
        from itertools import groupby

        answered: Stores = []
        each = [self._listed(store, prefix, answered) for store in self._stores]
        for _, same in groupby(merge(*each, key=_name), key=_name):
            yield max(same, key=lambda found: found.size)
        if not answered:
            raise self.away[0]

    def delete(self, name: str) -> None:
        self._everywhere(lambda store: store.delete(name))

    def secure(self, prefix: str) -> None:
        self._everywhere(lambda store: store.secure(prefix))

    def free_space(self) -> int | None:
        return None  # of which one?

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:  # noqa: ARG002
        return []  # each is swept by itself

    def intact(
        self,
        read: Callable[[Store], Answer],
        flaws: Flaws = FLAWED,
        absent: Flaws = (BlobMissing,),
    ) -> Answer:
        """Return what `read` makes of the first store that has what it wants without `flaws`.

        If there is none raise the first flaw, else StoreFailed if one could not be asked, and only
        then that it is absent.
        """
        flawed_kinds: Flaws = (ShortRead, *flaws)
        failed: StoreFailed | None = None
        flawed: PgkeepError | None = None
        missing: PgkeepError | None = None
        for store in self._stores:
            resting = self._is_away(store)
            if resting is not None:
                failed = failed or resting
                continue
            try:
                found = read(store)
            except StoreFailed as error:
                self._leave(store, error)
                failed = failed or error
            except absent as error:
                missing = missing or error
            except flawed_kinds as error:
                flawed = flawed or error
            else:
                bad = flawed or missing
                if bad is not None:
                    self._remember(store, bad)
                return found
        worst = flawed or failed or missing
        assert worst is not None
        raise worst

    def drain_notes(self) -> tuple[str, ...]:
        """Return, once, what a person should know of reads that took another copy."""
        notes, self._notes = self._notes, []
        more = [
            f"{count - 1} more objects were read from {helper}, for the same reason ({kind})"
            for (helper, kind), count in self._helped.items()
            if count > 1
        ]
        self._helped = dict.fromkeys(self._helped, 1)
        return (*notes, *more)

    def _remember(self, helper: Store, bad: PgkeepError) -> None:
        kind = (helper.url, bad.code)
        self._helped[kind] = self._helped.get(kind, 0) + 1
        if self._helped[kind] == 1:
            self._notes.append(f"{bad}: read from {helper.url} instead")

    def _leave(self, store: Store, error: StoreFailed) -> None:
        """Ask a store nothing for a while."""
        if store.url not in self._away and len(self._stores) > 1:
            self._notes.append(f"{error}: reading from the other copies")
        self._away[store.url] = Away(error, self._clock() + _REST_S)

    def _is_away(self, store: Store) -> StoreFailed | None:
        away = self._away.get(store.url)
        return away.error if away is not None and self._clock() < away.until else None

    def _listed(self, store: Store, prefix: str, answered: Stores) -> Iterator[BlobStat]:
        if self._is_away(store) is None:
            try:
                yield from store.list(prefix)
                answered.append(store)
            except StoreFailed as error:
                self._leave(store, error)

    def _everywhere(self, write: Callable[[Store], None]) -> None:
        failed: StoreFailed | None = None
        done = False
        for store in self._stores:
            try:
                if self._is_away(store) is None:
                    write(store)
                    done = True
            except StoreFailed as error:  # a store that may only be read can be read all the same
                failed = failed or error
        if not done:
            raise failed or self.away[0]


def _name(found: BlobStat) -> str:
    return found.name
