"""One conversation with an SFTP server: many requests on their way at once, each answer its own.

A session belongs to one thread at a time. What it cannot go on after is a Lost; the server's own
refusals are a Refused, and the session is as good as before.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from pgkeep.repository.store.sftp import protocol
from pgkeep.repository.store.sftp.protocol import Answer, Attributes, Handle, Reply, Room, Status

_SAFE: Final = 32 << 10  # bytes of one READ or WRITE that every server takes, says the draft
_LARGEST: Final = 256 << 10
_ON_THEIR_WAY: Final = 4 << 20  # bytes asked for or sent without an answer: 80 MB/s at 50 ms
_RECEIVE: Final = 1 << 18

Kind = TypeVar("Kind", bound=Answer)


class Lost(Exception):
    """The connection is of no use any more."""


class NotSftp(Lost):
    """What the server sends is no SFTP, and never will be."""


class Refused(Exception):
    """The server answered with a status that is not OK."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


class NoSuchFile(Refused):
    """Something on the way to a path, or the file itself, is not there."""


class Wire(Protocol):
    """Bytes to and from a server, in order: a channel of an SSH connection."""

    def send(self, content: Any, /) -> int: ...
    def recv(self, most: int, /) -> bytes: ...


class Session:
    """Requests and their answers. Nothing is known of files here but their handles."""

    def __init__(self, wire: Wire, close: Callable[[], None]) -> None:
        self._wire = wire
        self._close = close
        self._received = bytearray()
        self._number = 0
        self._open: set[int] = set()  # asked, and somebody waits for the answer
        self._forgotten: set[int] = set()  # asked, and nobody wants the answer
        self._answers: dict[int, Answer] = {}
        self.is_lost = False
        self.is_silent = False  # lost because no answer came
        self.read_size = self.write_size = _SAFE
        self.syncs_folders = True  # until the server will not open one like a file
        self._send(protocol.hello())
        with self._understood():
            self._offers = protocol.read_version(self._packet())
        if self.offers(protocol.LIMITS):
            self._ask_for_limits()

    def offers(self, extension: bytes) -> bool:
        return extension in self._offers

    def send(self, kind: int, *fields: bytes) -> int:
        """Send a request and return its number, for answer() or forget()."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._send(protocol.request(kind, self._number, *fields))
        self._open.add(self._number)
        return self._number

    def extended(self, extension: bytes, *fields: bytes) -> int:
        return self.send(protocol.EXTENDED, protocol.text(extension), *fields)

    def send_write(self, handle: Handle, offset: int, content: bytes | memoryview) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        head = protocol.write_head(self._number, handle.value, offset, len(content))
        self.is_lost = True  # whatever interrupts us between the two
        self._send(head)
        self._send(content)
        self.is_lost = False
        self._open.add(self._number)
        return self._number

    def send_read(self, handle: Handle, offset: int, length: int) -> int:
        where = protocol.long(offset) + protocol.integer(length)
        return self.send(protocol.READ, protocol.text(handle.value), where)

    def answer(self, number: int, kind: type[Kind]) -> Kind:
        """Wait for an answer of a kind. Raise NoSuchFile, Refused or Lost."""
        while number not in self._answers:
            self._receive()
        self._open.discard(number)
        answer = self._answers.pop(number)
        if isinstance(answer, Status) and answer.code != protocol.OK:
            missing = answer.code == protocol.NO_SUCH_FILE
            raise (NoSuchFile if missing else Refused)(answer.code, answer.text)
        if not isinstance(answer, kind):
            raise self._lost(f"the server answered with a {type(answer).__name__.lower()}")
        return answer

    def ask(self, answer: type[Kind], kind: int, *fields: bytes) -> Kind:
        return self.answer(self.send(kind, *fields), answer)

    def forget(self, number: int) -> None:
        """Want no answer to a request any more."""
        self._open.discard(number)
        if self._answers.pop(number, None) is None:
            self._forgotten.add(number)

    def forget_all(self) -> None:
        """Want no more answers: the next user of the session asks his own questions."""
        for number in tuple(self._open):
            self.forget(number)

    def close_handle(self, handle: Handle) -> None:
        """Close what was only read; nobody waits for the answer."""
        self.forget(self.send(protocol.CLOSE, protocol.text(handle.value)))

    def in_flight(self, size: int) -> int:
        """Return how many requests of `size` bytes may be on their way."""
        return max(4, _ON_THEIR_WAY // size)

    def room(self, path: str) -> Room | None:
        """Return what a file system has left, or None where the server doesn't tell."""
        if not self.offers(protocol.STATVFS):
            return None
        number = self.extended(protocol.STATVFS, protocol.text(path.encode()))
        with self._understood():
            return protocol.read_room(self.answer(number, Reply).value)

    def pipelined(self, numbers: Iterator[int], size: int) -> Iterator[int]:
        """Yield numbers of requests, each when enough others were sent behind it."""
        waiting: deque[int] = deque()
        for number in numbers:
            waiting.append(number)
            if len(waiting) >= self.in_flight(size):
                yield waiting.popleft()
        yield from waiting

    def all_of(self, kind: type[Kind], numbers: Iterable[int]) -> list[Kind | None]:
        """Return the answers; None where something is not there."""
        return [self._or_none(kind, number) for number in numbers]

    def close(self) -> None:
        self.is_lost = True
        self._close()

    def _or_none(self, kind: type[Kind], number: int) -> Kind | None:
        try:
            return self.answer(number, kind)
        except NoSuchFile:
            return None

    def _ask_for_limits(self) -> None:
        with self._understood():
            reply = self.answer(self.extended(protocol.LIMITS), Reply)
            read, write = protocol.read_limits(reply.value)
        # 0 says that there is no limit known: sftp-client.c goes on with its own default then.
        self.read_size = min(read or _SAFE, _LARGEST)
        self.write_size = min(write or _SAFE, _LARGEST)

    def _send(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        with self._on_the_wire():
            while left:
                sent = self._wire.send(left)
                if sent == 0:
                    raise EOFError
                left = left[sent:]

    def _receive(self) -> None:
        with self._understood():
            number, answer = protocol.read_answer(self._packet())
        if number in self._forgotten:
            self._forgotten.discard(number)
        elif number in self._open:
            self._answers[number] = answer
        else:
            raise self._lost("the server answered what nobody had asked")

    def _packet(self) -> bytes:
        self._fill(4)
        length = int.from_bytes(self._received[:4], "big")
        if not 1 <= length <= protocol.PACKET_LIMIT:
            self.is_lost = True
            raise NotSftp("the server answers with something else than SFTP")
        self._fill(4 + length)
        packet = bytes(memoryview(self._received)[4 : 4 + length])
        del self._received[: 4 + length]
        return packet

    def _fill(self, length: int) -> None:
        with self._on_the_wire():
            while len(self._received) < length:
                content = self._wire.recv(_RECEIVE)
                if not content:
                    raise EOFError
                self._received += content

    @contextmanager
    def _on_the_wire(self) -> Iterator[None]:
        from paramiko import SSHException

        try:
            yield
        except TimeoutError as error:
            self.is_silent = True
            raise self._lost("no answer came in time") from error
        except EOFError as error:
            raise self._lost("the server ended the connection") from error
        except (OSError, SSHException) as error:
            raise self._lost(f"the connection broke ({error})".lower()) from error
        except BaseException:
            self.is_lost = True  # interrupted in the middle of a packet
            raise

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except protocol.Malformed as error:
            raise self._lost(str(error)) from error

    def _lost(self, why: str) -> Lost:
        self.is_lost = True
        return Lost(why)


def attributes_of(session: Session, path: str, *, follow: bool = False) -> Attributes:
    """Return what the server tells of a path. Raise NoSuchFile."""
    kind = protocol.STAT if follow else protocol.LSTAT
    return session.ask(Attributes, kind, protocol.text(path.encode()))
