"""The archive of a restore without rows: what pg_restore is given for definitions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pgkeep.logical.restoring.roles import renamed
from pgkeep.postgres.archive.entries import ATTACHED, FOREIGN_KEY, SETTINGS, database_clauses
from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.postgres.archive.toc import TocEntry, TocHeader, write_toc
from pgkeep.server.client_programs import Connecting, run_program
from pgkeep.server.client_tools import ClientTools

_TOGETHER: Final = 200  # objects in a transaction: few enough for the locks of a small server
_TOGETHER_SINCE: Final = 17
_LATE: Final = frozenset({FOREIGN_KEY, "EVENT TRIGGER"})
_ON_DATABASE: Final = ("ALTER DATABASE ", " IN DATABASE ", " ON DATABASE ", "CREATE DATABASE ")


def write_archive(directory: Path, header: TocHeader, entries: Sequence[TocEntry]) -> None:
    """Write a directory archive that has a table of contents and no data."""
    directory.mkdir(mode=0o700)
    with (directory / "toc.dat").open("wb") as sink:
        write_toc(header, entries, len(entries), sink)


def in_two_steps(entries: Sequence[TocEntry]) -> tuple[list[TocEntry], list[TocEntry]]:
    """Return what comes first, and foreign keys with event triggers, which come last.

    A key to a partitioned table needs its indexes attached at every level, and the archive names
    only some of them: pg_restore with several jobs may be too early. Event triggers would see keys.
    """
    late = {entry.dump_id for entry in entries if entry.desc in _LATE}
    first, last = [], []
    for entry in entries:
        about = entry.desc in ATTACHED and any(
            number.isdecimal() and int(number) in late for number in entry.dependencies
        )
        if entry.desc in SETTINGS:
            first.append(entry)
            last.append(entry)
        elif entry.dump_id in late or about:
            last.append(entry)
        else:
            first.append(entry)
    return first, last


def adapted(
    entries: Sequence[TocEntry], roles: Mapping[str, str], spaces: Mapping[str, str]
) -> list[TocEntry]:
    """Return entries with roles and tablespaces under their new names."""
    found = [renamed(entry, roles) for entry in entries] if roles else list(entries)
    if spaces:
        found = [
            entry._replace(tablespace=spaces.get(entry.tablespace or "", entry.tablespace))
            for entry in found
        ]
    return found


def restore_section(  # noqa: PLR0913  # all but three are named
    tools: ClientTools,
    archive: Path,
    section: str,
    *,
    connecting: Connecting,
    jobs: int = 1,
    owners: bool = True,
    tablespaces: bool = True,
) -> None:
    """Run pg_restore on one section; the first error ends it. Raise ProgramFailed."""
    together = section == "pre-data" and tools.major >= _TOGETHER_SINCE
    argv = [
        tools.tool("pg_restore"),
        f"--section={section}",
        "--exit-on-error",
        "--no-password",
        # Commits of single definitions would take longer than the definitions.
        *([f"--transaction-size={_TOGETHER}"] if together else [f"--jobs={jobs}"]),
        *([] if owners else ["--no-owner"]),
        *([] if tablespaces else ["--no-tablespaces"]),
        f"--dbname={connecting.conninfo}",
        str(archive),
    ]
    run_program(f"restore {section}", argv, environment=connecting.environment)


def database_options(
    entry: TocEntry | None,
    encoding: str,
    spaces: Mapping[str, str],
    *,
    keep_spaces: bool,
    usual: str,
) -> str:
    """Return what follows the name in CREATE DATABASE: encoding, collation, tablespace.

    Where the dump tells no collation it is the server's, but where that goes with its `usual`
    encoding and may not go with another.
    """
    options, space = database_clauses(entry) if entry is not None else ("", "")
    if not options:
        options = f"TEMPLATE template0 ENCODING '{encoding}'" if encoding else "TEMPLATE template0"
        if encoding not in ("", usual):
            options += " LC_COLLATE 'C' LC_CTYPE 'C'"
    if space and keep_spaces:
        options += f" TABLESPACE = {always_quoted(spaces.get(space, space))}"
    return options


def statements_for(entries: Sequence[TocEntry], old: str, new: str) -> list[str]:
    """Return the statements on the database itself, for one of another name."""
    quoted, plain = always_quoted(old), old
    found = []
    for entry in entries:
        if entry.desc == "DATABASE" or not entry.definition:
            continue
        text = entry.definition
        for words in _ON_DATABASE:
            text = text.replace(f"{words}{quoted}", f"{words}{always_quoted(new)}")
            text = _replaced(text, f"{words}{plain}", f"{words}{always_quoted(new)}")
        found.append(text)
    return found


def _replaced(text: str, old: str, new: str) -> str:
    """Replace words where nothing of a name follows."""
    result, start = "", 0
    while (at := text.find(old, start)) >= 0:
        end = at + len(old)
        whole = text[end : end + 1] in (" ", ";", "\n", "")
        result += text[start:at] + (new if whole else old)
        start = end
    return result + text[start:]
