"""Which parts of a dump an export writes, in which order, and why others are refused. Pure."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.export.formats import STDOUT, ExportFormat
from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.toc import Algorithm
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, DumpFacts

# initdb makes them: a script for a whole cluster cannot create them (pg_dumpall.c: dumpDatabases).
_ALWAYS_THERE: Final = ("template1", "postgres")
_COMPRESS: Final = re.compile(r"(none|gzip|zstd)(?::(\d{1,2}))?")
_LEVELS: Final = {Algorithm.GZIP: (1, 9), Algorithm.ZSTD: (1, 19)}
_USUAL_LEVEL: Final = {Algorithm.GZIP: 6, Algorithm.ZSTD: 3}


class CannotExport(PgkeepError):
    """A dump could not be written as a file."""

    code = "cannot-export"
    exit_status = 227

    dump: str
    output: str
    why: str
    advice: str = ""

    def __str__(self) -> str:
        where = "stdout" if self.output == STDOUT else self.output
        return f"cannot export dump {self.dump} to {where}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


NO_COMPRESSION: Final = Compression()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What the user asks for."""

    dump: str  # its full id
    output: str  # a path, or STDOUT
    format: ExportFormat
    database: str = ""  # none: all
    compress: str = "none"
    create: bool = False
    clean: bool = False
    if_exists: bool = False
    no_owner: bool = False
    no_privileges: bool = False
    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    force: bool = False
    pg_bin: str = ""


class Part(NamedTuple):
    """A database on its way out."""

    database: DumpedDatabase
    connect: bool = False  # a script says first which database it is for
    words: tuple[str, ...] = ()  # for pg_restore


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What is written, in this order: roles and tablespaces, then databases."""

    request: ExportRequest
    compression: Compression
    globals: bool
    parts: tuple[Part, ...]

    @property
    def compress(self) -> str:
        """Return the compression as it is typed."""
        algorithm, level = self.compression
        return algorithm.name.lower() if level is None else f"{algorithm.name.lower()}:{level}"

    @property
    def whole_cluster(self) -> bool:
        return self.globals and bool(self.parts)


def plan_export(facts: DumpFacts, request: ExportRequest) -> ExportPlan:
    """Choose what is written. Raise CannotExport for what makes no sense or is not there."""
    _check_options(request)
    compression = _compression(request)
    if request.format is ExportFormat.GLOBALS:
        if facts.globals is None:
            raise _refused(
                request,
                "it holds no roles and tablespaces",
                "pgkeep dump create always takes them along; an import does with --globals FILE",
            )
        return ExportPlan(request, compression, globals=True, parts=())
    chosen = _databases(facts, request)
    for database in chosen:
        _check_script(database, request)
    if request.format is ExportFormat.PLAIN and len(chosen) > 1:
        return _plan_cluster(facts, request, compression, chosen)
    part = Part(chosen[0], words=tuple(_restore_words(request, create=request.create)))
    return ExportPlan(request, compression, globals=False, parts=(part,))


def parse_compression(text: str) -> Compression | None:
    """Read 'none', 'gzip', 'gzip:9', 'zstd:3'; None for anything else."""
    match = _COMPRESS.fullmatch(text)
    if match is None:
        return None
    algorithm = Algorithm[match[1].upper()]
    if algorithm is Algorithm.NONE:
        return None if match[2] else NO_COMPRESSION
    level = int(match[2]) if match[2] else _USUAL_LEVEL[algorithm]
    least, most = _LEVELS[algorithm]
    return Compression(algorithm, level) if least <= level <= most else None


def _compression(request: ExportRequest) -> Compression:
    found = parse_compression(request.compress)
    if found is None:
        raise _refused(
            request,
            f"there is no compression {request.compress!r}",
            "write none, gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:19",
        )
    fits = (ExportFormat.CUSTOM, ExportFormat.PLAIN)
    if found.algorithm is not Algorithm.NONE and request.format not in fits:
        raise _refused(
            request,
            f"pgkeep does not compress format {request.format}",
            "custom and plain can be compressed; tar and globals by a program behind '-o -'",
        )
    return found


def _check_options(request: ExportRequest) -> None:
    given = {
        "--create": request.create,
        "--clean": request.clean,
        "--if-exists": request.if_exists,
        "--no-owner": request.no_owner,
        "--no-privileges": request.no_privileges,
        "--table": request.tables,
        "--schema": request.schemas,
    }
    names = ", ".join(name for name, value in given.items() if value)
    if names and request.format is not ExportFormat.PLAIN:
        raise _refused(
            request,
            f"{names} is for --format plain: the other formats hold everything",
            f"give {names} to pg_restore when you restore the file",
        )
    if request.if_exists and not request.clean:
        raise _refused(request, "--if-exists is for the DROP statements of --clean")
    if request.output == STDOUT and request.format is ExportFormat.DIRECTORY:
        raise _refused(request, "a directory cannot be written to stdout", "use custom or tar")


def _databases(facts: DumpFacts, request: ExportRequest) -> tuple[DumpedDatabase, ...]:
    names = ", ".join(database.name for database in facts.databases)
    if request.database:
        found = facts.database(request.database)
        if found is None:
            raise _refused(request, f"it has no database {request.database}", f"it has {names}")
        return (found,)
    if not facts.databases:
        raise _refused(request, "it holds no database", "--format globals writes what it holds")
    if len(facts.databases) > 1 and request.format is not ExportFormat.PLAIN:
        raise _refused(
            request,
            f"it holds {len(facts.databases)} databases, and format {request.format} takes one",
            f"choose one with -d: {names}; --format plain takes all",
        )
    return facts.databases


def _check_script(database: DumpedDatabase, request: ExportRequest) -> None:
    if not database.script:
        return
    if request.format is not ExportFormat.PLAIN:
        raise _refused(
            request,
            f"database {database.name} was imported as a plain SQL script, which has no archive",
            "--format plain gives the script back; restored into a database it can be dumped anew",
        )
    if _restore_words(request, create=request.create):
        raise _refused(
            request,
            f"database {database.name} was imported as a plain SQL script, which stays as it is",
            "leave out options that change it",
        )


def _plan_cluster(
    facts: DumpFacts,
    request: ExportRequest,
    compression: Compression,
    chosen: tuple[DumpedDatabase, ...],
) -> ExportPlan:
    """Do as pg_dumpall does: one script from which psql makes the whole cluster."""
    names = ", ".join(database.name for database in chosen)
    if request.tables or request.schemas:
        raise _refused(
            request, "tables and schemas are chosen of one database", f"choose it with -d: {names}"
        )
    parts = []
    # Whatever is copied from template1 afterwards must find it complete.
    for database in sorted(chosen, key=lambda database: database.name != "template1"):
        there = database.name in _ALWAYS_THERE and not request.clean
        words = tuple(_restore_words(request, create=not there))
        parts.append(Part(database, connect=there, words=words))
    return ExportPlan(request, compression, facts.globals is not None, tuple(parts))


def _restore_words(request: ExportRequest, *, create: bool) -> list[str]:
    """Return pg_restore's options, values joined to them by '=': no pattern is ever an option."""
    words = [
        word
        for word, wanted in (
            ("--create", create),
            ("--clean", request.clean),
            ("--if-exists", request.if_exists),
            ("--no-owner", request.no_owner),
            ("--no-privileges", request.no_privileges),
            # A mistyped table is noticed now, not when the script is run.
            ("--strict-names", request.tables or request.schemas),
        )
        if wanted
    ]
    words += [f"--table={table}" for table in request.tables]
    return words + [f"--schema={schema}" for schema in request.schemas]


def _refused(request: ExportRequest, why: str, advice: str = "") -> CannotExport:
    return CannotExport(request.dump, request.output, why, advice)
