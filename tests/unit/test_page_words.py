"""What the page says and draws, as values."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, Proven, State
from pgkeep.web import words
from pgkeep.web.rows import sentences
from pgkeep.web.timeline.drawing import drawing, extent
from pgkeep.web.timeline.facts import Band, Facts, Gap, Lane, Mark, MarkKind

NOW = datetime(2026, 11, 28, 14, 3, 9, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


def health(name: str, state: State = State.PROTECTED, *levels: Level) -> Health:
    found = tuple(
        Condition(name, Kind.WAL_LATE, level, "effect", "cause", "todo", subject=str(number))
        for number, level in enumerate(levels)
    )
    to, start = NOW - timedelta(seconds=38), datetime(2026, 11, 3, 2, tzinfo=UTC)
    proven = Proven("d", datetime(2026, 11, 2, 3, tzinfo=UTC), 250.0, "b")
    return Health(name, state, NOW, to, start, proven, found)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        pytest.param(PARIS, "28 Nov 2026 15:03:09 CET (14:03:09 UTC)", id="with letters"),
        pytest.param(
            ZoneInfo("Asia/Kathmandu"),
            "28 Nov 2026 19:48:09 UTC+05:45 (14:03:09 UTC)",
            id="without",
        ),
        pytest.param(
            ZoneInfo("Pacific/Auckland"),
            "29 Nov 2026 03:03:09 NZDT (28 Nov 14:03:09 UTC)",
            id="another day",
        ),
        pytest.param(UTC, "28 Nov 2026 14:03:09 UTC", id="utc"),
    ],
)
def test_a_time_is_said_in_the_viewers_zone_and_in_utc(zone: ZoneInfo, text: str) -> None:
    assert words.long(NOW, zone) == text


@pytest.mark.parametrize("cookie", ["", "No/Where", "../../etc/passwd", "%2Fetc", "\0", "x" * 999])
def test_a_zone_that_is_none_is_utc(cookie: str) -> None:
    assert words.zone_of(cookie) is UTC


def test_the_browsers_zone_is_taken_from_its_cookie() -> None:
    assert words.zone_of("Europe%2FParis") == PARIS


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(NOW, "28 Nov 15:03:09", id="now"),
        pytest.param(NOW - timedelta(days=365), "28 Nov 2025 15:03", id="a year ago"),
        pytest.param(NOW + timedelta(days=200), "16 Jun 2027 16:03", id="far ahead"),
    ],
)
def test_a_date_that_could_be_another_has_its_year(moment: datetime, text: str) -> None:
    assert words.short(moment, PARIS, NOW) == text


@pytest.mark.parametrize(
    ("todo", "is_typed"),
    [
        pytest.param("pgkeep --cluster main backup", True, id="command"),
        pytest.param("start the server, or correct host and port", False, id="sentence"),
        pytest.param("pgkeep verify --repair, if there is a copy", False, id="with a condition"),
    ],
)
def test_only_what_can_be_typed_is_shown_to_be_copied(todo: str, is_typed: bool) -> None:
    assert words.is_command(todo) == is_typed


def test_a_command_to_copy_names_the_cluster_where_there_are_several() -> None:
    assert words.for_cluster("pgkeep drill", "main") == "pgkeep --cluster main drill"
    assert words.for_cluster("pgkeep drill", "") == "pgkeep drill"
    named = "pgkeep --cluster main backup"
    assert words.for_cluster(named, "main") == named


def test_health_in_one_sentence() -> None:
    assert sentences.sentence(health("a"), NOW, UTC) == (
        "protected to 28 Nov 14:02:31 (38 s ago), from 3 Nov 02:00:00; "
        "last proven 2 Nov 03:00:00 by drill in 4 min 10 s"
    )
    nothing = Health("a", State.IN_DANGER, NOW, None, None, None)
    said = "nothing can be restored yet; never proven by a drill"
    assert sentences.sentence(nothing, NOW, UTC) == said
    assert sentences.sentence(None, NOW, UTC) == "the first look is under way"


def test_the_worst_come_first() -> None:
    found = {
        "fine": health("fine"),
        "new": None,
        "risky": health("risky", State.AT_RISK, Level.WARNING),
        "bad": health("bad", State.IN_DANGER, Level.CRITICAL),
        "worse": health("worse", State.IN_DANGER, Level.CRITICAL, Level.CRITICAL),
        "dark": health("dark", State.UNKNOWN, Level.CRITICAL),
    }
    ordered = sentences.worst_first(list(found), list(found.values()))
    assert ordered == ["worse", "bad", "dark", "risky", "fine", "new"]
    todo = sentences.todo(found[name] for name in ordered)
    assert [one.cluster for one in todo] == ["worse", "worse", "bad", "dark", "risky"]
    counts = sentences.counts(found.values())
    assert [(s.value, n) for s, n in counts.items()] == [
        ("in danger", 2),
        ("unknown", 1),
        ("at risk", 1),
        ("protected", 1),
    ]


def test_what_is_drawn_has_every_word_and_target() -> None:
    start, end = NOW - timedelta(days=2), NOW - timedelta(minutes=1)
    facts = Facts(
        "main",
        NOW,
        (Lane("Timeline 1", (Band(start, end, ("b1",)),), (Gap(start, end, "1 is missing"),)),),
        (
            Mark(MarkKind.BACKUP, start, "Full backup b1"),
            Mark(MarkKind.DRILL, end, "Drill d1: passed", good=True),
            Mark(MarkKind.EVENT, end, "Drop table: t", target="lsn:0/1", before=True),
        ),
    )
    drawn = drawing(facts, UTC)
    rows = {row["kind"]: row["marks"] for row in drawn["rows"]}
    assert rows["backup"][0]["target"] == "2026-11-26 14:03:09+00:00"
    assert rows["drill"][0]["target"] == ""  # a drill is no moment of the cluster
    assert (rows["event"][0]["target"], rows["event"][0]["before"]) == ("lsn:0/1", True)
    (lane,) = drawn["lanes"]
    assert lane["bands"][0]["words"][-1] == "by 1 backup"
    assert lane["gaps"][0]["words"][0] == "1 is missing"


moments = st.integers(0, 400 * 86400).map(lambda s: NOW - timedelta(seconds=s))


@given(st.lists(moments, max_size=20), st.lists(st.floats(1e9, 2e9), max_size=300))
def test_the_axis_holds_all_and_no_segment_is_lost(
    found: list[datetime], stored: list[float]
) -> None:
    marks = tuple(Mark(MarkKind.DUMP, at, "a dump") for at in found)
    facts = Facts("main", NOW, (), marks, tuple(sorted(stored)))
    start, end = extent(facts)
    assert all(start <= at <= end for at in (*found, NOW))
    assert end - start >= timedelta(minutes=15)
    bins = drawing(facts, UTC)["bins"]
    assert sum(count for _, _, count in bins) == len(stored)
    assert all(b[0] < b[1] for b in bins)
