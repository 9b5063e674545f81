"""The files of a dump as an export reads them: in its order, some threads ahead of the writing.

Threads will do here: what takes the time, decompressing and hashing chunks of 128 KiB, lets others
run meanwhile.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable
from pgkeep.logical.export.plan import CannotExport, ExportRequest
from pgkeep.postgres.archive.toc import TocEntry, open_toc
from pgkeep.repository.chunks import PackMissing
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import TOC, DumpedDatabase
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged
from pgkeep.repository.streams import FileStreams, Stretch
from pgkeep.units import MIB

_TASK: Final = 4 * MIB  # plain bytes that one thread fetches at a time
_WORTH: Final = 16 * MIB  # less is read without threads
_AHEAD: Final = 2  # tasks that wait for the writer, for each thread


class _Piece(NamedTuple):
    """A part of a file."""

    place: int  # of the file in the order
    content: bytes


class Content:
    """Reads one dump."""

    def __init__(
        self, cluster: ClusterFolder, manifest: DumpManifest, request: ExportRequest
    ) -> None:
        self._cluster = cluster
        self._manifest = manifest
        self.request = request
        self._streams = self._new_streams()
        self._of_thread = threading.local()

    def read(self, path: str) -> Iterator[bytes]:
        """Yield one file. Raise CannotExport for what is missing or damaged."""
        self.number(path)
        with self._naming():
            yield from (piece.content for piece in self._pieces([path]))

    def size(self, path: str) -> int:
        return int(self._manifest.tables.file.size[self.number(path)])

    def number(self, path: str) -> int:
        """Return the file's place in the manifest. Raise CannotExport."""
        number = self._manifest.tables.find(path)
        if number is None:
            why = f"its manifest knows no file {path}, which belongs to it"
            raise CannotExport(self.request.dump, self.request.output, why)
        return number

    def names(self, database: DumpedDatabase) -> list[str]:
        """Return the names of all files of a database, sorted."""
        prefix = f"{database.folder}/"
        paths = (entry.path for entry in self._manifest.tables.entries())
        return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]

    def files(self, paths: Sequence[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield files with their content, in this order: use each up before the next."""
        with self._naming():
            for place, pieces in groupby(self._pieces(paths), itemgetter(0)):
                yield paths[place], (piece.content for piece in pieces)

    def _pieces(self, paths: Sequence[str]) -> Iterator[_Piece]:
        jobs, size = self.request.jobs, sum(map(self.size, paths))
        if jobs < 2 or size < _WORTH:
            for task in self._tasks(paths):
                yield from self._do(task)
            return
        waiting = deque[Future[list[_Piece]]]()
        with ThreadPoolExecutor(jobs, "read") as pool:
            try:
                for task in self._tasks(paths):
                    waiting.append(pool.submit(self._do, task))
                    if len(waiting) > jobs * (1 + _AHEAD):
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _tasks(self, paths: Sequence[str]) -> Iterator[list[tuple[int, Stretch | None]]]:
        """Cut what is to be read: large files into several tasks, many small ones into one."""
        task, held = list[tuple[int, Stretch | None]](), 0
        for place, path in enumerate(paths):
            stretches: Iterable[Stretch | None] = self._streams.stretches(self.number(path), _TASK)
            for stretch in [*stretches] or [None]:  # an empty file is one as well
                size = stretch.size if stretch else 0
                if task and (held + size > _TASK or len(task) >= 1000):
                    yield task
                    task, held = [], 0
                task.append((place, stretch))
                held += size
        if task:
            yield task

    def _do(self, task: list[tuple[int, Stretch | None]]) -> list[_Piece]:
        streams: FileStreams | None = getattr(self._of_thread, "streams", None)
        if streams is None:
            streams = self._of_thread.streams = self._new_streams()
        done = []
        for place, stretch in task:
            if stretch is None:
                done.append(_Piece(place, b""))
            else:
                done += [_Piece(place, chunk) for chunk in streams.read_stretch(stretch)]
        return done

    def _new_streams(self) -> FileStreams:
        manifest = self._manifest
        return FileStreams(self._cluster, manifest.tables, of=manifest.facts.id)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say which table is hit when something stored is damaged or missing."""
        try:
            yield
        except (Damaged, PackMissing) as error:
            request = self.request
            why = f"{self._hit(error)}{error}"
            advice = (
                "pgkeep verify --level bytes shows what else is hit; other tables can still be "
                "restored by name (pgkeep dump restore --table)"
            )
            raise CannotExport(request.dump, request.output, why, advice) from error

    def _hit(self, error: Damaged | PackMissing) -> str:
        """Return 'table shop.orders: ' if the error is about a table's data."""
        words = error.file if isinstance(error, PackMissing) else error.where
        path = words.split(" ", 1)[0]
        folder, _, name = path.partition("/")
        for database in self._manifest.facts.databases:
            if database.folder == folder and name != TOC:
                try:
                    entry = self._entry_of(database, name)
                except PgkeepError:
                    return ""
                return f"{_words(entry, database)}: " if entry is not None else ""
        return ""

    def _entry_of(self, database: DumpedDatabase, name: str) -> TocEntry | None:
        toc = open_toc(lambda: self._streams.read(f"{database.folder}/{TOC}"))
        return next((entry for entry in toc.entries() if entry.file_name == name), None)


def _words(entry: TocEntry, database: DumpedDatabase) -> str:
    parts = (readable(part or "", database.encoding) for part in (entry.namespace, entry.tag))
    kind = "table" if entry.desc == "TABLE DATA" else entry.desc.lower()
    return f"{kind} {'.'.join(filter(None, parts))} of database {database.name}"
