"""Where alerts go, for tests: a mail server, a webhook, one that hangs, one that refuses."""

import email
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, State

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday


@dataclass
class Webhook:
    """An HTTP server that remembers what it was sent."""

    port: int
    posts: list[dict[str, Any]] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    status: int = 200
    location: str = ""


@contextmanager
def webhook() -> Iterator[Webhook]:
    found = Webhook(0)

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.status == 200:
                found.posts.append(json.loads(body))
            self._answer()

        def do_GET(self) -> None:
            found.gets.append(self.path)
            self._answer()

        def _answer(self) -> None:
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    found.port = server.server_port
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server, and the mail that it took."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    import asyncio

    from aiosmtpd.controller import UnthreadedController

    box = Mailbox()
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        box.port = listening.getsockname()[1]
        controller = UnthreadedController(box, loop=loop)
        server = loop.run_until_complete(loop.create_server(controller.factory, sock=listening))
        thread = Thread(target=loop.run_forever)
        thread.start()
        try:
            yield box
        finally:
            server.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


@contextmanager
def hanging_server() -> Iterator[int]:
    """Accept connections (the kernel does) and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextmanager
def refusing_server() -> Iterator[int]:
    """Keep a port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def condition(
    cluster: str = "shop", kind: Kind = Kind.WAL_HOLE, level: Level = Level.CRITICAL, **more: Any
) -> Condition:
    facts = {
        "effect": f"nothing after 11:00 can be restored of {cluster}",
        "cause": "segment 7 is missing",
        "todo": f"pgkeep --cluster {cluster} backup",
        **more,
    }
    return Condition(cluster, kind, level, **facts)


def warning(cluster: str = "shop", kind: Kind = Kind.BACKUP_LATE, **more: Any) -> Condition:
    return condition(cluster, kind, Level.WARNING, **more)


def health(
    *conditions: Condition, cluster: str = "shop", at: datetime = NOW, state: State | None = None
) -> Health:
    """Return a cluster that has these conditions."""
    levels = {one.level for one in conditions}
    said = State.IN_DANGER if Level.CRITICAL in levels else State.AT_RISK
    said = said if levels else State.PROTECTED
    to = at - timedelta(seconds=40)
    since = at - timedelta(days=7)
    return Health(cluster, state or said, at, to, since, None, conditions)
