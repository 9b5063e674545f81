"""How commands talk to the running service: JSON lines over a socket that only its user can open.

One request, one answer: {"ask": name, ...} and {"answer": ...} or {"error": {...}}.
"""

import contextlib
import json
import os
import socket
import socketserver
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, Final

import msgspec

from pgkeep.errors import PgkeepError
from pgkeep.health.health import Health
from pgkeep.health.look import unknown
from pgkeep.service.board import Board
from pgkeep.service.errors import ServiceFailed

NAME: Final = "service.sock"
_REQUEST_LIMIT: Final = 1 << 20  # bytes
_PATIENCE_S: Final = 10.0


class Refused(ServiceFailed):
    """The running service did not do what a command asked of it."""

    code = "service-refused"


class CommandSocket:
    """The service's end: a face of the board."""

    def __init__(self, board: Board) -> None:
        self._path = board.state_directory / NAME
        self._board = board
        self._server: _Server | None = None

    def start(self) -> None:
        # Whoever holds the lock of the state directory may remove what a dead service left.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        try:
            with _short(self._path) as path:
                self._server = _Server(path, self._board)
            os.chmod(self._path, 0o600)
        except OSError as error:
            raise ServiceFailed("listen for commands", f"{self._path}: {error}") from error
        Thread(target=self._server.serve_forever, name="socket", daemon=True).start()

    def troubles(self, _now: datetime) -> list[str]:
        return []

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


def ask(state_directory: Path, what: str, **facts: Any) -> Any:
    """Ask the service; None when none runs. Raise Refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.settimeout(_PATIENCE_S)
        try:
            with _short(state_directory / NAME) as path:
                to.connect(path)
            to.sendall(json.dumps({"ask": what, **facts}).encode() + b"\n")
            with to.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        except (FileNotFoundError, ConnectionError):
            return None
        except PermissionError as error:
            why = f"{state_directory} is for the user who runs it"
            advice = "ask as that user: sudo -u USER pgkeep ..."
            raise Refused("ask the running service", why, advice) from error
        except (OSError, ValueError) as error:
            why = f"it does not answer: {error}"
            raise Refused(
                "ask the running service", why, "is it hung? stop and start it"
            ) from error
    refused = answer.get("error")
    if refused is not None:
        raise Refused(refused["what"], refused["why"], refused["advice"])
    return answer["answer"]


def ask_health(state_directory: Path) -> list[Health] | None:
    """Return what the running service knows of each cluster; None when none runs."""
    answer = ask(state_directory, "healths")
    if answer is None:
        return None
    return [
        unknown(one["cluster"], "the service has not looked at it yet", "pgkeep status --look")
        if one["health"] is None
        else msgspec.convert(one["health"], Health)
        for one in answer
    ]


def ask_troubles(state_directory: Path) -> list[str]:
    """Return what is wrong with the running service itself: channels that fail; [] without one."""
    return [str(one) for one in ask(state_directory, "troubles") or ()]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, board: Board) -> None:
        self.board = board
        super().__init__(path, _Request)


class _Request(socketserver.StreamRequestHandler):
    timeout = 30
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            line = self.rfile.readline(_REQUEST_LIMIT)
            self.wfile.write(msgspec.json.encode(_answer(self.server.board, line)) + b"\n")


def _answer(board: Board, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"answer": _ASKED[request.pop("ask")](board, **request)}
    except ServiceFailed as error:
        return {"error": {"what": error.what, "why": error.why, "advice": error.advice}}
    except (PgkeepError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it does not understand: {type(error).__name__}: {error}"
        return {"error": {"what": "ask the running service", "why": why, "advice": ""}}


def _healths(board: Board) -> list[Any]:
    found = [(cluster, board.health(cluster)) for cluster in board.clusters()]
    return [{"cluster": c, "health": h.to_dict() if h else None} for c, h in found]


def _troubles(board: Board) -> list[str]:
    return list(board.troubles)


def _jobs(board: Board, cluster: str | None = None, limit: int = 100) -> list[Any]:
    return [run.listed() for run in board.jobs(cluster, limit)]


def _job(board: Board, id: str) -> dict[str, Any]:
    return board.job(id).to_dict()


def _log(board: Board, id: str, offset: int) -> list[Any]:
    return list(board.log(id, offset))


def _start(board: Board, cluster: str, words: list[str], by: str) -> dict[str, Any]:
    return board.job(board.start(cluster, words, by).id).to_dict()


def _cancel(board: Board, id: str) -> dict[str, Any]:
    board.cancel(id)
    return board.job(id).to_dict()


def _upcoming(board: Board, cluster: str | None = None) -> list[Any]:
    return [
        {"cluster": job.cluster, "kind": job.kind, "words": job.words, "due_at": job.due_at}
        for job in board.upcoming(cluster)
    ]


_ASKED: Final[dict[str, Callable[..., Any]]] = {
    "healths": _healths,
    "troubles": _troubles,
    "jobs": _jobs,
    "job": _job,
    "log": _log,
    "start": _start,
    "cancel": _cancel,
    "upcoming": _upcoming,
}


@contextlib.contextmanager
def _short(path: Path) -> Any:
    """Yield a name of a socket that fits into the 107 bytes that one may have."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
