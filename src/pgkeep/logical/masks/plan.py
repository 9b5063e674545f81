"""Which columns of a dump's tables are masked, and how. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, NamedTuple

from pgkeep.logical.encodings import archived, readable
from pgkeep.logical.load.tables import TableData
from pgkeep.logical.masks.columns import Column, always_differs, expression, refusal
from pgkeep.logical.masks.rules import BadMasks, Kind, MaskRule
from pgkeep.postgres.archive.sql import ForeignKey, Name, quote_identifier

_NEAR: Final = 3  # names that a message offers
_SHOWN: Final = 12  # columns that a message lists

Key = tuple[str, str, str]  # schema, table, column


class Member(NamedTuple):
    """A table that a rule for `root` reaches: itself, a partition of it, or one that inherits."""

    root: Name
    table: Name


@dataclass(frozen=True, slots=True)
class Schema:
    """What the restored database has of the tables that rules name. Names are as in the archive."""

    members: Sequence[Member]
    columns: Sequence[Column]  # all columns of all members
    tables: Sequence[Name] = ()  # every table: asked for only when a rule finds none


class MaskedColumn(NamedTuple):
    """One column under one rule, for people."""

    table: str  # 'shop.users'
    column: str
    rule: str  # 'hash'
    kind: Kind


class NewValue(NamedTuple):
    """What a masked column is given."""

    column: str  # as in the archive
    sql: str
    number: int  # in MaskPlan.columns
    differs: bool  # it never is what it hides


@dataclass(frozen=True, slots=True)
class TableMask:
    """How one table's rows are masked."""

    values: tuple[NewValue, ...]


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """All masks of one restore. Travels to workers; holds the salt: never shown or logged."""

    columns: tuple[MaskedColumn, ...]
    tables: Mapping[int, TableMask]  # by the dump id of their data
    salt: bytes = field(repr=False)


class Match(NamedTuple):
    """A rule and a column that it masks."""

    rule: MaskRule
    column: Column

    @property
    def key(self) -> Key:
        return (self.column.schema, self.column.table, self.column.name)


def find_matches(
    rules: Sequence[MaskRule], schema: Schema, encoding: str, elsewhere: Sequence[Name] = ()
) -> list[Match]:
    """Return all that is to be masked. Raise BadMasks for rules that cannot be, naming them all.

    A rule for a table that the dump has `elsewhere`, in what is not restored, is passed over.
    """
    finder = _Finder(schema, encoding, elsewhere)
    found, problems = dict[Key, Match](), list[str]()
    for rule in rules:
        for match in finder.columns(rule, problems):
            other = found.setdefault(match.key, match)
            why = refusal(rule, match.column)
            if other.rule != rule:
                why = f"{other.rule.key} masks the same column of {_words(match, encoding)}"
            if why:
                problems.append(f"{rule.key} ({_words(match, encoding)}): {why}")
    if problems:
        raise BadMasks(tuple(dict.fromkeys(problems)))
    return list(found.values())


def check_keys(matches: Sequence[Match], keys: Sequence[ForeignKey], encoding: str) -> None:
    """Raise BadMasks where rows would reference nothing: both ends of a key need the same mask."""
    found = {match.key: match for match in matches}
    problems = []
    for key in keys:
        for column, referenced in zip(key.columns, key.referenced_columns, strict=True):
            here = found.get((*key.table, column))
            there = found.get((*key.referenced, referenced))
            if not _agree(here, there):
                ends = [_of_key(key.table, column), _of_key(key.referenced, referenced)]
                here_words, there_words = (readable(end, encoding) for end in ends)
                problems.append(
                    f"{here_words} references {there_words}: give both the same mask and type"
                )
    if problems:
        raise BadMasks(tuple(dict.fromkeys(problems)))


def check_unique(matches: Sequence[Match], unique: Sequence[Key], encoding: str) -> None:
    """Raise BadMasks where every row would get the same value, and two may not have it."""
    keys = set(unique)
    problems = [
        f"{match.rule.key}: {_words(match, encoding)} is unique, so its values cannot all be "
        f"{match.rule.words}"
        for match in matches
        if match.rule.kind is Kind.LITERAL and match.key in keys
    ]
    if problems:
        raise BadMasks(tuple(problems))


def make_plan(
    matches: Sequence[Match], tables: Sequence[TableData], encoding: str, salt: bytes
) -> MaskPlan:
    """Return the plan for the tables whose data is loaded. Raise BadMasks."""
    by_table = dict[Name, list[Match]]()
    for match in matches:
        by_table.setdefault(Name(match.column.schema, match.column.table), []).append(match)
    columns, masks = list[MaskedColumn](), dict[int, TableMask]()
    for table in tables:
        values = []
        if table.as_inserts and Name(table.schema, table.name) in by_table:
            raise BadMasks((f"{table.words(encoding)}: its rows are kept as INSERT statements",))
        for match in by_table.get(Name(table.schema, table.name), []):
            new = new_value(match, encoding)
            differs = always_differs(match.rule, match.column)
            values.append(NewValue(match.column.name, new, len(columns), differs))
            name = readable(match.column.name, encoding)
            rule = match.rule
            columns.append(MaskedColumn(table.words(encoding), name, rule.words, rule.kind))
        if values:
            masks[table.dump_id] = TableMask(tuple(values))
    return MaskPlan(tuple(columns), masks, salt)


def new_value(match: Match, encoding: str) -> str:
    """Return the SQL of a match. Raise BadMasks if the archive's encoding cannot say it."""
    try:
        text = archived(match.rule.text, encoding)
    except UnicodeEncodeError as error:
        why = f"{match.rule.key}: {encoding} has no {error.object[error.start : error.end]!r}"
        raise BadMasks((why,)) from error
    return expression(match.rule, match.column, text)


class _Finder:
    """Finds tables and columns by the names that people use."""

    def __init__(self, schema: Schema, encoding: str, elsewhere: Sequence[Name]) -> None:
        self._schema = schema
        self._encoding = encoding
        self._elsewhere = elsewhere
        self._columns = dict[Name, list[Column]]()
        for column in schema.columns:
            self._columns.setdefault(Name(column.schema, column.table), []).append(column)

    def columns(self, rule: MaskRule, problems: list[str]) -> Iterator[Match]:
        """Yield what a rule masks; note why it masks nothing."""
        members = [m.table for m in self._schema.members if self._names(rule, m.root)]
        every = [column for table in members for column in self._columns.get(table, [])]
        found = [column for column in every if self._read(column.name) == rule.column]
        yield from (Match(rule, column) for column in dict.fromkeys(found))
        if found:
            return
        if every:
            names = list(dict.fromkeys(self._read(column.name) for column in every))
            near = _near(rule.column, names) or names[:_SHOWN]
            problems.append(f"{rule.key}: the table has no such column ({', '.join(near)})")
        elif not any(self._names(rule, name) for name in self._elsewhere):
            problems.append(f"{rule.key}: there is no such table{self._other_tables(rule)}")

    def _names(self, rule: MaskRule, name: Name) -> bool:
        schema, table = map(self._read, name)
        return table == rule.table and rule.schema in {"", schema}

    def _other_tables(self, rule: MaskRule) -> str:
        roots = (member.root for member in self._schema.members)
        known = [*self._schema.tables, *roots, *self._elsewhere]
        names = {self._read(n.name): ".".join(map(self._quoted, n)) for n in known}
        near = [names[name] for name in _near(rule.table, list(names))]
        return f" ({' or '.join(near)}?)" if near else ""

    def _read(self, name: str) -> str:
        return readable(name, self._encoding)

    def _quoted(self, name: str) -> str:
        return quote_identifier(self._read(name))


def _near(word: str, names: Sequence[str]) -> list[str]:
    folded = {name.lower(): name for name in names}
    return [folded[name] for name in get_close_matches(word.lower(), folded, _NEAR)]


def _agree(here: Match | None, there: Match | None) -> bool:
    """Tell whether what referenced a value still does; of expressions nobody knows."""
    kinds = {match.rule.kind for match in (here, there) if match is not None}
    if Kind.SQL in kinds or (here is not None and here.rule.kind is Kind.NULL):
        return True
    if here is None or there is None:
        return here is there
    same = (here.rule.kind, here.rule.text) == (there.rule.kind, there.rule.text)
    return same and here.column.hashes_as == there.column.hashes_as


def _of_key(table: Name, column: str) -> str:
    return f"{table.schema}.{table.name}.{column}"


def _words(match: Match, encoding: str) -> str:
    column = match.column
    return readable(f"{column.schema}.{column.table}.{column.name}", encoding)
