"""The API over a real board and a real repository; only the jobs are not run."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from pgkeep.api.build import build_api
from pgkeep.api.gate.access import COOKIE, CSRF_HEADER
from pgkeep.api.parts import Parts
from pgkeep.api.rights import Role
from pgkeep.api.sessions import Session
from pgkeep.api.users import Users
from pgkeep.app import App
from pgkeep.service.board import Board
from pgkeep.service.jobs.job import Job
from pgkeep.service.jobs.running import Changed, Runner

GOLDEN = Path(__file__).parents[1] / "golden" / "repositories"
PASSWORD = "correct horse battery"
HERE = "http://127.0.0.1"
ORIGIN = {"origin": HERE}


@dataclass
class Noting:
    """A runner that notes what it should run: jobs stay where they are until the test's end."""

    started: list[Job] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def start(self, job: Job, changed: Changed) -> None:
        self.started.append(job)

    def cancel(self, id: str) -> bool:
        self.cancelled.append(id)
        return True

    def close(self) -> None:
        pass


@dataclass
class Asking:
    """Somebody who calls the API, without a network between."""

    app: FastAPI
    base: str = HERE
    headers: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("POST", path, **more)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        transport = httpx.ASGITransport(self.app, client=(self.address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
            return await client.request(method, path, headers=headers, **more)


@dataclass
class Served:
    """One API and who calls it."""

    app: FastAPI
    board: Board
    users: Users
    runner: Noting
    repository: Path

    @property
    def parts(self) -> Parts:
        found: Parts = self.app.state.pgkeep
        return found

    def anybody(self, base: str = HERE) -> Asking:
        """Return a caller who is nobody."""
        return Asking(self.app, base)

    def program(self, role: Role, name: str = "") -> Asking:
        """Return a caller with a token."""
        _, token = self.users.add_token(name or f"of-{role}", role, None)
        caller = self.anybody()
        caller.headers["authorization"] = f"Bearer {token}"
        return caller

    def person(self, role: Role, name: str = "anna") -> tuple[Asking, Session]:
        """Return a caller with a session and its CSRF token, whose password was right."""
        user = self.users.find(name) or self.users.add(name, role, PASSWORD)
        session, secret = self.parts.sessions.begin(user)
        caller = self.anybody()
        caller.headers["cookie"] = f"{COOKIE}={secret}"
        caller.headers[CSRF_HEADER] = session.csrf
        return caller, session


def serve(
    folder: Path,
    service: str = "",
    runner: Callable[[str, Path], Runner] | None = None,
    encryption: str = "plain",
) -> Served:
    """Return an API over a copy of a golden repository with cluster 'main'."""
    repository = folder / "repository"
    shutil.copytree(GOLDEN / "v1" / encryption, repository)
    config = folder / "pgkeep.toml"
    config.write_text(
        f'[repository]\nurl = "{repository}"\n'
        f'[clusters.main]\nconninfo = "host={folder}/nowhere password=se-cret"\n'
        f'[service]\nstate_directory = "{folder}/state"\n{service}\n'
    )
    (folder / "state").mkdir(mode=0o700)
    noting = Noting()
    board = Board(App(str(config)).loaded, folder / "state", runner or (lambda *_: noting))
    users = Users(str(folder / "state"))
    return Served(build_api(board, users), board, users, noting, repository)


def said(answer: Any) -> str:
    """Return the code of an error's answer."""
    return str(answer.json()["code"])
