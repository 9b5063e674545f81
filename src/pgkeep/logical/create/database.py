"""Dumps one database: one pg_dump under a snapshot, or several where locks would run out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgkeep.logical import inventory
from pgkeep.logical.capture.backlog import CapturedFile
from pgkeep.logical.capture.capture import Capture
from pgkeep.logical.create.before import Comparison
from pgkeep.logical.create.checks import DataFile, check_tables
from pgkeep.logical.create.plan import LocksShort, Run, dump_words, plan_runs, run_selection
from pgkeep.logical.create.programs import demand_success, start_dump
from pgkeep.logical.create.record import Contents
from pgkeep.logical.create.snapshots import Snapshot
from pgkeep.logical.create.survey import Survey
from pgkeep.model.dump import Selection
from pgkeep.postgres.archive.merge import merge_tocs
from pgkeep.progress import Progress
from pgkeep.repository.manifest.dump_facts import INVENTORY, TOC, DumpedDatabase
from pgkeep.server.client_programs import Connecting, ProgramFailed
from pgkeep.server.client_tools import ClientTools
from pgkeep.server.session import QueryFailed, SessionLost
from pgkeep.units import MIB

_PIECE: Final = MIB
_ASK_S: Final = 1.0  # between two questions which tables are being read


@dataclass
class Files:
    """The files of a dump in the order of their numbers."""

    paths: list[str] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)  # of a database that failed half-way

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, path: str) -> int:
        """Give a path the next number."""
        self.paths.append(path)
        return len(self.paths) - 1

    def drop_from(self, first: int) -> None:
        self.dropped.update(range(first, len(self.paths)))


@dataclass(frozen=True, slots=True)
class Dumper:
    """What all databases of one dump have in common."""

    tools: ClientTools
    conninfo: str
    connecting: Connecting
    selection: Selection
    jobs: int
    lock_wait_s: float
    capture: Capture
    scratch: Path
    files: Files
    comparison: Comparison
    progress: Progress
    beat: Callable[[], None]

    def dump(self, snapshot: Snapshot, survey: Survey, number: int) -> DumpedDatabase:
        """Dump a database into the folder of this number; return what goes on record of it."""
        name = snapshot.database
        runs = plan_runs(survey.schemas, survey.lock_room)
        total = self.comparison.data_bytes(name) or survey.bytes if self.selection.takes_rows else 0
        self.progress.phase(f"dumping database {name}", total or None)
        try:
            parts = [self._run(snapshot, run, number, place) for place, run in enumerate(runs)]
        except ProgramFailed as error:
            if "out of shared memory" not in error.output:
                raise
            raise LocksShort(name, max(survey.schemas.values()), survey.lock_room) from error
        toc = _joined(parts, self.scratch / f"{number}.toc")
        captured = {file.name: file for part in parts for file in part.files}
        contents = Contents(name, survey.encoding, captured)
        with toc.open("rb") as opened:
            items = self.comparison.watch(name, contents.items(opened))
            pieces = inventory.encode(name, items)
            self._store(f"{number}/{INVENTORY}", pieces)
        if self.selection.lists_tables:
            check_tables(name, survey.tables, contents.counts)
        with toc.open("rb") as opened:
            self._store(f"{number}/{TOC}", iter(lambda: opened.read(_PIECE), b""))
        toc.unlink()
        return _facts(snapshot, survey, number, contents, len(runs))

    def _run(self, snapshot: Snapshot, run: Run, number: int, place: int) -> "_Part":
        """Run pg_dump once, and read what it writes while it does."""
        directory = self.scratch / f"{number}.{place}"
        words = dump_words(
            run_selection(self.selection, run),
            self.tools.major,
            snapshot=snapshot.exported.name,
            # pg_dump refuses rows of foreign tables from several connections.
            jobs=1 if self.selection.foreign_servers else self.jobs,
            lock_wait_ms=round(self.lock_wait_s * 1000),
        )
        to = self.connecting.to(snapshot.database)
        prefix = f"{place}_" if place else ""
        first = len(self.files)
        running = start_dump(self.tools, words, to, directory)
        watched = _Watched(snapshot, self.progress, self.beat)
        captured = self.capture.run(
            running.process, directory, first, watched.advance, watched.beat
        )
        for file in captured:  # their numbers are given away, whatever became of pg_dump
            self.files.add(f"{number}/{prefix}{file.path}")
        demand_success(running, self.conninfo, snapshot.database, self.lock_wait_s)
        files = [DataFile(prefix + f.path, f.size, f.lines, f.tail) for f in captured]
        toc = directory / TOC
        kept = toc.rename(self.scratch / f"{number}.{place}.toc")
        with suppress(OSError):
            directory.rmdir()
        running.messages.unlink(missing_ok=True)
        return _Part(kept, prefix, files)

    def _store(self, path: str, pieces: Iterator[bytes]) -> CapturedFile:
        return self.capture.store(self.files.add(path), pieces)


class _Watched:
    """Tells how far a pg_dump is, and which tables it is reading."""

    def __init__(self, snapshot: Snapshot, progress: Progress, beat: Callable[[], None]) -> None:
        self._snapshot = snapshot
        self.advance = progress.advance
        self._detail = progress.detail
        self._beat = beat
        self._asked = time.monotonic()

    def beat(self) -> None:
        """Keep the lock; now and then ask the server what is being read."""
        self._beat()
        now = time.monotonic()
        if now - self._asked >= _ASK_S:
            self._asked = now
            # A lost session ends the dump by itself: pg_dump's own words say more.
            with suppress(QueryFailed, SessionLost):
                self._detail(", ".join(self._snapshot.copying()))


@dataclass(frozen=True, slots=True)
class _Part:
    """What one run of pg_dump wrote."""

    toc: Path
    prefix: str  # of its files' names in the dump: several runs number theirs alike
    files: list[DataFile]


def _joined(parts: Sequence[_Part], into: Path) -> Path:
    """Return the table of contents of all runs together."""
    if len(parts) == 1:
        return parts[0].toc
    with into.open("wb") as sink:
        merge_tocs([(part.toc, part.prefix) for part in parts], sink)
    for part in parts:
        part.toc.unlink()
    return into


def _facts(
    snapshot: Snapshot, survey: Survey, number: int, contents: Contents, runs: int
) -> DumpedDatabase:
    header, counts = contents.header, contents.counts
    assert header is not None
    objects, object_bytes = contents.large_objects
    return DumpedDatabase(
        number=number,
        name=snapshot.database,
        owner=survey.owner,
        encoding=survey.encoding,
        collate=survey.collate,
        ctype=survey.ctype,
        locale_provider=survey.provider,
        locale=survey.locale,
        collation_version=survey.collation_version,
        tablespace=survey.tablespace,
        settings=survey.settings,
        extensions=survey.extensions,
        snapshot=snapshot.exported.name,
        snapshot_at=snapshot.exported.at,
        lsn=snapshot.exported.lsn or "",
        archive_version=".".join(map(str, header.version[:2])),
        dump_version=header.dump_version or "",
        runs=runs,
        objects=counts.objects,
        schemas=counts.schemas,
        tables=counts.tables,
        rows=counts.rows,
        data_bytes=counts.data_bytes,
        sequences=counts.sequences,
        large_objects=objects,
        large_object_bytes=object_bytes,
    )
