"""Whoever reaches the port and does not behave: over real sockets, against the real server."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pgkeep.api.listening import Patience
from pgkeep.api.serving import HttpFace
from pgkeep.app import App
from pgkeep.service.board import Board
from support.apis import Noting, serve
from support.wait import wait_for

_FEW = 20
_ASK = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def face(tmp_path: Path) -> Iterator[HttpFace]:
    serve(tmp_path, 'listen = "127.0.0.1:0"').board.close()
    board = Board(
        App(str(tmp_path / "pgkeep.toml")).loaded, tmp_path / "state", lambda *_: Noting()
    )
    found = HttpFace(board, patience=Patience(connections=_FEW, ask_s=1.0))
    found.start()
    yield found
    found.close()
    board.close()


def connect(face: HttpFace) -> socket.socket:
    assert face.where is not None
    return socket.create_connection((face.where.host, face.where.port), timeout=60)


def answers(face: HttpFace) -> bool:
    """Wait for an answer to who asks; a slow machine may be too slow for this patience."""

    def answered() -> bool:
        with connect(face) as asking, suppress(ConnectionError):
            asking.sendall(_ASK)
            return asking.recv(65536).startswith(b"HTTP/1.1 200 ")
        return False

    return bool(wait_for(answered, what="an answer"))


def is_cut(one: socket.socket) -> bool:
    """Wait until the other side has closed; tell whether it answered nothing before."""
    try:
        return one.recv(65536) == b""
    except ConnectionError:
        return True


def test_idle_connections_make_room_for_who_asks(face: HttpFace) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(face)) for _ in range(3 * _FEW)]
        assert answers(face)
        assert is_cut(idle[0]), "the one that asked nothing for longest goes first"


def test_a_request_that_never_ends_is_given_up(face: HttpFace) -> None:
    begun = (
        b"",
        b"GET /healthz HT",
        b"POST /api/session HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ",
        b"POST /api/session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n{",
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(face)) for _ in begun]
        for one, said in zip(slow, begun, strict=True):
            one.sendall(said)
        assert all(is_cut(one) for one in slow)
    assert answers(face)


def test_a_head_without_end_takes_no_memory(face: HttpFace) -> None:
    with connect(face) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        with pytest.raises(ConnectionError):
            endless.sendall(b"x: " + b"a" * (64 << 20))
    assert answers(face)
