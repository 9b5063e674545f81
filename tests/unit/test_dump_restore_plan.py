"""Which entries of an archive a restore takes, and what each brings along."""

import pytest

from pgkeep.logical.patterns import chosen
from pgkeep.logical.restoring.plan import EntryPlan, plan_entries
from pgkeep.model.dump import Selection
from pgkeep.postgres.archive.toc import TocEntry
from support.pg_archives import data, entry


def needing(dump_id: int, desc: str, tag: str, *needs: int, definition: str = "") -> TocEntry:
    return entry(
        dump_id, desc, tag, dependencies=tuple(map(str, needs)), definition=definition or None
    )


def key(dump_id: int, needs: tuple[int, ...], more: str = "") -> TocEntry:
    text = (
        "ALTER TABLE ONLY shop.orders ADD CONSTRAINT fk FOREIGN KEY (customer) REFERENCES "
        f"shop.customers(id){more};\n"
    )
    return needing(dump_id, "FK CONSTRAINT", "orders fk", *needs, definition=text)


OWNED = 'ALTER SEQUENCE "shop"."orders_id_seq" OWNED BY "shop"."orders"."id";\n'
SHOP = [
    entry(1, "EXTENSION", "pg_trgm", namespace=None),
    needing(2, "FUNCTION", "touch()"),
    needing(3, "SEQUENCE", "orders_id_seq"),
    needing(4, "TABLE", "customers"),
    needing(5, "SEQUENCE", "customers_id_seq", 4),  # of an identity column
    needing(6, "TABLE", "orders"),
    needing(7, "SEQUENCE OWNED BY", "orders_id_seq", 3, definition=OWNED),
    needing(8, "DEFAULT", "orders id", 3, 6),
    data(9, "customers", dependencies=("4",)),
    data(10, "orders", dependencies=("6",)),
    needing(11, "SEQUENCE SET", "orders_id_seq", 3),
    needing(12, "CONSTRAINT", "customers customers_pkey", 4),
    needing(13, "INDEX", "customers_note", 1, 4),
    needing(14, "TRIGGER", "orders touch", 2, 6),
    key(15, (12, 6, 4)),
    needing(16, "COMMENT", "CONSTRAINT fk ON orders", 15),
    needing(17, "PUBLICATION", "news"),
    needing(18, "PUBLICATION TABLE", "news orders", 17, 6),
    needing(19, "COMMENT", 'SCHEMA "public"', 999),
]


def planned(entries: list[TocEntry], **selection: object) -> EntryPlan:
    wanted = Selection(**selection)  # type: ignore[arg-type]
    return plan_entries(
        entries,
        None if wanted.whole else chosen(wanted),
        schema_only=False,
        privileges=True,
        encoding="UTF8",
    )


def ids(plan: EntryPlan) -> set[int]:
    return {one.dump_id for one in (*plan.definitions, *plan.data)}


@pytest.mark.parametrize(
    ("selection", "gone"),
    [
        pytest.param({}, set(), id="everything"),
        pytest.param(
            {"exclude_tables": ("customers",)}, {4, 5, 9, 12, 13, 15, 16}, id="all but a table"
        ),
        pytest.param({"exclude_table_data": ("customers",)}, {9, 15, 16}, id="all but rows"),
        pytest.param(
            {"exclude_tables": ("orders",)},
            {6, 7, 8, 10, 14, 15, 16, 18},
            id="its sequence stays, as with pg_dump",
        ),
        pytest.param(
            {"tables": ("orders",)}, {1, 4, 5, 9, 12, 13, 15, 16, 17, 18, 19}, id="one table"
        ),
        pytest.param(
            {"tables": ("customers",)},
            {2, 3, 6, 7, 8, 10, 11, 14, 15, 16, 17, 18, 19},
            id="one with an extension",
        ),
    ],
)
def test_what_comes_with_what(selection: dict[str, object], gone: set[int]) -> None:
    assert ids(planned(SHOP, **selection)) == {one.dump_id for one in SHOP} - gone


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        pytest.param(
            [one for one in SHOP if one.dump_id != 9],
            ["foreign key orders fk: the rows of table shop.customers do not come"],
            id="dumped without its rows",
        ),
        pytest.param(
            [one for one in SHOP if one.dump_id not in (9, 10)], [], id="no rows at either end"
        ),
        pytest.param([*SHOP[:8], SHOP[9], key(15, (4, 6), " NOT VALID")], [], id="never checked"),
        pytest.param(
            [SHOP[5], SHOP[9], key(15, (6,))],
            ["foreign key orders fk: table shop.customers is not in the dump"],
            id="dumped without the other table",
        ),
        pytest.param([SHOP[0], SHOP[5], SHOP[9], key(15, (6,))], [], id="an extension may have it"),
    ],
)
def test_keys_that_cannot_hold_are_left_out(entries: list[TocEntry], said: list[str]) -> None:
    plan = planned(entries)
    assert list(plan.left_out) == said
    assert (15 in ids(plan)) is not bool(said)


def test_a_partitioned_table_lacks_what_a_partition_lacks() -> None:
    parted = "CREATE TABLE shop.customers (id int)\nPARTITION BY RANGE (id);\n"
    entries = [
        needing(1, "TABLE", "customers", definition=parted),
        needing(2, "TABLE", "old"),
        needing(3, "TABLE", "new"),
        needing(4, "TABLE ATTACH", "old", 1, 2),
        needing(5, "TABLE ATTACH", "new", 1, 3),
        needing(6, "TABLE", "orders"),
        data(7, "old", dependencies=("2",)),
        data(8, "new", dependencies=("3",)),
        data(9, "orders", dependencies=("6",)),
        key(10, (6, 1)),
    ]
    assert ids(planned(entries)) == set(range(1, 11))
    plan = planned(entries, exclude_table_data=("old",))
    assert plan.left_out == ("foreign key orders fk: the rows of table shop.old do not come",)
    assert ids(planned(entries, tables=("customers",))) == {1, 2, 3, 4, 5, 7, 8}


def test_rows_of_foreign_tables_stay_away() -> None:
    entries = [needing(1, "FOREIGN TABLE", "far"), data(2, "far", dependencies=("1",))]
    plan = planned(entries)
    assert ids(plan) == {1}
    assert len(plan.left_out) == 1
    assert planned([data(2, "far")]).rows_without_tables == 1
