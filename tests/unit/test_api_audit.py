"""Acts are on record before they are done, and reach the repository when it is there."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.api.audit import Audit, to_repositories
from pgkeep.api.errors import ActNotRecorded
from pgkeep.api.rights import Role
from pgkeep.api.sessions import Caller
from pgkeep.api.users import User
from pgkeep.repository.acts.act import Act, Outcome
from pgkeep.repository.acts.storing import acts
from pgkeep.service.errors import ServiceFailed
from support.apis import Served, said, serve
from support.wait import wait_for

ANNA = Caller(User("anna", Role.ADMIN), None, "198.51.100.1")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Away:
    """A repository that takes nothing for a while."""

    def __init__(self) -> None:
        self.is_away = True
        self.tried = 0
        self.taken: list[Act] = []

    def __call__(self, act: Act) -> None:
        self.tried += 1
        if self.is_away:
            raise ServiceFailed("record an act", "the repository is away")
        self.taken.append(act)


def drain(audit: Audit) -> None:
    audit.start()
    wait_for(lambda: audit.waiting() == 0)
    audit.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = serve(tmp_path)
    yield made
    made.parts.audit.close()
    made.board.close()


def test_what_a_user_does_gets_into_the_repository(served: Served) -> None:
    program = served.program(Role.ADMIN)
    served.parts.audit.start()
    program.post("/api/clusters/main/jobs", json={"words": ["backup"]})
    program.post("/api/tokens", json={"name": "ci", "role": "viewer"})
    wait_for(lambda: served.parts.audit.waiting() == 0)
    answer = program.get("/api/audit?cluster=main").json()
    assert [(a["who"], a["what"], a["outcome"], a["words"]) for a in answer["acts"]] == [
        ("token:of-admin", "backup", "started", ["backup"])
    ]
    own = program.get("/api/audit").json()
    assert [(a["what"], a["outcome"]) for a in own["acts"]] == [
        ("token-add", "done"),
        ("token-add", "started"),
    ]
    assert own["waiting"] == 0


def test_a_repository_that_is_away_gets_what_it_missed(served: Served, tmp_path: Path) -> None:
    program = served.program(Role.OPERATOR)
    hidden = tmp_path / "hidden"
    served.repository.rename(hidden)
    served.parts.audit.start()
    answer = program.post("/api/clusters/main/jobs", json={"words": ["backup"]})
    assert answer.status_code == 202, "nobody waits for the repository"
    served.parts.audit.close()
    assert served.parts.audit.waiting() == 1
    hidden.rename(served.repository)
    drain(Audit(served.board.state_directory, to_repositories(served.board)))
    repository = served.board.app("main").copies.repository
    assert [act.what for act in acts(repository, "main").found] == ["backup"]


def test_an_act_is_sent_once_and_in_order(tmp_path: Path) -> None:
    away = Away()
    audit = Audit(tmp_path, away, lambda: NOW)
    for what in ("backup", "verify", "drill"):
        audit.record(ANNA, what, Outcome.STARTED, cluster="main")
    audit.start()
    wait_for(lambda: away.tried > 0)
    audit.close()
    assert audit.waiting() == 3
    away.is_away = False
    for _ in range(2):
        drain(Audit(tmp_path, away, lambda: NOW))
    assert [act.what for act in away.taken] == ["backup", "verify", "drill"]
    assert away.taken[0].facts == {"address": "198.51.100.1"}
    assert away.taken[0].who == "anna"


def test_what_a_power_cut_left_stops_nothing(tmp_path: Path) -> None:
    away = Away()
    away.is_away = False
    audit = Audit(tmp_path, away)
    audit.record(ANNA, "backup", Outcome.STARTED)
    with open(audit.path, "ab") as log:
        log.write(b'{"id": "2026\n{}\n')
    (tmp_path / "audit.sent").write_bytes(b"\0\0\0")
    audit.record(ANNA, "verify", Outcome.STARTED)
    audit.start()
    wait_for(lambda: len(away.taken) == 2)
    audit.close()
    assert [act.what for act in away.taken] == ["backup", "verify"]


def test_a_long_log_is_put_away_once_it_is_sent(tmp_path: Path) -> None:
    away = Away()
    away.is_away = False
    (tmp_path / "audit.log").write_bytes((b"x" * (1 << 20) + b"\n") * 17)
    audit = Audit(tmp_path, away)
    audit.record(ANNA, "backup", Outcome.STARTED)
    audit.start()
    wait_for((tmp_path / "audit.log.1").exists)
    audit.record(ANNA, "verify", Outcome.STARTED)
    wait_for(lambda: len(away.taken) == 2)
    audit.close()
    assert [act.what for act in away.taken] == ["backup", "verify"]
    assert len(audit.path.read_bytes().splitlines()) == 1
    (tmp_path / "audit.sent").write_text("99999")  # as if stopped between the two steps
    assert Audit(tmp_path, away).waiting() == 1


def test_what_cannot_be_written_down_is_not_done(served: Served) -> None:
    program = served.program(Role.ADMIN)
    served.parts.audit.path.mkdir()
    answer = program.post("/api/clusters/main/jobs", json={"words": ["backup"]})
    assert (answer.status_code, said(answer)) == (503, "act-not-recorded")
    assert program.post("/api/tokens", json={"name": "ci", "role": "viewer"}).status_code == 503
    assert served.runner.started == []
    assert [token.name for token in served.users.tokens()] == ["of-admin"]
    with pytest.raises(ActNotRecorded):
        served.parts.audit.record(ANNA, "backup", Outcome.STARTED)
    served.parts.audit.log_in(ANNA, "anna", Outcome.DONE)  # keeps nobody out


def test_of_many_wrong_log_ins_a_bound_is_written(tmp_path: Path) -> None:
    now = [NOW]
    audit = Audit(tmp_path, Away(), lambda: now[0])
    for number in range(500):
        audit.log_in(ANNA, f"guess{number}", Outcome.FAILED)
    for _ in range(10):
        audit.refused(ANNA, "expire", "main", ())
    assert audit.waiting() == 120
    audit.log_in(ANNA, "anna", Outcome.DONE)
    last = json.loads(audit.path.read_text().splitlines()[-1])
    assert last["facts"]["in_vain_before_not_listed"] == "390"
    now[0] += timedelta(hours=1)
    audit.log_in(ANNA, "guess", Outcome.FAILED)
    assert audit.waiting() == 122


def test_names_stay_names(tmp_path: Path) -> None:
    audit = Audit(tmp_path, Away())
    audit.log_in(ANNA, 'anna\n{"who": "forged"}' + "x" * 1000, Outcome.FAILED)
    lines = audit.path.read_text().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["who"].startswith("anna\n{")
    assert audit.waiting() == 1
