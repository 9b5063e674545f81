"""How many connections there may be, and how long each may take to ask. Imports the HTTP server.

Whoever reaches the port could else hold it: by connections that ask nothing, or by a request that
never ends. Of uvicorn's two readers of HTTP the one beneath bounds what a request's head takes.
"""

from asyncio import SelectorEventLoop, TimerHandle, Transport
from asyncio.base_events import Server
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pgkeep.api.listening import Patience


class Loop(SelectorEventLoop):
    """asyncio's own, but for TLS: its handshakes may not take a minute, nor be without number."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], "Connection"], *given: Any, **named: Any
    ) -> Server:
        if named.get("ssl") is None:
            return await super().create_server(protocol_factory, *given, **named)
        made = WeakSet[Connection]()

        def accept() -> Connection:
            greeting = sum(one.transport is None for one in made)
            if greeting >= self._patience.connections // 2:
                raise ConnectionRefusedError  # which closes it
            protocol = protocol_factory()
            made.add(protocol)
            return protocol

        named["ssl_handshake_timeout"] = self._patience.ask_s
        return await super().create_server(accept, *given, **named)


class Connection(H11Protocol):
    """A connection that is lost by who dawdles, and when others need it, by who asks nothing."""

    def __init__(self, *given: Any, patience: Patience, **named: Any) -> None:
        super().__init__(*given, **named)
        self._patience = patience
        self._since = 0.0  # when it began to wait for a request
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self._patience.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self._wait_no_more()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._wait_no_more()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        self._wait()  # for the next one; or for the rest of one that was refused early
        super().on_response_complete()

    def _wait(self) -> None:
        self._wait_no_more()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(self._patience.ask_s, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        """Close the connection that has asked nothing for longest; this one if all are busy."""
        waiting = [one for one in self.connections if isinstance(one, Connection) and one._waits]
        oldest = min(waiting, key=lambda one: one._since, default=self)
        oldest.transport.abort()

    @property
    def _waits(self) -> bool:
        return self._deadline is not None and not self.transport.is_closing()
