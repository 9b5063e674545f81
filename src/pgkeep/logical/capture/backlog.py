"""Which part of which file is to be read next, while pg_dump goes on writing. Pure.

A file is read by one worker at a time, because where it goes on is known only when the part before
it has been cut. Small files share a task.
"""

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, overload

from pgkeep.repository.manifest.tables import CHUNK_LIMIT
from pgkeep.units import KIB, MIB

LARGEST: Final = 8 * MIB  # bytes of a part: what a worker's buffer holds
_FULL: Final = 4 * MIB  # bytes of a task: what lies behind the last border is read once more
_FILES: Final = 64  # in a task, at most
_WORTH_IT: Final = MIB  # less of closed files waits for more
_OVERHEAD: Final = 4 * KIB  # what a file takes up at least
TAIL: Final = 16  # bytes kept of a file's end: enough for COPY's end mark


class Part(NamedTuple):
    """A stretch of one file, to be read."""

    number: int
    name: str
    begin: int  # where a chunk begins
    end: int
    final: bool  # the file ends there


Task = tuple[Part, ...]


class Taken(NamedTuple):
    """What a worker took of one part."""

    end: int  # where the next part begins
    lines: int  # line feeds
    tail: bytes  # the last bytes before `end`


class CapturedFile(NamedTuple):
    """A file as it was read."""

    number: int
    path: str
    size: int  # bytes
    lines: int  # line feeds
    tail: bytes  # its last bytes, at most TAIL


class CapturedFiles(Sequence[CapturedFile]):
    """All files of a run in the order of their numbers: 60 bytes each, and a dump has millions."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._names = bytearray()
        self._name_ends = array("Q", [0])
        self._sizes = array("Q")
        self._lines = array("Q")
        self._tails = bytearray()
        self._tail_sizes = bytearray()

    def add(self, name: str) -> int:
        """Enter a file whose content is not known yet; return its number."""
        self._names += name.encode("utf-8", "surrogateescape")
        self._name_ends.append(len(self._names))
        self._sizes.append(0)
        self._lines.append(0)
        self._tails += bytes(TAIL)
        self._tail_sizes.append(0)
        return self._first + len(self._sizes) - 1

    def fill(self, number: int, size: int, lines: int, tail: bytes) -> None:
        index = number - self._first
        self._sizes[index], self._lines[index] = size, lines
        self._tails[index * TAIL : index * TAIL + len(tail)] = tail
        self._tail_sizes[index] = len(tail)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> CapturedFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[CapturedFile]: ...

    def __getitem__(self, index: int | slice) -> CapturedFile | Sequence[CapturedFile]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        name = self._names[self._name_ends[place] : self._name_ends[place + 1]]
        tail = self._tails[place * TAIL :][: self._tail_sizes[place]]
        return CapturedFile(
            self._first + place,
            name.decode("utf-8", "surrogateescape"),
            self._sizes[place],
            self._lines[place],
            bytes(tail),
        )


class _File:
    """One that is not read to its end."""

    __slots__ = ("begin", "closed", "enough", "lines", "name", "number", "reading", "size", "tail")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.size = 0  # as far as it was seen
        self.begin = 0  # up to here it was read
        self.closed = False
        self.reading = False
        self.enough = _FULL  # bytes that are worth a task while it grows
        self.lines = 0
        self.tail = b""


class Backlog:
    """What pg_dump has written and nobody has read. The caller says what happens to files.

    Every call costs the same however many files there are, but for those that are open.
    """

    def __init__(self, first: int) -> None:
        self.files = CapturedFiles(first)
        self.read = 0  # bytes, of all files
        self._unread = 0
        self._known: dict[str, _File] = {}  # those not read to their end
        self._open: dict[str, _File] = {}
        self._closed: deque[_File] = deque()
        self._closed_bytes = 0

    def __contains__(self, name: str) -> bool:
        """Tell whether a file is known and not read to its end."""
        return name in self._known

    def is_open(self, name: str) -> bool:
        return name in self._open

    def __bool__(self) -> bool:
        """Tell whether anything is left to be read."""
        return bool(self._known)

    @property
    def size(self) -> int:
        """About how much room all that is not read takes up."""
        return self._unread + _OVERHEAD * len(self._known)

    def writing(self) -> Iterator[tuple[str, int]]:
        """Yield the files that are open, and how far they were read."""
        return ((file.name, file.begin) for file in self._open.values())

    def create(self, name: str) -> None:
        file = _File(self.files.add(name), name)
        self._known[name] = self._open[name] = file

    def grow(self, name: str, size: int) -> bool:
        """Note how large an open file is by now; tell whether that is news."""
        return self._seen(self._open[name], size)

    def close(self, name: str, size: int) -> None:
        """Note that an open file will not change any more."""
        file = self._open.pop(name)
        self._seen(file, size)
        file.closed = True
        if not file.reading:
            self._enqueue(file, first=False)

    def next_task(self, *, anything: bool) -> Task:
        """Return what is to be read next, or nothing. `anything`: don't wait for more to come."""
        enough = self._closed_bytes >= _WORTH_IT or len(self._closed) >= _FILES
        if self._closed and (enough or anything):
            return tuple(self._closed_parts())
        ready = [
            file
            for file in self._open.values()
            # A chunk's bytes are needed at least, or nothing may come of it.
            if file.size - file.begin >= (CHUNK_LIMIT if anything else file.enough)
            and not file.reading
        ]
        if not ready:
            return ()
        return (self._part(max(ready, key=lambda file: file.size - file.begin)),)

    def take(self, part: Part, taken: Taken) -> None:
        """Note what was read of a part."""
        file = self._known[part.name]
        file.reading = False
        got = taken.end - file.begin
        self.read += got
        self._unread -= got
        file.lines += taken.lines
        file.tail = (file.tail + taken.tail)[-TAIL:]
        file.begin = taken.end
        # Content without rows is judged by the megabyte: most of two would be read in vain.
        file.enough = LARGEST if got < (part.end - part.begin) // 2 else _FULL
        if part.final:
            del self._known[part.name]
            self.files.fill(file.number, file.size, file.lines, file.tail)
        elif file.closed:
            self._enqueue(file, first=True)

    def _seen(self, file: _File, size: int) -> bool:
        grown = size - file.size
        file.size = size
        self._unread += grown
        return grown > 0

    def _enqueue(self, file: _File, *, first: bool) -> None:
        self._closed_bytes += file.size - file.begin
        if first:
            self._closed.appendleft(file)  # so that it makes room soon
        else:
            self._closed.append(file)

    def _closed_parts(self) -> Iterator[Part]:
        held = count = 0
        while self._closed and count < _FILES and held < _FULL:
            left = self._closed[0].size - self._closed[0].begin
            if held and held + left > LARGEST:
                return
            file = self._closed.popleft()
            self._closed_bytes -= left
            part = self._part(file)
            held += part.end - part.begin
            count += 1
            yield part

    def _part(self, file: _File) -> Part:
        file.reading = True
        end = min(file.size, file.begin + LARGEST)
        return Part(file.number, file.name, file.begin, end, file.closed and end == file.size)
