"""What the census commands print."""

import json
from dataclasses import replace

import pytest

from pgkeep.cli.census import text
from pgkeep.cli.text import Look, plain
from pgkeep.repository.census.shelf import (
    NotInCensus,
    census_facts,
    database_named,
    listed,
    write_census,
)
from support.censuses import census_at, some_census
from support.manifests import cluster_folder


def test_a_census_tells_what_it_has_and_what_it_lacks() -> None:
    facts = write_census(cluster_folder(), some_census())
    assert text.taken(facts, Look()) == (
        "census 20261128T003000Z-8000 of cluster main was taken\n"
        "  taken         2026-11-28 00:30:00 UTC\n"
        "  WAL position  0/4A000158 of timeline 1\n"
        "  generation    18-7710983248089545577\n"
        "  holds         6 relations in 2 databases\n"
        "  without database closed: it allows no connections"
    )
    assert text.shown(facts, Look()).endswith(
        "\n\n"
        "  OID  DATABASE  RELATIONS\n"
        "    5  postgres          1\n"
        "16383  shop              5"
    )  # fmt: skip
    shown = json.loads(json.dumps(plain(text.facts(facts))))
    assert shown["databases"][1] == {"oid": 16383, "name": "shop", "relations": 5}
    assert shown["unread"] == [{"name": "closed", "why": "it allows no connections"}]


def test_the_list_has_the_newest_last() -> None:
    cluster = cluster_folder()
    assert text.listing("main", listed(cluster), Look()) == (
        "cluster main has no census yet: pgkeep census take, or pgkeep backup"
    )
    for hour in (2, 1):
        write_census(cluster, census_at(hour))
    rows = text.listing("main", listed(cluster), Look()).splitlines()
    assert [row.split("  ")[:2] for row in rows[1:]] == [
        ["20261128T013000Z-8000", "2026-11-28 01:30:00 UTC"],
        ["20261128T023000Z-8000", "2026-11-28 02:30:00 UTC"],
    ]


def test_relations_are_shown_with_all_that_leads_to_them() -> None:
    census = some_census()
    facts = write_census(cluster_folder(), census)
    shop = census.databases[1]
    shown = text.database(facts, shop, text.chosen(shop, system=False), Look())
    assert [" ".join(line.split()) for line in shown.splitlines()[1:-1]] == [
        "RELATION KIND SIZE ROWS KEY FILE",
        "public.orders table 80 KiB 1,000 customer, number 1663/16383/16390",
        "public.orders_pkey index 40 KiB 1663/16383/16389",
        r'the "odd".2026\n11 unlogged table 16500/16383/16400',
    ]
    everything = text.chosen(shop, system=True)
    assert len(everything) == len(shop.relations)
    assert text.relation_facts(everything)[0]["key"] == ["oid"]
    nothing = text.database(facts, replace(shop, relations=()), (), Look())
    assert nothing.endswith("it holds nothing but PostgreSQL's own catalogs")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("shpo", "census 20261128T003000Z-8000 has none of that name"),
        ("closed", "it is not in census 20261128T003000Z-8000: it allows no connections"),
    ],
)
def test_a_database_that_is_not_in_it_is_told_with_the_reason(name: str, why: str) -> None:
    cluster = cluster_folder()
    facts = census_facts(cluster, write_census(cluster, some_census()).id)
    assert database_named(facts, "shop").oid == 16383
    with pytest.raises(NotInCensus) as error:
        database_named(facts, name)
    assert str(error.value) == f"cannot show database {name!r} of cluster main: {why}"
