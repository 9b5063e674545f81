"""The gate before the API and the page: who is nobody, which host is meant, how much comes in."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from pgkeep.api.attempts import FREE
from pgkeep.api.gate.access import COOKIE, NOBODYS, SECURE_COOKIE
from pgkeep.api.gate.headers import is_same_site
from pgkeep.api.parts import READERS
from pgkeep.api.rights import Role
from pgkeep.api.sessions import current_user
from pgkeep.repository.acts.act import Outcome
from support.apis import HERE, PASSWORD, Asking, Served, said, serve

LOG_IN = {"name": "anna", "password": PASSWORD}


@pytest.fixture
def served(tmp_path: Path) -> Any:
    made = serve(tmp_path)
    yield made
    made.board.close()


def test_without_users_this_host_may_look_and_no_more(served: Served) -> None:
    nobody = served.anybody()
    assert nobody.get("/api/clusters").status_code == 200
    me = nobody.get("/api/me").json()
    assert (me["role"], me["anonymous"], me["may"]) == ("viewer", True, ["advise", "look"])
    answer = nobody.post("/api/clusters/main/jobs", json={"words": ["backup"]})
    assert (answer.status_code, said(answer)) == (403, "not-allowed")
    assert answer.json()["hint"] == "make the first user: pgkeep user add NAME --role admin"
    assert nobody.get("/api/users").status_code == 403
    assert nobody.post("/api/users", json={}).status_code == 403
    assert served.runner.started == []
    assert NOBODYS.may("look")
    assert not NOBODYS.may("backup")


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host"]
)
def test_without_users_nobody_may_look_through_a_proxy(served: Served, header: str) -> None:
    answer = served.anybody().get("/api/clusters", headers={header: "198.51.100.1"})
    assert answer.status_code == 401


def test_the_first_user_ends_that(served: Served) -> None:
    served.users.add_token("ci", Role.VIEWER, None)
    assert served.anybody().get("/api/clusters").status_code == 200, "a token is no user"
    served.users.add("anna", Role.ADMIN, PASSWORD)
    assert served.anybody().get("/api/clusters").status_code == 401
    assert served.anybody().get("/healthz").json() == {"ok": True}


def test_a_file_of_users_that_cannot_be_read_lets_nobody_in(served: Served) -> None:
    Path(served.users.path).write_text("{")
    answer = served.anybody().get("/api/clusters")
    assert (answer.status_code, said(answer)) == (503, "users-unreadable")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil@127.0.0.1"])
def test_names_that_others_have_led_here_are_refused(served: Served, host: str) -> None:
    for path in ("/api/clusters", "/healthz", "/"):
        answer = served.anybody().get(path, headers={"host": host})
        assert (answer.status_code, said(answer)) == (421, "wrong-host")
    assert served.anybody().get("/healthz", headers={"host": "localhost:8426"}).status_code == 200


def log_in(served: Served, address: str = "198.51.100.1", **wrong: str) -> httpx.Response:
    caller = served.anybody()
    caller.address = address
    return caller.post("/api/session", json={**LOG_IN, **wrong})


def test_logging_in_and_out(served: Served) -> None:
    served.users.add("anna", Role.OPERATOR, PASSWORD)
    answer = log_in(served)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    anna = served.anybody()
    anna.headers = {"cookie": cookie.split(";")[0], "x-csrf-token": answer.json()["csrf"]}
    assert anna.get("/api/me").json()["name"] == "anna"
    assert anna.post("/api/clusters/main/jobs", json={"words": ["check"]}).status_code == 202
    assert served.runner.started[0].by == "anna"
    out = anna.ask("DELETE", "/api/session")
    assert out.status_code == 200
    assert out.headers["set-cookie"].startswith(f'{COOKIE}=""; expires=')
    assert anna.get("/api/me").status_code == 401


def test_under_tls_the_cookie_stays_there(served: Served) -> None:
    served.users.add("anna", Role.OPERATOR, PASSWORD)
    secure = served.anybody("https://127.0.0.1")
    answer = secure.post("/api/session", json=LOG_IN)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} <= set(cookie.split("; "))
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    secure.headers = {"cookie": cookie.split(";")[0]}
    assert secure.get("/api/me").status_code == 200
    plain = Asking(served.app, HERE, dict(secure.headers))
    assert plain.get("/api/me").status_code == 401


def test_wrong_log_ins_tell_nothing_and_get_slower(served: Served) -> None:
    served.users.add("anna", Role.ADMIN, PASSWORD)
    wrong = log_in(served, password="wrong")
    unknown = log_in(served, name="nobody")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    for _ in range(FREE):
        last = log_in(served, password="wrong")
    assert (last.status_code, said(last)) == (429, "too-many-log-ins")
    assert 1 <= int(last.headers["retry-after"]) <= 61
    assert log_in(served).status_code == 429, "even with the right one"
    assert log_in(served, "127.0.0.1").status_code == 200, "but at the host itself"


def test_every_log_in_is_on_record(served: Served) -> None:
    served.users.add("anna", Role.ADMIN, PASSWORD)
    log_in(served, password="wrong")
    log_in(served)
    acts = [act for act, _ in served.parts.audit._unsent()]
    assert [(act.who, act.what, act.outcome, act.facts) for act in acts] == [
        (
            "anna",
            "log-in",
            Outcome.FAILED,
            {"address": "198.51.100.1", "failed_in_a_row": "1"},
        ),
        ("anna", "log-in", Outcome.DONE, {"address": "198.51.100.1"}),
    ]
    log = served.parts.audit.path
    assert PASSWORD not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_another_password_ends_all_sessions(served: Served) -> None:
    anna, _ = served.person(Role.OPERATOR)
    elsewhere, _ = served.person(Role.OPERATOR)
    body = {"old": PASSWORD, "new": "another horse battery"}
    wrong = anna.post("/api/me/password", json={**body, "old": "wrong"})
    assert (wrong.status_code, said(wrong)) == (401, "wrong-log-in")
    short = anna.post("/api/me/password", json={**body, "new": "short"})
    assert (short.status_code, said(short)) == (422, "bad-user")
    assert anna.get("/api/me").status_code == 200
    assert anna.post("/api/me/password", json=body).status_code == 200
    assert anna.get("/api/me").status_code == 401
    assert elsewhere.get("/api/me").status_code == 401
    assert log_in(served).status_code == 401
    assert log_in(served, password="another horse battery").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "anna"}',
        b'{"name": ["anna"], "password": {}}',
        b'{"name": "anna", "password": "x", "role": "admin"}',
        b'{"name": "\\ud800", "password": "x"}',
        b"\xff\xfe",
        b"[" * 30_000,
        b'{"name": "' + b"a" * 70 + b'", "password": "x"}',
    ],
    ids=range(11),
)
def test_a_body_that_is_none_is_said_to_be_none(served: Served, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = served.anybody().post("/api/session", content=body, headers=headers)
    assert answer.status_code in (400, 401, 422)
    assert set(answer.json()) == {"code", "message", "hint"}
    assert "Traceback" not in answer.text


def test_what_was_typed_does_not_come_back(served: Served) -> None:
    body = {"name": "anna", "password": ["my-secret-word"]}
    answer = served.anybody().post("/api/session", json=body)
    assert answer.status_code == 422
    assert answer.json()["message"] == (
        "cannot understand the request: password: input should be a valid string"
    )


def test_a_body_without_end_is_cut_off(served: Served) -> None:
    program = served.program(Role.ADMIN)
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 16
            yield b" " * (1 << 16)

    told = program.post("/api/clusters/main/jobs", content=b" " * (1 << 20))
    assert (told.status_code, said(told)) == (413, "request-too-large")
    headers = {"content-type": "application/json"}
    answer = program.post("/api/clusters/main/jobs", content=pieces(), headers=headers)
    assert (answer.status_code, said(answer)) == (413, "request-too-large")
    assert sent < 1 << 20


def test_every_answer_guards_its_reader(served: Served) -> None:
    for path in ("/api/clusters", "/api/nothing", "/healthz", "/"):
        headers = served.anybody().get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    refused = served.anybody().get("/api/clusters", headers={"host": "evil.example"}).headers
    assert "frame-ancestors 'none'" in refused["content-security-policy"]


def test_a_bug_is_not_shown(served: Served) -> None:
    @served.app.get("/api/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(served.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            return await client.get("/api/broken")

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.json() == {
        "code": "bug",
        "message": "pgkeep has a bug",
        "hint": "the service's log has more",
    }


def test_repositories_that_are_away_leave_threads_for_the_rest(served: Served) -> None:
    nobody, readers = served.anybody(), served.parts.readers
    for _ in range(READERS):
        readers.acquire()
    answer = nobody.get("/api/clusters/main/dumps")
    assert (answer.status_code, said(answer)) == (503, "too-busy")
    assert nobody.get("/api/clusters").status_code == 200
    readers.release()
    for _ in range(3):
        assert nobody.get("/api/clusters/main/dumps").status_code == 200
        assert nobody.get("/api/clusters/ghost/dumps").status_code == 404


def add_page(app: FastAPI) -> None:
    def page(request: Request) -> JSONResponse:
        user = current_user(request)
        return JSONResponse({"user": user.name if user else None})

    async def events(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(json.dumps(getattr(current_user(socket), "name", None)))
        await socket.close()

    routes = [Route("/page", page, methods=["GET", "POST"]), WebSocketRoute("/events", events)]
    app.router.routes.append(Mount("/", routes=routes))


def test_a_page_mounted_beside_knows_its_user(served: Served) -> None:
    add_page(served.app)
    anna, _ = served.person(Role.VIEWER)
    nobody = served.anybody()
    assert (nobody.get("/page").status_code, nobody.post("/page").status_code) == (401, 401)
    reader = nobody.get("/page?x=1&next=//evil.example", headers={"accept": "text/html,*/*"})
    assert reader.status_code == 303
    assert reader.headers["location"] == "/login?next=%2Fpage%3Fx%3D1%26next%3D%2F%2Fevil.example"
    assert nobody.get("/login").status_code == 404, "which is the page's, and open"
    assert anna.get("/page").json() == {"user": "anna"}
    assert anna.post("/page", headers={"origin": HERE}).json() == {"user": "anna"}
    evil = anna.post("/page", headers={"origin": "https://evil.example"})
    assert (evil.status_code, said(evil)) == (403, "cross-site-request")
    policy = anna.get("/page").headers["content-security-policy"]
    assert "default-src 'self'" in policy


@pytest.mark.parametrize(
    ("origin", "sent"),
    [
        (HERE, ["websocket.accept", "websocket.send", "websocket.close"]),
        ("https://evil.example", ["websocket.close"]),
    ],
)
def test_another_site_opens_no_websocket(served: Served, origin: str, sent: list[str]) -> None:
    add_page(served.app)
    anna, _ = served.person(Role.VIEWER)
    headers = {"host": "127.0.0.1", "origin": origin, "cookie": anna.headers["cookie"]}
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/events",
        "raw_path": b"/events",
        "root_path": "",
        "query_string": b"",
        "scheme": "ws",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "extensions": {},
    }
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(served.app(scope, receive, send))
    assert [message["type"] for message in messages] == sent
    if len(sent) > 1:
        assert messages[1]["text"] == '"anna"'


@pytest.mark.parametrize(
    ("origin", "site", "ours"),
    [
        (None, None, True),
        ("http://h:1", None, True),
        ("https://H:1", "same-origin", True),
        ("http://h", None, False),
        ("http://h:1.evil", None, False),
        ("null", None, False),
        ("ftp://h:1", None, False),
        (None, "cross-site", False),
        ("http://h:1", "cross-site", False),
    ],
)
def test_a_request_comes_from_our_own_page(origin: str, site: str, ours: bool) -> None:
    assert is_same_site(origin, site, "h:1") is ours


def test_a_program_that_asks_without_end_is_stopped(served: Served) -> None:
    program = served.program(Role.OPERATOR)
    for _ in range(200):
        served.board.start("main", ["check"], "somebody")
    answer = program.post("/api/clusters/main/jobs", json={"words": ["check"]})
    assert (answer.status_code, said(answer)) == (503, "too-busy")
    assert len(served.runner.started) == 20
