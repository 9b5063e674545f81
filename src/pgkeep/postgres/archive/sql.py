"""Reads the few kinds of SQL in an archive whose parts matter here. Pure.

Names are as in the archive: bytes of the dump's encoding, with surrogates for what is no UTF-8.
Source: pg_dump.c writes these statements; fe_utils/string_utils.c, fmtId, quotes the names.
"""

import re
from typing import Final, NamedTuple

# All that are not "unreserved" (parser/kwlist.h) in any version from 15 to 18: a name that is one
# of these is quoted, as fmtId does.
_RESERVED: Final = frozenset(
    {
        "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
        "authorization", "between", "bigint", "binary", "bit", "boolean", "both", "case", "cast",
        "char", "character", "check", "coalesce", "collate", "collation", "column",
        "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
        "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
        "dec", "decimal", "default", "deferrable", "desc", "distinct", "do", "else", "end",
        "except", "exists", "extract", "false", "fetch", "float", "for", "foreign", "freeze",
        "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in",
        "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is",
        "isnull", "join", "json", "json_array", "json_arrayagg", "json_exists", "json_object",
        "json_objectagg", "json_query", "json_scalar", "json_serialize", "json_table",
        "json_value", "lateral", "leading", "least", "left", "like", "limit", "localtime",
        "localtimestamp", "merge_action", "national", "natural", "nchar", "none", "normalize",
        "not", "notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order",
        "out", "outer", "overlaps", "overlay", "placing", "position", "precision", "primary",
        "real", "references", "returning", "right", "row", "select", "session_user", "setof",
        "similar", "smallint", "some", "substring", "symmetric", "system_user", "table",
        "tablesample", "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true",
        "union", "unique", "user", "using", "values", "varchar", "variadic", "verbose", "when",
        "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists",
        "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
    }
)  # fmt: skip
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
_NAME: Final = re.compile(
    r'"((?:[^"]|"")+)"|([A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)'
)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_TEXT: Final = re.compile(r"(E?)'((?:[^']|'')*)'")
_SET_VALUE: Final = re.compile(r"\s*,\s*(-?\d+)\s*,\s*(true|false)\s*\)")


class NotUnderstood(Exception):
    """SQL that pg_dump does not write like this. Whoever knows its place makes it an error."""


class Name(NamedTuple):
    """A relation. The schema is '' where the search path decides (pg_dump before 2018)."""

    schema: str
    name: str

    def __str__(self) -> str:
        parts = (self.schema, self.name) if self.schema else (self.name,)
        return ".".join(quote_identifier(part) for part in parts)


class ForeignKey(NamedTuple):
    """A row of `table` needs the one of `referenced` that has the same values."""

    name: str
    table: Name
    columns: tuple[str, ...]
    referenced: Name
    referenced_columns: tuple[str, ...]  # one for each of `columns`
    options: str  # what follows: 'ON DELETE CASCADE DEFERRABLE', as pg_dump wrote it


class CopyTarget(NamedTuple):
    """Where rows of a data file belong."""

    table: Name
    columns: tuple[str, ...]  # in the order of the data; () for a table without any


class SequenceValue(NamedTuple):
    """What a sequence gave out last, or with `called` false: gives out next."""

    sequence: Name
    value: int
    called: bool


def quote_identifier(name: str) -> str:
    """Return a name as SQL has it: quoted unless it is plain and no key word."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return always_quoted(name)


def always_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def parse_identifier(text: str, at: int = 0) -> tuple[str, int]:
    """Return the name at a place, and where it ends. Raise NotUnderstood."""
    match = _NAME.match(text, at)
    if match is None:
        raise NotUnderstood(f"there is no name in {text[at : at + 80]!r}")
    if match[1] is not None:
        return match[1].replace('""', '"'), match.end()
    return _folded(match[2]), match.end()


def parse_name(text: str, schema: str = "") -> Name:
    """Read a name that may have a schema; otherwise it is in `schema`. Raise NotUnderstood."""
    scan = _Scan(text, schema)
    found = scan.relation()
    scan.expect_end()
    return found


def parse_foreign_key(definition: str, schema: str = "") -> ForeignKey:
    """Read ALTER TABLE ... ADD CONSTRAINT ... FOREIGN KEY. Raise NotUnderstood.

    Names without a schema are in `schema`.
    """
    scan = _Scan(definition, schema)
    scan.expect("ALTER", "TABLE")
    scan.skip("ONLY")
    table = scan.relation()
    scan.expect("ADD", "CONSTRAINT")
    name = scan.identifier()
    scan.expect("FOREIGN", "KEY")
    columns = scan.columns()
    scan.expect("REFERENCES")
    referenced = scan.relation()
    referenced_columns = scan.columns()
    if len(columns) != len(referenced_columns):
        raise NotUnderstood(f"{len(columns)} columns reference {len(referenced_columns)}")
    options = scan.rest().removesuffix(";").rstrip()
    return ForeignKey(name, table, columns, referenced, referenced_columns, options)


def parse_copy(statement: str, schema: str = "") -> CopyTarget:
    """Read COPY ... FROM stdin. Raise NotUnderstood."""
    scan = _Scan(statement, schema)
    scan.expect("COPY")
    table = scan.relation()
    columns = scan.columns() if scan.follows("(") else ()
    scan.expect("FROM", "stdin", ";")
    scan.expect_end()
    return CopyTarget(table, columns)


def parse_set_value(statement: str, schema: str = "") -> SequenceValue:
    """Read SELECT setval('sequence', value, called). Raise NotUnderstood."""
    call = statement.find("setval(")
    literal = _TEXT.match(statement, call + 7) if call >= 0 else None
    values = _SET_VALUE.match(statement, literal.end()) if literal else None
    if literal is None or values is None:
        raise NotUnderstood("it sets no value of a sequence")
    name = literal[2].replace("''", "'")
    if literal[1]:
        name = name.replace("\\\\", "\\")
    return SequenceValue(parse_name(name, schema), int(values[1]), values[2] == "true")


def _folded(name: str) -> str:
    """As the server reads unquoted names: only letters of ASCII become small."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


class _Scan:
    """Reads a statement word by word."""

    def __init__(self, text: str, schema: str) -> None:
        self._text = text
        self._schema = schema
        self._at = 0

    def follows(self, word: str) -> bool:
        """Say whether a word or sign comes next, whatever its case."""
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()
        end = self._at + len(word)
        if self._text[self._at : end].upper() != word.upper():
            return False
        return not word.isalpha() or not (self._text[end : end + 1].isalnum())

    def skip(self, word: str) -> bool:
        found = self.follows(word)
        self._at += len(word) if found else 0
        return found

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.skip(word):
                found = self._text[self._at : self._at + 80]
                raise NotUnderstood(f"there is no {word} before {found!r}")

    def expect_end(self) -> None:
        if self.rest():
            raise NotUnderstood(f"there is more: {self.rest()[:80]!r}")

    def rest(self) -> str:
        return self._text[self._at :].strip()

    def identifier(self) -> str:
        self.follows("")
        name, self._at = parse_identifier(self._text, self._at)
        return name

    def relation(self) -> Name:
        name = self.identifier()
        return Name(name, self.identifier()) if self.skip(".") else Name(self._schema, name)

    def columns(self) -> tuple[str, ...]:
        found = list[str]()
        self.expect("(")
        while not found or self.skip(","):
            found.append(self._column())
        self.expect(")")
        return tuple(found)

    def _column(self) -> str:
        # FOREIGN KEY (room, PERIOD at), from PostgreSQL 18 on; a column may be called period, too.
        begin = self._at
        if self.skip("PERIOD") and not (self.follows(",") or self.follows(")")):
            return self.identifier()
        self._at = begin
        return self.identifier()
