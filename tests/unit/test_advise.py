"""The adviser: tighter wishes never bring looser plans, and every config it writes is valid."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.advise.facts import METHODS
from pgkeep.advise.plan import Plan, advise
from pgkeep.advise.wishes import DAY, GIB, Hosting, Provider, Wishes
from pgkeep.advise.writing import config_text, settings_text
from pgkeep.config.whole import read_config

wishes = st.builds(
    Wishes,
    rpo=st.floats(1, 7 * DAY),
    rto=st.floats(60, 7 * DAY),
    size=st.floats(1e6, 1e14),
    wal_per_day=st.floats(0, 1e13),
    growth=st.floats(-0.5, 5),
    hosting=st.sampled_from(Hosting),
    provider=st.sampled_from(Provider),
    window=st.integers(0, 60).map(lambda days: days * DAY),
    daily=st.integers(0, 30),
    weekly=st.integers(0, 8),
    monthly=st.integers(0, 36),
    table_level=st.booleans(),
    offsite=st.booleans(),
    budget=st.none() | st.floats(0, 1e5),
    major=st.integers(14, 18),
)
factors = st.floats(0.01, 1)


def by_name(found: list[Plan]) -> dict[str, Plan]:
    return {plan.name: plan for plan in found}


@given(wishes)
@settings(deadline=None)
def test_there_is_a_choice_and_one_is_recommended(wanted: Wishes) -> None:
    plans = advise(wanted)
    assert len(plans) in (2, 3)
    assert [plan.recommended for plan in plans] == [True] + [False] * (len(plans) - 1)
    if any(plan.fits for plan in plans):
        assert plans[0].fits
        cheapest = min(plan.cost.month for plan in plans if plan.fits)
        assert plans[0].cost.month == cheapest
    assert plans[0].why
    assert all(plan.arithmetic and plan.rules for plan in plans)


@given(wishes, factors)
@settings(deadline=None)
def test_a_tighter_rpo_never_gives_a_looser_plan(wanted: Wishes, factor: float) -> None:
    before = by_name(advise(wanted))
    after = by_name(advise(replace(wanted, rpo=wanted.rpo * factor)))
    for name, plan in after.items():
        assert plan.archive_timeout <= before[name].archive_timeout
        # One that cannot meet it at all may fall back to what it can carry out.
        if plan.rpo <= wanted.rpo * factor:
            assert plan.rpo <= before[name].rpo or before[name].rpo > wanted.rpo


@given(wishes, st.floats(1, 50))
@settings(deadline=None)
def test_more_never_costs_less(wanted: Wishes, factor: float) -> None:
    before = by_name(advise(wanted))
    larger = by_name(advise(replace(wanted, size=wanted.size * factor)))
    longer = by_name(advise(replace(wanted, window=wanted.window * factor)))
    busier = by_name(advise(replace(wanted, wal_per_day=wanted.wal_per_day * factor)))
    for name in before.keys() & {"recovery", "recovery-fast", "managed"}:
        assert larger[name].rto >= before[name].rto
        assert busier[name].rto >= before[name].rto
        assert longer[name].storage.year >= before[name].storage.year
        assert busier[name].storage.year >= before[name].storage.year


@given(wishes)
@settings(deadline=None)
def test_what_is_said_to_fit_does(wanted: Wishes) -> None:
    for plan in advise(wanted):
        if plan.fits:
            assert plan.rpo <= wanted.rpo
            assert plan.rto <= wanted.rto
            assert wanted.budget is None or plan.cost.month <= wanted.budget


@given(wishes, st.sampled_from(["main", "a.b", "shop-2"]))
@settings(deadline=None)
def test_every_config_is_valid(wanted: Wishes, cluster: str) -> None:
    for plan in advise(wanted):
        text = config_text(plan, wanted, cluster=cluster)
        config = read_config(tomllib.loads(text), "pgkeep.toml", text)
        assert len(config.repository) == 1 + plan.copies
        assert config.clusters[cluster].retention.window == round(wanted.window)
        statements = settings_text(plan, wanted)
        assert ("summarize_wal" in statements) == (plan.archive_timeout > 0 and wanted.major >= 17)


def test_a_managed_service_gets_its_own_recovery() -> None:
    first, *others = advise(
        Wishes(hosting=Hosting.MANAGED, provider=Provider.AWS, rpo=600, size=50 * GIB)
    )
    assert first.name == "managed"
    assert "own point-in-time recovery" in first.methods[0]
    assert all("recovery" not in plan.name for plan in others)


def test_a_small_database_with_a_relaxed_goal_needs_dumps_alone() -> None:
    wanted = Wishes(
        rpo=2 * DAY, rto=DAY, size=1 * GIB, wal_per_day=1 * GIB, window=0, offsite=False
    )
    found = by_name(advise(wanted))
    assert found["dumps"].fits
    assert found["dumps"].schedule["dump"] == "daily 02:00"


def test_what_no_backup_can_promise_is_said() -> None:
    first = advise(Wishes(rpo=1))[0]
    assert not first.fits
    assert "misses only: rpo" in first.why
    assert any("synchronous replica" in risk for risk in first.risks)


@pytest.mark.parametrize("wrong", [{"rpo": 0}, {"size": -1}, {"window": -1}, {"growth": -2}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"more than nothing|less than|growth"):
        Wishes(**wrong)  # type: ignore[arg-type]


def test_methods_are_compared() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS) == 6
