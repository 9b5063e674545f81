"""Everything that DROP leaves in WAL. Pure.

A commit tells the OIDs of relations that it dropped, and the census their names.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pgkeep.postgres.wal_changes.piece import PG_NAMESPACE
from pgkeep.postgres.wal_changes.rows import FIRST_OID
from pgkeep.undo.event import Event, EventKind, Hit, NamedBy
from pgkeep.undo.meaning.links import OidKey
from pgkeep.undo.meaning.maker import Maker
from pgkeep.undo.meaning.names import Known

_KINDS: Final = (
    (EventKind.DROP_TABLE, "rp"),
    (EventKind.DROP_MATVIEW, "m"),
    (EventKind.DROP_SEQUENCE, "S"),
)
_INDEXES, _WITH_FILES = "iI", "rmSit"


def databases(maker: Maker) -> Iterator[Event]:
    """DROP DATABASE: recovery must stop before the database is marked, not at the commit."""
    deed = maker.deed
    for folder in deed.folders:
        if folder.database and deed.databases:  # else it was moved to another tablespace
            stop = min(deed.marked or deed.first, deed.first)
            yield maker.event(
                EventKind.DROP_DATABASE,
                tuple(_relations(maker, folder.database)),
                stop=stop,
                database_oid=folder.database,
                database=maker.names.database(stop, folder.database),
            )


def _relations(maker: Maker, database_oid: int) -> Iterator[Hit]:
    census = maker.names.before(maker.deed.commit)
    for database in census.databases if census is not None else ():
        for relation in database.relations if database.oid == database_oid else ():
            if relation.kind in "rm" and relation.oid >= FIRST_OID:
                yield Known(database, relation, NamedBy.CENSUS).hit()


def tablespaces(maker: Maker) -> Iterator[Event]:
    """DROP TABLESPACE: its folder goes before the commit, and only an empty one goes."""
    for folder in maker.deed.folders:
        if not folder.database:
            note = f"tablespace with OID {folder.tablespaces[0]}: nothing was in it any more"
            yield maker.event(EventKind.DROP_TABLESPACE, (), stop=folder.lsn, notes=(note,))


def relations(maker: Maker) -> Iterator[Event]:
    """DROP TABLE and its like, one event for all that went together."""
    known: list[Known] = []
    strangers: list[OidKey] = []
    for key in maker.dropped:
        found = maker.known(key)
        if found is not None and found.by is NamedBy.CENSUS:
            known.append(found)
        elif key not in maker.origin.swapped:
            strangers.append(key)
    yield from _known(maker, known)
    # What has no name and had no file was a view or a temporary table.
    files = sum(1 for one in known if one.relation.kind in _WITH_FILES)
    if strangers and not maker.traces.is_rewrite and len(maker.traces.lost) > files:
        yield _strange(maker, strangers)


def _known(maker: Maker, found: Sequence[Known]) -> Iterator[Event]:
    for kind, relkinds in _KINDS:
        if any(one.relation.kind in relkinds for one in found):
            yield _together(maker, kind, found)
            return
    indexes = [one for one in found if one.relation.kind in _INDEXES]
    keys = {(one.database.oid, one.relation.oid) for one in indexes}
    # ALTER TABLE makes indexes anew, and REINDEX CONCURRENTLY has made another one before.
    if indexes and not maker.deed.made and not keys <= maker.origin.swapped:
        yield maker.event(EventKind.DROP_INDEX, tuple(one.hit() for one in indexes))


def _together(maker: Maker, kind: EventKind, found: Sequence[Known]) -> Event:
    """Make one event of tables, materialized views and sequences: a schema, or some of them."""
    kinds = {EventKind.DROP_TABLE: "rm", EventKind.DROP_MATVIEW: "m", EventKind.DROP_SEQUENCE: "S"}
    chosen = [one for one in found if one.relation.kind in kinds[kind]]
    chosen = chosen or [one for one in found if one.relation.kind == "p"]
    hits = tuple(one.hit() for one in chosen)
    schemas = {one.relation.schema for one in found if one.relation.kind != "t"}
    namespaces = {
        locator[1]
        for locator, rows in maker.deed.rows.items()
        if locator[2] == PG_NAMESPACE and rows.deleted
    }
    schemas -= {"pg_toast"}
    if len(schemas) == 1 and hits[0].database_oid in namespaces:
        return maker.event(EventKind.DROP_SCHEMA, hits, schema=schemas.pop())
    return maker.event(kind, hits)


def _strange(maker: Maker, keys: Sequence[OidKey]) -> Event:
    """Make an event of what no census knows: the one that was locked first was asked for."""
    locked = [(lock.database, lock.oid) for lock in maker.traces.locked]
    wanted = frozenset(keys)
    key = next((one for one in locked if one in wanted), keys[0])
    files = (one for one in maker.traces.lost if one[1] == key[0])
    file = next((one for one in files if maker.names.oid_of(one) == key[1]), None)
    notes = [maker.unknown()]
    if len(keys) > 1:
        notes.append(f"{len(keys) - 1} more went with it: indexes, TOAST tables, sequences, tables")
    return maker.event(EventKind.DROP, (maker.stranger(key, file),), notes=tuple(notes))
