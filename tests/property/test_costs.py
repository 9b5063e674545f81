"""Costs add up, never fall when more is asked or kept, and leave nothing out."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.costs.plan import KINDS, Tally, cost_of_repository, kind_of, wal_per_day
from pgkeep.repository.metering.prices import (
    FREE,
    LIST,
    Prices,
    Tariff,
    cost_of,
    list_prices,
    monthly_cost,
)
from pgkeep.repository.metering.traffic import Traffic
from pgkeep.repository.store.base import BlobStat

NOW = 1_800_000_000.0
amounts = st.floats(0, 1000, allow_nan=False)
prices = st.builds(Prices, amounts, amounts, amounts, amounts)
counts = st.integers(0, 1 << 50)
traffics = st.builds(Traffic, *[counts] * len(Traffic._fields))
names = st.sampled_from(
    [
        "pgkeep.json",
        "keys/1",
        "clusters/main/cluster.json",
        "clusters/main/backups/b/manifest",
        "clusters/main/dumps/d/manifest",
        "clusters/main/packs/aa/aabb",
        "clusters/main/wal/7-18/00000001/00000001000000000000000A.b",
        "clusters/main/locks/backup.json",
    ]
)
blobs = st.lists(
    st.builds(BlobStat, names, st.integers(0, 1 << 40), st.floats(NOW - 1e7, NOW + 60))
)


def close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


@given(traffics, traffics, prices)
def test_what_is_asked_together_costs_what_it_costs_apart(
    one: Traffic, other: Traffic, paid: Prices
) -> None:
    assert close(cost_of(one.plus(other), paid), cost_of(one, paid) + cost_of(other, paid))
    assert one.plus(other).minus(other) == one


@given(traffics, traffics, prices)
def test_asking_more_never_costs_less(one: Traffic, more: Traffic, paid: Prices) -> None:
    assert cost_of(one.plus(more), paid) >= cost_of(one, paid) >= 0


@given(counts, counts, prices)
def test_keeping_more_never_costs_less_and_adds_up(one: int, more: int, paid: Prices) -> None:
    assert monthly_cost(one + more, paid) >= monthly_cost(one, paid) >= 0
    apart = monthly_cost(one, paid) + monthly_cost(more, paid)
    assert close(monthly_cost(one + more, paid), apart)


@given(blobs, prices)
def test_every_object_is_of_one_kind_and_all_are_paid_for(
    stored: list[BlobStat], paid: Prices
) -> None:
    tally = Tally(stored, NOW)
    found = cost_of_repository("r", Tariff(paid, listed=False), tally, None, NOW)
    assert (found.objects, found.bytes) == (len(stored), sum(blob.size for blob in stored))
    assert [kept.kind for kept in found.kept] == list(KINDS)
    for kept in found.kept:
        of_kind = [blob.size for blob in stored if kind_of(blob.name) == kept.kind]
        assert (kept.objects, kept.bytes) == (len(of_kind), sum(of_kind))
    assert close(found.per_month, monthly_cost(found.bytes, paid))


@given(st.lists(st.floats(NOW - 7 * 86400, NOW), max_size=50))
def test_the_rate_of_wal_is_never_more_than_was_archived(archived: list[float]) -> None:
    rate = wal_per_day(archived, NOW)
    assert len(archived) / 7 - 1e-9 <= rate <= len(archived)


def test_directories_and_foreign_servers_have_no_list_price() -> None:
    assert list_prices("/var/lib/pgkeep") == FREE
    assert list_prices("sftp://backup@box/srv/pgkeep") == FREE
    assert list_prices("s3://bucket/prefix?endpoint=https://minio.example.com:9000") == FREE
    assert list_prices("s3://bucket/prefix?region=eu-central-1") == LIST["s3"]
    assert cost_of(Traffic(puts=1000, deletes=10**6), LIST["s3"]) == 0.005
