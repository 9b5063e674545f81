"""What there is to dump in a database, and what of it the role may not read: asked beforehand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, LiteralString, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.create.snapshots import Snapshot
from pgkeep.logical.patterns import Chosen
from pgkeep.repository.manifest.facts import Extension

_SHOWN: Final = 10  # tables in an error's message; the facts have them all

# Relations that pg_dump reads, but for members of extensions: of those only the configuration
# tables are dumped. Locks are taken on tables and partitioned tables (pg_dump.c: getTables).
_RELATIONS: Final[LiteralString] = """
SELECT n.nspname, c.relname, c.relkind::text,
       c.relkind IN ('v', 'm', 'f')
         OR has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
       c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
         AND row_security_active(c.oid),
       c.relpages::bigint * current_setting('block_size')::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
"""
_PARTITIONS: Final[LiteralString] = """
SELECT pn.nspname, p.relname, cn.nspname, c.relname
FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_namespace pn ON pn.oid = p.relnamespace JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE p.relkind = 'p'
"""
# Before 18 there is no has_largeobject_privilege().
_LARGE_OBJECTS: Final[LiteralString] = """
SELECT count(*), count(*) FILTER (WHERE NOT readable) FROM (
    SELECT pg_has_role(m.lomowner, 'USAGE') OR current_setting('is_superuser') = 'on'
           OR current_setting('lo_compat_privileges') = 'on'
           OR EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                      AND CASE WHEN a.grantee = 0 THEN true
                               ELSE pg_has_role(a.grantee, 'USAGE') END) AS readable
    FROM pg_largeobject_metadata m) found
"""
_DATABASE: Final[LiteralString] = """
SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       t.spcname,
       coalesce((SELECT array_agg(s) FROM pg_db_role_setting r, unnest(r.setconfig) s
                 WHERE r.setdatabase = d.oid AND r.setrole = 0), '{}')
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = current_database()
"""
_EXTENSIONS: Final[LiteralString] = """
SELECT current_database(), extname, extversion FROM pg_extension ORDER BY 2
"""
# How many locks fit (lock.c: NLOCKENTS), and connections whose share nobody may be using.
_LOCKS: Final[LiteralString] = """
SELECT current_setting('max_locks_per_transaction')::bigint
       * (current_setting('max_connections')::bigint
          + current_setting('max_prepared_transactions')::bigint)
"""


class CannotRead(PgkeepError):
    """The role may not read everything that is to be dumped."""

    code = "cannot-read-all"
    exit_status = 204

    role: str
    database: str
    unreadable: tuple[str, ...]  # tables and sequences
    hidden: tuple[str, ...]  # tables of which row-level security hides rows
    large_objects: int = 0  # that may not be read

    def __str__(self) -> str:
        parts = []
        if self.unreadable:
            parts.append(f"may not read {_listed(self.unreadable)}")
        if self.hidden:
            parts.append(f"would miss rows that row-level security hides in {_listed(self.hidden)}")
        if self.large_objects:
            parts.append(f"may not read {self.large_objects} large objects")
        return f"cannot dump database {self.database}: {self.role} {' and '.join(parts)}"

    @property
    def hint(self) -> str:
        role = self.role.replace('"', '""')
        parts = []
        if self.unreadable:
            parts.append(f'GRANT pg_read_all_data TO "{role}"')
        if self.hidden:
            parts.append(f'ALTER ROLE "{role}" BYPASSRLS')
        if self.large_objects:
            parts.append(
                "for large objects dump as their owner or a superuser, or leave them out "
                "(--no-large-objects)"
            )
        if self.unreadable or self.hidden:
            parts.append("or leave tables out by name (--exclude-table)")
        return "; ".join(parts)


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


class Relation(NamedTuple):
    """A table, sequence or view."""

    schema: str
    name: str
    kind: str  # pg_class.relkind
    readable: bool
    hides_rows: bool  # row-level security applies to the role
    bytes: int  # as the last VACUUM or ANALYZE saw it
    visible: bool  # without its schema's name

    @property
    def words(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Survey:
    """A database before it is dumped."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    tablespace: str
    settings: tuple[str, ...]
    provider: str
    locale: str
    collation_version: str
    actual_version: str  # of the collation, by the libraries of the server; '' unknown
    extensions: tuple[Extension, ...]
    lock_room: int  # how many locks fit
    schemas: dict[str, int]  # how many tables of each pg_dump will lock
    tables: int  # that must be in the dump
    bytes: int  # of their rows, roughly
    large_objects: int
    partless: tuple[str, ...]  # partitioned tables that are chosen, of which partitions are not


def survey(snapshot: Snapshot, chosen: Chosen, *, large_objects: bool) -> Survey:
    """Look at a database. Raise CannotRead, naming all that the role may not read."""
    found = _Relations()
    for relation in _relations(snapshot):
        if chosen.has(relation.schema, relation.name, visible=relation.visible):
            has_data = chosen.has_data(relation.schema, relation.name, visible=relation.visible)
            found.add(relation, has_data=has_data)
    objects = _large_objects(snapshot) if large_objects else (0, 0)
    if found.unreadable or found.hidden or objects[1]:
        unreadable, hidden = tuple(sorted(found.unreadable)), tuple(sorted(found.hidden))
        raise CannotRead(snapshot.role, snapshot.database, unreadable, hidden, objects[1])
    owner, encoding, collate, ctype, space, settings = snapshot.query(
        _DATABASE, doing="look at the database"
    )[0]
    provider, locale, recorded, actual = snapshot.query(
        _collation_query(snapshot.major), doing="look at the database's collation"
    )[0]
    extensions = snapshot.query(_EXTENSIONS, doing="look for extensions")
    return Survey(
        owner=owner,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        tablespace=space,
        settings=tuple(settings),
        provider=_PROVIDERS.get(provider, provider),
        locale=locale,
        collation_version=recorded,
        actual_version=actual,
        extensions=tuple(Extension(*row) for row in extensions),
        lock_room=int(snapshot.query(_LOCKS, doing="see how many locks fit")[0][0]),
        schemas=found.locks,
        tables=found.tables,
        bytes=found.bytes,
        large_objects=objects[0],
        partless=_partless(snapshot, chosen) if chosen.tables else (),
    )


@dataclass
class _Relations:
    """What is remembered of relations: there may be a million."""

    tables: int = 0
    bytes: int = 0
    locks: dict[str, int] = field(default_factory=dict)  # by schema
    unreadable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    def add(self, relation: Relation, *, has_data: bool) -> None:
        self.tables += relation.kind in "rpf"
        if relation.kind in "rp":
            self.locks[relation.schema] = self.locks.get(relation.schema, 0) + 1
        if relation.kind == "r" and has_data:
            self.bytes += relation.bytes
        if not relation.readable:
            self.unreadable.append(relation.words)
        elif relation.hides_rows and has_data:
            self.hidden.append(relation.words)


_PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin", "d": "default"}


def _collation_query(major: int) -> LiteralString:
    if major >= 17:
        locale: LiteralString = "coalesce(datlocale, '')"
    elif major >= 15:
        locale = "coalesce(daticulocale, '')"
    else:
        return "SELECT 'c', '', '', ''"
    before: LiteralString = "SELECT datlocprovider::text, "
    after: LiteralString = (
        ", coalesce(datcollversion, ''), coalesce(pg_database_collation_actual_version(oid), '')"
        " FROM pg_database WHERE datname = current_database()"
    )
    return before + locale + after


def _relations(snapshot: Snapshot) -> Iterator[Relation]:
    path = _search_path(snapshot)
    for row in snapshot.stream(_RELATIONS, doing="look at the tables"):
        yield Relation._make((*row, row[0] in path))


def _partless(snapshot: Snapshot, chosen: Chosen) -> tuple[str, ...]:
    path = _search_path(snapshot)

    def has(schema: str, name: str) -> bool:
        return chosen.has(schema, name, visible=schema in path)

    rows = snapshot.stream(_PARTITIONS, doing="look at the partitions")
    found = {f"{row[0]}.{row[1]}" for row in rows if has(*row[:2]) and not has(*row[2:])}
    return tuple(sorted(found))


def _search_path(snapshot: Snapshot) -> frozenset[str]:
    """Return the schemas in which pg_dump finds what a pattern without a schema means."""
    doing = "look at the search path"
    snapshot.query("RESET search_path", doing=doing)
    # Qualified: whoever may create objects in this path could have put a function of that name.
    rows = snapshot.query("SELECT pg_catalog.current_schemas(false)", doing=doing)
    snapshot.query("SET search_path = pg_catalog, pg_temp", doing=doing)
    return frozenset(rows[0][0])


def _large_objects(snapshot: Snapshot) -> tuple[int, int]:
    count, unreadable = snapshot.query(_LARGE_OBJECTS, doing="count large objects")[0]
    return int(count), int(unreadable)
