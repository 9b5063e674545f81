"""A TCP forwarder that can be slow, and that can cut what goes through it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Forwarder:
    """Forwards connections to a port of 127.0.0.1.

    `delay` is added to every byte's way, each direction. `to_server_limit` and `to_client_limit`
    count down what may still go that way; then, once, a connection is cut instead.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0  # seconds
        self.to_server_limit: int | None = None
        self.to_client_limit: int | None = None
        self.cuts = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut all that is connected, at once."""
        with self._lock:
            for pair in self._pairs:
                _end(*pair)
            self._pairs.clear()

    def close(self) -> None:
        _end(self._listener)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs.append((client, server))
                for source, sink, up in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._carry, args=(source, sink, up), daemon=True
                    ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        """Read at once, and write when it is due: a long way, not a thin one."""
        due: list[tuple[float, bytes]] = []
        ready = threading.Condition()

        def deliver() -> None:
            while True:
                with ready:
                    ready.wait_for(lambda: due)
                    at, content = due.pop(0)
                time.sleep(max(0.0, at - time.monotonic()) if content else 0.0)
                over = bool(content) and self._is_over(len(content), up)
                self.cuts += over
                if over or not content:  # what was cut counts against no later limit
                    _end(source, sink)
                    sink.close()
                    return
                with suppress(OSError):
                    sink.sendall(content)

        threading.Thread(target=deliver, daemon=True).start()
        content = b"-"
        while content:
            try:
                content = source.recv(1 << 16)
            except OSError:
                content = b""
            with ready:
                due.append((time.monotonic() + self.delay, content))
                ready.notify()

    def _is_over(self, length: int, up: bool) -> bool:
        left = self.to_server_limit if up else self.to_client_limit
        if left is not None:
            left = left - length if left >= length else None
            if up:
                self.to_server_limit = left
            else:
                self.to_client_limit = left
            return left is None
        return False


@contextmanager
def forwarding(target: int) -> Iterator[Forwarder]:
    forwarder = Forwarder(target)
    try:
        yield forwarder
    finally:
        forwarder.close()


def _end(*sockets: socket.socket) -> None:
    for found in sockets:
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)
