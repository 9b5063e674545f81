"""An HTTP server that passes requests on to another one, and does harm to those it is told to.

    with FaultProxy(server.endpoint) as proxy:
        proxy.when(lose_answer(), method="PUT", times=1)
        ...                                  # use proxy.endpoint instead of the server's
        assert proxy.count(method="PUT") == 2

The first rule that fits a request decides; a rule is used up after `times` requests and lets
`after` requests pass before. Named as a client's `proxy`, it passes on to wherever the client says.
"""

import contextlib
import http.client
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import unquote, urlsplit

_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "date", "server")


@dataclass
class Request:
    """A request as it came, and what was answered."""

    method: str
    path: str  # decoded, without the query
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    target: str = ""  # path and query as they are passed on
    status: int = 0  # of the answer; 0 while there is none


@dataclass
class Reply:
    """An answer on its way back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    sent: int | None = None  # bytes of the body after which the connection is cut


Pass = Callable[[], Reply]
Fault = Callable[[Request, Pass], "Reply | None"]  # None: the connection is reset


@dataclass
class Rule:
    """Which requests meet a fault. What isn't said fits all."""

    fault: Fault
    method: str
    path: str
    query: str
    header: str
    after: int
    times: int | None
    met: int = 0  # requests that fit, so far
    _lock: Lock = field(default_factory=Lock)

    def takes(self, request: Request) -> bool:
        fits = (
            request.method in (self.method or request.method).split("|")
            and fnmatchcase(request.path, self.path or "*")
            and fnmatchcase(request.query, self.query or "*")
            and (not self.header or self.header in request.headers)
        )
        if not fits:
            return False
        with self._lock:
            self.met += 1
            number = self.met - self.after
        return number > 0 and (self.times is None or number <= self.times)


class FaultProxy:
    """See the module. Usable from several threads and processes; ends with its block."""

    def __init__(self, upstream: str, tls: tuple[str, str] | None = None) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self.ended = Event()  # what stalls waits for this
        self._rules: list[Rule] = []
        self._down = Event()
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def when(
        self,
        fault: Fault,
        *,
        method: str = "",
        path: str = "",
        query: str = "",
        header: str = "",
        after: int = 0,
        times: int | None = None,
    ) -> Rule:
        """Harm requests that fit: method 'PUT|POST', path and query as in fnmatch, a header."""
        rule = Rule(fault, method, path, query, header, after, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all rules, and answer again."""
        with self._lock:
            self._rules.clear()
        self._down.clear()

    def die(self) -> None:
        """Reset every connection from now on, until heal()."""
        self._down.set()

    @contextmanager
    def dead(self) -> Iterator[None]:
        self.die()
        try:
            yield
        finally:
            self.heal()

    def count(self, method: str = "", path: str = "*", query: str = "*") -> int:
        """Return how many requests came that fit, whatever became of them."""
        return len(self.seen(method, path, query))

    def seen(self, method: str = "", path: str = "*", query: str = "*") -> list[Request]:
        with self._lock:
            return [
                request
                for request in self.requests
                if request.method in (method or request.method).split("|")
                and fnmatchcase(request.path, path)
                and fnmatchcase(request.query, query)
            ]

    def answer(self, request: Request) -> Reply | None:
        """Return what the client gets; None: a reset."""
        with self._lock:
            self.requests.append(request)
            rules = list(self._rules)
        if self._down.is_set():
            return None
        rule = next((rule for rule in rules if rule.takes(request)), None)
        passing: Pass = lambda: _forward(request)  # noqa: E731
        reply = passing() if rule is None else rule.fault(request, passing)
        request.status = reply.status if reply is not None else 0
        return None if self._down.is_set() else reply


def reset() -> Fault:
    """Break the connection; the request is not passed on."""
    return lambda _request, _passing: None


def lose_answer() -> Fault:
    """Carry the request out, then break the connection."""

    def fault(_request: Request, passing: Pass) -> None:
        passing()

    return fault


def delay(seconds: float) -> Fault:
    """Pass on after a while."""

    def fault(_request: Request, passing: Pass) -> Reply:
        time.sleep(seconds)
        return passing()

    return fault


def stall(proxy: FaultProxy) -> Fault:
    """Take the request and say nothing until the proxy ends."""

    def fault(_request: Request, _passing: Pass) -> None:
        proxy.ended.wait()

    return fault


def refuse(
    status: int, code: str, message: str = "", *, done: bool = False, **headers: str
) -> Fault:
    """Answer with an error, with `done` after carrying it out; retry_after="2" is a header."""

    def fault(request: Request, passing: Pass) -> Reply:
        if done:
            passing()
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = b"" if request.method == "HEAD" else text.encode()
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return Reply(status, [("Content-Type", "application/xml"), *named], body)

    return fault


def slow_down() -> Fault:
    return refuse(503, "SlowDown", "Please reduce your request rate.", retry_after="1")


def cut(at: int, *, lying: bool = False) -> Fault:
    """Send only `at` bytes of a body; with `lying`, as if it had no more than these."""

    def fault(_request: Request, passing: Pass) -> Reply:
        reply = passing()
        if lying:
            return Reply(reply.status, reply.headers, reply.body[:at])
        return Reply(reply.status, reply.headers, reply.body, sent=at)

    return fault


def flip(at: int = 0) -> Fault:
    """Change one bit of an answer's body."""

    def fault(_request: Request, passing: Pass) -> Reply:
        reply = passing()
        return Reply(reply.status, reply.headers, _flipped(reply.body, at))

    return fault


def flip_sent(at: int = 0) -> Fault:
    """Change one bit of what is stored: the server gets another body than was sent."""

    def fault(request: Request, passing: Pass) -> Reply:
        request.body = _flipped(request.body, at)
        return passing()

    return fault


def unconditional() -> Fault:
    """Let a server ignore the condition that a name is free."""

    def fault(request: Request, passing: Pass) -> Reply:
        for header in ("if-none-match", "x-goog-if-generation-match"):
            request.headers.pop(header, None)
        return passing()

    return fault


def stale() -> Fault:
    """Answer every later request of the same kind as the first one: a listing that lags behind."""
    kept: dict[tuple[str, str, str], Reply] = {}

    def fault(request: Request, passing: Pass) -> Reply:
        key = (request.method, request.path, request.query)
        if key not in kept:
            kept[key] = passing()
        return kept[key]

    return fault


def _flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] if body else body


def _forward(request: Request) -> Reply:
    host = urlsplit(request.headers.get("x-target", "")).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            if name not in ("connection", "content-length", "x-target"):
                connection.putheader(name, value)
        if request.body or request.method in ("PUT", "POST"):
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        body = answer.read()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in _HOP]
        if request.method == "HEAD" and (length := answer.getheader("content-length")):
            headers.append(("Content-Length", length))
        return Reply(answer.status, headers, body)
    finally:
        connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which waits 40 ms for a client that waits too
    wbufsize = 1 << 20
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _any(self) -> None:
        proxy = self.server.proxy
        length = int(self.headers.get("content-length") or 0)
        body = self._chunks() if self.headers.get("transfer-encoding") else self.rfile.read(length)
        absolute = self.path.startswith("http://")
        upstream = self.path if absolute else proxy.upstream
        parts = urlsplit(self.path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers.pop("transfer-encoding", None)
        headers["x-target"] = upstream
        request = Request(self.command, unquote(parts.path), unquote(parts.query), headers, body)
        request.target = target
        reply = proxy.answer(request)
        if reply is None:
            self._reset()
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.command != "HEAD" and reply.status not in (204, 304):
            self.send_header("Content-Length", str(len(reply.body)))
        elif not any(name == "Content-Length" for name, _ in reply.headers):
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(reply.body if reply.sent is None else reply.body[: reply.sent])
        self.wfile.flush()
        if reply.sent is not None:
            self._reset()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - as http.server looks for them

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            # Closing with nothing to linger for sends RST, as a host that has crashed does.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
