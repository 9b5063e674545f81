"""What the adviser proposes for some cases that everybody knows, and the numbers behind it."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from pgkeep.advise.draft import Plan
from pgkeep.advise.facts import FACTS
from pgkeep.advise.methods import METHODS
from pgkeep.advise.plan import advise
from pgkeep.advise.recorded import Recorded, recorded
from pgkeep.advise.wishes import DAY, GIB, Hosting, Provider, Wishes
from pgkeep.advise.writing import config_text, settings_text
from pgkeep.checklist import judge
from pgkeep.cli.advising import text
from pgkeep.coverage.listing import list_cluster
from pgkeep.health.forecast import restore_time
from pgkeep.repository.drills.report import Measures
from pgkeep.repository.drills.storing import Drills
from support.drill_reports import a_report
from support.shelves import SIZE, Shelf

CHOOSING = Path(__file__).parents[2] / "docs" / "choosing.md"


def by_name(wanted: Wishes) -> dict[str, Plan]:
    return {plan.name: plan for plan in advise(wanted)}


def takes(plan: Plan, wish: str) -> str:
    return next(answer.takes for answer in plan.answers if answer.wish == wish)


def test_a_managed_service_gets_its_own_recovery() -> None:
    first, other = advise(Wishes(hosting=Hosting.MANAGED, provider=Provider.AWS, rpo=600))
    assert (first.name, other.name) == ("managed", "dumps")
    assert "own point-in-time recovery" in first.methods[0]
    assert "into another account" in first.methods[1]
    assert [place.elsewhere for place in first.places] == [True]
    assert "backup" not in first.schedule
    assert first.fits
    assert first.cost.managed > 0
    assert not settings_text(first, Wishes(hosting=Hosting.MANAGED))


def test_beyond_the_services_window_only_dumps_are_left() -> None:
    plan = advise(Wishes(hosting=Hosting.MANAGED, rpo=600, window=60 * DAY))[0]
    assert takes(plan, "retention") == "a server of one's own, with a WAL archive"


def test_a_small_database_with_a_relaxed_goal_needs_dumps_alone() -> None:
    wanted = Wishes(rpo=2 * DAY, rto=DAY, size=GIB, wal_per_day=GIB, window=0)
    first = advise(wanted)[0]
    assert first.name == "dumps"
    assert first.schedule["dump"] == "daily 02:00"


def test_what_no_archive_can_promise_is_said() -> None:
    first = advise(Wishes(rpo=1))[0]
    assert not first.fits
    assert "misses only: rpo" in first.why
    assert "synchronous replica" in takes(first, "rpo")
    assert 'rpo = "19s"  # wanted: 1.0 s, which this plan cannot promise' in config_text(
        first, Wishes(rpo=1)
    )


def test_archive_timeout_is_half_of_what_may_be_lost() -> None:
    found = by_name(Wishes(rpo=60))
    assert found["recovery"].archive_timeout == 30
    assert found["recovery"].rpo == 35
    assert found["recovery"].arithmetic[0] == (
        "may lose: archive_timeout 30 s + 5 s for a segment on its way = 35 s"
    )


def test_a_place_that_is_copied_to_lags_behind_one_that_is_written() -> None:
    found = by_name(Wishes(rpo=60))
    assert found["recovery"].site_rpo == 3600 + 35
    assert found["recovery-fast"].site_rpo == 35
    assert 'write = ["local", "offsite"]' in config_text(found["recovery-fast"], Wishes())
    assert by_name(Wishes(offsite=False))["recovery"].site_rpo == inf


def test_how_fast_a_restore_would_have_to_be_is_said() -> None:
    wanted = Wishes(rto=1060, size=1e12, wal_per_day=0)
    assert takes(by_name(wanted)["recovery"], "rto").startswith("1,000 MB/s instead of 100")
    # With a rate that a drill has measured, it is met, and nothing is said to be estimated.
    drilled = by_name(replace(wanted, restore_rate=2e9))["recovery"]
    assert not takes(drilled, "rto")
    assert not any("estimate" in risk for risk in drilled.risks)


def test_nothing_is_promised_that_status_would_call_at_risk() -> None:
    wanted = Wishes()
    for name, every in (("recovery", DAY), ("recovery-fast", DAY / 4)):
        wal = int(wanted.wal_per_day * every / DAY)
        told = restore_time(int(wanted.size), wal, None).seconds
        assert by_name(wanted)[name].rto >= told


def test_the_report_is_json() -> None:
    for plan in (*advise(Wishes(offsite=False)), *advise(Wishes(hosting=Hosting.MANAGED))):
        shown = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
        assert shown["places"][0]["url"] == plan.places[0].url
        assert shown["fits"] == plan.fits


def test_prices_are_of_what_leaves_and_what_is_kept() -> None:
    at_home = by_name(Wishes(provider=Provider.AWS))["recovery"]
    in_cloud = by_name(Wishes(provider=Provider.AWS, hosting=Hosting.CLOUD_VM))["recovery"]
    nowhere = by_name(Wishes())["recovery"]
    assert nowhere.cost.month == 0
    assert at_home.cost.egress == 0  # S3 takes in for nothing
    assert in_cloud.cost.egress > 0
    assert in_cloud.cost.stored == pytest.approx(2 * at_home.cost.stored)
    assert at_home.cost.stored == pytest.approx(at_home.storage.year / GIB * 0.023)


def test_on_kubernetes_what_must_be_in_the_image_is_said() -> None:
    plan = by_name(Wishes(hosting=Hosting.KUBERNETES, provider=Provider.GOOGLE))["recovery"]
    assert plan.places[0].url.startswith("gs://")
    assert any("pgkeep must be in that image" in risk for risk in plan.risks)


def test_a_repository_that_is_there_stays() -> None:
    plan = by_name(Wishes())["recovery"]
    written = config_text(plan, Wishes(), url="/srv/old", cluster="shop", conninfo="host=db")
    assert 'url = "/srv/old"  # as in your config: bring its other options along' in written
    assert 'conninfo = "host=db"' in written


@pytest.mark.parametrize("wrong", [
    {"rpo": 0}, {"size": -1}, {"window": -1}, {"growth": -2}, {"size": inf}, {"rto": float("nan")},
    {"size": 1e30}, {"window": 1e12}, {"budget": -1}, {"restore_rate": 0},
])  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|less|more|rate|growth|number"):
        Wishes(**wrong)  # type: ignore[arg-type]


def test_the_rows_of_the_checklist_are_those_of_the_checklist() -> None:
    for plan in (*advise(Wishes()), *advise(Wishes(hosting=Hosting.MANAGED))):
        assert [row.wish for row in plan.checklist] == [item.key for item in judge._ITEMS]


def test_plans_fit_into_a_hundred_columns() -> None:
    for wanted in (Wishes(rpo=1, budget=1), Wishes(hosting=Hosting.MANAGED), Wishes(size=1e17)):
        plans = advise(wanted)
        shown = [text.plans(wanted, plans, plans[0], None, styled=False)]
        shown += [text.chosen(plan, wanted, "", "written.toml") for plan in plans]
        shown.append(text.methods())
        assert max(len(line) for one in shown for line in one.splitlines()) <= 100


def test_the_page_has_the_tables_that_the_command_shows() -> None:
    for table in text.page_tables():
        assert table in CHOOSING.read_text()
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert all(fact.source for fact in FACTS)


def on_record(*backups: tuple[float, float], **measures: Any) -> Recorded:
    """Read backups, each of so many days ago at so many segments, and a drill."""
    shelf = Shelf()
    for name, (days, start) in zip("abcdef", backups, strict=False):
        shelf.backup(name, days, start, packs="zyxwvutsrq"[: 4 + "abcdef".index(name)])
    listing = list_cluster(shelf.cluster)
    report = a_report(measures=Measures(**measures))
    return recorded(replace(listing, drills=Drills((report,))))


def test_backups_on_record_tell_of_growth_and_wal() -> None:
    found = on_record((365, 1), (0, 366))  # from 4,000 bytes to 5,000
    assert found.backups == 2
    assert found.days == pytest.approx(365)
    assert found.wal_per_day == pytest.approx(SIZE)
    assert found.growth == pytest.approx(0.25)
    assert on_record((8, 1), (0, 9)).growth == 9.0  # what came in a week does not go on for ever


@pytest.mark.parametrize("backups", [(), ((3, 1),), ((0.5, 1), (0, 9))])
def test_too_little_on_record_tells_nothing(backups: tuple[tuple[float, float], ...]) -> None:
    found = on_record(*backups)
    assert (found.growth, found.wal_per_day) == (None, None)


def test_a_drill_tells_the_rates_but_not_of_a_short_replay() -> None:
    found = on_record((3, 1), restored_bytes=10**9, restore_s=5.0, wal_bytes=1000, recovery_s=1.0)
    assert (found.restore_rate, found.replay_rate) == (2e8, None)
    long = on_record((3, 1), wal_bytes=2 << 30, recovery_s=10.0)
    assert (long.restore_rate, long.replay_rate) == (None, (2 << 30) / 10)
