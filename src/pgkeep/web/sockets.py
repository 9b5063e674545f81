"""What open pages send passes here: only who opened a page acts on it, while the log-in lasts.

Pages check no log-in of their own for what only changes what is shown; and an id of an open page,
which proxies may have in their logs, opens nothing for anybody else.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from nicegui import Client, core

from pgkeep.api.gate.access import LOG_IN_PAGE
from pgkeep.api.parts import Parts
from pgkeep.api.sessions import Caller, caller_in

_SENT: Final = ("handshake", "event", "javascript_response", "ack")  # with the page's id
_NAMESPACE: Final = "/"


def guard(parts: Parts) -> None:
    """Have all that comes from browsers checked before the framework takes it."""
    taken = core.sio.handlers[_NAMESPACE]
    for name in _SENT:
        core.sio.on(name, _checked(parts, taken[name]))
    core.sio.on("connect", _connecting(parts, taken["connect"]))
    core.sio.on("log", _unheard)


def _checked(parts: Parts, take: Callable[..., Any]) -> Callable[..., Any]:
    async def taken(socket: str, sent: Mapping[str, Any]) -> Any:
        environ = core.sio.get_environ(socket) or {}
        if not _may_act(parts, environ, str(sent["client_id"])):
            return False
        done = take(socket, sent)
        return await done if hasattr(done, "__await__") else done

    return taken


def _connecting(parts: Parts, take: Callable[..., Any]) -> Callable[..., Any]:
    async def connected(socket: str, environ: Mapping[str, Any], more: Any = None) -> Any:
        asked = parse_qs(str(environ.get("QUERY_STRING", ""))).get("client_id", [""])[0]
        if not _may_act(parts, environ, asked):
            return False
        return await take(socket, environ, more)

    return connected


def _unheard(_socket: str, _sent: Mapping[str, Any]) -> None:
    """A browser has nothing to write into the service's log."""


def _may_act(parts: Parts, environ: Mapping[str, Any], id: str) -> bool:
    """Tell whether who has this socket has opened that page, and is still logged in."""
    page = Client.instances.get(id)
    if page is None:
        return False
    owner = caller_in(page.request.scope)
    if not _is_same(owner, caller_in(environ.get("asgi.scope", {}))):
        return False
    if parts.is_current(owner):
        return True
    page.open(LOG_IN_PAGE)
    return False


def _is_same(one: Caller, other: Caller) -> bool:
    if one.session is None or other.session is None:
        return one.session is other.session and one.user == other.user
    return one.session.key == other.session.key
