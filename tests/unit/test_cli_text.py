"""Text for people: names that cannot steer a terminal, tables, times in two zones, JSON values."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pgkeep.cli.text import Look, fields, not_before, plain, safe, table, width
from pgkeep.config_reader import Secret
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import Action, parse_time
from pgkeep.units import plural

MOMENT = datetime(2026, 1, 15, 15, 47, 21, 500000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param("nightly", "nightly", id="plain"),
        pytest.param("Bestellungen für März", "Bestellungen für März", id="letters of any script"),
        pytest.param("\x1b[2J\x1b[31mok", r"\x1b[2J\x1b[31mok", id="escape sequences"),
        pytest.param("a\nerror: b", r"a\nerror: b", id="a forged line"),
        pytest.param("a\rb\tc\x7f", r"a\rb\tc\x7f", id="control characters"),
        pytest.param("gpj.\u202etxt", r"gpj.\u202etxt", id="bidirectional override"),
        pytest.param("\u200bzero", r"\u200bzero", id="invisible"),
        pytest.param("caf\udce9", r"caf\udce9", id="bytes that are no UTF-8"),
        pytest.param("\x9b31m", r"\x9b31m", id="8-bit control sequence"),
        pytest.param("a\u2028b", r"a\u2028b", id="line separator"),
    ],
)
def test_scenario_174_names_cannot_steer_a_terminal(raw: str, shown: str) -> None:
    assert safe(raw) == shown
    json.dumps(plain({"name": raw}))


def test_texts_of_several_lines_keep_them() -> None:
    assert safe("one\ntwo\x1b", lines=True) == "one\ntwo\\x1b"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        (UTC, "2026-01-15 15:47:21 UTC"),
        (ZoneInfo("Europe/London"), "2026-01-15 15:47:21 UTC"),
        (ZoneInfo("Europe/Berlin"), "2026-01-15 16:47:21+01:00 (15:47:21 UTC)"),
        (ZoneInfo("Asia/Kathmandu"), "2026-01-15 21:32:21+05:45 (15:47:21 UTC)"),
        (ZoneInfo("Asia/Tokyo"), "2026-01-16 00:47:21+09:00 (2026-01-15 15:47:21 UTC)"),
        (timezone(timedelta(hours=-12)), "2026-01-15 03:47:21-12:00 (15:47:21 UTC)"),
    ],
)
def test_times_are_shown_in_the_users_zone_and_in_utc(zone: timezone, shown: str) -> None:
    assert Look(zone).when(MOMENT) == shown


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_scenario_159_a_shown_time_means_the_same_when_it_is_typed(zone: str) -> None:
    shown = Look(ZoneInfo(zone)).at(MOMENT)
    assert parse_time(shown, ZoneInfo("Asia/Tokyo")) == MOMENT.replace(microsecond=0)


def test_the_beginning_of_a_span_is_never_shown_too_early() -> None:
    assert not_before(MOMENT) == MOMENT.replace(second=22, microsecond=0)
    assert not_before(MOMENT.replace(microsecond=0)) == MOMENT.replace(microsecond=0)


def test_a_table_is_aligned_whatever_is_in_it() -> None:
    rows = [["a", "9"], ["日本", "10"], ["x\ny", "100"]]
    assert table(["NAME", "SIZE"], rows, Look(), right=(1,)).splitlines() == [
        "NAME  SIZE",
        "a        9",
        "日本    10",
        r"x\ny   100",
    ]


def test_width_counts_columns() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("size", "1 B"), ("label", ""), ("id", "x")]) == "size  1 B\nid    x"


def test_colours_only_where_they_are_understood() -> None:
    assert Look(styled=False).bad("x") == "x"
    assert Look(styled=True).bad("x") == "\033[1;31mx\033[0m"


def test_plural() -> None:
    assert [plural(1, "file"), plural(1204, "file")] == ["1 file", "1,204 files"]


def test_json_values_are_plain() -> None:
    @dataclass
    class Report:
        path: Path
        lsn: Lsn
        when: datetime

    report = Report(Path("/a"), Lsn.parse("0/4A000028"), MOMENT)
    assert plain(report) == {
        "path": "/a",
        "lsn": "0/4A000028",
        "when": "2026-01-15T15:47:21.500000+00:00",
    }
    assert plain(Segment(1, 10, 1 << 24)) == "00000001000000000000000A"
    assert plain([Action.PAUSE, Secret("x"), b"a", None, True, 1.5, 7]) == [
        "pause", "***", "a", None, True, 1.5, 7,
    ]  # fmt: skip
