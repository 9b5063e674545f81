"""Finds the rows of a sample: those taken by chance, and those that they reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pgkeep.logical.encodings import readable
from pgkeep.logical.load.tables import encoded, literal
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.logical.sample import statements
from pgkeep.logical.sample.plan import CannotSample, Edge, Relation, SamplePlan, Step
from pgkeep.logical.sample.statements import ColumnType
from pgkeep.postgres.archive.sql import Name, always_quoted
from pgkeep.progress import Progress

SCRATCH: Final = "pgkeep_sample"
_RELATIONS: Final = """
SELECT c.oid, n.nspname, c.relname, coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid),
       CASE WHEN c.relispartition THEN (SELECT i.inhparent FROM pg_catalog.pg_inherits i
                                        WHERE i.inhrelid = c.oid LIMIT 1) ELSE 0 END,
       c.relkind = 'p', c.relkind = 'f'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.oid
"""
_TYPES: Final = """
SELECT n.nspname, c.relname, a.attname, tn.nspname, t.typtype IN ('r', 'm')
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
  AND (n.nspname, c.relname) IN ({})
"""


class Chooser:
    """Finds the rows to keep."""

    def __init__(self, wire: Wire, encoding: str, plan: SamplePlan) -> None:
        self._wire = wire
        self._encoding = encoding
        self._plan = plan
        self._linked = [family for family in plan.families if family.linked]
        self._types = _types(wire, plan)
        self._round = 0

    def choose(self, progress: Progress) -> None:
        circular = {e.source for s in self._plan.steps if s.repeat for e in s.edges}
        progress.phase("choosing rows", len(self._linked) + len(self._plan.steps), "steps")
        run(self._wire, f"CREATE SCHEMA {always_quoted(SCRATCH)}")
        run(self._wire, statements.search_path(self._types.values()))
        done = 0
        for family in self._linked:
            progress.detail(words(family.root, self._encoding))
            with self._told(family.root):
                run(self._wire, statements.begin_keeping(SCRATCH, family, self._plan))
                for statement in (
                    statements.index_keeping(SCRATCH, family) if family.number in circular else ()
                ):
                    run(self._wire, statement)
            progress.advance(done := done + 1)
        for step in self._plan.steps:
            self._follow(step)
            progress.advance(done := done + 1)

    def _follow(self, step: Step) -> None:
        """Add what is referenced. Of keys in a circle, until nothing is."""
        for number in sorted({edge.source for edge in step.edges}):
            run(self._wire, f"ANALYZE {statements.keep_table(SCRATCH, number)}")
        indexes = list(self._index(step)) if step.repeat else []
        first = 0
        while True:
            found = sum(self._follow_one(edge, (first, self._round)) for edge in step.edges)
            first = self._round = self._round + 1
            if not found or not step.repeat:
                break
        for index in indexes:
            run(self._wire, f"DROP INDEX {index}")

    def _index(self, step: Step) -> Iterator[str]:
        """Make what is referenced quick to find: a chain of 1,000 rows takes as many rounds."""
        made = set[tuple[Name, tuple[str, ...]]]()
        for edge in step.edges:
            place = (edge.referenced, edge.referenced_columns)
            if place not in made:
                made.add(place)
                name = f"pgkeep_sample_{len(made)}"
                with self._told(edge.referenced):
                    run(self._wire, statements.index_referenced(edge, name))
                yield f"{always_quoted(edge.referenced.schema)}.{always_quoted(name)}"

    def _follow_one(self, edge: Edge, rounds: tuple[int, int]) -> int:
        with self._told(edge.referenced):
            return run(
                self._wire,
                statements.follow(SCRATCH, edge, self._plan.families, self._types, rounds),
            )

    @contextmanager
    def _told(self, table: Name) -> Iterator[None]:
        with told(words(table, self._encoding)):
            yield


def count_kept(wire: Wire, encoding: str, plan: SamplePlan) -> dict[int, tuple[int, int]]:
    """Return the rows to keep of every leaf that has a list of them."""
    found = dict[int, tuple[int, int]]()
    for family in plan.families:
        if family.linked:
            with told(words(family.root, encoding)):
                for oid, kept, referenced in rows_of(wire, statements.kept(SCRATCH, family)):
                    found[int(oid)] = (int(kept), int(referenced))
    return found


@contextmanager
def told(what: str) -> Iterator[None]:
    try:
        yield
    except Refused as no:
        raise CannotSample(what, no.why) from no


def find_relations(wire: Wire) -> list[Relation]:
    return [
        Relation(
            int(oid), Name(schema, name), int(root), int(parent), partitioned == "t", foreign == "t"
        )
        for oid, schema, name, root, parent, partitioned, foreign in rows_of(wire, _RELATIONS)
    ]


def _types(wire: Wire, plan: SamplePlan) -> dict[tuple[Name, str], ColumnType]:
    """Return the types of all referenced columns."""
    tables = dict.fromkeys(edge.referenced for step in plan.steps for edge in step.edges)
    listed = ", ".join(f"({literal(name.schema)}, {literal(name.name)})" for name in tables)
    return {
        (Name(schema, table), column): ColumnType(type_schema, ranges == "t")
        for schema, table, column, type_schema, ranges in rows_of(
            wire, _TYPES.format(listed or "(NULL, NULL)")
        )
    }


def run(wire: Wire, statement: str) -> int:
    return wire.run(encoded(statement)).rowcount


def rows_of(wire: Wire, statement: str) -> list[list[str]]:
    found = wire.run(encoded(statement)).rows
    return [[(value or b"").decode("utf-8", "surrogateescape") for value in row] for row in found]


def words(name: Name, encoding: str) -> str:
    return readable(f"{name.schema}.{name.name}", encoding)
