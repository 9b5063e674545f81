"""What is said of a drill: text, JSON, and the page."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pgkeep.cli.drilling.command import status_of
from pgkeep.cli.drilling.page import CannotWritePage, page, write_page
from pgkeep.cli.drilling.text import last_facts, last_words, listed, text, verdict
from pgkeep.cli.text import Look
from pgkeep.errors import PgkeepError
from pgkeep.repository.drills.report import Check, CheckKind, Measures, Status
from pgkeep.repository.drills.storing import Drills, UnreadableReport
from pgkeep.repository.seal import Damaged
from support.drill_reports import MOMENT, a_report

LOOK = Look()
EVIL = '<script>alert("1")</script>\x1b[31m'


def check(status: Status, kind: CheckKind = CheckKind.AMCHECK, **more: object) -> Check:
    return Check(kind=kind, status=status, words="words", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "checks", "words", "exit_status"),
    [
        (Status.PASSED, (), "passed", 0),
        (Status.PASSED, (check(Status.NOT_TESTED),), "passed, but not tested: amcheck", 0),
        (Status.FAILED, (check(Status.FAILED),), "failed: amcheck", 3),
        (Status.NOT_TESTED, (), "could not test", 4),
    ],
)
def test_verdict(status: Status, checks: tuple[Check, ...], words: str, exit_status: int) -> None:
    assert verdict(a_report(status=status, checks=checks)) == words
    assert status_of(status) == exit_status


def test_a_verdict_names_a_few_checks() -> None:
    many = tuple(check(Status.FAILED, CheckKind.QUERY, name=str(n)) for n in range(9))
    assert verdict(a_report(status=Status.FAILED, checks=many)) == (
        "failed: query 0, query 1, query 2, query 3 and 5 more"
    )


def test_text() -> None:
    report = a_report(
        asked="random",
        target="lsn:0/5001710",
        seed="7",
        reached="where it was to stop",
        checks=(
            check(Status.PASSED, CheckKind.RESTORE),
            check(Status.FAILED, evidence=("a line",), more=2),
        ),
        status=Status.FAILED,
        measures=Measures(restored_bytes=1 << 20, restore_s=2.0, ready_s=3.0),
        server="18.6",
        finished_at=MOMENT + timedelta(seconds=9),
        notes=("a note",),
    )
    assert text(report, LOOK).splitlines() == [
        "drill of backup 20261128T005226Z-700e of cluster main: failed: amcheck",
        "",
        "  target        lsn:0/5001710, drawn by lot",
        "  reached       where it was to stop",
        "  restored      1 MiB in 2.0 s",
        "  usable after  3.0 s",
        "  server        PostgreSQL 18.6 on backup1",
        "  finished      2026-11-28 00:52:51 UTC, after 9.0 s",
        "",
        "  passed          restore: words",
        "  failed          amcheck: words",
        "    a line",
        "    and 2 more lines",
        "",
        "note: a note",
        "the same moment again: --to random --seed 7, or --to lsn:0/5001710 --exclusive",
        "report: pgkeep drill --show 20261128T005242.000000Z-00000001",
    ]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href", "onload", "onclick"} & {name for name, _ in attrs}


def test_a_page_runs_and_fetches_nothing_whatever_tables_are_called() -> None:
    bad = Check(kind=CheckKind.QUERY, status=Status.FAILED, words=EVIL, name=EVIL, evidence=(EVIL,))
    made = page(a_report(checks=(bad,), reached=EVIL, host=EVIL, server="18", notes=(EVIL,)), LOOK)
    tags = _Tags()
    tags.feed(made)
    assert tags.seen.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert "\x1b" not in made
    assert made.count("&lt;script&gt;") == 6
    assert "prefers-color-scheme: dark" in made
    assert "default-src 'none'" in made


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    write_page(a_report(), tmp_path / "page.html", UTC)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(CannotWritePage) as caught:
        write_page(a_report(), tmp_path / "taken", UTC)
    assert str(caught.value).startswith(f"cannot write the report to {tmp_path}/taken: ")
    assert not list(tmp_path.glob(".*"))


def found(*sketch: str) -> Drills:
    """The newest first: '+' passed, '-' failed, '?' could not be made."""
    status = {"+": Status.PASSED, "-": Status.FAILED, "?": Status.NOT_TESTED}
    return Drills(
        tuple(
            a_report(
                of=f"b{n}", status=status[sign], finished_at=datetime(2026, 1, 9 - n, tzinfo=UTC)
            )
            for n, sign in enumerate(sketch)
        )
    )


@pytest.mark.parametrize(
    ("drills", "words"),
    [
        (found(), "never proven by a restore: pgkeep drill does it"),
        (found("+"), "proven by a restore of b0 2026-01-09 00:00:00 UTC"),
        (
            found("-", "+"),
            "proven by a restore of b1 2026-01-08 00:00:00 UTC; since then a drill of b0 failed",
        ),
        (
            found("?"),
            "never proven by a restore; the last drill, 2026-01-09 00:00:00 UTC, could not be made",
        ),
    ],
)
def test_when_a_cluster_was_last_proven(drills: Drills, words: str) -> None:
    assert last_words(drills, LOOK) == words
    facts = last_facts(drills)
    assert (facts is None) == (drills.last is None)


def test_the_list_names_what_cannot_be_read() -> None:
    bad = UnreadableReport("x.json", Damaged("x.json", "torn"))
    error: PgkeepError = bad.error
    assert listed(Drills((), (bad,)), LOOK).splitlines() == [
        "no drills yet: pgkeep drill makes one",
        f"cannot be read: {error}",
    ]
