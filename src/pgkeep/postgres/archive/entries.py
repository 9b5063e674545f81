"""What pg_dump's entries are, as far as their kinds and tags tell. Pure.

Source: pg_dump.c and dumputils.c, all calls of ArchiveEntry; pg_backup_archiver.c,
_tocEntryRequired.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.sql import (
    CopyTarget,
    ForeignKey,
    NotUnderstood,
    SequenceValue,
    parse_copy,
    parse_foreign_key,
    parse_identifier,
    parse_set_value,
)
from pgkeep.postgres.archive.toc import Section, TocEntry

TABLE_DATA: Final = "TABLE DATA"
LARGE_OBJECT_DATA: Final = "BLOBS"
FOREIGN_KEY: Final = "FK CONSTRAINT"
SEQUENCE_VALUE: Final = "SEQUENCE SET"
STATISTICS: Final = "STATISTICS DATA"
SETTINGS: Final = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH"})
OF_THE_DATABASE: Final = frozenset({"DATABASE", "DATABASE PROPERTIES"})
# Once in an archive, whatever part of the database it holds.
ONCE: Final = SETTINGS | OF_THE_DATABASE
# These say something of another entry's object.
ATTACHED: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
# What keeps rows or could: tables, also partitioned and foreign ones.
TABLES: Final = frozenset({"TABLE", "FOREIGN TABLE"})
LARGE_OBJECTS: Final = frozenset({"BLOB", "BLOB METADATA", "BLOBS"})

# pg_dump's own order of kinds (pg_dump_sort.c: dbObjectTypePriority), but views behind all tables
# and sequences: in pg_dump, dependencies see to that.
_ORDER: Final = (
    "ENCODING|STDSTRINGS|SEARCHPATH|DATABASE|DATABASE PROPERTIES",
    "SCHEMA",
    "PROCEDURAL LANGUAGE",
    "COLLATION",
    "TRANSFORM",
    "EXTENSION",
    "TYPE|SHELL TYPE|DOMAIN",
    "CAST",
    "FUNCTION|PROCEDURE",
    "AGGREGATE",
    "ACCESS METHOD",
    "OPERATOR|OPERATOR FAMILY|OPERATOR CLASS",
    "CONVERSION",
    "TEXT SEARCH PARSER|TEXT SEARCH TEMPLATE",
    "TEXT SEARCH DICTIONARY|TEXT SEARCH CONFIGURATION",
    "FOREIGN DATA WRAPPER|SERVER|USER MAPPING",
    "TABLE|FOREIGN TABLE|SEQUENCE|SEQUENCE OWNED BY",
    "VIEW|MATERIALIZED VIEW",
    "TABLE ATTACH|DEFAULT|BLOB",
    "BLOB METADATA|TABLE DATA|SEQUENCE SET|BLOBS|STATISTICS DATA",
    "CONSTRAINT|INDEX|INDEX ATTACH|STATISTICS|RULE|TRIGGER|CHECK CONSTRAINT",
    "FK CONSTRAINT|POLICY|ROW SECURITY",
    "PUBLICATION|PUBLICATION TABLE|PUBLICATION TABLES IN SCHEMA|SUBSCRIPTION|SUBSCRIPTION TABLE",
    "DEFAULT ACL|EVENT TRIGGER|MATERIALIZED VIEW DATA",
    "COMMENT|SECURITY LABEL|ACL",
)
_PRIORITY: Final = {kind: n for n, kinds in enumerate(_ORDER) for kind in kinds.split("|")}

# What tags of attached entries begin with: longest first.
_SUBJECTS: Final = sorted(
    (
        "ACCESS METHOD", "AGGREGATE", "CAST", "COLLATION", "COLUMN", "CONSTRAINT", "CONVERSION",
        "DATABASE", "DOMAIN", "EVENT TRIGGER", "EXTENSION", "FOREIGN DATA WRAPPER",
        "FOREIGN SERVER", "FOREIGN TABLE", "FUNCTION", "INDEX", "LANGUAGE", "LARGE OBJECT",
        "LARGE OBJECTS", "MATERIALIZED VIEW", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY",
        "POLICY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "RULE", "SCHEMA", "SEQUENCE",
        "SERVER", "STATISTICS", "SUBSCRIPTION", "TABLE", "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM",
        "TRIGGER", "TYPE", "VIEW",
    ),
    key=len,
    reverse=True,
)  # fmt: skip
# Of these, tags begin with the relation; of those, they end with it: 'TRIGGER checked ON orders'.
_IN_TABLES: Final = frozenset(
    {"COLUMN", "FOREIGN TABLE", "INDEX", "MATERIALIZED VIEW", "SEQUENCE", "TABLE", "VIEW"}
)
_ON_TABLES: Final = frozenset({"CONSTRAINT", "POLICY", "RULE", "TRIGGER"})
_SETTING: Final = re.compile(r"[^']*'((?:[^']|'')*)'")

_T = TypeVar("_T")


class Subject(NamedTuple):
    """What an ACL, COMMENT or SECURITY LABEL speaks of."""

    kind: str  # 'TABLE', 'COLUMN'; '' in archives before 1.13, which had names alone
    name: str  # as in the tag, quoted where it must be: 'orders', 'orders.id', 'f(integer)'
    dump_id: int | None  # of the object's entry, if that is in the archive


class Settings(NamedTuple):
    """How all text of an archive is to be read."""

    encoding: str = ""
    standard_strings: bool = True  # off: backslashes in literals mean something
    search_path: str = ""


def priority(desc: str) -> int:
    """Return where a kind stands in pg_dump's order; unknown ones are last."""
    return _PRIORITY.get(desc, len(_ORDER))


def settings_of(entries: Iterable[TocEntry]) -> Settings:
    """Find the settings, which are at the front. Raise BadArchive."""
    found, left = dict[str, str](), set(SETTINGS)
    for entry in entries:
        if entry.desc in left:
            found[entry.desc] = _understood(entry, _setting)
            left.discard(entry.desc)
            if not left:
                break
    return Settings(
        found.get("ENCODING", ""),
        found.get("STDSTRINGS", "on") == "on",
        found.get("SEARCHPATH", ""),
    )


def encoding_of(entries: Iterable[TocEntry]) -> str:
    """Return the encoding of all that is in an archive, as PostgreSQL calls it; '' if unsaid."""
    return next((_understood(entry, _setting) for entry in entries if entry.desc == "ENCODING"), "")


def sections(entries: Iterable[TocEntry]) -> Iterator[tuple[Section, TocEntry]]:
    """Yield entries with the section in which pg_restore restores them.

    What has none, like comments, belongs to the section in whose midst it stands
    (ProcessArchiveRestoreOptions).
    """
    current = Section.PRE_DATA
    for entry in entries:
        if entry.section in (Section.PRE_DATA, Section.DATA, Section.POST_DATA):
            current = Section(entry.section)
        yield current, entry


def subject(entry: TocEntry) -> Subject | None:
    """Return what an entry speaks of; None if it is an object of its own."""
    if entry.desc not in ATTACHED:
        return None
    tag = entry.tag or ""
    kind = next((kind for kind in _SUBJECTS if tag.startswith(f"{kind} ")), "")
    name = tag[len(kind) + 1 :] if kind else tag
    first = next(iter(entry.dependencies), "")
    return Subject(kind, name, int(first) if first.isdecimal() else None)


def subject_table(of: Subject) -> str | None:
    """Return the table, view or sequence that a subject is or is part of, unquoted.

    None if it is none. Its schema is the entry's.
    """
    if of.kind not in _IN_TABLES and of.kind not in _ON_TABLES:
        return None
    try:
        name, end = parse_identifier(of.name)
        if of.kind in _IN_TABLES:
            return name
        table, _ = parse_identifier(of.name, end + len(" ON "))
    except NotUnderstood:
        return None
    return table


def foreign_key(entry: TocEntry) -> ForeignKey:
    """Read an FK CONSTRAINT. Raise BadArchive."""
    schema = entry.namespace or ""
    return _understood(entry, lambda text: parse_foreign_key(text, schema))


def copy_target(entry: TocEntry) -> CopyTarget | None:
    """Return where the rows of a TABLE DATA go; None for data kept as INSERT. Raise BadArchive."""
    statement, schema = entry.copy_statement, entry.namespace or ""
    if not statement:
        return None
    return _understood(entry, lambda _: parse_copy(statement, schema))


def database_clauses(entry: TocEntry) -> tuple[str, str]:
    """Return what follows the name in CREATE DATABASE, and the tablespace, which is no part of it.

    '' for what is not there: pg_dump writes it only into the definition (pg_dump.c: dumpDatabase).
    """
    _, found, rest = (entry.definition or "").partition("CREATE DATABASE ")
    if not found:
        return "", ""
    try:
        _, end = parse_identifier(rest)
        clauses, found, space = rest[end:].rpartition(" TABLESPACE = ")
        if not found:
            return rest[end:].rpartition(";")[0].strip(), ""
        return clauses.strip(), parse_identifier(space)[0]
    except NotUnderstood:
        return "", ""


def sequence_value(entry: TocEntry) -> SequenceValue:
    """Read a SEQUENCE SET. Raise BadArchive."""
    schema = entry.namespace or ""
    return _understood(entry, lambda text: parse_set_value(text, schema))


def large_objects(entry: TocEntry) -> tuple[int, ...]:
    """Return the large objects that a BLOB or BLOB METADATA entry creates. Raise BadArchive."""
    listed = entry.tag if entry.desc == "BLOB" else entry.definition
    try:
        return tuple(int(line) for line in (listed or "").split())
    except ValueError:
        raise _wrong(entry, "it does not list large objects") from None


def _setting(definition: str) -> str:
    match = _SETTING.match(definition)
    if match is None:
        raise NotUnderstood("it sets nothing")
    if definition.startswith("SELECT"):  # pg_catalog.set_config('search_path', '...', false)
        match = _SETTING.match(definition, match.end())
    if match is None:
        raise NotUnderstood("it sets nothing")
    return match[1].replace("''", "'")


def _understood(entry: TocEntry, read: Callable[[str], _T]) -> _T:
    try:
        return read(entry.definition or "")
    except NotUnderstood as found:
        raise _wrong(entry, str(found)) from None


def _wrong(entry: TocEntry, why: str) -> BadArchive:
    return BadArchive(f"entry {entry.dump_id} ({entry.desc} {entry.tag})", why)
