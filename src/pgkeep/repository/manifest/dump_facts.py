"""What the manifest of a dump tells beside its tables: docs/formats/dump.md."""

from datetime import UTC
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert

from pgkeep.model.dump import Dump, DumpId, Origin, Selection
from pgkeep.repository.manifest.facts import (
    FORMAT,
    BadFacts,
    Count,
    Extension,
    Moment,
    Seconds,
)

GLOBALS: Final = "globals.sql"
TOC: Final = "toc.dat"
INVENTORY: Final = "inventory"
SCRIPT: Final = "script.sql"  # instead of an archive, where plain SQL was imported


class DumpedDatabase(Struct, frozen=True, kw_only=True):
    """One database in a dump: its files are in the folder that its number names."""

    number: Annotated[int, Meta(ge=1, lt=1 << 32)]
    name: str
    owner: str = ""
    encoding: str = ""
    collate: str = ""
    ctype: str = ""
    locale_provider: str = ""  # libc, icu, builtin
    locale: str = ""  # of icu and builtin
    collation_version: str = ""  # that the database was recorded with
    tablespace: str = ""
    settings: tuple[str, ...] = ()  # as ALTER DATABASE ... SET shows them: 'TimeZone=UTC'
    extensions: tuple[Extension, ...] = ()
    snapshot: str = ""  # pg_export_snapshot's name for it
    snapshot_at: Moment | None = None  # by the server's clock
    lsn: str = ""  # where WAL was then; on a standby what was replayed
    archive_version: str = ""  # of pg_dump's format: '1.16'
    dump_version: str = ""  # pg_dump's own: '17.10'
    runs: Annotated[int, Meta(ge=1)] = 1  # of pg_dump, under one snapshot
    objects: Count = 0  # entries in the table of contents
    schemas: Count = 0
    tables: Count = 0  # with data or without
    rows: Count = 0
    data_bytes: Count = 0  # of table data as text
    sequences: Count = 0
    large_objects: Count = 0
    large_object_bytes: Count = 0
    script: bool = False  # it is a plain SQL script, imported: there is no archive of it
    connects: tuple[str, ...] = ()  # databases that the script goes to by itself (\connect)

    @property
    def folder(self) -> str:
        return str(self.number)


class Globals(Struct, frozen=True, kw_only=True):
    """What pg_dumpall --globals-only gave."""

    roles: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()
    passwords: bool = False  # the roles' password hashes are in it
    dump_version: str = ""


class DumpFacts(Struct, frozen=True, kw_only=True):
    """Everything about a dump except its tables. Unknown fields of later versions are skipped."""

    format: Annotated[int, Meta(ge=1)] = FORMAT
    id: str
    cluster: str
    origin: Origin = Origin.SERVER
    label: str = ""
    started_at: Moment
    taken_at: Moment
    server_version: str = ""  # '18.6'
    system_identifier: str = ""  # '' where the server does not tell it
    standby: bool = False  # it was taken from one
    all_databases: bool = False
    selection: Selection = Selection()
    databases: tuple[DumpedDatabase, ...] = ()
    globals: Globals | None = None  # None: they are not in it
    consistency: str = ""  # for people: which moments hang together
    jobs: Annotated[int, Meta(ge=1)] = 1
    parent: str = ""  # the dump whose chunks were used again; not needed to restore
    suspicions: tuple[str, ...] = ()
    source: str = ""  # 'host=... port=... user=...', or the file that was imported
    source_host: str = ""  # where pgkeep ran
    pgkeep_version: str = ""
    files: Count = 0
    size: Count = 0  # their bytes
    packs: Count = 0
    known: Count = 0  # plain bytes that the parent held already
    stored: Count = 0  # bytes this dump added to the repository
    duration_s: Seconds = 0.0

    def dump(self) -> Dump:
        """Return the dump as lists, plans and retention see it."""
        return Dump(
            id=DumpId(self.id),
            origin=self.origin,
            started_at=self.started_at.astimezone(UTC),
            taken_at=self.taken_at.astimezone(UTC),
            databases=tuple(database.name for database in self.databases),
            all_databases=self.all_databases,
            selection=self.selection,
            globals=self.globals is not None,
            server_version=self.server_version,
            label=self.label,
            tables=sum(database.tables for database in self.databases),
            rows=sum(database.rows for database in self.databases),
            size=self.size,
            stored=self.stored,
            suspicions=self.suspicions,
        )

    def database(self, name: str) -> DumpedDatabase | None:
        return next((found for found in self.databases if found.name == name), None)


def dump_facts_from_json(value: Any) -> DumpFacts:
    """Check every field. Raise BadFacts."""
    try:
        facts = convert(value, DumpFacts)
        facts.dump()
    except ValidationError as error:
        raise BadFacts(f"hold a wrong value: {error}") from error
    except OverflowError as error:  # in UTC a time would be before year 1 or after 9999
        raise BadFacts(f"hold a time out of range: {error}") from error
    numbers = [database.number for database in facts.databases]
    if len(set(numbers)) != len(numbers):
        raise BadFacts("give two databases the same number")
    return facts
