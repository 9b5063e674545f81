"""Where the content of an imported file goes: into the repository, or nowhere to try it out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from pgkeep.logical.capture.backlog import TAIL, CapturedFile
from pgkeep.logical.create.database import Files
from pgkeep.model.dump import EVERYTHING, Selection
from pgkeep.progress import Progress
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, Globals

NUMBER: Final = 1  # of the one database of an import


class Storer(Protocol):
    """Takes the content of one file after the other. Capture is one."""

    def store(self, number: int, pieces: Iterable[bytes]) -> CapturedFile: ...


class Nowhere:
    """Counts as Capture does, and stores nothing."""

    def store(self, number: int, pieces: Iterable[bytes]) -> CapturedFile:
        size, lines, tail = 0, 0, b""
        for piece in pieces:
            size += len(piece)
            lines += piece.count(b"\n")
            tail = (tail + piece[-TAIL:])[-TAIL:]
        return CapturedFile(number, "", size, lines, tail)


@dataclass
class Target:
    """The dump that is being made of a file."""

    storer: Storer
    progress: Progress
    beat: Callable[[], None]
    position: Callable[[], int | None] = lambda: None  # in what is read, if that is told
    files: Files = field(default_factory=Files)
    stored: int = 0  # bytes

    def store(self, path: str, pieces: Iterable[bytes]) -> CapturedFile:
        """Store content as the file `path` of the dump."""
        return self.storer.store(self.files.add(path), self._counted(pieces))

    def store_in_folder(self, name: str, pieces: Iterable[bytes]) -> CapturedFile:
        return self.store(f"{NUMBER}/{name}", pieces)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.stored += len(piece)
            position = self.position()
            self.progress.advance(self.stored if position is None else position)
            self.beat()


@dataclass(frozen=True, slots=True)
class Taken:
    """What a file turned out to hold."""

    database: DumpedDatabase | None = None  # none: roles and tablespaces alone
    globals: Globals | None = None
    selection: Selection = EVERYTHING
    server_version: str = ""
    made_at: datetime | None = None  # None: it does not say
    suspicions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
