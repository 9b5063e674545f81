"""The order in which references are followed, against following all until nothing is new."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.logical.sample.plan import Relation, SamplePlan, plan_sample
from pgkeep.postgres.archive.sql import ForeignKey, Name

ROWS = 12  # of each table; the plan is told of more, or it would keep them whole
Row = tuple[int, int]  # table, row


def name(table: int) -> Name:
    return Name("s", f"t{table}")


@st.composite
def databases(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], set[int]]:
    """Return how many tables there are, their keys, and which are small."""
    count = draw(st.integers(1, 7))
    table = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(table, table), max_size=12))
    return count, edges, draw(st.sets(table))


@given(databases(), st.integers())
@settings(max_examples=300, deadline=None)
def test_nothing_that_is_referenced_is_missing(
    database: tuple[int, list[tuple[int, int]], set[int]], seed: int
) -> None:
    count, edges, small = database
    dice = random.Random(seed)
    plan = plan_sample(
        [Relation(100 + n, name(n), 100 + n, 0, False, False) for n in range(count)],
        {name(n): 10 if n in small else 5000 for n in range(count)},
        [
            ForeignKey(f"k{k}", name(a), (f"c{k}",), name(b), ("id",), "")
            for k, (a, b) in enumerate(edges)
        ],
        share=0.1,
        seed=0,
    )
    values = {
        (table, row, f"c{k}"): dice.choice([None, *range(ROWS)])
        for k, (table, _) in enumerate(edges)
        for row in range(ROWS)
    }
    begin = {
        (table, row)
        for table in range(count)
        for row in range(ROWS)
        if table in small or dice.random() < 0.2
    }
    expected, left = set(begin), list(begin)
    while left:
        table, row = left.pop()
        for k, (source, target) in enumerate(edges):
            value = values.get((table, row, f"c{k}")) if source == table else None
            if value is not None and (target, value) not in expected:
                expected.add((target, value))
                left.append((target, value))
    assert followed(plan, begin, values) == expected


def followed(
    plan: SamplePlan, begin: set[Row], values: dict[tuple[int, int, str], int | None]
) -> set[Row]:
    """Carry out a plan as the statements do: each row once, in the round after it was found."""
    tables = [int(family.root.name[1:]) for family in plan.families]
    rounds = dict.fromkeys(begin, 0)
    now = 0
    for step in plan.steps:
        first = 0
        while True:
            found = list[Row]()
            for edge in step.edges:
                source, target = tables[edge.source], tables[edge.target]
                keys = [
                    values[table, row, edge.columns[0]]
                    for (table, row), at in rounds.items()
                    if table == source and first <= at <= now
                ]
                new = {(target, key) for key in keys if key is not None} - rounds.keys()
                rounds.update(dict.fromkeys(new, now + 1))
                found += new
            first = now = now + 1
            if not found or not step.repeat:
                break
    return set(rounds)


def circles(plan: SamplePlan) -> Sequence[bool]:
    return [step.repeat for step in plan.steps]


@given(st.permutations(range(6)))
def test_without_circles_every_key_is_followed_once(order: Sequence[int]) -> None:
    pairs = [(order[a], order[b]) for a in range(6) for b in range(a + 1, 6)]
    plan = plan_sample(
        [Relation(100 + n, name(n), 100 + n, 0, False, False) for n in range(6)],
        {name(n): 5000 for n in range(6)},
        [ForeignKey("k", name(a), ("c",), name(b), ("id",), "") for a, b in pairs],
        share=0.1,
        seed=0,
    )
    assert not any(circles(plan))
    assert sum(len(step.edges) for step in plan.steps) == len(pairs)
