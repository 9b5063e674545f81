"""The censuses of a cluster: stored once, listed by name, read whole or in part."""

from collections.abc import Callable, Collection
from datetime import datetime
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeVar

from pgkeep.errors import PgkeepError
from pgkeep.model.census import Census, CensusId, moment_of
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.repository import names
from pgkeep.repository.catalog import LATEST, NoMatch, UnknownBackup, match_id
from pgkeep.repository.census.codec import (
    BadCensus,
    CensusFacts,
    CountedDatabase,
    Encoder,
    Opened,
    Unread,
    facts_length,
    open_part,
    parts_of,
    put_together,
    read_facts,
)
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import HEADER_SIZE, Damaged, FormatTooNew, Sealer, WrongKey
from pgkeep.repository.store.base import BlobMissing, BlobStat, ShortRead, Store
from pgkeep.units import KIB

# Why a census that is there cannot be used.
BAD_CENSUS: Final = (Damaged, FormatTooNew, ShortRead, WrongKey)

_HEAD: Final = 64 * KIB  # facts of nearly every census, in one request
_LEVEL: Final = 9  # of zstd: names are few bytes and stay long

Answer = TypeVar("Answer")


class UnknownCensus(UnknownBackup):
    """No census, or more than one, is called that."""

    code = "unknown-census"

    why: str = "there is no such census"

    def __str__(self) -> str:
        return f"cannot find census {self.wanted!r} of cluster {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.nearest:
            return "take one with pgkeep census take; every backup takes one as well"
        return f"did you mean {' or '.join(self.nearest)}? pgkeep census list shows all"


class NotInCensus(UnknownCensus):
    """A census has no database of that name, or could not read it."""

    code = "not-in-census"

    def __str__(self) -> str:
        return f"cannot show database {self.wanted!r} of cluster {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.nearest:
            return "pgkeep census show tells which databases there were"
        return f"did you mean {' or '.join(self.nearest)}? pgkeep census show tells all"


class Listed(NamedTuple):
    """What a name tells of a census."""

    id: CensusId
    moment: datetime
    size: int  # bytes
    name: str  # of the object


def listed(cluster: ClusterFolder) -> list[Listed]:
    """Return all censuses by names alone, oldest first."""
    prefix, found = names.census_prefix(cluster.name), []
    for blob in cluster.store.list(prefix):
        one = _listed(blob, prefix)
        if one is not None:
            found.append(one)
    return found


def find_census(cluster: ClusterFolder, text: str) -> CensusId:
    """Return the census that `text` means: an id, the beginning of one, or 'latest'.

    Raise UnknownCensus.
    """
    ids = [one.id for one in listed(cluster)]
    if text == LATEST:
        if not ids:
            raise UnknownCensus(cluster.name, text, (), "there is no census yet")
        return ids[-1]
    try:
        return CensusId(match_id(text, ids))
    except NoMatch as no:
        raise UnknownCensus(cluster.name, text, no.nearest, *no.why) from None


def database_named(facts: CensusFacts, name: str) -> CountedDatabase:
    """Return the database of this name. Raise NotInCensus."""
    for database in facts.databases:
        if database.name == name:
            return database
    why = f"census {facts.id} has none of that name"
    for unread in facts.unread:
        if unread.name == name:
            why = f"it is not in census {facts.id}: {unread.why}"
    known = [database.name for database in facts.databases]
    raise NotInCensus(facts.cluster, name, tuple(get_close_matches(name, known)), why)


def encoder(cluster: ClusterFolder) -> Encoder:
    """Return what takes the relations of a new census; `store_census` ends it."""
    return Encoder(cluster.repository.sealer(_LEVEL))


class Head(NamedTuple):
    """All that a census says beside its databases: see model.census.Census."""

    id: CensusId
    taken_at: datetime
    lsn: Lsn
    timeline: int
    generation: str
    unread: tuple[tuple[str, str], ...] = ()


def store_census(cluster: ClusterFolder, started: Encoder, head: Head) -> CensusFacts:
    """Store what an encoder was given, durably. Never replaces another one: BlobExists."""
    facts, parts = started.finish(
        id=head.id,
        cluster=cluster.name,
        taken_at=head.taken_at,
        lsn=str(head.lsn),
        timeline=head.timeline,
        generation=head.generation,
        unread=tuple(Unread(*one) for one in head.unread),
    )
    cluster.store.create(names.census(cluster.name, head.id), parts)
    return facts


def write_census(
    cluster: ClusterFolder, census: Census, started: Encoder | None = None
) -> CensusFacts:
    """Store a census that is in memory: see `store_census`."""
    started = started or encoder(cluster)
    for database in census.databases:
        started.add(database.oid, database.name, database.relations)
    head = Head(
        census.id,
        census.taken_at,
        census.lsn,
        census.timeline,
        census.generation,
        census.unread,
    )
    return store_census(cluster, started, head)


def census_facts(cluster: ClusterFolder, id: str) -> CensusFacts:
    """Read what a census is, without its relations: one request of 64 KiB as a rule.

    Raise UnknownCensus or one of BAD_CENSUS.
    """
    return _intact(cluster, id, lambda store: _open(_Place(cluster, store, id)).facts)


def read_census(
    cluster: ClusterFolder, id: str, databases: Collection[int] | None = None
) -> Census:
    """Read a census, everything in it checked, or of it some databases by oid.

    A million relations take 0.4 GiB. Raise UnknownCensus or one of BAD_CENSUS.
    """
    return _intact(cluster, id, lambda store: _read(_Place(cluster, store, id), databases))


class Newest(NamedTuple):
    """The newest census that fits, and those that would have, had they been readable."""

    census: CensusFacts | None
    unreadable: tuple[tuple[CensusId, PgkeepError], ...] = ()


def newest_before(
    cluster: ClusterFolder, generation: str, lsn: Lsn, history: History | None = None
) -> Newest:
    """Find the newest census taken at or before a position in WAL, of one generation.

    With `history`, only those of the timelines that lead there. Facts are read from the newest one
    backwards until one fits.
    """
    unreadable: list[tuple[CensusId, PgkeepError]] = []
    for one in reversed(listed(cluster)):
        try:
            facts = census_facts(cluster, one.id)
        except UnknownCensus:
            continue  # expired since it was listed
        except BAD_CENSUS as error:
            unreadable.append((one.id, error))
            continue
        ours = facts.generation == generation and facts.position <= lsn
        if ours and (history is None or history.includes(facts.timeline, facts.position)):
            return Newest(facts, tuple(unreadable))
    return Newest(None, tuple(unreadable))


class _Place(NamedTuple):
    """Where a census is to be read."""

    cluster: ClusterFolder
    store: Store
    id: str

    @property
    def name(self) -> str:
        return names.census(self.cluster.name, self.id)

    @property
    def sealer(self) -> Sealer:
        return self.cluster.repository.sealer()


def _open(place: _Place) -> Opened:
    name, store = place.name, place.store
    head, size = store.beginning(name, _HEAD)
    needed = facts_length(head[:HEADER_SIZE], name)
    if needed > size:
        raise BadCensus(name, f"it ends after {size} bytes, within its facts")
    if needed > len(head):
        head += store.get(name, len(head), needed - len(head))
    opened = read_facts(head, place.sealer, name)
    facts = opened.facts
    if (facts.cluster, facts.id) != (place.cluster.name, place.id):
        raise BadCensus(name, f"it holds census {facts.id} of cluster {facts.cluster}")
    if opened.size != size:
        raise BadCensus(name, f"it has {size} bytes instead of {opened.size}")
    return opened


def _read(place: _Place, databases: Collection[int] | None) -> Census:
    opened = _open(place)
    sealer, name = place.sealer, place.name
    read = (
        (part, open_part(sealed, part.block, sealer, name))
        for part in parts_of(opened, databases)
        for sealed in [place.store.get(name, part.start, part.block.size)]
    )
    return put_together(opened.facts, read, databases)


def _listed(blob: BlobStat, prefix: str) -> Listed | None:
    id = blob.name.removeprefix(prefix)
    moment = moment_of(id)
    return Listed(CensusId(id), moment, blob.size, blob.name) if moment is not None else None


def _intact(cluster: ClusterFolder, id: str, read: Callable[[Store], Answer]) -> Answer:
    """Read from the store, or from whichever of several copies has it intact."""
    if moment_of(id) is None:
        raise UnknownCensus(cluster.name, id, ())
    store = cluster.store
    try:
        if store.union is None:
            return read(store)
        return store.union.intact(read, BAD_CENSUS)
    except BlobMissing as error:
        raise UnknownCensus(cluster.name, id, ()) from error
