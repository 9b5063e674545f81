"""Takes a census: asks every database for its relations, each under a snapshot of its own.

Nothing is locked and no file is looked at: sizes are those that the last VACUUM or ANALYZE wrote
down. pg_relation_size() would wait for whoever holds an AccessExclusiveLock, as long as he likes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, LiteralString

from pgkeep.model.census import Census, Database, Relation, new_census_id
from pgkeep.model.cluster import generation_id
from pgkeep.model.lsn import Lsn
from pgkeep.repository.census.codec import CensusFacts, Unread
from pgkeep.repository.census.shelf import Head, encoder, store_census
from pgkeep.repository.repository import ClusterFolder, UnknownGeneration
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.session import QueryFailed, Session, SessionLost

Add = Callable[[int, str, Iterable[Relation]], object]

CLOSED: Final = "it allows no connections"  # as its owner wants it
_BEAT: Final = 1000  # rows between two heartbeats: some milliseconds
_STATS_SINCE: Final = 15  # stats_fetch_consistency

# Whoever rewrites a catalog locks it; a census is not worth waiting for him.
_PATIENCE: Final[LiteralString] = "SET lock_timeout = '5s'"
# Else each relation that is asked for stays in the server process's memory.
_NO_CACHE: Final[LiteralString] = "SET stats_fetch_consistency = none"
_BEGIN: Final[LiteralString] = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_DATABASES: Final[LiteralString] = """
SELECT oid, datname, datallowconn FROM pg_database WHERE datname <> 'template0' ORDER BY oid
"""
_POSITION: Final[LiteralString] = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
             ELSE pg_current_wal_insert_lsn() END)::text
"""
# Joins of whole catalogs, because a million index scans take longer. pg_relation_filenode() only
# for mapped catalogs: it goes through a cache that would hold every relation. Before 14 reltuples
# is 0 where nobody knows; relpages of an analyzed partitioned table is -1 (analyze.c). pg_index's
# indkey begins with the key; behind it come included columns.
_RELATIONS: Final[LiteralString] = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text,
       CASE WHEN c.relfilenode <> 0 THEN c.relfilenode
            WHEN c.relkind IN ('r', 'i', 't', 'S', 'm')
            THEN coalesce(pg_relation_filenode(c.oid), 0) ELSE 0 END,
       CASE WHEN c.reltablespace <> 0 THEN c.reltablespace ELSE d.dattablespace END,
       greatest(c.relpages, 0)::bigint * current_setting('block_size')::bigint,
       CASE WHEN c.reltuples > 0 OR c.relpages > 0 OR c.relkind NOT IN ('r', 'm') THEN c.reltuples
            WHEN pg_stat_get_live_tuples(c.oid) > 0 THEN pg_stat_get_live_tuples(c.oid)
            WHEN current_setting('server_version_num')::integer >= 140000 THEN c.reltuples
            ELSE -1 END::float8,
       k.names,
       coalesce(CASE WHEN c.relkind IN ('i', 'I') THEN i.indrelid
                     WHEN c.relkind = 't' THEN o.oid ELSE h.inhparent END, 0),
       c.reltoastrelid, c.relpersistence::text
FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_database d ON d.datname = current_database()
     LEFT JOIN pg_index i ON i.indexrelid = c.oid
     LEFT JOIN pg_class o ON o.reltoastrelid = c.oid AND c.relkind = 't'
     LEFT JOIN pg_inherits h ON h.inhrelid = c.oid AND c.relispartition
     LEFT JOIN (SELECT p.indrelid, array_agg(a.attname::text ORDER BY u.place) AS names
                FROM pg_index p
                     CROSS JOIN LATERAL unnest(p.indkey::int2[]) WITH ORDINALITY u (number, place)
                     JOIN pg_attribute a ON a.attrelid = p.indrelid AND a.attnum = u.number
                WHERE p.indisprimary AND u.place <= p.indnkeyatts
                GROUP BY p.indrelid) k ON k.indrelid = c.oid
WHERE c.relkind <> 'c' AND c.relpersistence <> 't'
"""


def take(conninfo: str) -> Census:
    """Return what the server's databases hold now, in memory: 0.4 GiB for a million relations.

    Raises as `record`, but for what the repository raises.
    """
    databases: list[Database] = []

    def add(oid: int, name: str, relations: Iterable[Relation]) -> None:
        databases.append(Database(oid, name, tuple(relations)))

    head = count(conninfo, add)
    return Census(
        id=head.id,
        taken_at=head.taken_at,
        lsn=head.lsn,
        timeline=head.timeline,
        generation=head.generation,
        databases=tuple(databases),
        unread=head.unread,
    )


def refused(facts: CensusFacts) -> list[Unread]:
    """Return the databases that could not be read although they allow connections."""
    return [one for one in facts.unread if one.why != CLOSED]


def record(
    conninfo: str, cluster: ClusterFolder, tick: Callable[[], object] = lambda: None
) -> CensusFacts:
    """Take a census and store it, durably; `tick` is called often meanwhile.

    A database that cannot be read is named in it. Raise CannotConnect, SessionLost or QueryFailed
    when the server itself cannot be asked, UnknownGeneration when it is not the one that this
    cluster's folder knows, or what the store raises: then nothing is stored.
    """
    started = encoder(cluster)
    known = tuple(cluster.generation_ids())

    def demand_known(generation: str) -> None:
        if generation not in known:
            what = f"record what cluster {cluster.name} holds"
            raise UnknownGeneration(what, generation, cluster.name, cluster.store.url, known)

    return store_census(cluster, started, count(conninfo, started.add, tick, demand_known))


def count(
    conninfo: str,
    add: Add,
    tick: Callable[[], object] = lambda: None,
    check: Callable[[str], object] = lambda _: None,
) -> Head:
    """Hand the relations of each database to `add`, which must take all or nothing of one.

    `check` is told the generation before anything is read.
    """
    with Session.connect(conninfo) as session:
        identity = session.identity()
        generation = generation_id(session.major, identity.system_identifier)
        check(generation)
        unread: list[tuple[str, str]] = []
        for oid, name, open_to_us in session.query(_DATABASES, doing="list the databases"):
            tick()
            if not open_to_us:
                unread.append((name, CLOSED))
                continue
            try:
                add(oid, name, _relations(conninfo, name, tick))
            except (CannotConnect, QueryFailed, SessionLost) as error:
                unread.append((name, error.why))
        # After the last one: what changes from here on is not in the census.
        lsn = Lsn.parse(session.query(_POSITION, doing="ask how far WAL is written")[0][0])
        timeline = session.identity().timeline
    at = identity.clock
    return Head(new_census_id(at), at, lsn, timeline, generation, tuple(unread))


def _relations(conninfo: str, database: str, tick: Callable[[], object]) -> Iterator[Relation]:
    """Yield the relations of one database, of one moment."""
    doing = f"read the catalog of database {database}"
    with Session.connect(conninfo, database=database) as session:
        session.query(_PATIENCE, doing=doing)
        if session.major >= _STATS_SINCE:
            session.query(_NO_CACHE, doing=doing)
        # Such a database keeps bytes of any encoding: they come as they are, and not as UTF-8.
        raw = session.query("SHOW server_encoding", doing=doing)[0][0] == "SQL_ASCII"
        if raw:
            session.query("SET client_encoding = 'LATIN1'", doing=doing)
        session.query(_BEGIN, doing=doing)
        known = _Known(raw)
        for number, row in enumerate(session.stream(_RELATIONS, doing=doing)):
            if number % _BEAT == 0:
                tick()
            yield known.relation(row)


class _Known:
    """Makes relations of rows; equal schemas and keys are kept once."""

    def __init__(self, raw: bool) -> None:
        self._raw = raw
        self._schemas: dict[str, str] = {}
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}

    def relation(self, row: tuple[Any, ...]) -> Relation:
        oid, schema, name, kind, filenode, tablespace, size, rows, key, parent, toast, state = row
        if self._raw:
            schema, name = _text(schema), _text(name)
            key = [_text(column) for column in key or ()]
        columns = tuple(key or ())
        return Relation(
            oid=oid,
            schema=self._schemas.setdefault(schema, schema),
            name=name,
            kind=kind,
            filenode=filenode,
            tablespace=tablespace,
            size=size,
            rows=rows,
            key=self._keys.setdefault(columns, columns),
            parent=parent,
            toast=toast,
            persistence=state,
        )


def _text(latin: str) -> str:
    return latin.encode("latin-1").decode("utf-8", "surrogateescape")
