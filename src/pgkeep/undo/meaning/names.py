"""Names for numbers: from the newest census before an event, later ones, and the server itself.

Pure. File numbers and OIDs are not used twice before 4 billion of them are, so a later census may
name what an earlier one could not know, as long as it was still there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pgkeep.model.census import Census, Database, Relation
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.undo.event import Hit, NamedBy
from pgkeep.undo.meaning.links import FileKey, OidKey


class Known(NamedTuple):
    """A relation, and who knew it."""

    database: Database
    relation: Relation
    by: NamedBy

    @property
    def root(self) -> str:
        """The table whose partition it is, '' for one that is none."""
        found, parents = self.relation, self.database.by_oid
        seen = {found.oid}
        while found.kind in "rp" and found.parent in parents and found.parent not in seen:
            found = parents[found.parent]
            seen.add(found.oid)
        return "" if found is self.relation else f"{found.schema}.{found.name}"

    def hit(self, rows: int | None = None, locator: Locator | None = None) -> Hit:
        """Return it as what an event hit; without `rows` those that the census knew of are lost."""
        relation = self.relation
        estimate = int(relation.rows) if relation.rows >= 0 else -1
        return Hit(
            database_oid=self.database.oid,
            oid=relation.oid,
            tablespace=locator[0] if locator else relation.tablespace,
            filenode=locator[2] if locator else relation.filenode,
            database=self.database.name,
            schema=relation.schema,
            name=relation.name,
            kind=relation.kind,
            rows=estimate if rows is None else rows,
            estimate=estimate,
            size=relation.size,
            named_by=self.by,
            root=self.root,
        )


@dataclass(frozen=True)
class Names:
    """Everything that may know a name."""

    censuses: Sequence[Census] = ()  # by their place in WAL
    live: Census | None = None
    links: dict[FileKey, int] = field(default_factory=dict)  # whose a file is, as WAL tells
    toast: frozenset[FileKey] = frozenset()  # made as TOAST tables, as WAL tells
    passing: set[OidKey] = field(default_factory=set)  # of rewrites: no OIDs of what stays
    born: Mapping[OidKey, Lsn] = field(default_factory=dict)  # relations whose making was seen

    def before(self, lsn: Lsn) -> Census | None:
        """Return the newest census before a place in WAL."""
        return next((one for one in reversed(self.censuses) if one.lsn <= lsn), None)

    def by_oid(self, lsn: Lsn, key: OidKey) -> Known | None:
        """Return the relation with an OID, as it was before `lsn` if that is known."""
        for database, by in self._databases(lsn, key[0]):
            relation = database.by_oid.get(key[1])
            if relation is not None:
                return Known(database, relation, by)
        return None

    def by_file(self, lsn: Lsn, locator: Locator) -> Known | None:
        """Return the relation whose main file this was at `lsn`."""
        oid = self.oid_of(locator)
        for database, by in self._databases(lsn, locator[1]):
            relation = database.by_file.get((locator[0], locator[2]))
            if relation is None:
                relation = database.by_oid.get(oid)
            if relation is not None:
                return Known(database, relation, by)
        return None

    def oid_of(self, locator: Locator) -> int:
        """Return whose a file is; before its first rewrite a relation's file bears its OID."""
        key = (locator[1], locator[2])
        return self.links.get(key, locator[2])

    def is_toast(self, locator: Locator) -> bool:
        """Tell whether WAL has shown a file to be a TOAST table's."""
        return (locator[1], self.oid_of(locator)) in self.toast or locator[1:] in self.toast

    def database(self, lsn: Lsn, oid: int) -> str:
        """Return a database's name, '' if nobody knows it."""
        return next((database.name for database, _ in self._databases(lsn, oid)), "")

    def relations(self) -> Iterator[tuple[Database, Relation]]:
        for census in [*self.censuses, *filter(None, [self.live])]:
            yield from census.relations()

    def _databases(self, lsn: Lsn, oid: int) -> Iterator[tuple[Database, NamedBy]]:
        """Yield what is known of a database, what was nearest before `lsn` first."""
        newest = self.before(lsn)
        later = [one for one in self.censuses if one.lsn > lsn]
        ranked = [(newest, NamedBy.CENSUS), *((one, NamedBy.LATER) for one in later)]
        for census, by in [*ranked, (self.live, NamedBy.LIVE)]:
            for database in census.databases if census is not None else ():
                if database.oid == oid:
                    yield database, by


def titles(database: str, schema: str, name: str) -> tuple[str, ...]:
    """Return the ways to write a relation's name, in full or in part, quoted or not."""
    plain = [database, schema, name]
    found = [".".join(parts[n:]) for parts in (plain, list(map(_quoted, plain))) for n in range(3)]
    return tuple(dict.fromkeys(found))


def in_sql(database: str, schema: str, name: str) -> str:
    """Return a relation's full name, its parts quoted where SQL needs it."""
    return ".".join(map(_quoted, (database, schema, name)))


def _quoted(name: str) -> str:
    simple = name.isascii() and name.isidentifier() and name == name.lower()
    return name if simple else '"' + name.replace('"', '""') + '"'
