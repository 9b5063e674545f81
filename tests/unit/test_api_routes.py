"""Every route of the OpenAPI document: who gets in, who does not, and what it answers."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from pgkeep.api.acting import check_place
from pgkeep.api.asking.commands import check
from pgkeep.api.errors import BadRequest
from pgkeep.api.gate.access import CSRF_HEADER
from pgkeep.api.rights import Role
from pgkeep.config.whole import read_config
from pgkeep.repository.acts.act import Outcome
from pgkeep.service.jobs.job import JobState
from support.apis import PASSWORD, Asking, Served, said, serve

ID = "20260101T120000Z-6eb1"
JOB = "20260101-120000-0123abcd"
VIEWER, OPERATOR, RESTORER, ADMIN = Role

# Every route, the least role that may use it, and a body that it takes.
ROUTES: Final[dict[tuple[str, str], tuple[Role | None, Any]]] = {
    ("get", "/healthz"): (None, None),
    ("post", "/api/session"): (None, {"name": "nobody", "password": "wrong"}),
    ("get", "/api/me"): (VIEWER, None),
    ("post", "/api/me/password"): (VIEWER, {"old": "x", "new": "y"}),
    ("delete", "/api/session"): (VIEWER, None),
    ("post", "/api/advise"): (VIEWER, {"rpo": 60, "hosting": "cloud-vm"}),
    ("get", "/metrics"): (VIEWER, None),
    ("get", "/api/version"): (VIEWER, None),
    ("get", "/api/openapi.json"): (VIEWER, None),
    ("get", "/api/clusters"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/health"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/timeline"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/backups"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/dumps"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/drills"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/events"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/checklist"): (VIEWER, None),
    ("get", "/api/clusters/{cluster}/storage"): (VIEWER, None),
    ("get", "/api/jobs"): (VIEWER, None),
    ("get", "/api/jobs/upcoming"): (VIEWER, None),
    ("get", "/api/jobs/{id}"): (VIEWER, None),
    ("get", "/api/jobs/{id}/log"): (VIEWER, None),
    ("post", "/api/clusters/{cluster}/look"): (OPERATOR, None),
    ("get", "/api/clusters/{cluster}/backups/{id}/deletion"): (OPERATOR, None),
    ("post", "/api/jobs/{id}/cancel"): (OPERATOR, None),
    ("post", "/api/clusters/{cluster}/jobs"): (OPERATOR, {"words": ["backup"]}),
    ("post", "/api/clusters/{cluster}/backups/{id}/pin"): (OPERATOR, {"reason": "audit"}),
    ("post", "/api/clusters/{cluster}/restore"): (RESTORER, {"target_directory": "/srv/restore/x"}),
    ("post", "/api/clusters/{cluster}/sandbox"): (RESTORER, {"at": "latest"}),
    ("post", "/api/clusters/{cluster}/undo"): (
        RESTORER,
        {"what": "table", "name": "a.b.c", "event": 1, "confirm": "main"},
    ),
    ("post", "/api/clusters/{cluster}/backups/{id}/unpin"): (ADMIN, None),
    ("post", "/api/clusters/{cluster}/backups/{id}/delete"): (ADMIN, {"confirm": "main"}),
    ("post", "/api/clusters/{cluster}/expire"): (ADMIN, {"confirm": "main"}),
    ("get", "/api/settings"): (ADMIN, None),
    ("get", "/api/audit"): (ADMIN, None),
    ("get", "/api/users"): (ADMIN, None),
    ("post", "/api/users"): (ADMIN, {"name": "<b>", "role": "viewer", "password": PASSWORD}),
    ("patch", "/api/users/{name}"): (ADMIN, {"role": "viewer"}),
    ("delete", "/api/users/{name}"): (ADMIN, None),
    ("get", "/api/tokens"): (ADMIN, None),
    ("post", "/api/tokens"): (ADMIN, {"name": "walk", "role": "viewer"}),
    ("delete", "/api/tokens/{name}"): (ADMIN, None),
}
REFUSED = (401, 403)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = serve(
        tmp_path_factory.mktemp("api"), 'restore_directories = ["/srv/restore", "/tmp/restore"]'
    )
    yield made
    made.board.close()


@pytest.fixture(scope="module")
def people(served: Served) -> dict[Role, Asking]:
    """One caller of each role, by token; so nothing anonymous is left."""
    served.users.add("anna", Role.ADMIN, PASSWORD)
    return {role: served.program(role) for role in Role}


def filled(path: str) -> str:
    fill = {"{cluster}": "main", "{name}": "ghost"}
    for name, value in fill.items():
        path = path.replace(name, value)
    return path.replace("{id}", JOB if path.startswith("/api/jobs") else ID)


def test_the_table_names_every_route(people: dict[Role, Asking]) -> None:
    document = people[VIEWER].get("/api/openapi.json").json()
    found = {(method, path) for path, those in document["paths"].items() for method in those}
    assert found == set(ROUTES)
    for path, those in document["paths"].items():
        for method, route in those.items():
            assert route["tags"], (method, path)
            assert route["description"], (method, path)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
def test_each_route_is_for_its_roles(
    served: Served, people: dict[Role, Asking], method: str, path: str
) -> None:
    needed, body = ROUTES[method, path]
    more = {} if body is None else {"json": body}
    nobody = served.anybody().ask(method.upper(), filled(path), **more)
    if needed is None:
        assert said(nobody) == "wrong-log-in" if nobody.status_code != 200 else nobody.json()
        return
    assert nobody.status_code == 401
    assert set(nobody.json()) == {"code", "message", "hint"}
    for role, caller in people.items():
        answer = caller.ask(method.upper(), filled(path), **more)
        if role.covers(needed):
            assert answer.status_code not in REFUSED, (role, answer.text)
            assert answer.status_code < 500
        else:
            assert answer.status_code == 403, (role, answer.text)
            assert said(answer) == "not-allowed"


@pytest.mark.parametrize(
    ("method", "path"), [route for route in ROUTES if route[0] != "get"], ids=str
)
def test_another_site_cannot_act_in_the_users_name(
    served: Served, people: dict[Role, Asking], method: str, path: str
) -> None:
    needed, body = ROUTES[method, path]
    more = {} if body is None else {"json": body}
    anna, session = served.person(ADMIN)
    url = filled(path)
    started = len(served.runner.started)
    wrongs: list[dict[str, str]] = [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ]
    if needed is not None:
        wrongs += [{CSRF_HEADER: ""}, {CSRF_HEADER: "x" * 43}, {CSRF_HEADER: session.csrf[:-1]}]
    for wrong in wrongs:
        answer = anna.ask(method.upper(), url, headers=wrong, **more)
        assert answer.status_code == 403, (wrong, answer.text)
        assert said(answer) == "cross-site-request"
    assert len(served.runner.started) == started
    assert served.parts.sessions.is_current(session)


def test_what_destroys_takes_the_clusters_name(served: Served, people: dict[Role, Asking]) -> None:
    admin = people[ADMIN]
    started = len(served.runner.started)
    for path, body in [
        (f"/api/clusters/main/backups/{ID}/delete", {"confirm": "mian"}),
        ("/api/clusters/main/expire", {"confirm": ""}),
        ("/api/clusters/main/jobs", {"words": ["expire"]}),
        ("/api/clusters/main/jobs", {"words": ["delete", ID], "confirm": "Main"}),
        ("/api/clusters/main/undo", {"what": "database", "name": "shop"}),
    ]:
        answer = admin.post(path, json=body)
        assert (answer.status_code, said(answer)) == (409, "name-not-typed"), path
        assert answer.json()["hint"] == "type main"
    assert len(served.runner.started) == started


def test_the_command_of_a_job_decides_who_may_start_it(people: dict[Role, Asking]) -> None:
    for words, needed in [
        (["verify"], OPERATOR),
        (["restore", "--target-dir=/srv/restore/y"], RESTORER),
        (["pin", ID, "--remove"], ADMIN),
        (["delete", ID], ADMIN),
    ]:
        for role, caller in people.items():
            body = {"words": words, "confirm": "main"}
            answer = caller.post("/api/clusters/main/jobs", json=body)
            assert answer.status_code == (202 if role.covers(needed) else 403), (role, words)


def test_a_started_job_says_what_one_would_type(people: dict[Role, Asking]) -> None:
    body = {"target_directory": "/srv/restore/y", "to": "2026-01-06 12:00:00+00", "exclusive": True}
    answer = people[RESTORER].post("/api/clusters/main/restore", json=body)
    assert answer.json()["command"] == (
        "pgkeep --cluster main restore --target-dir=/srv/restore/y "
        "'--to=2026-01-06 12:00:00+00' --exclusive"
    )
    assert answer.json()["by"] == "token:of-restorer"
    job = people[VIEWER].get(f"/api/jobs/{answer.json()['id']}").json()
    assert job["state"] in ("running", "waiting")  # for what other tests have started
    people[OPERATOR].post(f"/api/jobs/{answer.json()['id']}/cancel")


def test_rows_that_an_undo_shows_are_for_who_may_undo(
    served: Served, people: dict[Role, Asking]
) -> None:
    body = {"what": "table", "name": "a.b.c", "event": 1, "confirm": "main"}
    id = people[RESTORER].post("/api/clusters/main/undo", json=body).json()["id"]
    run = served.board.job(id)
    report = {"missing_sample": [["4711"]]}
    served.board._changed(replace(run, state=JobState.DONE, report=report, ended_at=run.began_at))
    for role, caller in people.items():
        shows = role.covers(RESTORER)
        assert caller.get(f"/api/jobs/{id}").json()["report"] == (report if shows else None)
        assert "4711" not in caller.get("/api/jobs?limit=1000").text
        assert caller.get(f"/api/jobs/{id}/log").status_code == (200 if shows else 403)
    cancelled = people[OPERATOR].post(f"/api/jobs/{id}/cancel").json()
    assert (cancelled["job"]["id"], cancelled["report"]) == (id, None)


@pytest.mark.parametrize("where", [("--where=email = 'x@y'",), ("--where", "email = 'x@y'")])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("undo", "rows", "a.b.c", "--event=1"), id="undo"),
        pytest.param(("dump", "restore", "latest", "--name=x"), id="dump"),
    ],
)
def test_what_failed_quotes_no_row_to_who_may_not_undo(
    served: Served, people: dict[Role, Asking], command: tuple[str, ...], where: tuple[str, ...]
) -> None:
    job = served.board.start("main", (*command, *where), "root")
    error = {"code": "load-failed", "message": "Key (email)=(x@y) already exists", "hint": ""}
    run = replace(served.board.job(job.id), state=JobState.FAILED, error=error)
    served.board._changed(run)
    for role, caller in people.items():
        for path in (f"/api/jobs/{job.id}", "/api/jobs?limit=1000"):
            assert ("x@y" in caller.get(path).text) is role.covers(RESTORER)


# Clients take a plain ".." out themselves.
TRAVERSALS = ["%2e%2e", "a%2fb", "..%2f..%2fetc", "-rf", "a%00b", "<b>", "a b", "%0a"]


@pytest.mark.parametrize("part", TRAVERSALS)
@pytest.mark.parametrize(
    "path",
    sorted({path for _, path in ROUTES if "{" in path}),
)
def test_no_path_leads_elsewhere(
    served: Served, people: dict[Role, Asking], path: str, part: str
) -> None:
    started = len(served.runner.started)
    for method in ("GET", "POST", "DELETE", "PATCH"):
        _, body = ROUTES.get((method.lower(), path), (None, None))
        for name in ("{cluster}", "{id}", "{name}"):
            if name in path:
                url = filled(path.replace(name, part))
                more = {} if body is None else {"json": body}
                answer = people[ADMIN].ask(method, url, **more)
                assert answer.status_code in (404, 405, 422), (url, answer.text)
                assert set(answer.json()) == {"code", "message", "hint"}
    assert len(served.runner.started) == started


STARTS: Final[dict[str, dict[str, Any]]] = {
    "pin": {"reason": "audit", "until": "90d"},
    "delete": {"confirm": "main", "last": False},
    "restore": {
        "target_directory": "/srv/restore/x",
        "to": "latest",
        "timeline": "latest",
        "backup": ID,
    },
    "sandbox": {"at": "latest", "before": "xid:5", "event": 1, "stays": "1h"},
    "undo": {
        "what": "table",
        "name": "a.b.c",
        "way": "beside",
        "as_name": "copy",
        "at": "latest",
        "confirm": "main",
    },
    "expire": {"confirm": "main"},
}
NASTY = (
    *("--config=/tmp/evil.toml", "--repository", "-rf", "--", "a\0b", "a\nb", "\x1b[2J", "\ud800"),
    *("../../etc", "/etc", "/srv/restore/../../etc/x", "$(reboot)", "; reboot", "x" * 5000),
)


@pytest.mark.parametrize("act", STARTS)
def test_no_field_of_a_body_becomes_an_option(
    served: Served, people: dict[Role, Asking], act: str
) -> None:
    middle = f"/backups/{ID}" if act in ("pin", "delete") else ""
    url = f"/api/clusters/main{middle}/{act}"
    admin, bounds = people[ADMIN], served.parts.acting.bounds()
    assert admin.post(url, json=STARTS[act]).status_code == 202
    for field in STARTS[act]:
        for value in (*NASTY, ["--yes"], {"a": "b"}, None, 10**30):
            before = len(served.board.jobs(limit=1000))
            content = json.dumps({**STARTS[act], field: value})
            headers = {"content-type": "application/json"}
            answer = admin.post(url, content=content, headers=headers)
            assert answer.status_code < 500, (field, value, answer.text)
            if answer.status_code != 202:
                assert len(served.board.jobs(limit=1000)) == before
                continue
            words = tuple(answer.json()["words"])
            assert check(words, bounds).words == words, (field, value)
            held = [word for word in words if str(value) in word]
            assert all("=" in word or not word.startswith("-") for word in held), (field, value)


def test_a_link_in_the_folder_for_restores_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "link").symlink_to("/etc")
    allowed = [str(tmp_path / "allowed")]
    with pytest.raises(BadRequest, match="it leads to /etc/x, which is elsewhere"):
        check_place(str(tmp_path / "allowed" / "link" / "x"), allowed)
    check_place(str(tmp_path / "allowed" / "x"), allowed)


def test_names_with_html_come_back_as_text(people: dict[Role, Asking]) -> None:
    answer = people[ADMIN].get("/api/clusters/%3Cscript%3Ealert(1)%3C%2Fscript%3E/health")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    label = "<img src=x onerror=alert(1)>"
    body = {"words": ["backup", f"--label={label}"]}
    started = people[OPERATOR].post("/api/clusters/main/jobs", json=body)
    assert started.json()["words"] == ["backup", f"--label={label}"]
    assert "'--label=<img src=x onerror=alert(1)>'" in started.json()["command"]


def test_secrets_are_in_no_answer(served: Served, people: dict[Role, Asking]) -> None:
    for method, path in ROUTES:
        if method == "get":
            text = people[ADMIN].get(filled(path)).text
            assert "se-cret" not in text, path
            assert "argon2" not in text, path
    shown = people[ADMIN].get("/api/settings").json()["settings"]
    assert shown["clusters"]["main"]["conninfo"] == {"value": "(not shown)", "origin": "file"}
    assert shown["service"]["listen"] == {"value": "127.0.0.1:8426", "origin": "default"}
    assert shown["service"]["restore_directories"]["origin"] == "file"


def test_who_was_refused_is_on_record(served: Served, people: dict[Role, Asking]) -> None:
    people[VIEWER].post("/api/clusters/main/expire", json={"confirm": "main"})
    people[VIEWER].post(
        "/api/clusters/main/jobs", json={"words": ["delete", ID], "confirm": "main"}
    )
    acts = [act for act, _ in served.parts.audit._unsent()]
    refused = [(act.who, act.what, act.cluster) for act in acts[-2:]]
    assert [act.outcome for act in acts[-2:]] == [Outcome.REFUSED, Outcome.REFUSED]
    assert refused == [("token:of-viewer", "expire", ""), ("token:of-viewer", "delete", "main")]


def test_the_adviser_proposes_configs_that_pgkeep_reads(people: dict[Role, Asking]) -> None:
    answer = people[VIEWER].post("/api/advise?cluster=shop", json={"rpo": 60, "size": 10**12})
    plans = answer.json()["plans"]
    assert len(plans) > 1
    assert plans[0]["recommended"]
    for plan in plans:
        assert list(read_config(tomllib.loads(plan["config"]), "pgkeep.toml").clusters) == ["shop"]
        assert plan["settings"] is not None


@pytest.mark.parametrize(
    "body",
    [
        '{"rpo": 0}',
        '{"rpo": NaN}',
        '{"restore_rate": Infinity}',
        '{"replay_rate": NaN}',
        '{"size": 1e300}',
        '{"hosting": "moon"}',
        '{"rop": 60}',
        '{"budget": -1}',
        '{"daily": 1e999}',
        "[]",
    ],
)
def test_wishes_that_nobody_can_have_are_refused(people: dict[Role, Asking], body: str) -> None:
    headers = {"content-type": "application/json"}
    answer = people[VIEWER].post("/api/advise", content=body, headers=headers)
    assert (answer.status_code, said(answer)) == (422, "bad-request"), answer.text
    assert people[VIEWER].post("/api/advise?cluster=a%0Ab", json={}).status_code == 422


def test_metrics_are_what_prometheus_reads(people: dict[Role, Asking]) -> None:
    answer = people[VIEWER].get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "pgkeep_up{" in answer.text
