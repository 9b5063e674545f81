"""What pg_dump makes of a recovered copy: definitions of all objects, or a table in a file."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import TocEntry, read_toc
from pgkeep.server.client_programs import connecting, run_program
from pgkeep.server.client_tools import ClientTools
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.found import Found
from pgkeep.undo.returning.names import relation_sql

_LOCK_WAIT_MS = 10_000  # for tables that somebody holds: then say so instead of waiting on


class FileThere(CannotUndo):
    """A table was to be dumped into a file that is there already."""

    code = "undo-file-there"


def definitions(tools: ClientTools, conninfo: str, database: str) -> list[TocEntry]:
    """Return what pg_dump writes of a database without data. Raise ProgramFailed, BadArchive."""
    to = connecting(conninfo, database)
    with tempfile.TemporaryDirectory(prefix="pgkeep-undo-") as scratch:
        file = Path(scratch) / "definitions"
        argv = [
            tools.tool("pg_dump"), "--schema-only", "--format=custom", "--no-password",
            "--quote-all-identifiers", "--encoding=UTF8", f"--lock-wait-timeout={_LOCK_WAIT_MS}",
            f"--file={file}", f"--dbname={to.conninfo}",
        ]  # fmt: skip
        run_program(f"read the definitions of {database}", argv, environment=to.environment)
        with file.open("rb") as opened:
            _, entries = read_toc(opened, f"the definitions of {database}")
            return list(entries)


def dump_table(tools: ClientTools, conninfo: str, then: Found, file: str) -> int:
    """Write a table, with its partitions and heirs, into a new file for pg_restore.

    Return the file's size. The file is there when it is whole. Raise FileThere, ProgramFailed.
    """
    target = Path(file)
    if target.exists() or target.is_symlink():
        raise _there(file)
    to = connecting(conninfo, then.name.database)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    argv = [
        tools.tool("pg_dump"), "--format=custom", "--no-password",
        *(f"--table={relation_sql(one.schema, one.name)}" for one in then.members),
        f"--file={beside}", f"--dbname={to.conninfo}",
    ]  # fmt: skip
    try:
        run_program(f"dump {then.name}", argv, environment=to.environment)
        _demand_rows(beside, then)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        os.link(beside, target)  # and never over a file that came meanwhile
        return target.stat().st_size
    except FileExistsError:
        raise _there(file) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CannotUndo(f"write {file}", why, "name another file") from error
    finally:
        beside.unlink(missing_ok=True)


def _there(file: str) -> FileThere:
    return FileThere(f"write {file}", "it is there already", "name a file that is not there")


def _demand_rows(file: Path, then: Found) -> None:
    """Raise CannotUndo unless the archive has data of every table."""
    with file.open("rb") as opened:
        try:
            _, entries = read_toc(opened, str(file))
            there = set(_with_data(entries))
        except BadArchive as error:
            raise CannotUndo(f"dump {then.name}", f"pg_dump wrote no archive: {error}") from error
    lost = [one for one in then.members if one.kind == "r" and (one.schema, one.name) not in there]
    if lost:
        names = ", ".join(f"{one.schema}.{one.name}" for one in lost)
        raise CannotUndo(f"dump {then.name}", f"pg_dump left out the rows of {names}")


def _with_data(entries: Iterable[TocEntry]) -> Iterable[tuple[str, str]]:
    return ((e.namespace or "", e.tag or "") for e in entries if e.desc == "TABLE DATA")
