"""Which rows a sample begins with, and in what order references are followed. Pure.

A family is a table with all its partitions: keys reference it as one. Families that reference each
other in a circle are followed round after round, all others once, those that reference first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.postgres.archive.sql import ForeignKey, Name

SMALL: Final = 1000  # rows: what looks things up is of little use in part, and costs nothing whole
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class CannotSample(PgkeepError):
    """No sample of the restored rows could be made."""

    code = "cannot-sample"
    exit_status = 226

    what: str  # '' or a table's name
    why: str

    def __str__(self) -> str:
        return f"cannot make a sample{f' of {self.what}' if self.what else ''}: {self.why}"

    @property
    def hint(self) -> str:
        return "write --sample like 10%; without it everything is restored"


class Relation(NamedTuple):
    """A table, partitioned table or partition of the restored database."""

    oid: int
    name: Name
    root: int  # the oid of the topmost partitioned table; its own if it is no partition
    parent: int  # of a partition; 0
    partitioned: bool
    foreign: bool


class Edge(NamedTuple):
    """A foreign key between families."""

    source: int  # family
    within: tuple[int, ...]  # the key is only of these leaves; () of all
    columns: tuple[str, ...]
    target: int  # family
    referenced: Name
    only: bool  # without tables that inherit from it
    referenced_columns: tuple[str, ...]


class Family(NamedTuple):
    """A table with its partitions."""

    number: int
    root: Name
    partitioned: bool
    leaves: tuple[Relation, ...]  # tables that hold rows
    rows: int
    whole: bool  # every row is kept
    why_whole: str
    carried: tuple[str, ...]  # columns by which its rows reference others
    linked: bool  # a key of the plan begins or ends here: it gets a list of rows to keep


class Step(NamedTuple):
    """Keys that are followed together."""

    edges: tuple[Edge, ...]
    repeat: bool  # until nothing new is found


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How a sample is made."""

    share: float
    seed: int
    families: tuple[Family, ...]
    steps: tuple[Step, ...]

    @property
    def threshold(self) -> int:
        """Return the hash, of 63 bits, below which a row is taken by chance."""
        return int(self.share * (1 << 63))


def parse_share(text: str) -> float:
    """Read '10%' as 0.1. Raise CannotSample."""
    match = _SHARE.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) < 100:
        raise CannotSample("", f"{text!r} is no share between 0% and 100%")
    return float(match[1]) / 100


def plan_sample(
    relations: Sequence[Relation],
    rows: Mapping[Name, int],
    keys: Iterable[ForeignKey],
    *,
    share: float,
    seed: int,
) -> SamplePlan:
    """Plan a sample of the tables in `rows`, which were loaded; keys of others are passed over."""
    grouped = _grouped(relations, rows)
    place = {relation.oid: number for number, group in enumerate(grouped) for relation in group}
    whole = [_why_whole(group, rows) for group in grouped]
    names = {relation.name: relation for relation in relations if relation.oid in place}
    edges = []
    for key in keys:
        source, target = names.get(key.table), names.get(key.referenced)
        if source is not None and target is not None and not whole[place[target.oid]]:
            edges.append(_edge(key, source, target, place, relations))
    linked = {edge.source for edge in edges} | {edge.target for edge in edges}
    families = []
    for number, group in enumerate(grouped):
        carried = (edge.columns for edge in edges if edge.source == number)
        families.append(
            Family(
                number,
                group[0].name,
                group[0].partitioned,
                tuple(relation for relation in group if not relation.partitioned),
                _rows(group, rows),
                bool(whole[number]),
                whole[number],
                tuple(dict.fromkeys(column for columns in carried for column in columns)),
                number in linked,
            )
        )
    return SamplePlan(share, seed, tuple(families), tuple(_steps(len(families), edges)))


def _grouped(relations: Sequence[Relation], rows: Mapping[Name, int]) -> list[list[Relation]]:
    """Return families that have rows, the root of each first."""
    groups = dict[int, list[Relation]]()
    for relation in sorted(relations, key=lambda relation: relation.oid != relation.root):
        groups.setdefault(relation.root, []).append(relation)
    return [group for group in groups.values() if _rows(group, rows)]


def _rows(group: Sequence[Relation], rows: Mapping[Name, int]) -> int:
    return sum(rows.get(relation.name, 0) for relation in group)


def _why_whole(group: Sequence[Relation], rows: Mapping[Name, int]) -> str:
    if any(relation.foreign for relation in group):
        return "its rows are on another server"
    return f"it has fewer than {SMALL} rows" if _rows(group, rows) < SMALL else ""


def _edge(
    key: ForeignKey,
    source: Relation,
    target: Relation,
    place: Mapping[int, int],
    relations: Sequence[Relation],
) -> Edge:
    within = () if source.oid == source.root else tuple(_leaves(source, relations))
    return Edge(
        place[source.oid],
        within,
        key.columns,
        place[target.oid],
        target.name,
        not target.partitioned,
        key.referenced_columns,
    )


def _leaves(top: Relation, relations: Sequence[Relation]) -> Iterator[int]:
    """Yield the tables below a relation, or itself."""
    if not top.partitioned:
        yield top.oid
    for relation in relations:
        if relation.parent == top.oid:
            yield from _leaves(relation, relations)


def _steps(count: int, edges: Sequence[Edge]) -> Iterator[Step]:
    from_family = dict[int, list[Edge]]()
    for edge in edges:
        from_family.setdefault(edge.source, []).append(edge)
    for circle in _circles(count, edges):
        mine = [edge for family in sorted(circle) for edge in from_family.get(family, [])]
        inside = tuple(edge for edge in mine if edge.target in circle)
        if inside:
            yield Step(inside, repeat=True)
        onward = tuple(edge for edge in mine if edge.target not in circle)
        if onward:
            yield Step(onward, repeat=False)


def _circles(count: int, edges: Sequence[Edge]) -> list[set[int]]:
    """Return the strongly connected parts of the graph, what references before what is referenced.

    Tarjan's algorithm, without recursion.
    """
    onward = [list[int]() for _ in range(count)]
    for edge in edges:
        onward[edge.source].append(edge.target)
    order, low = dict[int, int](), dict[int, int]()
    waiting, found = dict[int, None](), list[set[int]]()  # the stack; a dict keeps the order
    for start in range(count):
        path = [] if start in order else [(start, iter(onward[start]))]
        while path:
            node, coming = path[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                waiting[node] = None
            following = next(coming, None)
            if following is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    found.append(set(_popped(waiting, node)))
            elif following not in order:
                path.append((following, iter(onward[following])))
            elif following in waiting:
                low[node] = min(low[node], order[following])
    return found[::-1]


def _popped(stack: dict[int, None], last: int) -> Iterator[int]:
    node = -1
    while node != last:
        node, _ = stack.popitem()
        yield node
