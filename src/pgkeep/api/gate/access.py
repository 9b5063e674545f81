"""The gate that every request passes, for the API and for the pages mounted beside it.

Plain ASGI: it guards websockets as well, and nothing runs behind it that it did not let in.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote

from pgkeep.api.errors import CrossSite, NotLoggedIn, TooLarge, WrongHost
from pgkeep.api.gate import answers
from pgkeep.api.gate.headers import guarded, is_same_site
from pgkeep.api.listening import Listening
from pgkeep.api.passwords import same
from pgkeep.api.rights import Role
from pgkeep.api.sessions import Caller, Sessions, set_caller
from pgkeep.api.users import User, Users
from pgkeep.errors import PgkeepError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API: Final = "/api"
CSRF_HEADER: Final = "x-csrf-token"
COOKIE: Final = "pgkeep"
SECURE_COOKIE: Final = "__Host-pgkeep"  # browsers take it from this very host and over TLS alone
_API_BYTES: Final = 64 << 10  # of a body: a command line with its values is less than 4 KiB
_PAGE_BYTES: Final = 1 << 20
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOG_IN_PAGE: Final = "/login"
# All that answers nobody. The page's framework is not among it: it keeps much for who opens a page.
_OPEN: Final = frozenset({"/healthz", LOG_IN_PAGE, "/favicon.ico"})
_OPEN_BELOW: Final = "/assets/"
_LOG_IN: Final = ("POST", "/api/session")
NOBODYS: Final = User("anybody on this host", Role.VIEWER, anonymous=True)


class Access:
    """Lets requests in: by the right name, not too large, from our own pages, by whom."""

    def __init__(self, app: App, users: Users, sessions: Sessions, listening: Listening) -> None:
        self._app = app
        self._users = users
        self._sessions = sessions
        self._listening = listening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        try:
            if not self._listening.may_be_called(request.header("host") or ""):
                raise WrongHost("answer", "the request is for another host", _HOSTS)
            # It reads the file of users when that has changed: less than a millisecond.
            caller = self._who(request)
            set_caller(scope, caller)
            self._check(request, caller)
        except PgkeepError as error:
            if isinstance(error, NotLoggedIn) and request.is_for_a_reader:
                await _lead_to_log_in(scope, send, tls=request.is_tls)
                return
            await _refuse(scope, send, error, tls=request.is_tls)
            return
        limit = _API_BYTES if request.is_api else _PAGE_BYTES
        guard = _Guard(send, request, limit)
        await self._app(scope, guard.receive_from(receive), guard.send)

    def _who(self, request: "_Request") -> Caller:
        """Return who asks: by a token, a session, or nobody."""
        kind, _, token = (request.header("authorization") or "").partition(" ")
        if kind.lower() == "bearer":
            return Caller(self._users.of_token(token.strip()), None, request.address)
        found = self._sessions.find(request.cookie) if request.cookie else None
        if found is not None:
            return Caller(found[1], found[0], request.address)
        return Caller(self._anybody(request), None, request.address)

    def _anybody(self, request: "_Request") -> User | None:
        """Whoever is on this host may look as long as there are no users: see web-access.md."""
        is_here = self._listening.is_local and not request.is_forwarded
        return NOBODYS if is_here and not self._users.users() else None

    def _check(self, request: "_Request", caller: Caller) -> None:
        """Raise NotLoggedIn, CrossSite or TooLarge."""
        acts = request.method not in _SAFE or request.is_websocket
        host = request.header("host") or ""
        same_site = is_same_site(request.header("origin"), request.header("sec-fetch-site"), host)
        if acts and not same_site:
            why = "it comes from another site's page"
            raise CrossSite("do this", why, "a proxy must pass on the Host header as it came")
        if request.is_open:
            return
        if caller.user is None:
            hint = "log in: POST /api/session; or send Authorization: Bearer TOKEN"
            raise NotLoggedIn(f"answer {request.path[:200]}", "nobody is logged in", hint)
        if not request.is_api:
            return
        given = request.header(CSRF_HEADER) or ""
        if acts and caller.session is not None and not same(given, caller.session.csrf):
            why = f"the header {CSRF_HEADER} is missing or not this session's"
            raise CrossSite("do this", why, "GET /api/me tells it")
        if request.length > _API_BYTES:
            raise _too_large(_API_BYTES)


_HOSTS: Final = "call it by its address, or add the name to [service] hosts"


class _Request:
    """What the gate looks at."""

    def __init__(self, scope: Scope) -> None:
        self._headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        self.is_websocket = scope["type"] == "websocket"
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.is_tls = scope.get("scheme") in ("https", "wss")
        self.address: str = (scope.get("client") or ("",))[0] or ""

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    @property
    def is_api(self) -> bool:
        return self.path in (API, "/metrics", "/healthz") or self.path.startswith(f"{API}/")

    @property
    def is_open(self) -> bool:
        """Whether it is answered to nobody."""
        if (self.method, self.path) == _LOG_IN:
            return True
        is_public = self.path in _OPEN or self.path.startswith(_OPEN_BELOW)
        return is_public and self.method in ("GET", "HEAD") and not self.is_websocket

    @property
    def is_for_a_reader(self) -> bool:
        """Whether a browser wants a page to show, and not a program an answer."""
        wants_page = "text/html" in (self.header("accept") or "")
        return self.method == "GET" and not self.is_websocket and not self.is_api and wants_page

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy brought it, which may let in anybody."""
        marks = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
        return any(mark in self._headers for mark in marks)

    @property
    def cookie(self) -> str:
        """Return what the session's cookie holds; of the two names the one for this scheme."""
        try:
            jar = SimpleCookie(self._headers.get("cookie", ""))
        except CookieError:
            return ""
        found = jar.get(cookie_name(secure=self.is_tls))
        return found.value if found is not None else ""

    @property
    def length(self) -> int:
        given = self._headers.get("content-length", "0")
        return int(given) if given.isascii() and given.isdigit() else 0


class _Guard:
    """Counts what comes in, and adds what guards to what goes out."""

    def __init__(self, send: Send, request: _Request, limit: int) -> None:
        self._send = send
        self._request = request
        self._limit = limit
        self._taken = 0

    def receive_from(self, receive: Receive) -> Receive:
        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._taken += len(message.get("body", b""))
                if self._taken > self._limit:
                    raise _too_large(self._limit)
            return message

        return counted

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            request = self._request
            headers = guarded(message.get("headers", ()), api=request.is_api, tls=request.is_tls)
            message = {**message, "headers": headers}
        await self._send(message)


def cookie_name(*, secure: bool) -> str:
    """Return the name of the session's cookie."""
    return SECURE_COOKIE if secure else COOKIE


async def _lead_to_log_in(scope: Scope, send: Send, *, tls: bool) -> None:
    """Send a browser to the log-in page, which knows where to go on from there."""
    query = scope["query_string"].decode("latin-1")
    wanted = quote(f"{scope['path']}?{query}" if query else scope["path"], safe="")
    headers = guarded([(b"location", f"{LOG_IN_PAGE}?next={wanted}".encode())], api=True, tls=tls)
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, error: PgkeepError, *, tls: bool) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted a close is an answer with status 403: the ASGI specification.
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    more = answers.headers_of(error).items()
    headers = [
        (b"content-type", b"application/json"),
        *((name.lower().encode(), value.encode()) for name, value in more),
    ]
    status = answers.status_of(error)
    guards = guarded(headers, api=True, tls=tls)
    await send({"type": "http.response.start", "status": status, "headers": guards})
    await send({"type": "http.response.body", "body": answers.encoded(error)})


def _too_large(limit: int) -> TooLarge:
    return TooLarge("take the request", f"it has more than {limit} bytes")
