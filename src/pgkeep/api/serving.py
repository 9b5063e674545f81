"""The HTTP server, as one of the service's faces."""

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from pgkeep.api.errors import ListeningRefused
from pgkeep.api.gate.certificate import Certificate
from pgkeep.api.listening import Listening, Patience, listening
from pgkeep.api.users import Users
from pgkeep.service.board import Board

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from datetime import datetime
    from ssl import SSLContext

    from fastapi import FastAPI
    from uvicorn import Server

Mount = Callable[["FastAPI", Board, Users], object]  # web.build.mount
_STOP_S: Final = 10
_HEAD_BYTES: Final = 64 << 10  # of a request before its body
_FRAME_BYTES: Final = 1 << 20  # of what an open page sends
_NO_USERS: Final = (
    "there are no users: who is on this host may look, and nobody may do anything; make one: "
    "pgkeep user add NAME --role admin"
)


class HttpFace:
    """Serves the API, and the page where one is mounted, in a thread of its own."""

    def __init__(
        self,
        board: Board,
        listen: str | None = None,
        mount: Mount | None = None,
        say: Callable[[str], object] = lambda _: None,
        *,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self._board = board
        self._say = say
        self._listen = listen
        self._mount = mount
        self._patience = patience
        self._server: Server | None = None
        self._thread: Thread | None = None
        self._app: FastAPI | None = None
        self._service = board.config.config.service
        self._certificate: Certificate | None = None
        self._tls: SSLContext | None = None
        self._loop: AbstractEventLoop | None = None
        self.where: Listening | None = None  # with the port the system chose, once it listens

    def start(self) -> None:
        """Listen, and return when requests are answered. Raise ListeningRefused."""
        from uvicorn import Config, Server

        from pgkeep.api.build import build_api, mount_no_page
        from pgkeep.api.gate.connections import Connection

        users = Users(str(self._board.state_directory))
        service = self._board.config.config.service
        if self._listen is not None:
            from msgspec.structs import replace as with_

            service = with_(service, listen=self._listen)
        self._service = service
        where = listening(service, has_users=bool(users.users()))
        self._app = build_api(self._board, users, where)
        if self._mount is not None:
            self._mount(self._app, self._board, users)
        else:
            mount_no_page(self._app)
        bound = _bind(where)
        self.where = replace(where, port=where.port or bound.getsockname()[1])
        options: dict[str, Any] = where.uvicorn_options()
        config = Config(
            self._app,
            **options,
            log_config=None,  # the service's own
            log_level="error",  # whoever reaches the port can send rubbish
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=_STOP_S,
            http=partial(Connection, patience=self._patience),  # type: ignore[arg-type]
            h11_max_incomplete_event_size=_HEAD_BYTES,
            ws_max_size=_FRAME_BYTES,
        )
        config.load()
        self._server, self._tls = Server(config), config.ssl
        if self._tls is not None:
            self._certificate = Certificate(service, self._take_certificate)
        self._thread = Thread(target=self._serve, args=(bound,), name="http", daemon=True)
        self._thread.start()
        self._app.state.pgkeep.audit.start()
        what = "the page and /api" if self._mount is not None else "/api and /metrics"
        self._say(f"{what} are at {self.where.url}")
        if not users.users():
            self._say(f"note: {_NO_USERS}")

    def troubles(self, now: "datetime") -> list[str]:
        """Say what is wrong with the certificate; one that was renewed is shown from now on."""
        return [] if self._certificate is None else self._certificate.troubles(now)

    def _take_certificate(self) -> None:
        # By the server's own thread: no handshake may meet one half of the pair.
        pair = (self._service.tls_certificate, self._service.tls_key)
        if self._tls is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._tls.load_cert_chain, *pair)

    def close(self) -> None:
        """Answer what was asked, and stop."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=_STOP_S + 5)
        if self._app is not None:
            self._app.state.pgkeep.audit.close()

    def _serve(self, bound: socket.socket) -> None:
        import asyncio

        from pgkeep.api.gate.connections import Loop

        assert self._server is not None
        with asyncio.Runner(loop_factory=partial(Loop, self._patience)) as runner:
            self._loop = runner.get_loop()
            runner.run(self._server.serve(sockets=[bound]))


def _bind(where: Listening) -> socket.socket:
    """Take the address now: whoever connects from here on is answered, if a moment later."""
    family = socket.AF_UNIX if where.socket else _family(where.host)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if where.socket:
            _bind_path(bound, where.socket)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((where.host, where.port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        advice = "see who listens there: ss -ltnp; or set [service] listen"
        why = (error.strerror or str(error)).lower()
        raise ListeningRefused(f"listen on {where.url}", why, advice) from error
    return bound


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind_path(bound: socket.socket, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)  # what a service that was killed has left: there is but one
    bound.bind(path)
    os.chmod(path, 0o660)  # for the group of a proxy
