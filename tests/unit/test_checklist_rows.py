"""What the checklist takes for proof, and what not, in a repository without a server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from pgkeep.app import App
from pgkeep.checklist.row import Row
from pgkeep.checklist.rows import checklist
from pgkeep.cli.checklisting.text import checklist as as_text
from pgkeep.cli.text import Look
from pgkeep.repository.acts.act import (
    ALERT_TEST,
    CHECKLIST,
    EXPIRE,
    POINT,
    RUNBOOK,
    Act,
    Outcome,
)
from pgkeep.repository.acts.storing import record_act
from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import write_report
from pgkeep.repository.marker import timed_id
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from support.acts import an_act
from support.drill_reports import a_report

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CONFIG = """
[repository]
name = "local"
url = "repository"

[clusters.main]
conninfo = "host=/nowhere dbname=postgres"
data_directory = "/"

[clusters.main.retention]
daily = 7

[[alerts.channels]]
name = "mail"
url = "mailto://a@localhost"

[[alerts.channels]]
name = "pager"
url = "mailto://b@localhost"
"""


class House:
    """A config and its repository, without a server."""

    def __init__(self, place: Path) -> None:
        self.config = place / "pgkeep.toml"
        self.config.write_text(CONFIG)
        self.address = str(place / "repository")
        self.repository = Repository.create(make_store(self.address), "none", None)

    def keep(self, *acts: Act) -> None:
        for act in acts:
            record_act(self.repository, act)

    def row(self, key: str) -> Row:
        found = checklist(App(str(self.config)), NOW)
        return next(row for row in found.rows if row.key == key)

    def state(self, key: str) -> str:
        return self.row(key).state.value


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def checked(at: datetime, state: str) -> Act:
    facts = {"archive-command": state, "stored": "2 GiB in local"}
    return replace(an_act(at, CHECKLIST), facts=facts)


def test_every_channel_must_have_been_tried(house: House) -> None:
    house.keep(an_act(ago(days=9), ALERT_TEST, cluster="", channels="mail"))
    assert house.row("alerts").proof.startswith("pager: never done")
    assert house.state("alerts") == "due"
    house.keep(an_act(ago(days=8), ALERT_TEST, cluster="", channels="mail, pager"))
    assert house.state("alerts") == "ok"
    failed = an_act(ago(days=1), ALERT_TEST, Outcome.FAILED, cluster="", channels="pager")
    house.keep(failed)
    assert house.state("alerts") == "failed"


def test_another_host_may_call_the_repository_otherwise(house: House) -> None:
    house.keep(an_act(ago(days=1), EXPIRE, repository="backup-box", address=house.address))
    assert house.state("rotation") == "ok"
    assert "daily 7; expired (act " in house.row("rotation").proof


def test_what_was_done_in_another_repository_proves_nothing_of_this(house: House) -> None:
    house.keep(an_act(ago(days=1), EXPIRE, repository="other", address="/elsewhere"))
    assert house.state("rotation") == "due"


def test_a_server_that_is_away_was_checked_as_long_as_that_is_on_record(house: House) -> None:
    assert house.state("archive-command") == "due"
    good = checked(ago(hours=3), "ok")
    house.keep(good)
    assert house.state("archive-command") == "not known"
    assert house.row("storage-size").proof == f"2 GiB in local (act {good.id})"
    assert house.state("storage-size") == "ok"
    house.keep(checked(ago(hours=1), "failed"))
    assert house.state("archive-command") == "due"


def test_a_drill_that_failed_hides_one_that_passed(house: House) -> None:
    folder = house.repository.cluster("main")
    for days, status in ((20, Status.PASSED), (2, Status.FAILED)):
        assert house.state("test-restore") == ("due" if days == 20 else "ok")
        id = timed_id(ago(days=days), b"\1\1\1\1")
        write_report(folder, a_report(id, status, finished_at=ago(days=days)))
    assert house.state("test-restore") == "failed"
    assert house.row("test-restore").last_done == ago(days=20)


def test_a_point_is_advice_and_never_due(house: House) -> None:
    assert house.state("restore-point") == "not set up"
    house.keep(an_act(ago(days=3000), POINT, name="before_v1"))
    assert house.state("restore-point") == "ok"


def test_the_text_fits_80_columns_and_steers_no_terminal(house: House) -> None:
    house.keep(an_act(ago(days=1), RUNBOOK, file="/srv/\x1b[31m" + "runbook " * 30, config="x"))
    text = as_text(checklist(App(str(house.config)), NOW), Look(), ("pgkeep", "--cluster", "m n"))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "do: pgkeep --cluster 'm n' drill" in text
