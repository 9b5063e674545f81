"""Ask a store for everything that pgkeep relies on, by doing it. Needs the Store protocol alone.

All is written under one prefix, outside of all clusters, and removed at the end, whatever happens.
The names have no further folders in them: directories would keep these.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress
from pgkeep.repository.names import MARKER
from pgkeep.repository.store.base import BlobExists, BlobMissing, ShortRead, Store, StoreFailed
from pgkeep.setup import store_verdicts as verdicts
from pgkeep.setup.store_verdicts import RIGHTS, Lack, Rights
from pgkeep.setup.verdicts import State, Verdict, not_checked, note, ok
from pgkeep.units import KIB, MIB, parse_size

_PROBES: Final = "probes/"
_OLD_S: Final = 24 * 3600.0  # what a killed test left is removed by a later one after this
_AT_ONCE: Final = 16  # requests under way when many small ones are made
_RACES: Final = 8
_PAGES: Final = {"az": 5000}  # objects that one answer lists at most; all others give 1,000
_BEYOND: Final = 10  # objects more than a page
_SMALL: Final = 64 * KIB
_PIECE: Final = 1 * MIB
# A bucket's store sends up to four parts in one request, and only what is larger in parts.
_ONE_REQUEST: Final = 4
_PART: Final = "16MiB"

Answer = Lack | str  # a str says what works


def store_test(
    store: Store, user: str, progress: Progress, *, full: bool, page: int | None = None
) -> list[Verdict]:
    """Try a store as `user`; `full`: also what costs a thousand requests and a large object.

    `page`: how many objects one answer of the store lists at most, if not as many as its kind does.
    Raise what is wrong with a store that cannot be used at all.
    """
    page = page or _PAGES.get(urlsplit(store.address).scheme, 1000)
    probe = _Probe(store, f"{_PROBES}{secrets.token_hex(8)}-", page)
    found: list[Verdict] = []
    try:
        rights = _rights(probe)
        found.append(verdicts.of_rights(user, rights))
        if rights.allow("write", "read", "list"):
            found += _questions(probe, progress, full=full, deletes=rights.allow("delete"))
        else:
            found.append(not_checked("store", "that takes the rights to write, read and list"))
    finally:
        # Also after Ctrl-C: nobody else ever looks below this prefix.
        if full:
            progress.phase("removing what the test wrote")
        remains = probe.clear()
    if remains is not None and rights.allow("write", "delete"):
        found.append(verdicts.of_remains(probe.prefix, store.url, remains))
    return found


class _Probe:
    """What one test writes. Names are noted before they are written, as listings may lie."""

    def __init__(self, store: Store, prefix: str, page: int) -> None:
        self.store = store
        self.prefix = prefix
        self.page = page
        self._names: set[str] = set()

    def name(self, part: str) -> str:
        """Return the name of a blob that is about to be written."""
        name = f"{self.prefix}{part}"
        self._names.add(name)
        return name

    def listed(self, part: str = "") -> list[str]:
        return [blob.name for blob in self.store.list(f"{self.prefix}{part}")]

    def delete(self, names: Iterable[str]) -> None:
        """Delete many at once."""
        with _threads() as pool:
            for name, _ in zip(list(names), pool.map(self.store.delete, names), strict=False):
                self._names.discard(name)

    def clear(self) -> PgkeepError | None:
        """Remove all that was or may have been written; return why something may be left."""
        try:
            self.delete(sorted(self._names))
        except PgkeepError as error:
            return error
        return None

    def clear_remains(self) -> None:
        """Remove what tests left that were killed."""
        old = time.time() - _OLD_S
        self.delete([blob.name for blob in self.store.list(_PROBES) if blob.modified < old])


@contextmanager
def _threads(count: int = _AT_ONCE) -> Iterator[ThreadPoolExecutor]:
    """Give threads, and don't begin what waits when the block is left by an error or Ctrl-C."""
    pool = ThreadPoolExecutor(count, "pgkeep-store-test")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _rights(probe: _Probe) -> Rights:
    """Try each right by itself; without one the others are tried on what may not be there.

    Raise whatever is not a refusal: a store that is away says nothing of rights.
    """
    store, name = probe.store, probe.name("rights")
    written: list[str] = []

    def write() -> None:
        store.create(name, [b"pgkeep check\n"])
        written.append(name)

    def read() -> None:
        try:
            store.get(written[0] if written else MARKER)
        except BlobMissing:
            if written:
                raise

    attempts: dict[str, Callable[[], object]] = {
        "write": write,
        "read": read,
        "list": lambda: list(store.list(probe.prefix)),
        "delete": lambda: store.delete(name),
    }
    refused: dict[str, PgkeepError] = {}
    for right in RIGHTS:
        try:
            attempts[right]()
        except StoreFailed as error:
            # Directories refuse by the plain error, with the system's reason in it.
            if type(error) is not StoreFailed and error.code != "store-denied":
                raise
            refused[right] = error
    return Rights(refused)


def _questions(
    probe: _Probe, progress: Progress, *, full: bool, deletes: bool
) -> Iterator[Verdict]:
    cheap = [
        ("conditional put", _conditional_put),
        ("reads", _reads),
        ("listing", _listing if deletes else _listing_without_deletes),
    ]
    answers = [_asked(name, probe, ask) for name, ask in cheap]
    lacking = [verdict for verdict in answers if verdict.state is not State.OK]
    if full or lacking:
        yield from answers if full else lacking
    else:
        yield ok("store", "taken names are refused, reads exact, listings current; see also "
                 "pgkeep check --store")  # fmt: skip
    yield _clock(probe)
    if not full:
        return
    costly = [("racing puts", _races), ("overwriting", _overwriting), ("large objects", _large)]
    for name, ask in costly:
        progress.phase(f"testing the store: {name}")
        yield _asked(name, probe, ask)
    if deletes:
        probe.clear_remains()
        yield _asked("long listing", probe, lambda probe: _long_listing(probe, progress))
    else:
        yield note("long listing", "not checked: a thousand objects could not be removed again")


def _asked(name: str, probe: _Probe, ask: Callable[[_Probe], Answer]) -> Verdict:
    try:
        answer = ask(probe)
    except PgkeepError as error:
        return verdicts.of_error(name, error)
    return verdicts.of_lack(name, answer) if isinstance(answer, Lack) else ok(name, answer)


def _is_refused(store: Store, name: str, parts: Sequence[bytes | memoryview]) -> bool:
    try:
        store.create(name, parts)
    except BlobExists:
        return True
    return False


def _conditional_put(probe: _Probe) -> Answer:
    store, name = probe.store, probe.name("taken")
    store.create(name, [b"first"])
    refused = _is_refused(store, name, [b"second"])
    kept = store.get(name) == b"first"
    return verdicts.of_conditional_put(refused=refused, kept=kept) or "a taken name is refused"


def _reads(probe: _Probe) -> Answer:
    store, name = probe.store, probe.name("bytes")
    content = os.urandom(_SMALL)
    store.create(name, [content[:1000], memoryview(content)[1000:]])
    ranges: list[tuple[int, int | None]] = [(0, None), (0, 1), (1000, 30_000), (_SMALL - 7, None)]
    for start, length in ranges:
        wanted = content[start : None if length is None else start + length]
        if (read := store.get(name, start, length)) != wanted:
            what = "an object" if (start, length) == (0, None) else f"a range at byte {start:,}"
            return Lack(f"{what} came back as {len(read):,} other bytes than were stored")
    if store.stat(name).size != _SMALL:
        return Lack(f"an object of {_SMALL:,} bytes is said to have {store.stat(name).size:,}")
    if not _is_short(store, name, _SMALL - 10, 20):
        return Lack("a range that ends behind an object was given as if it were whole")
    if not _is_missing(store, probe.name("absent")):
        return Lack("an object that was never stored was given")
    return "objects and ranges come back as they were stored"


def _is_short(store: Store, name: str, start: int, length: int) -> bool:
    try:
        store.get(name, start, length)
    except ShortRead:
        return True
    return False


def _is_missing(store: Store, name: str) -> bool:
    try:
        store.get(name)
    except BlobMissing:
        return True
    return False


def _listing_without_deletes(probe: _Probe) -> Answer:
    names = [probe.name(f"listed-{letter}") for letter in "abc"]
    lack = verdicts.of_listing("before anything was stored", [], probe.listed("listed-"))
    for count, name in enumerate(names, start=1):
        probe.store.create(name, [b"x" * count])
        listed = probe.listed("listed-")
        lack = lack or verdicts.of_listing("right after a put", names[:count], listed)
    sizes = [blob.size for blob in probe.store.list(f"{probe.prefix}listed-")]
    if lack is None and sizes != [1, 2, 3]:
        lack = Lack("a listing tells wrong sizes")
    return lack or "what was stored is listed at once"


def _listing(probe: _Probe) -> Answer:
    answer = _listing_without_deletes(probe)
    if isinstance(answer, Lack):
        return answer
    left, gone, right = (probe.name(f"listed-{letter}") for letter in "abc")
    probe.store.delete(gone)
    lack = verdicts.of_listing("right after a delete", [left, right], probe.listed("listed-"))
    if lack is None and not _is_missing(probe.store, gone):
        lack = Lack("an object could be read after it was deleted")
    probe.store.delete(gone)  # what is not there must be no error
    return lack or "what was stored or deleted is listed so at once"


def _clock(probe: _Probe) -> Verdict:
    """Compare the clocks; a store that tells whole seconds is behind by less than one."""
    try:
        before = time.time()
        name = probe.name("clock")
        probe.store.create(name, [b"tick"])
        after = time.time()
        seen = probe.store.stat(name).modified
    except PgkeepError as error:
        return verdicts.of_error("store clock", error)
    ahead = max(0.0, seen - after) or min(0.0, seen + 1 - before)
    return verdicts.of_clock(ahead)


def _races(probe: _Probe) -> Answer:
    winners = []
    with _threads(2) as pool:
        for number in range(_RACES):
            name, start = probe.name(f"race-{number}"), Barrier(2)

            def run(content: bytes, name: str = name, start: Barrier = start) -> bool:
                start.wait()
                return not _is_refused(probe.store, name, [content])

            won = [content for content, ok in zip("ab", pool.map(run, (b"a", b"b")), strict=True)
                   if ok]  # fmt: skip
            winners.append(len(won))
            if len(won) == 1 and probe.store.get(name) != won[0].encode():
                return Lack("of two creates of one name at once, the loser's content was kept")
    return verdicts.of_race(winners) or f"of two at once exactly one won, {_RACES} times"


def _overwriting(probe: _Probe) -> Answer:
    name = probe.name("written-again")
    for number in range(_RACES):
        content = f"version {number}".encode()
        probe.store.put(name, [content])
        if (read := probe.store.get(name)) != content:
            return Lack(f"after put number {number + 1}, {read[:20]!r} was read")
    return "a put is seen by the next read"


def _large(probe: _Probe) -> Answer:
    """Store an object that must go in parts, twice: the second time its name is taken."""
    name, piece = probe.name("large"), os.urandom(_PIECE)
    pieces = large_size(probe.store.address) // _PIECE
    parts = [*[piece] * pieces, b"end"]
    probe.store.create(name, parts)
    for start, length, wanted in (
        (0, _PIECE, piece),
        ((pieces // 2) * _PIECE - 5, 10, piece[-5:] + piece[:5]),
        (pieces * _PIECE - 5, None, piece[-5:] + b"end"),
    ):
        if probe.store.get(name, start, length) != wanted:
            return Lack(f"an object in parts is not what was stored, from byte {start:,} on")
    if not _is_refused(probe.store, name, parts):
        return Lack("an object in parts was stored over a name that was taken")
    return f"{pieces} MiB stored as one object, and its name is refused when taken"


def large_size(address: str) -> int:
    """Return bytes that a store with this address cannot send in one request."""
    given = parse_qs(urlsplit(address).query).get("part_size", [_PART])[0]
    return _ONE_REQUEST * parse_size(given)


def _long_listing(probe: _Probe, progress: Progress) -> Answer:
    store = probe.store
    count = probe.page + _BEYOND
    names = [probe.name(f"many-{number:05}") for number in range(count)]
    progress.phase(f"testing the store: listing {count:,} objects", count, "objects")
    with _threads() as pool:
        for done, _ in enumerate(pool.map(lambda name: store.put(name, [b"x"]), names), start=1):
            progress.advance(done)
    lack = verdicts.of_listing(f"of {count:,} objects stored", names, probe.listed("many-"))
    probe.delete(names)
    remain = verdicts.of_listing(f"after deleting {count:,}", [], probe.listed("many-"))
    return lack or remain or f"{count:,} objects are listed, and none after they were deleted"
