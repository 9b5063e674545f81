"""What the pages list, and the commands that they type for somebody."""

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.advise.plan import advise
from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.api.asking.commands import check
from pgkeep.api.asking.values import Bounds
from pgkeep.cli.advising.questions import wal_a_day
from pgkeep.config.whole import read_config
from pgkeep.costs.plan import Tally, cost_of_repository
from pgkeep.health.forecast import Sample, Stored
from pgkeep.model.lsn import Lsn
from pgkeep.repository.metering.prices import FREE, LIST, Tariff
from pgkeep.repository.store.base import BlobStat
from pgkeep.undo.event import Event, EventKind, Hit
from pgkeep.units import parse_duration, parse_size
from pgkeep.web.rows import backups, events, options, storage, wishes
from pgkeep.web.rows.backups import Row
from pgkeep.web.rows.events import Ask, Lost, Way
from pgkeep.web.rows.wishes import SCALES, Choices, Measured

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ROW = Row("20261128T120000Z-7f3a", "backup", NOON, "Full backup", "", (), False)


def event(kind: EventKind, *hits: Hit, database: str = "") -> Event:
    place = Lsn.parse("0/4A000158")
    return Event(
        3, kind, 120765, NOON, place, place, place, 1, "18-7", tuple(hits), database=database
    )


def hit(name: str, kind: str = "r", rows: int = 40, size: int = 8192) -> Hit:
    return Hit(5, 16384, 1663, 16390, "shop", "public", name, kind, rows, rows, size)


def run(words: tuple[str, ...]) -> tuple[tuple[str, ...], str, bool]:
    """Return the words as the service would run them, the act, and whether a name is typed."""
    asked = check(words, Bounds())
    return asked.words, asked.act, asked.confirm


# Accidents


def test_what_an_event_destroyed_can_be_brought_back_by_its_name() -> None:
    dropped = event(EventKind.DROP_TABLE, hit("users"), hit("users_pkey", "i"), hit("Odd Name"))
    names = [one.name for one in events.lost_by(dropped)]
    assert names == ["shop.public.users", 'shop.public."Odd Name"']
    assert {one.way for one in events.lost_by(dropped)} == {Way.INTO_PLACE}
    assert events.lost_by(event(EventKind.DELETE, hit("users")))[0].way is Way.MERGE
    assert events.lost_by(event(EventKind.UPDATE, hit("users")))[0].way is Way.BESIDE
    assert events.lost_by(event(EventKind.DROP_TABLE, hit(""))) == ()
    database = events.lost_by(event(EventKind.DROP_DATABASE, database="shop"))
    assert [(one.noun, one.name) for one in database] == [("database", "shop")]


def test_the_commands_of_an_undo_are_ones_that_the_service_runs() -> None:
    happened = event(EventKind.DELETE, hit("users"))
    table, database = (
        Lost("table", "shop.public.users", Way.MERGE),
        Lost("database", "shop", Way.INTO_PLACE),
    )
    for ask, expected in (
        (Ask(happened, table, Way.MERGE), ("--merge=missing",)),
        (Ask(happened, table, Way.INTO_PLACE), ("--into-place",)),
        (Ask(happened, table, Way.BESIDE), ()),
        (Ask(happened, table, Way.BESIDE, "kept"), ("--as=kept",)),
        (Ask(happened, table, Way.MERGE, "ignored"), ("--merge=missing",)),
        (Ask(happened, table, Way.MERGE, where="id > 7"), ("--where=id > 7",)),
        (Ask(happened, database, Way.INTO_PLACE, "shop2"), ("--as=shop2",)),
    ):
        words, _, confirm = run(events.return_words(ask))
        assert confirm
        assert "--before=lsn:0/4A000158" in words
        assert words[-1] == "--yes"
        assert set(expected) <= set(words)
        seen, act, confirm = run(events.return_words(ask, preview=True))
        assert not confirm
        assert act == ("undo-by-sql" if ask.where else "undo")
        assert seen[-1] == "--dry-run"


def test_a_search_says_only_what_was_asked() -> None:
    assert events.find_words("") == ("undo", "find")
    assert run(events.find_words(" 2h ", "shop.public.users", "10"))[0] == (
        *("undo", "find", "--since=2h", "--table=shop.public.users", "--min-rows=10"),
    )


def test_counts_say_how_sure_they_are() -> None:
    deleted = event(EventKind.DELETE, hit("users", rows=1204))
    assert events.words_of(deleted) == "1,204 rows, 8 KiB, transaction 120765"
    assert events.rows_of(replace(deleted, whole=False)) == ">= 1,204"
    assert events.rows_of(event(EventKind.DROP_TABLE, hit("users"))) == "~40"
    unknown = event(EventKind.DROP_TABLE, hit("users", rows=-1, size=-1))
    assert events.words_of(unknown) == "transaction 120765"
    unsure = replace(deleted, sure=False, whole=False)
    assert len(events.details_of(unsure)) == 2


def preview(now: object, difference: object, steps: int) -> events.Preview:
    return events.preview_of(
        {
            "table": "shop.public.users",
            "moment": "right before it",
            "then": {
                "rows": 2,
                "size": 8192,
                "key": ["id"],
                "columns": [{"name": "id"}, {"name": "said"}],
                "first_rows": [["1", None], ["2", "x" * 100]],
            },
            "now": now,
            "difference": difference,
            "plan": {
                "into": "shop.public.users",
                "steps": [{"what": f"step {n}"} for n in range(steps)],
                "notes": ["a note"],
            },
        }
    )


def test_a_preview_tells_rows_and_steps() -> None:
    gone = preview(None, None, 50)
    assert ("Now", "it is gone") in gone.facts
    assert ("Note", "a note") in gone.facts
    assert gone.header == ("id", "said")
    assert gone.rows == (("1", "NULL"), ("2", f"{'x' * 59}…"))
    assert gone.steps[-1] == "and 10 more"
    difference = {
        "rows_now": 5,
        "missing": 1,
        "changed": 1,
        "new": 2,
        "same": 2,
        "changed_sample": [
            {"key": ["7"], "changes": [{"column": "said", "then": "a", "now": None}]},
            {"key": ["8"], "changes": []},
        ],
    }
    there = preview({}, difference, 0)
    assert there.in_vain
    facts = dict(there.facts)
    assert facts["Now"] == "5 rows, 1 missing, 1 changed since, 2 new since, 2 the same"
    changed = [words for name, words in there.facts if name == "Changed"]
    assert changed == ["7: said: a is now NULL", "8: changed again while it was looked at"]


def test_what_came_back_is_told_with_what_did_not() -> None:
    report = {
        "table": "shop.public.users",
        "done": True,
        "rows": 40,
        "in_the_way": 2,
        "not_valid": [{"constraint": "users_city", "violations": 3}],
        "failed": ["view v"],
        "restore_point": {"name": "pgkeep_before_undo"},
        "plan": {"into": "shop.public.users", "notes": []},
    }
    assert events.returned(report) == (
        ("Is back", "40 rows in shop.public.users"),
        ("Restore point set before", "pgkeep_before_undo"),
        ("Met a row that is there", "2"),
        ("Foreign keys not valid", "users_city (3)"),
        ("Could not be made", "view v"),
    )
    assert events.returned({"done": False}) == (("Nothing was changed", "no row is missing"),)


# Backups


def test_the_commands_about_a_backup_are_ones_that_the_service_runs() -> None:
    assert run(backups.drill_words(ROW))[1:] == ("drill", False)
    assert run(backups.pin_words(ROW, " year's end ", "90d"))[0] == (
        *("pin", ROW.id, "--reason=year's end", "--until=90d"),
    )
    assert run(backups.delete_words(ROW, preview=True))[1:] == ("preview", False)
    assert run(backups.delete_words(ROW, preview=False))[1:] == ("delete", True)


def loss(**more: object) -> backups.Loss:
    return backups.loss_of({"readable": True, "bytes": 1 << 20, "packs": 1, **more})


def test_a_deletion_says_what_is_lost_for_good() -> None:
    end = {"lsn": "0/5000000", "time": "2026-11-28T12:00:00Z"}
    lost = {"timeline": 1, "from": {"lsn": "0/4000000", "time": None}, "to": end}
    bad = loss(lost=[lost], wal=[{"segments": 3}])
    assert not bad.harmless
    assert bad.facts[0] == (
        "Lost for good",
        "timeline 1, 0/4000000 to 2026-11-28T12:00:00Z (0/5000000)",
    )
    assert ("WAL segments that go", "3") in bad.facts
    assert ("Frees", "1 MiB, 1 pack") in bad.facts
    assert loss(lost=[], wal=[]).harmless


def test_a_dump_is_harmless_to_delete_only_where_others_hold_the_same() -> None:
    assert loss(left=[{}], lost_databases=[]).harmless
    assert not loss(left=[], lost_databases=[]).harmless
    last = loss(left=[{}], lost_databases=["shop"])
    assert not last.harmless
    assert last.facts[0] == ("No other dump holds", "shop")
    assert not backups.loss_of({"readable": False, "bytes": 0, "packs": None}).harmless


# The adviser

places = st.fixed_dictionaries(
    {scale.name: st.integers(0, len(scale.steps) - 1) for scale in SCALES}
)
choices = st.builds(
    Choices,
    hosting=st.sampled_from(Hosting),
    provider=st.sampled_from(Provider),
    offsite=st.booleans(),
    table_level=st.booleans(),
    budget=st.none() | st.integers(0, 10000).map(float),
    growth=st.integers(-90, 1000).map(lambda percent: percent / 100),
    counts=st.tuples(*[st.integers(0, 100)] * 3),
)


@given(places, choices)
def test_wherever_the_sliders_stand_there_are_plans_and_a_command_for_them(
    at: dict[str, int], chosen: Choices
) -> None:
    wanted = wishes.wishes_of(at, chosen)
    plans = advise(wanted)
    cards = [wishes.card_of(plan, wanted) for plan in plans]
    assert [bool(card.recommended) for card in cards] == [True] + [False] * (len(cards) - 1)
    words = wishes.command_of(wanted, plans[-1])
    given_ = dict(zip(words[1::2], words[2::2], strict=False))
    assert given_["--plan"] == plans[-1].name
    assert parse_duration(given_["--rpo"]) == wanted.rpo
    assert parse_duration(given_["--retention"]) == wanted.window
    assert parse_size(given_["--size"]) == wanted.size
    assert wal_a_day(given_["--wal-rate"]) == wanted.wal_per_day
    assert wishes.chosen(plans, "nothing") is plans[0]
    assert wishes.chosen(plans, plans[-1].name) is plans[-1]


@given(st.none() | st.floats(0, 1e18), st.none() | st.floats(1, 1e9))
def test_sliders_begin_at_what_was_measured(size: float | None, rpo: float | None) -> None:
    at = wishes.places_at_first(Measured(size=size, rpo=rpo))
    for scale, value in ((SCALES[2], size), (SCALES[0], rpo)):
        step = scale.steps[at[scale.name]]
        if value:
            assert step >= value or step == scale.steps[-1]
            assert at[scale.name] == 0 or scale.steps[at[scale.name] - 1] < value
    assert all(scale.words(place) for scale in SCALES for place in range(len(scale.steps)))


# Settings

TEXT = """
[[repository]]
name = "near"
url = "s3://key:swordfish@host/bucket?token=swordfish"

[[repository]]
name = "far"
url = "/far"
passphrase_command = "echo swordfish"

[clusters.main]
conninfo = "host=/run password=swordfish"

[service]
look_every = "90s"
"""


def test_settings_tell_value_and_origin_and_no_secret() -> None:
    table = tomllib.loads(TEXT)
    found = options.rows(read_config(table, "pgkeep.toml", TEXT), table, TEXT)
    assert "swordfish" not in json.dumps([(row.value, row.says) for row in found])
    by_name = {(row.section, row.name): row for row in found}
    assert by_name["clusters.main", "conninfo"].value == "hidden"
    assert by_name["clusters.main", "conninfo"].origin == "line 12"
    assert by_name["repository[2]", "url"].origin == "line 8"
    assert by_name["service", "look_every"].value == "1 min 30 s"
    default = by_name["service", "jobs"]
    assert (default.origin, default.is_set) == ("default", False)
    assert by_name["clusters.main.retention", "daily"].origin == "default"
    assert len(by_name) == len(found)


# Storage


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1 << 40)), max_size=60))
def test_what_is_stored_only_grows_in_the_picture(came: list[tuple[float, int]]) -> None:
    wal = [Stored(NOON.timestamp() - age, size) for age, size in came]
    found = storage.curve([], [], wal, NOON)
    sizes = [point.size for point in found.points]
    assert sizes == sorted(sizes)
    assert len(sizes) <= 300
    assert bool(sizes) == bool(came)
    if came:
        assert sizes[-1] == sum(size for _, size in came)
    drawn = storage.draw(found)
    if drawn is not None:
        numbers = [float(n) for n in drawn.line.replace("L", " ").strip("M").split()]
        assert all(0 <= x <= storage.WIDTH for x in numbers[::2])
        assert all(0 <= y <= storage.HEIGHT for y in numbers[1::2])


def test_what_was_weighed_is_drawn_up_and_down() -> None:
    def weighed(*sizes: int, hours: int = 6) -> storage.Curve | None:
        times = [NOON.timestamp() - 3600 * hours * ago for ago in range(len(sizes))][::-1]
        samples = [Sample(at, size, None) for at, size in zip(times, sizes, strict=True)]
        return storage.weighed_curve(samples, NOON)

    assert weighed() is weighed(1) is weighed(1, 2, 3) is None
    found = weighed(*range(10, 20), hours=24)
    assert found is not None
    assert found.ahead is not None
    assert found.per_day is not None
    assert [point.size for point in found.points] == list(range(10, 20))
    assert (round(found.per_day, 6), found.ahead.size) == (1, 23)
    # With what was let go; a year of it in as many points as can be seen.
    year = weighed(*(1000 - 10 * (n % 4) for n in range(1460)))
    assert year is not None
    assert len(year.points) <= 240
    assert year.points[-1] == (NOON.timestamp(), 970)
    falling = weighed(*range(20, 10, -1), hours=24)
    assert falling is not None
    assert (falling.ahead, storage.growth_words(falling)) == (None, "nothing, of late")
    assert storage.now_words(found) == "19 B, all that is there of the cluster"


def test_growth_and_room_are_told_or_why_not() -> None:
    assert storage.growth_words(storage.Curve((), None, None)).startswith("not known: ")
    assert storage.growth_words(storage.Curve((), None, 1 << 30)) == "1 GiB a day"
    assert storage.full_words(None, None, NOON) == "not told by the store"
    assert storage.full_words(1 << 30, None, NOON) == "1 GiB free"
    later = NOON + timedelta(days=9)
    said = "1 GiB free, full in 9 days at the present rate"
    assert storage.full_words(1 << 30, later, NOON) == said


def test_a_repository_without_prices_costs_nothing_by_itself() -> None:
    pack = BlobStat("clusters/main/packs/ab/abcd", 1 << 30, NOON.timestamp())
    tally = Tally([pack], NOON.timestamp())
    for tariff, said in (
        (Tariff(FREE, False), "nothing by itself: it has no prices"),
        (Tariff(LIST["s3"], True), "0.02 for what is stored, by list prices"),
    ):
        found = cost_of_repository("/repo", tariff, tally, None, NOON.timestamp())
        rows = dict(storage.cost_rows(found))
        assert rows["Stored"] == rows["Packs"] == "1 GiB in 1 object"
        assert rows["Costs a month"] == said
