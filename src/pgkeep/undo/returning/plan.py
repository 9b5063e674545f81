"""How a table comes back: which statements run on the live server, in which order, and why. Pure.

All of them run in one transaction. Rows come before indexes, checks and triggers: that is quicker,
and nothing reacts to rows that were there before. Foreign keys come last, because they lock the
tables at their other ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pgkeep.postgres.archive.entries import FOREIGN_KEY, foreign_key
from pgkeep.postgres.archive.sql import ForeignKey, always_quoted
from pgkeep.postgres.archive.toc import TocEntry
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.entries import (
    Chosen,
    Returning,
    Stage,
    owner_statement,
    settings_of,
    words,
)
from pgkeep.undo.returning.found import Found, same_columns, same_key
from pgkeep.undo.returning.found import Sequence as OwnedSequence
from pgkeep.undo.returning.names import TableName, as_option, columns_sql, relation_sql

STAGE: Final = "pgkeep_undo"
_NUMBERS: Final = ("smallint", "integer", "bigint", "numeric")
_GRANTABLE: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"})


class Way(StrEnum):
    """Where the rows go."""

    BESIDE = "as"  # into a new table
    INTO_PLACE = "into-place"  # the dropped table is made anew
    MERGE = "merge"  # rows that are gone go into the table that is there
    DUMP = "dump"  # into a file


@dataclass(frozen=True, slots=True)
class Run:
    """Statements; one that is not required may fail alone, and is told of."""

    what: str
    reason: str
    statements: tuple[str, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class CopyRows:
    """Rows from the recovered copy into a table of the live server; its rows are counted after."""

    what: str
    reason: str
    query: str
    target: str  # a table that is empty
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Rows from the stage into the table; those that meet a row which is there are left."""

    what: str
    reason: str
    statement: str
    counted: str  # how many staged rows are in the table afterwards, exactly as they were


@dataclass(frozen=True, slots=True)
class AddKey:
    """A foreign key: checked if its other side still fits, else not valid, with a count."""

    what: str
    reason: str
    statement: str
    not_valid: str
    violators: str


@dataclass(frozen=True, slots=True)
class RevokeDefaults:
    """Grants that default privileges gave to a new object, and the old one had not."""

    what: str
    reason: str
    kind: str  # TABLE or SEQUENCE
    relation: str


Step = Run | CopyRows | Merge | AddKey | RevokeDefaults


@dataclass(frozen=True, slots=True)
class ReturnPlan:
    """What is done on the live server."""

    way: Way
    table: TableName
    into: TableName  # where the rows can be found afterwards
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()  # what will be other than it was

    def to_dict(self) -> dict[str, object]:
        """Return what --json shows."""
        return {
            "way": self.way,
            "table": str(self.table),
            "into": str(self.into),
            "steps": [{"what": step.what, "reason": step.reason} for step in self.steps],
            "notes": list(self.notes),
        }


class TableThere(CannotUndo):
    """A table of the name is there already, or a way back needs one that is not."""

    code = "table-there"


class NoWayBack(CannotUndo):
    """A table cannot come back in the way that was asked for."""

    code = "no-way-back"


def plan_beside(
    then: Found, into: TableName, missing_types: Iterable[str], roles: Iterable[str], where: str
) -> ReturnPlan:
    """Plan a new table with all rows as they were: to look at, or to take rows from by hand."""
    lost = set(missing_types)
    lines, notes = [], list[str]()
    for column in then.columns:
        kind = "pg_catalog.text" if column.type in lost else column.type
        collation = (
            f" COLLATE {column.collation}" if column.collation and kind == column.type else ""
        )
        lines.append(f"{always_quoted(column.name)} {kind}{collation}")
        if column.type in lost:
            notes.append(
                f"column {column.name} is text: type {column.type} is not on the live server"
            )
    names = tuple(column.name for column in then.columns)
    chosen = f" WHERE ({where}\n)" if where else ""
    steps: list[Step] = [
        Run(
            f"table {into}",
            "a plain copy: the columns, without what would change or check them",
            (f"CREATE TABLE {into.sql} ({', '.join(lines)})",),
        ),
        CopyRows(
            f"rows of {then.name}",
            "as they were, values of generated columns too",
            f"(SELECT {columns_sql(names)} FROM {then.source}{chosen})",  # quoted
            into.sql,
            names,
        ),
    ]
    if then.key:
        keyed = f"ALTER TABLE {into.sql} ADD PRIMARY KEY ({columns_sql(then.key)})"
        steps.append(Run(f"primary key of {into}", "to find and join rows by", (keyed,)))
    private = "nobody but its owner may read it"
    steps.append(RevokeDefaults(f"grants of {into}", private, "TABLE", into.sql))
    if then.owner in set(roles):
        owned = f"ALTER TABLE {into.sql} OWNER TO {always_quoted(then.owner)}"
        steps.append(Run(f"owner of {into}", "as it was", (owned,), required=False))
    return ReturnPlan(Way.BESIDE, then.name, into, tuple(steps), tuple(notes))


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """What the live server has that definitions may name."""

    roles: frozenset[str]
    tablespaces: frozenset[str]
    extensions: frozenset[str]  # that can be made


@dataclass(frozen=True, slots=True)
class SequenceState:
    """How far a sequence was in the recovered copy."""

    value: int
    called: bool
    increment: int


def plan_into_place(
    then: Found,
    chosen: Chosen,
    live: LiveFacts,
    sequences: Mapping[tuple[str, str], SequenceState],
) -> ReturnPlan:
    """Plan the dropped table as it was, with what hung on it and went with it."""
    if chosen.blocking:
        raise NoWayBack(
            f"bring back {then.name} into its place",
            "; ".join(chosen.blocking),
            f"bring that back first, or write {as_option(then.name.beside('_recovered'))}",
        )
    notes = [f"left out: {one}" for one in chosen.left_out]
    before = [one for one in chosen.entries if one.stage is Stage.DEFINITIONS]
    after = [one for one in chosen.entries if one.stage > Stage.DEFINITIONS]
    steps: list[Step] = []
    for one in before:
        steps += _made(one, live, notes)
    steps += _rows(then)
    for one in chosen.entries:
        if one.entry.desc == "SEQUENCE":
            steps += _positioned(one.entry, then, sequences)
    for one in after:
        if one.entry.desc == FOREIGN_KEY:
            steps.append(_key(one))
        else:
            steps += _made(one, live, notes)
    steps += [
        Run(
            f"rows of {one.words}",
            "computed anew",
            (f"REFRESH MATERIALIZED VIEW {_relation(one.entry)}",),
            required=False,
        )
        for one in before
        if one.entry.desc == "MATERIALIZED VIEW"
    ]
    analyze = f"ANALYZE {then.name.sql}"
    steps.append(Run("statistics", "or the first queries are slow", (analyze,), required=False))
    return ReturnPlan(Way.INTO_PLACE, then.name, then.name, tuple(steps), tuple(notes))


def _made(one: Returning, live: LiveFacts, notes: list[str]) -> list[Step]:
    entry = one.entry
    statements = [settings_of(entry, live.tablespaces), entry.definition or ""]
    owner = owner_statement(entry)
    if owner and entry.owner in live.roles:
        statements.append(owner)
    elif owner:
        notes.append(f"{one.words} belongs to whoever runs this: role {entry.owner} is gone")
    space = entry.tablespace or ""
    if space and statements[0] and space not in live.tablespaces:
        notes.append(f"{one.words} is in the default tablespace: {space} is gone")
    made: list[Step] = [Run(one.words, one.reason, tuple(filter(None, statements)), one.required)]
    if entry.desc in _GRANTABLE:
        kind = "SEQUENCE" if entry.desc == "SEQUENCE" else "TABLE"
        reason = "only those that it had"
        made.append(RevokeDefaults(f"grants of {one.words}", reason, kind, _relation(entry)))
    return made


def _rows(then: Found) -> list[Step]:
    """Return a copy for each table of the tree that holds rows."""
    return [
        CopyRows(
            f"rows of {member.schema}.{member.name}",
            "before indexes and triggers",
            f"(SELECT {columns_sql(member.columns)} FROM {member.source})",  # quoted
            member.sql,
            member.columns,
        )
        for member in then.members
        if member.kind == "r"
    ]


def _positioned(
    entry: TocEntry, then: Found, states: Mapping[tuple[str, str], SequenceState]
) -> list[Step]:
    """Return what sets a sequence so that it gives out nothing that was given out before."""
    name = (entry.namespace or "", entry.tag or "")
    state = states.get(name)
    if state is None:
        return []
    owned = next((s for s in then.sequences if (s.schema, s.name) == name), None)
    most = "max" if state.increment > 0 else "min"
    edge = _edge(then, owned, most)
    old = str(state.value) if state.called else "NULL"
    best = "greatest" if most == "max" else "least"
    literal = "'" + relation_sql(*name).replace("'", "''") + "'"
    statement = (
        f"SELECT pg_catalog.setval({literal}::pg_catalog.regclass, best, true)"
        f" FROM (SELECT {best}({old}, {edge}) AS best) found WHERE best IS NOT NULL"
    )
    reason = "behind all that it gave out and all that is in the table"
    return [Run(f"position of {words(entry)}", reason, (statement,), required=False)]


def _edge(table: Found, owned: OwnedSequence | None, most: str) -> str:
    column = table.column(owned.column) if owned is not None else None
    if column is None or not column.type.startswith(_NUMBERS):
        return "NULL"
    return f"(SELECT {most}({always_quoted(column.name)})::bigint FROM {table.name.sql})"


def _key(one: Returning) -> AddKey:
    definition = (one.entry.definition or "").strip().removesuffix(";")
    already = definition.endswith("NOT VALID") or "NOT ENFORCED" in definition
    key = foreign_key(one.entry)
    return AddKey(
        f"{one.words} to {key.referenced}",
        one.reason,
        definition,
        definition if already else f"{definition} NOT VALID",
        _violators(key),
    )


def _violators(key: ForeignKey) -> str:
    table, other = relation_sql(*key.table), relation_sql(*key.referenced)
    filled = " AND ".join(f"t.{always_quoted(name)} IS NOT NULL" for name in key.columns)
    pairs = zip(key.columns, key.referenced_columns, strict=True)
    same = " AND ".join(f"o.{always_quoted(b)} = t.{always_quoted(a)}" for a, b in pairs)
    return (
        f"SELECT count(*) FROM {table} t WHERE {filled}"  # quoted
        f" AND NOT EXISTS (SELECT FROM {other} o WHERE {same})"
    )


def plan_merge(
    then: Found, now: Found, missing: str, triggers: Sequence[tuple[str, str]], where: str
) -> ReturnPlan:
    """Plan the insertion of rows that are gone. `missing` is the copy's query for them.

    `triggers` are the live table's that fire, with their state ('O' or 'A').
    """
    columns = [column for column in then.stored if _is_stored(now, column.name)]
    names = tuple(column.name for column in columns)
    shared = same_columns(then, now)
    notes = [
        f"column {column.name} is not in the live table: its values stay in the recovered copy"
        for column in then.stored
        if now.column(column.name) is None
    ]
    target, stage = now.name.sql, f"pg_temp.{always_quoted(STAGE)}"
    listed = columns_sql(names)
    steps: list[Step] = [
        Run(
            "a stage for the rows",
            "a row that is in the way is left alone, and COPY knows no such exception",
            (
                f"CREATE TEMPORARY TABLE {STAGE} ON COMMIT DROP AS"
                f" SELECT {listed} FROM {target} LIMIT 0",  # quoted
            ),
        ),
        CopyRows(
            f"rows that {'match and ' * bool(where)}are gone",
            "by key",
            f"({missing})",
            stage,
            names,
        ),
        *_silenced(target, triggers, "DISABLE"),
        Merge(
            f"rows of {now.name}",
            "only where nothing is in the way",
            f"INSERT INTO {target} ({listed}) OVERRIDING SYSTEM VALUE"  # quoted
            f" SELECT {listed} FROM {stage} ON CONFLICT DO NOTHING",
            f"SELECT count(*) FROM {stage} s JOIN {target} t ON {same_key(then.key, 's', 't')}"
            f" WHERE ROW({columns_sql((c.name for c in shared), 's.')})::pg_catalog.text"
            f" = ROW({columns_sql((c.name for c in shared), 't.')})::pg_catalog.text",
        ),
        *_silenced(target, triggers, "ENABLE"),
        *_advanced(now),
    ]
    return ReturnPlan(Way.MERGE, then.name, now.name, tuple(steps), tuple(notes))


def _is_stored(now: Found, name: str) -> bool:
    column = now.column(name)
    return column is not None and not column.generated


def _silenced(target: str, triggers: Sequence[tuple[str, str]], word: str) -> list[Step]:
    """Return what keeps triggers from changing rows, or reacting to what happened long ago."""
    if not triggers:
        return []
    statements = []
    for name, state in triggers:
        how = f"{word} ALWAYS" if (word, state) == ("ENABLE", "A") else word
        statements.append(f"ALTER TABLE {target} {how} TRIGGER {always_quoted(name)}")
    reason = "rows come back as they were" if word == "DISABLE" else "as they were set"
    return [Run(f"triggers: {word.lower()}", reason, tuple(statements))]


def _advanced(now: Found) -> list[Step]:
    """Return what moves the live table's sequences behind the rows that came back."""
    steps: list[Step] = []
    for owned in now.sequences:
        most, sign = ("max", ">") if owned.increment > 0 else ("min", "<")
        edge = _edge(now, owned, most)
        if edge == "NULL":
            continue
        literal = "'" + owned.sql.replace("'", "''") + "'"
        statement = (
            f"SELECT pg_catalog.setval({literal}::pg_catalog.regclass, edge, true)"
            f" FROM (SELECT {edge} AS edge) found, {owned.sql} s"
            f" WHERE edge {sign} s.last_value OR (edge = s.last_value AND NOT s.is_called)"
        )
        what = f"position of sequence {owned.schema}.{owned.name}"
        steps.append(Run(what, "never back, only behind the rows", (statement,), required=False))
    return steps


def _relation(entry: TocEntry) -> str:
    return relation_sql(entry.namespace or "", entry.tag or "")
