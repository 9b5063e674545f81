"""What a census says must be in a restored copy, and what of it is not. Pure.

A partitioned table is judged as a whole: partitions come and go. Tables that are not logged are
empty after every recovery, and foreign tables hold nothing here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from pgkeep.drill.finding import Finding, failed, passed, untested
from pgkeep.model.census import Database, Relation

_TABLES: Final = frozenset("rpmf")  # pg_class.relkind: tables, partitioned, materialized, foreign
_HOLDING: Final = frozenset("rpm")
_OWN: Final = frozenset({"pg_catalog", "information_schema", "pg_toast"})


class Name(NamedTuple):
    """A table of a database."""

    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Expected:
    """A table that the census knows."""

    name: Name
    had_rows: bool
    partition_of: Name | None = None  # the topmost partitioned table


@dataclass(frozen=True, slots=True)
class There:
    """A table of the copy."""

    oid: int
    name: Name
    kind: str
    logged: bool
    populated: bool  # False: a materialized view that was never filled
    root: int = 0  # oid of the topmost partitioned table, of a partition or itself


@dataclass
class Outcome:
    """What was found, database by database."""

    tables: int = 0
    problems: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    excused: int = 0

    def finding(self, when: str) -> Finding:
        """Say what it comes to; `when` the census was taken."""
        counted = f"{self.tables:,} tables of the census of {when}"
        if self.problems:
            many = f"{len(self.problems)} are" if len(self.problems) > 1 else "1 is"
            evidence = [*self.problems, *self.unread]
            return failed(f"of {counted}, {many} missing or empty", evidence)
        if self.unread:
            return untested(f"not all could be asked, of {counted}", self.unread)
        excused = f"; {self.excused} excused by may_be_empty" if self.excused else ""
        return passed(f"{counted} are there, with rows where there were rows{excused}")


def expected_of(database: Database) -> list[Expected]:
    """Return the tables of a database that a census expects."""
    tables = [
        one
        for one in database.relations
        if one.kind in _TABLES and one.schema not in _OWN and not one.schema.startswith("pg_temp")
    ]
    by_oid = {one.oid: one for one in tables}
    roots = {one.oid: _root(one, by_oid) for one in tables}
    filled = {
        root.oid
        for one in tables
        if (root := roots[one.oid]) is not None and one.kind in _HOLDING and _has_rows(one)
    }
    found = []
    for one in tables:
        root = roots[one.oid]
        rows = one.oid in filled if one.kind == "p" else _has_rows(one)
        part_of = root if root is not None and root.oid != one.oid else None
        found.append(
            Expected(
                Name(one.schema, one.name),
                rows and one.kind in _HOLDING,
                Name(part_of.schema, part_of.name) if part_of is not None else None,
            )
        )
    return found


def _root(relation: Relation, by_oid: Mapping[int, Relation]) -> Relation | None:
    """Return the topmost partitioned table; None for a table that has nothing to do with one."""
    seen: set[int] = set()
    while relation.parent in by_oid and relation.oid not in seen:
        seen.add(relation.oid)  # a census that lies must not turn us in circles
        relation = by_oid[relation.parent]
    return relation if relation.kind == "p" else None


def _has_rows(relation: Relation) -> bool:
    """Tell whether there were rows: by the planner's estimate, else by the size of the file."""
    return relation.rows > 0 if relation.rows >= 0 else relation.size > 0


def missing(
    database: str, expected: Sequence[Expected], there: Mapping[Name, There], outcome: Outcome,
    may_be_empty: Sequence[str],
) -> list[There]:  # fmt: skip
    """Note the tables that are not there; return those of which rows are expected."""
    to_ask: list[There] = []
    for one in expected:
        found = there.get(one.name)
        if found is None:
            if one.partition_of is not None and one.partition_of in there:
                continue  # its table is there, and is asked as a whole
            _note(outcome, database, one.name, "is not there", may_be_empty)
        elif one.had_rows and one.partition_of is None and found.logged and found.populated:
            to_ask.append(found)
    return to_ask


def empty(database: str, found: There, outcome: Outcome, may_be_empty: Sequence[str]) -> None:
    """Note a table that has no rows, although it had some."""
    _note(outcome, database, found.name, "is empty, and had rows", may_be_empty)


def leaves(found: There, there: Iterable[There]) -> list[There]:
    """Return the tables on this machine that hold the rows of a table: itself, or partitions.

    Foreign partitions are none: asking them would ask another server.
    """
    if found.kind != "p":
        return [found]
    return [one for one in there if one.root == found.oid and one.kind == "r" and one.logged]


def _note(
    outcome: Outcome, database: str, name: Name, what: str, may_be_empty: Sequence[str]
) -> None:
    full = f"{database}.{name.schema}.{name.table}"
    if any(fnmatchcase(full, pattern) for pattern in may_be_empty):
        outcome.excused += 1
    else:
        outcome.problems.append(f"{full} {what}")
