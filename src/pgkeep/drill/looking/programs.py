"""What PostgreSQL's own programs say of a restored copy: pg_checksums, pg_amcheck, pg_dump."""

import re
import subprocess
from collections.abc import Callable
from typing import Final, LiteralString

from pgkeep.drill.finding import Finding, failed, passed, untested
from pgkeep.drill.looking.copy import Copy
from pgkeep.drill.looking.following import follow
from pgkeep.postgres.control import read_control
from pgkeep.server.binaries import (
    SERVER_ENVIRONMENT,
    PgToolsMissing,
    as_server_user,
)
from pgkeep.server.client_programs import connecting
from pgkeep.server.session import Session
from pgkeep.units import format_size, plural

_COMPUTED: Final = re.compile(r"\s*(\d+)/(\d+) MB \(\d+%\) computed")
_BLOCKS: Final = re.compile(r"Blocks scanned:\s+(\d+)")
_CHECKED: Final = re.compile(r"\s*\d+/\d+ relations \(\s*\d+%\),?\s+(\d+)/(\d+) pages \(\s*\d+%\)")
_DUMPING: Final = re.compile(r'pg_dump: dumping contents of table "(.*)"')
_DAMAGED: Final = re.compile(r'(?:heap table|btree index) "[^"]*"')
_CRASHED: Final = ("server closed the connection", "terminating connection because of crash")
_CORRUPT: Final = 2  # pg_amcheck.c: the exit status that says so
_AMCHECK: Final[LiteralString] = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"
# As pg_dump spells a table when it says that it reads it.
_TABLES: Final[LiteralString] = (
    "SELECT format('%s.%s', n.nspname, c.relname), pg_table_size(c.oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
)


def checksums(copy: Copy) -> Finding:
    """Verify the checksum of every page. The server must have been stopped, and cleanly."""
    if not read_control(str(copy.data_directory)).checksums:
        return untested("this cluster has no page checksums (pg_checksums --enable makes them)")
    try:
        program = copy.binaries.tool("pg_checksums")
    except PgToolsMissing as error:
        return untested(str(error))
    copy.progress.phase("verifying page checksums", copy.size)
    directory = copy.data_directory
    command = [program, "--check", "--progress", "-D", str(directory)]
    said = follow(as_server_user(command, directory), SERVER_ENVIRONMENT, _gauge(copy, _COMPUTED))
    bad = said.having("checksum verification failed")
    if bad:
        many = f"{len(bad)} pages have" if len(bad) > 1 else "1 page has"
        lines = (_bare(line).replace(f"{directory}/", "") for line in bad)
        return failed(f"{many} a checksum that does not fit", lines)
    if said.status != 0:
        return untested(f"pg_checksums ended with exit status {said.status}", said.output)
    blocks = next((m[1] for line in said.output if (m := _BLOCKS.search(line))), "all")
    return passed(f"the checksums of {int(blocks):,} pages fit" if blocks != "all" else "all fit")


def amcheck(copy: Copy, *, full: bool) -> Finding:
    """Compare tables and indexes with the rules of their kind; `full`: with each other too."""
    try:
        program = copy.binaries.tool("pg_amcheck")
    except PgToolsMissing as error:
        return untested(str(error))
    with Session.connect(copy.conninfo) as session:
        if not session.query(_AMCHECK):
            return untested(
                f"the contrib module amcheck is not installed beside {copy.binaries} "
                "(Red Hat: postgresql-contrib)"
            )
    copy.progress.phase("checking tables and B-trees", copy.size)
    to = connecting(copy.conninfo)
    command = [
        program, "--all", "--install-missing", "--progress", "--no-password",
        *(["--heapallindexed"] if full else []),
        f"--jobs={copy.jobs}", f"--maintenance-db={to.conninfo}",
    ]  # fmt: skip
    said = follow(command, to.environment, _gauge(copy, _CHECKED))
    if said.status == 0:
        return passed("tables and B-tree indexes of all databases are sound")
    wrong = [line for line in said.output if not line.startswith("pg_amcheck: ")]
    if said.status == _CORRUPT:
        hit = list(dict.fromkeys(m[0] for line in wrong if (m := _DAMAGED.match(line))))
        words = f"{len(hit)} tables or indexes are damaged" if len(hit) > 1 else _one(hit)
        return failed(words, _joined(wrong))
    if said.having(*_CRASHED):
        return failed("the server crashed while pg_amcheck read", said.output)
    return untested(f"pg_amcheck ended with exit status {said.status}", said.output)


def read_all(copy: Copy) -> Finding:
    """Read every row of every table, and every definition, as pg_dump does."""
    program = copy.binaries.tool("pg_dump")
    copy.progress.phase("reading all data", copy.size)
    bad: list[str] = []
    done = 0
    for database in copy.databases:
        to = connecting(copy.conninfo, database)
        reader = _Reader(copy, database, done)
        command = [program, "--verbose", "--no-password", f"--dbname={to.conninfo}"]
        said = follow(command, to.environment, reader.line, stdout=subprocess.DEVNULL)
        done = reader.done
        if said.status != 0:
            errors = said.having("error:", "ERROR", "detail:", "FATAL") or [said.last]
            bad += [f"database {database}: {_bare(line)}" for line in errors]
    if bad:
        return failed("pg_dump cannot read all data", bad)
    many = plural(len(copy.databases), "database")
    return passed(f"pg_dump read {many}, {format_size(copy.size)}, to the end")


class _Reader:
    """Turns what pg_dump says into how far it is."""

    def __init__(self, copy: Copy, database: str, done: int) -> None:
        with Session.connect(copy.to(database)) as session:
            self._sizes: dict[str, int] = dict(session.query(_TABLES))
        self._progress = copy.progress
        self._current = 0
        self.done = done

    def line(self, text: str) -> bool:
        found = _DUMPING.match(text)
        if found:
            self.done += self._current
            self._current = self._sizes.get(found[1], 0)
            self._progress.detail(found[1])
            self._progress.advance(self.done)
        return "error:" not in text and "detail:" not in text and "ERROR" not in text


def _gauge(copy: Copy, pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Return what tells how far a program is, as a share of the copy's size."""

    def line(text: str) -> bool:
        found = pattern.match(text)
        if found is None:
            return False
        done, all_of_it = map(int, found.groups())
        copy.progress.advance(copy.size * done // max(1, all_of_it))
        return True

    return line


def _bare(line: str) -> str:
    """Return what a program says without its own name."""
    return re.sub(r"^pg_\w+: (?:error: )?", "", line)


def _one(hit: list[str]) -> str:
    return f"damaged: {hit[0]}" if hit else "pg_amcheck found damage"


def _joined(lines: list[str]) -> list[str]:
    """Put what belongs to one finding on one line: pg_amcheck indents what it goes on with."""
    found: list[str] = []
    for line in lines:
        if line.startswith((" ", "\t")) and found:
            found[-1] = f"{found[-1]} {line.strip()}"
        else:
            found.append(line)
    return found
