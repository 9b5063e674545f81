"""The API as it is served: over sockets and TLS, with jobs that really run."""

import http.client
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from pgkeep.api.errors import ListeningRefused
from pgkeep.api.rights import Role
from pgkeep.api.serving import HttpFace
from pgkeep.api.users import Users
from pgkeep.app import App
from pgkeep.service.board import Board
from pgkeep.service.jobs.running import OwnProcesses
from support.apis import PASSWORD, serve
from support.certificates import make_certificate
from support.command import run_pgkeep
from support.service import Service
from support.wait import wait_for

ID = "20260101T120000Z-6eb1"


def open_board(folder: Path, service: str) -> Board:
    """Return a board whose jobs run, over a copy of a golden repository."""
    serve(folder, service).board.close()
    return Board(App(str(folder / "pgkeep.toml")).loaded, folder / "state", OwnProcesses)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[HttpFace, httpx.Client]]:
    certificate, key = make_certificate(tmp_path)
    board = open_board(
        tmp_path, f'listen = "127.0.0.1:0"\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
    )
    Users(str(tmp_path / "state")).add("anna", Role.OPERATOR, PASSWORD)
    face = HttpFace(board)
    face.start()
    assert face.where is not None
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(base_url=face.where.url, verify=trusted, timeout=60) as client:
        yield face, client
    face.close()
    board.close()


def test_a_job_asked_for_over_tls_is_done(
    secure: tuple[HttpFace, httpx.Client], tmp_path: Path
) -> None:
    _, client = secure
    assert client.get("/api/clusters").status_code == 401
    me = client.post("/api/session", json={"name": "anna", "password": PASSWORD}).json()
    client.headers["x-csrf-token"] = me["csrf"]
    body = {"reason": "audit <b>2026</b>"}
    job = client.post(f"/api/clusters/main/backups/{ID}/pin", json=body).json()

    def over() -> Any:
        found = client.get(f"/api/jobs/{job['id']}").json()
        return found if found["ended_at"] else None

    assert wait_for(over, timeout=60)["state"] == "done"
    backups = client.get("/api/clusters/main/backups").json()["backups"]
    assert "audit <b>2026</b>" in next(b["pinned"] for b in backups if b["id"] == ID)
    log = client.get(f"/api/jobs/{job['id']}/log").json()["text"]
    assert log.startswith(f"$ pgkeep --cluster main pin {ID} '--reason=audit <b>2026</b>'\n")
    pins = run_pgkeep("--json", "pin", config=tmp_path / "pgkeep.toml").ok().json
    assert [pin["reason"] for pin in pins["pins"] if pin["backup"] == ID] == ["audit <b>2026</b>"]
    gone = run_pgkeep("user", "remove", "anna", config=tmp_path / "pgkeep.toml").ok()
    assert "user anna is removed and logged out" in gone.stdout
    assert client.get("/api/me").json()["anonymous"], "with the last user gone she is anybody"


def test_paths_as_they_are_sent_lead_nowhere(secure: tuple[HttpFace, httpx.Client]) -> None:
    face, client = secure
    me = client.post("/api/session", json={"name": "anna", "password": PASSWORD})
    cookie = me.headers["set-cookie"].split(";")[0]
    assert face.where is not None
    context = ssl._create_unverified_context()
    for path in ("/api/clusters/../../etc/passwd", "//api/jobs", "/api/clusters/..", "/api/./jobs"):
        raw = http.client.HTTPSConnection("127.0.0.1", face.where.port, context=context)
        raw.request("GET", path, headers={"cookie": cookie})
        answer = raw.getresponse()
        assert answer.status == 404, path
        raw.close()


def test_a_proxy_comes_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    board = open_board(tmp_path, f'listen = "unix:{path}"\nhosts = ["backup.example.com"]')
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # what a service that was killed left
    face = HttpFace(board)
    face.start()
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
        assert client.get("/healthz").json() == {"ok": True}
        assert client.get("/api/me").json()["role"] == "viewer"
        host = {"host": "backup.example.com"}
        assert client.get("/healthz", headers=host).status_code == 200
        Users(str(tmp_path / "state")).add("anna", Role.OPERATOR, PASSWORD)
        marks = {"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.9"}
        body = {"name": "anna", "password": PASSWORD}
        answer = client.post("/api/session", json=body, headers=marks)
        assert answer.headers["set-cookie"].startswith("__Host-pgkeep=")
        assert answer.headers["set-cookie"].endswith("Secure")
        assert "198.51.100.9" in (tmp_path / "state" / "audit.log").read_text()
    assert path.stat().st_mode & 0o777 == 0o660
    face.close()
    board.close()


def test_an_answer_to_a_bug_guards_its_reader(tmp_path: Path) -> None:
    def mount(app: FastAPI, _board: Board, _users: Users) -> None:
        @app.get("/broken")
        def broken() -> None:
            raise RuntimeError("secret detail")

    board = open_board(tmp_path, 'listen = "127.0.0.1:0"')
    face = HttpFace(board, mount=mount)
    face.start()
    assert face.where is not None
    answer = httpx.get(f"{face.where.url}/broken", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (500, "bug")
    assert "secret" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    face.close()
    board.close()


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    board = open_board(tmp_path, "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListeningRefused) as caught:
            HttpFace(board, url).start()
    assert str(caught.value) == f"cannot listen on http://{url}: address already in use"
    with pytest.raises(ListeningRefused, match="there are no users"):
        HttpFace(board, "0.0.0.0:0").start()
    board.close()


def test_without_what_the_page_needs_there_is_the_api_alone(tmp_path: Path) -> None:
    serve(tmp_path, 'listen = "127.0.0.1:0"').board.close()
    (tmp_path / "hidden").mkdir()
    hiding = "import sys\nsys.modules['nicegui'] = None\n"
    (tmp_path / "hidden/sitecustomize.py").write_text(hiding)
    service = Service(tmp_path / "pgkeep.toml", tmp_path / "state")
    try:
        service.start(env={"PYTHONPATH": str(tmp_path / "hidden")}, page=True)
        address = service.said.partition("/api and /metrics are at ")[2].split()[0]
        browser = httpx.get(f"{address}/")
        assert (browser.status_code, "install pgkeep[web]" in browser.text) == (404, True)
        assert "note: there is no page: install pgkeep[web] for it" in service.said
        assert httpx.get(f"{address}/api/clusters").json()[0]["name"] == "main"
    finally:
        service.stop(signal.SIGKILL)
