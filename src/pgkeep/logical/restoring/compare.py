"""What was restored beside what should be: any difference is an error."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable
from pgkeep.logical.load.tables import TableData, encoded, relation_sql
from pgkeep.logical.load.wire import Wire
from pgkeep.postgres.archive.entries import (
    LARGE_OBJECTS,
    OF_THE_DATABASE,
    SEQUENCE_VALUE,
    SETTINGS,
    STATISTICS,
    TABLE_DATA,
    sequence_value,
    subject,
)
from pgkeep.postgres.archive.sql import Name, SequenceValue
from pgkeep.postgres.archive.toc import TocEntry, read_toc
from pgkeep.server.client_programs import Connecting, run_program
from pgkeep.server.client_tools import ClientTools

_SHOWN: Final = 20
_AT_ONCE: Final = 200  # sequences that one statement asks for
_DATA: Final = frozenset(
    {TABLE_DATA, SEQUENCE_VALUE, STATISTICS, "MATERIALIZED VIEW DATA", *LARGE_OBJECTS}
)
_PRIVILEGES: Final = frozenset({"ACL", "DEFAULT ACL"})

Key = tuple[str, str, str]


class RestoreDiffers(PgkeepError):
    """A restored database is not what was dumped. It was not made visible."""

    code = "restore-differs"
    exit_status = 209

    dump: str
    database: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.differences) - _SHOWN
        shown = "; ".join(self.differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return f"database {self.database} of {self.dump} came out otherwise than it was: {shown}"

    @property
    def hint(self) -> str:
        return (
            "nothing was left; --keep-failed leaves the database to look at, and pgkeep dump "
            "export writes the archive for pg_restore"
        )


def objects_of(tools: ClientTools, connecting: Connecting, scratch: Path) -> list[TocEntry]:
    """Return the entries that pg_dump sees in a database, without data."""
    file = scratch / "restored.dump"
    argv = [
        tools.tool("pg_dump"), "--schema-only", "--format=custom", "--no-password",
        "--quote-all-identifiers", f"--file={file}", f"--dbname={connecting.conninfo}",
    ]  # fmt: skip
    run_program("look at what was restored", argv, environment=connecting.environment)
    with file.open("rb") as opened:
        _, entries = read_toc(opened, str(file))
        found = list(entries)
    file.unlink()
    return found


def compare_objects(
    wanted: Iterable[TocEntry], there: Iterable[TocEntry], *, privileges: bool, encoding: str
) -> tuple[list[str], int]:
    """Return the differences, and how many objects were compared.

    Privileges are compared only where roles kept their names and things their owners.
    """
    should = Counter(_keys(wanted, privileges=privileges))
    found = Counter(_keys(there, privileges=privileges))
    missing = [f"missing: {_words(key, encoding)}" for key in sorted((should - found).elements())]
    extra = [
        f"not in the dump: {_words(key, encoding)}"
        for key in sorted((found - should).elements())
        if not _is_standard(key)
    ]
    return [*missing, *extra], should.total()


def _keys(entries: Iterable[TocEntry], *, privileges: bool) -> Iterator[Key]:
    for entry in entries:
        if entry.desc in SETTINGS or entry.desc in OF_THE_DATABASE or entry.desc in _DATA:
            continue
        if entry.desc in _PRIVILEGES and not privileges:
            continue
        about = subject(entry)
        if about is not None and (about.kind == "DATABASE" or about.kind.startswith("LARGE")):
            continue
        key = (entry.desc, entry.namespace or "", _unquoted(entry.tag or ""))
        if not _is_standard(key):
            yield key


def _unquoted(tag: str) -> str:
    """Return a tag without its quotes: those that pgkeep did not take quote less."""
    return tag.replace('"', "")


def _is_standard(key: Key) -> bool:
    """Tell what every new database has, and pg_dump sometimes tells of."""
    desc, _, tag = key
    if tag in ("public", "SCHEMA public") and desc in ("SCHEMA", "COMMENT", "ACL"):
        return True
    return desc == "EXTENSION" and tag == "plpgsql"


def _words(key: Key, encoding: str) -> str:
    desc, schema, tag = (readable(part, encoding) for part in key)
    return f"{desc.lower()} {schema}.{tag}" if schema else f"{desc.lower()} {tag}"


def compare_rows(
    tables: Sequence[TableData], loaded: Mapping[int, int], encoding: str
) -> list[str]:
    """Return the tables of which another number of rows was loaded than was dumped."""
    found = []
    for table in tables:
        got = loaded.get(table.dump_id)
        if table.rows is not None and got != table.rows:
            count = "no" if got is None else f"{got:,}"
            found.append(
                f"table {table.words(encoding)} has {count} rows instead of {table.rows:,}"
            )
    return found


def compare_sequences(entries: Iterable[TocEntry], wire: Wire) -> list[str]:
    """Return the sequences that stand elsewhere than they did."""
    # By the entries' own names: how backslashes stand in setval's text depends on a setting.
    wanted = [
        sequence_value(entry)._replace(sequence=Name(entry.namespace or "", entry.tag or ""))
        for entry in entries
        if entry.desc == SEQUENCE_VALUE
    ]
    found = []
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        statement = " UNION ALL ".join(map(_asked, range(len(part)), part))
        for number, value, called in wire.run(encoded(statement)).rows:
            one = part[int(number or 0)]
            if (int(value or 0), called == b"t") != (one.value, one.called):
                found.append(f"sequence {one.sequence} is not at {one.value}")
    return found


def _asked(number: int, one: SequenceValue) -> str:
    return f"SELECT {number}, last_value, is_called FROM {relation_sql(one.sequence)}"  # noqa: S608  # quoted
