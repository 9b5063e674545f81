"""The adviser: tighter wishes never bring looser plans, and every config it writes is valid."""

import tomllib
from dataclasses import replace
from itertools import pairwise
from math import inf

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgkeep.advise.draft import Plan
from pgkeep.advise.plan import advise
from pgkeep.advise.wishes import DAY, Hosting, Provider, Wishes
from pgkeep.advise.writing import config_text, settings_text
from pgkeep.config.whole import read_config
from pgkeep.schedule.words import parse_times

wishes = st.builds(
    Wishes,
    rpo=st.floats(1, 30 * DAY),
    rto=st.floats(60, 7 * DAY),
    size=st.floats(1, 1e15),
    wal_per_day=st.floats(0, 1e14),
    growth=st.floats(-0.9, 9),
    hosting=st.sampled_from(Hosting),
    provider=st.sampled_from(Provider),
    window=st.integers(0, 60 * 86400).map(float),
    daily=st.integers(0, 30),
    weekly=st.integers(0, 8),
    monthly=st.integers(0, 36),
    table_level=st.booleans(),
    offsite=st.booleans(),
    budget=st.none() | st.floats(0, 1e5),
    major=st.integers(14, 18),
    checksums=st.none() | st.booleans(),
    restore_rate=st.none() | st.floats(1e6, 1e10),
)
factors = st.floats(1, 50)
ALMOST = 1 + 1e-9  # what floats lose


def by_name(wanted: Wishes) -> dict[str, Plan]:
    return {plan.name: plan for plan in advise(wanted)}


@given(wishes)
@settings(deadline=None)
def test_one_is_recommended_and_fits_if_any_does(wanted: Wishes) -> None:
    plans = advise(wanted)
    assert len(plans) in (2, 3)
    assert [plan.recommended for plan in plans] == [True] + [False] * (len(plans) - 1)
    assert plans[0].why
    fitting = [plan for plan in plans if plan.fits]
    if fitting:
        assert plans[0].fits
        assert plans[0].cost.month <= min(plan.cost.month for plan in fitting) * 1.05 + 1e-9
    else:
        assert len(plans[0].unmet) == min(len(plan.unmet) for plan in plans)


@given(wishes)
@settings(deadline=None)
def test_what_is_said_to_fit_does_and_what_does_not_says_what_it_takes(wanted: Wishes) -> None:
    for plan in advise(wanted):
        if plan.fits:
            assert plan.rpo <= wanted.rpo
            assert plan.rto <= wanted.rto
            assert wanted.budget is None or plan.cost.month <= wanted.budget
            assert not wanted.offsite or plan.site_rpo < inf
        assert all(bool(answer.takes) != answer.met for answer in plan.answers)
        assert plan.rpo <= plan.site_rpo
        assert plan.rto <= plan.rto_year


@given(wishes, factors)
@settings(deadline=None)
def test_a_tighter_rpo_never_gives_a_looser_plan(wanted: Wishes, factor: float) -> None:
    before, after = by_name(wanted), by_name(replace(wanted, rpo=wanted.rpo / factor))
    for name, plan in after.items():
        assert plan.rpo <= before[name].rpo
        assert plan.site_rpo <= before[name].site_rpo
        assert plan.archive_timeout <= before[name].archive_timeout


@given(wishes, factors)
@settings(deadline=None)
def test_what_is_recommended_for_a_tighter_rpo_is_no_looser(wanted: Wishes, factor: float) -> None:
    """Whatever it costs, where restores are quick enough."""
    wanted = replace(wanted, budget=None, rto=365 * DAY, size=min(wanted.size, 1e12))
    before, after = advise(wanted)[0], advise(replace(wanted, rpo=wanted.rpo / factor))[0]
    if before.fits and after.fits:
        assert after.rpo <= before.rpo


@given(wishes, factors)
@settings(deadline=None)
def test_tighter_wishes_never_change_a_plan_from_met_to_unmet_elsewhere(
    wanted: Wishes, factor: float
) -> None:
    """What one wish takes is not taken from another: but for money."""
    before, after = by_name(wanted), by_name(replace(wanted, rpo=wanted.rpo / factor))
    for name, plan in after.items():
        met = {answer.wish for answer in before[name].answers if answer.met}
        assert met - {"rpo", "budget"} <= {answer.wish for answer in plan.answers if answer.met}


@given(wishes, factors)
@settings(deadline=None)
def test_a_larger_cluster_never_takes_less(wanted: Wishes, factor: float) -> None:
    before, after = by_name(wanted), by_name(replace(wanted, size=wanted.size * factor))
    for name, plan in after.items():
        assert plan.rto >= before[name].rto
        assert plan.storage.year * ALMOST >= before[name].storage.year
        assert plan.cost.month * ALMOST >= before[name].cost.month


@given(wishes, factors)
@settings(deadline=None, max_examples=50)
def test_more_wal_and_more_retention_never_take_less(wanted: Wishes, factor: float) -> None:
    before = by_name(wanted)
    changes = (
        {"wal_per_day": wanted.wal_per_day * factor},
        {"window": wanted.window * factor},
        {"daily": wanted.daily + 1},
        {"weekly": wanted.weekly + 1},
        {"monthly": wanted.monthly + 1},
    )
    for change in changes:
        for name, plan in by_name(replace(wanted, **change)).items():
            assert plan.rto >= before[name].rto
            assert plan.storage.year * ALMOST >= before[name].storage.year
            assert plan.cost.month * ALMOST >= before[name].cost.month


@given(wishes)
@settings(deadline=None)
def test_a_repository_grows_through_the_year_and_cost_is_its_parts(wanted: Wishes) -> None:
    for plan in advise(wanted):
        months = plan.storage.months
        assert len(months) == 13
        assert all(a <= b * ALMOST for a, b in pairwise(months))
        cost = plan.cost
        assert cost.month == cost.stored + cost.requests + cost.egress + cost.managed
        assert min(cost.stored, cost.requests, cost.egress, cost.managed) >= 0


@given(wishes, factors)
@settings(deadline=None)
def test_a_larger_budget_never_makes_a_plan_misfit(wanted: Wishes, factor: float) -> None:
    assume(wanted.budget)
    before = by_name(wanted)
    after = by_name(replace(wanted, budget=(wanted.budget or 0) * factor))
    assert all(after[name].fits for name, plan in before.items() if plan.fits)


@given(wishes, st.sampled_from(["main", "a.b", "shop-2"]), st.sampled_from(["", 'h="x\\', "ü"]))
@settings(deadline=None)
def test_every_config_is_valid(wanted: Wishes, cluster: str, conninfo: str) -> None:
    for plan in advise(wanted):
        text = config_text(plan, wanted, cluster=cluster, conninfo=conninfo)
        config = read_config(tomllib.loads(text), "pgkeep.toml", text)
        assert [one.url for one in config.repository] == [place.url for place in plan.places]
        assert len(config.write) == (len(plan.places) if plan.write_all else 0)
        section = config.clusters[cluster]
        assert section.retention.window == wanted.window
        assert section.objectives.rpo >= min(int(wanted.rpo), plan.rpo)
        assert conninfo in section.conninfo.reveal()
        assert all(parse_times(words) for words in plan.schedule.values())
        statements = settings_text(plan, wanted)
        assert ("summarize_wal" in statements) == (plan.archive_timeout > 0 and wanted.major >= 17)
        assert (f"'{plan.archive_timeout}s'" in statements) == (plan.archive_timeout > 0)
