"""Takes a file that pg_dump or pg_dumpall wrote into the repository, as a dump like any other.

Order: packs, then the manifest, when the file was read to its end and found whole.
"""

import dataclasses
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from msgspec.structs import replace

import pgkeep
from pgkeep.logical.capture.capture import Capture, CaptureSetup
from pgkeep.logical.create.cleaning import clean
from pgkeep.logical.create.create import new_id
from pgkeep.logical.create.manifest import Past, build, known_bytes, read_parent
from pgkeep.logical.create.plan import choose_parent
from pgkeep.logical.encodings import readable
from pgkeep.logical.importing.archive import Archive, open_directory, take_archive
from pgkeep.logical.importing.described import not_later
from pgkeep.logical.importing.opening import Kind, Recognised, opened
from pgkeep.logical.importing.report import ImportReport
from pgkeep.logical.importing.roles import globals_of, read_globals
from pgkeep.logical.importing.script import stem, take_script
from pgkeep.logical.importing.storing import Nowhere, Taken, Target
from pgkeep.logical.importing.unpacking import CannotImport
from pgkeep.model.dump import Dump, DumpId, Origin
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.dumps import DumpCatalog
from pgkeep.repository.manifest.dump_facts import GLOBALS, DumpFacts
from pgkeep.repository.packs import attempts
from pgkeep.repository.packs.pack_ids import tag_of
from pgkeep.repository.repository import ClusterFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the user may choose."""

    file: str
    zone: tzinfo  # of times that a file tells without one
    label: str = ""
    database: str = ""  # none: as the file says, or is called
    globals_file: str = ""
    taken_at: datetime | None = None  # None: when the file says it was made
    accept_incomplete: bool = False  # scripts without an end
    dry_run: bool = False
    level: int = 1  # of zstd


def import_file(
    cluster: ClusterFolder, options: ImportOptions, progress: Progress | None = None
) -> ImportReport:
    """Import a file; when this returns, the dump is complete, durable and listed.

    Raise CannotImport or IncompleteDump for what is no dump or no whole one, and what the store
    raises: then nothing is listed.
    """
    progress = progress or Silent()
    with _told(options.file), ExitStack() as stack:
        found = stack.enter_context(opened(options.file))
        job = _Job(cluster, options, progress, found)
        if options.dry_run:
            return job.try_out()
        lock, dump_id = stack.enter_context(_lock(cluster, progress)), new_id(job.now)
        stack.enter_context(attempts.given_back_when_full(cluster, dump_id, lock))
        return job.run(dump_id, lock)


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Turn what the system refuses, and what is wrong with an archive, into CannotImport."""
    try:
        yield
    except BadArchive as error:
        why = error.why if error.where == file else f"{error.where}: {error.why}"
        raise CannotImport(file, why, error.advice) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        where = f" ({error.filename})" if error.filename not in (None, file) else ""
        raise CannotImport(file, f"{why}{where}") from error


def _lock(cluster: ClusterFolder, progress: Progress) -> Lock:
    """As for a dump that is made: it only adds."""
    return locks.hold(
        cluster,
        "dump",
        "pgkeep dump import",
        {"expire"},
        waiting=lambda command: progress.phase(f"waiting for the end of {command!r}"),
    )


@dataclass(slots=True)
class _Job:
    """One import."""

    cluster: ClusterFolder
    options: ImportOptions
    progress: Progress
    found: Recognised
    began: float = field(default_factory=time.monotonic)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    archive: Archive | None = None  # none: a script
    changed: datetime | None = None  # the file, the last time

    def try_out(self) -> ImportReport:
        """Read everything, and store nothing."""
        self._begin()
        target = Target(Nowhere(), self.progress, lambda: None, self._position)
        taken = self._take(target)
        facts = self._facts(new_id(self.now), taken, "")
        facts = replace(facts, files=len(target.files), size=target.stored)
        return self._report(facts, taken)

    def run(self, dump_id: DumpId, lock: Lock) -> ImportReport:
        self._begin()
        past = read_parent(self.cluster, self._parent(dumps.dumps(self.cluster)))
        # Before the first pack: should we die, it is known by this whose packs they are.
        attempts.begin(self.cluster, dump_id, self.now)
        with Capture(self._setup(dump_id, past), 1, self.progress.note) as capture:
            target = Target(capture, self.progress, lock.beat, self._position)
            taken = self._take(target)
            self.progress.phase("storing what is left")
            stored = capture.finish(lock.beat)
        facts = replace(self._facts(dump_id, taken, past.id), known=known_bytes(stored))
        cleaned = clean(self.cluster, stored, past.tables, self.options.level)
        facts = replace(facts, duration_s=time.monotonic() - self.began)
        manifest = build(facts, target.files, cleaned.stored, past)
        # The last moment to notice that another process took this one for dead.
        lock.check()
        # Last of all, when all packs are durable: from here on the dump is offered.
        dumps.shelf(self.cluster).write(manifest)
        attempts.end(self.cluster, [dump_id])
        return self._report(manifest.facts, taken, cleaned.notes)

    def _begin(self) -> None:
        """Look into an archive as far as its table of contents."""
        found, path = self.found, self.options.file
        self.changed = datetime.fromtimestamp(os.stat(path).st_mtime, UTC)
        if found.kind is Kind.DIRECTORY:
            self.archive = open_directory(path)
        elif found.kind is not Kind.SCRIPT:
            assert found.source is not None
            stream = read_stream(found.source, path)
            self.archive = Archive(stream.toc, stream.files(), path)
        total = None if found.kind is Kind.DIRECTORY else found.size
        self.progress.phase(f"reading {found.kind} {path}", total)

    @property
    def _name(self) -> str:
        said = self.archive.database if self.archive is not None else ""
        return self.options.database or said or stem(self.options.file)

    def _position(self) -> int | None:
        """Return how much of the file is read; None where only what is stored tells."""
        return self.found.position() if self.found.kind is not Kind.DIRECTORY else None

    def _parent(self, known: DumpCatalog) -> Dump | None:
        """Choose whose chunks are most likely to come again; a script does not tell its name."""
        names = sorted({name for dump in known.dumps for name in dump.databases})
        return choose_parent(known.dumps, [self._name]) or choose_parent(known.dumps, names)

    def _take(self, target: Target) -> Taken:
        options = self.options
        given = read_globals(options.globals_file) if options.globals_file else None
        if self.archive is not None:
            names = (options.database, stem(options.file))
            taken = take_archive(self.archive, target, names, options.zone)
            self._demand_end()
        else:
            assert self.found.source is not None
            accept = options.accept_incomplete
            taken = take_script(
                self.found.source, target, options.database, options.zone, accept_incomplete=accept
            )
        if given is None:
            return taken
        if taken.globals is not None:
            raise CannotImport(options.file, "it holds roles itself, and --globals others")
        target.store(GLOBALS, [given])
        return dataclasses.replace(taken, globals=globals_of(given))

    def _demand_end(self) -> None:
        """Read what comes behind an archive: the end of what it is packed in, and nothing else."""
        for piece in self.found.source.pieces() if self.found.source is not None else ():
            if piece.strip(b"\0"):  # tar fills up its blocks
                raise CannotImport(self.options.file, "behind the archive's end is something else")

    def _facts(self, dump_id: DumpId, taken: Taken, parent: str) -> DumpFacts:
        told = not_later(taken.made_at or self.changed, self.now)
        return DumpFacts(
            id=dump_id,
            cluster=self.cluster.name,
            origin=Origin.FILE,
            label=self.options.label,
            started_at=self.now,
            taken_at=self.options.taken_at or told,
            server_version=taken.server_version,
            selection=taken.selection,
            databases=(taken.database,) if taken.database is not None else (),
            globals=taken.globals,
            consistency="one snapshot" if taken.database is not None else "",
            parent=parent,
            suspicions=taken.suspicions,
            source=readable(os.path.abspath(self.options.file), "UTF8"),
            source_host=socket.gethostname(),
            pgkeep_version=pgkeep.__version__,
        )

    def _setup(self, dump_id: DumpId, past: Past) -> CaptureSetup:
        repository = self.cluster.repository
        return CaptureSetup(
            store=repository.store.address,
            repository=repository.id,
            key=repository.key,
            cluster=self.cluster.name,
            level=self.options.level,
            tag=tag_of(dump_id),
            known=past.known,
        )

    def _report(self, facts: DumpFacts, taken: Taken, notes: Sequence[str] = ()) -> ImportReport:
        return ImportReport(
            file=self.options.file,
            kind=self.found.kind,
            packed=self.found.packed,
            facts=facts,
            dry_run=self.options.dry_run,
            duration_s=time.monotonic() - self.began,
            notes=(*taken.notes, *notes),
        )
