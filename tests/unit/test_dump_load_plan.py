"""Which tables are loaded together, which in parts; and what their statements mean."""

import pytest

from pgkeep.logical.load.plan import Unit, cuts, plan_units, workers
from pgkeep.logical.load.tables import (
    CannotLoad,
    TableData,
    copy_into,
    copy_target,
    encoded,
    relation_sql,
)
from pgkeep.units import MIB


def table(statement: str, schema: str = "s", name: str = "t") -> TableData:
    return TableData(7, schema, name, statement, "1/7.dat", None, 5)


@pytest.mark.parametrize(
    ("statement", "copy"),
    [
        ('COPY "s"."t" ("a", "b") FROM stdin;\n', 'COPY "s"."t" ("a", "b") FROM STDIN'),
        ("COPY public.t (id) FROM stdin;", 'COPY "public"."t" ("id") FROM STDIN'),
        ('COPY "s"."t"  FROM stdin;\n', 'COPY "s"."t" FROM STDIN'),
        ("COPY orders (id) FROM stdin;\n", 'COPY "s"."orders" ("id") FROM STDIN'),
        (
            'COPY "a.b"."FROM stdin; (""x"")" ("c, d", "e)", "f""g") FROM stdin;\n',
            'COPY "a.b"."FROM stdin; (""x"")" ("c, d", "e)", "f""g") FROM STDIN',
        ),
    ],
)
def test_statements_that_pg_dump_writes(statement: str, copy: str) -> None:
    target = copy_target(table(statement), "UTF8")
    assert copy_into(relation_sql(target.table), target.columns) == copy


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT 1",
        "COPY s.t (a) TO stdout;",
        "COPY s.t (a) FROM '/etc/passwd';",
        "COPY s.t (a) FROM stdin; DROP TABLE t; COPY s.t (a) FROM stdin;",
        "COPY s.t (a); DROP TABLE t; --(b) FROM stdin;",
        "COPY s.t (a b) FROM stdin;",
        "COPY s.t.u (a) FROM stdin;",
        "COPY s.t (a) FROM stdin WHERE pg_sleep(1) IS NULL;",
        "COPY s.t (a) WITH OIDS FROM stdin;",
        'COPY s.t (a, "b) FROM stdin;',
    ],
)
def test_nothing_else_is_run(statement: str) -> None:
    with pytest.raises(CannotLoad, match=r"cannot load table s\.t: its statement is no COPY"):
        copy_target(table(statement), "UTF8")


def test_copies_are_sent_in_the_bytes_of_the_archive() -> None:
    target = copy_target(table('COPY "s"."caf\udce9" ("a") FROM stdin;\n'), "LATIN1")
    sent = encoded(copy_into(relation_sql(target.table), target.columns))
    assert sent == b'COPY "s"."caf\xe9" ("a") FROM STDIN'
    assert table("", name="caf\udce9").words("LATIN1") == "s.caf\xe9"


@pytest.mark.parametrize(
    ("sizes", "jobs", "expected"),
    [
        pytest.param([], 2, [], id="nothing"),
        pytest.param([5, 9, 7], 2, [Unit((1, 2, 0))], id="small ones together"),
        pytest.param([10, 900], 1, [Unit((1,)), Unit((0,))], id="the largest first"),
        pytest.param([900, 900], 2, [Unit((0,)), Unit((1,))], id="one for each worker"),
        pytest.param([900], 1, [Unit((0,))], id="one worker has nobody to share with"),
        pytest.param([1000], 2, [Unit((0,), 8)], id="a part for each worker, and some"),
        pytest.param([127], 2, [Unit((0,))], id="not worth cutting"),
        pytest.param([130], 2, [Unit((0,), 2)], id="just worth cutting"),
        pytest.param([900, 300, 100], 2, [Unit((0,), 6), Unit((1,)), Unit((2,))], id="the rest"),
    ],
)
def test_units(sizes: list[int], jobs: int, expected: list[Unit]) -> None:
    assert list(plan_units([size * MIB for size in sizes], jobs)) != [] or not sizes
    scale = MIB if max(sizes, default=0) > 9 else 1
    assert list(plan_units([size * scale for size in sizes], jobs)) == expected


def test_many_small_tables_share_tasks_but_not_one() -> None:
    units = list(plan_units([5] * 1000, 2))
    assert [len(unit.tables) for unit in units] == [256, 256, 256, 232]
    assert sorted(index for unit in units for index in unit.tables) == list(range(1000))
    halves = list(plan_units([MIB // 2] * 5, 2))
    assert [len(unit.tables) for unit in halves] == [2, 2, 1]


def test_little_is_loaded_without_other_processes() -> None:
    assert workers(31 * MIB, 10, 4) == 1
    assert workers(33 * MIB, 10, 4) == 4
    assert workers(33 * MIB, 10, 0) == 1
    assert workers(5000, 1100, 4) == 4


@pytest.mark.parametrize(
    ("sizes", "parts", "expected"),
    [
        ([10] * 8, 2, [4]),
        ([10] * 8, 4, [2, 4, 6]),
        ([10] * 8, 3, [3, 6]),
        ([80, 1, 1], 3, [1, 2]),
        ([1, 1, 80], 2, []),
        ([10], 4, []),
        ([], 4, []),
    ],
)
def test_cuts(sizes: list[int], parts: int, expected: list[int]) -> None:
    assert cuts(sizes, parts) == expected
