"""What of a server is dumped, and with which words pg_dump is told. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.patterns import parse_pattern, quoted
from pgkeep.model.dump import EVERYTHING, Dump, Origin, Selection

TEMPLATE: Final = "template0"  # may not be connected to, and never changes
INVALID: Final = -2  # datconnlimit of a database whose DROP was interrupted (pg_database.h)
SECTIONS: Final = ("pre-data", "data", "post-data")


class NoDatabase(PgkeepError):
    """A database that should be dumped is not there, or cannot be."""

    code = "no-such-database"
    exit_status = 202

    wanted: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"cannot dump database {self.wanted!r}: the server has no such database"

    @property
    def hint(self) -> str:
        return f"it has {', '.join(self.known)}" if self.known else "it has none"


class DatabaseUnfit(PgkeepError):
    """A database that should be dumped cannot be connected to."""

    code = "database-unfit"
    exit_status = 124

    database: str
    why: str

    def __str__(self) -> str:
        return f"cannot dump database {self.database}: {self.why}"


class BadSelection(PgkeepError):
    """Options of a dump that contradict each other."""

    code = "bad-selection"
    exit_status = 203

    why: str

    def __str__(self) -> str:
        return f"cannot dump what was asked for: {self.why}"


@dataclass(frozen=True, slots=True)
class Found:
    """A database of the server."""

    name: str
    connectable: bool
    valid: bool = True


@dataclass(frozen=True, slots=True)
class DatabasesPlan:
    """Which databases are dumped, and why others are not."""

    names: tuple[str, ...]
    all: bool
    left_out: tuple[str, ...] = ()  # by name: the user knows
    impossible: tuple[tuple[str, str], ...] = ()  # name and reason: the user must be told


def plan_databases(
    found: Sequence[Found], wanted: Sequence[str], excluded: Sequence[str]
) -> DatabasesPlan:
    """Return the databases to dump: those `wanted`, by name; none means every one.

    `excluded` are patterns, for when all are wanted. Raise NoDatabase, BadPattern.
    """
    known = {database.name: database for database in found}
    if wanted:
        for name in wanted:
            if name not in known:
                raise NoDatabase(name, tuple(sorted(set(known) - {TEMPLATE})))
        names = tuple(dict.fromkeys(wanted))
        problems = tuple((name, why) for name in names if (why := _problem(known[name])))
        good = tuple(name for name in names if not _problem(known[name]))
        return DatabasesPlan(good, all=False, impossible=problems)
    patterns = [parse_pattern(text) for text in excluded]
    left_out = [n for n in known if any(pattern.matches("", n) for pattern in patterns)]
    names_left = [n for n in sorted(known) if n not in left_out and n != TEMPLATE]
    return DatabasesPlan(
        names=tuple(name for name in names_left if not _problem(known[name])),
        all=True,
        left_out=tuple(sorted(left_out)),
        impossible=tuple((name, why) for name in names_left if (why := _problem(known[name]))),
    )


def _problem(database: Found) -> str:
    if not database.valid:
        return "it is invalid: an interrupted DROP DATABASE left it; drop it"
    if not database.connectable:
        return "it allows no connections (ALTER DATABASE ... ALLOW_CONNECTIONS)"
    return ""


def check_selection(selection: Selection, databases: int) -> None:
    """Raise BadSelection for what pg_dump would refuse, or what would be no backup of anything."""
    if databases != 1 and (selection.tables or selection.tables_and_children or selection.schemas):
        raise BadSelection("tables and schemas are chosen of one database: name it with -d")
    if selection.schema_only and selection.data_only:
        raise BadSelection("--schema-only and --data-only leave nothing")
    if selection.sections and (selection.schema_only or selection.data_only):
        raise BadSelection("--section is given, and --schema-only or --data-only as well")
    for section in selection.sections:
        if section not in SECTIONS:
            raise BadSelection(f"there is no section {section!r}, only {', '.join(SECTIONS)}")
    if selection.schema_only and selection.exclude_table_data:
        raise BadSelection("--schema-only leaves out all data already")


def selection_words(selection: Selection, tool_major: int) -> list[str]:
    """Return pg_dump's options for a selection, values joined to their options by '='.

    So a pattern that looks like an option is none. Raise BadSelection for what this pg_dump
    does not know.
    """
    words = []
    for wanted, word in ((selection.schema_only, "-s"), (selection.data_only, "-a")):
        words += [word] if wanted else []
    words += [f"--section={section}" for section in selection.sections]
    lists: tuple[tuple[str, Iterable[str], int], ...] = (
        ("table", selection.tables, 0),
        ("exclude-table", selection.exclude_tables, 0),
        ("exclude-table-data", selection.exclude_table_data, 0),
        ("table-and-children", selection.tables_and_children, 16),
        ("exclude-table-and-children", selection.exclude_tables_and_children, 16),
        ("exclude-table-data-and-children", selection.exclude_table_data_and_children, 16),
        ("schema", selection.schemas, 0),
        ("exclude-schema", selection.exclude_schemas, 0),
        ("extension", selection.extensions, 14),
        ("exclude-extension", selection.exclude_extensions, 17),
        ("include-foreign-data", selection.foreign_servers, 13),
    )
    for option, patterns, since in lists:
        given = list(patterns)
        if given and tool_major < since:
            raise BadSelection(f"--{option} needs pg_dump {since}, and this one is {tool_major}")
        words += [f"--{option}={pattern}" for pattern in given]
    if selection.large_objects is not None:
        name = "large-objects" if tool_major >= 16 else "blobs"
        words.append(f"--{name}" if selection.large_objects else f"--no-{name}")
    # Each pattern must mean something: a mistyped table is noticed now, not on the day of need.
    return [*words, "--strict-names"]


def dump_words(
    selection: Selection, tool_major: int, *, snapshot: str, jobs: int, lock_wait_ms: int
) -> list[str]:
    """Return all options of a pg_dump but where to connect and where to write."""
    return [
        "--format=directory",
        f"--jobs={jobs}",
        "--compress=none" if tool_major >= 16 else "--compress=0",
        "--no-sync",  # what it writes is read at once and never kept
        "--no-password",
        "--quote-all-identifiers",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={lock_wait_ms}",
        *selection_words(selection, tool_major),
    ]


class LocksShort(PgkeepError):
    """The server could not lock as many tables as one dump has to."""

    code = "locks-short"
    exit_status = 254

    database: str
    tables: int
    room: int

    def __str__(self) -> str:
        return (
            f"no dump was made of database {self.database}: the server has no room for the locks "
            f"of {self.tables:,} tables dumped together; its settings provide for {self.room:,}"
        )

    @property
    def hint(self) -> str:
        times = -(-self.tables * 5 // (4 * max(self.room, 1))) + 1
        return (
            f"raise max_locks_per_transaction {times} times and restart the server, or dump tables "
            "in portions with --table patterns"
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One pg_dump of several under the same snapshot."""

    exclude_schemas: tuple[str, ...] = ()  # the first run: all but these
    schemas: tuple[str, ...] = ()  # each later one: these alone


def plan_runs(schemas: Mapping[str, int], room: int) -> tuple[Run, ...]:
    """Split a database by schemas where one pg_dump would run out of locks; as a rule, don't.

    `schemas` are the tables to be locked in each, `room` is how many locks fit by the settings. A
    schema with more goes alone: the server often has room for more than it promises.
    """
    if sum(schemas.values()) <= room or len(schemas) < 2:
        return (Run(),)
    groups: list[list[str]] = []
    left = 0
    for schema, count in sorted(schemas.items(), key=lambda item: (-item[1], item[0])):
        if not groups or count > left:
            groups.append([])
            left = room
        groups[-1].append(schema)
        left -= count
    # The smallest schemas go with what belongs to none: extensions, large objects, publications.
    others = groups[:-1]
    apart = tuple(sorted(schema for group in others for schema in group))
    return (Run(exclude_schemas=apart), *(Run(schemas=tuple(sorted(g))) for g in others))


def run_selection(selection: Selection, run: Run) -> Selection:
    """Return what one of several runs takes of a selection."""
    if not run.schemas:
        apart = (*selection.exclude_schemas, *map(quoted, run.exclude_schemas))
        return replace(selection, exclude_schemas=apart)
    return replace(
        selection,
        schemas=tuple(map(quoted, run.schemas)),
        exclude_schemas=(),
        extensions=(),
        exclude_extensions=(),
        large_objects=False,
    )


def choose_parent(
    dumps: Sequence[Dump], databases: Sequence[str], selection: Selection = EVERYTHING
) -> Dump | None:
    """Return the dump whose chunks are most likely to come again: the newest of the best.

    Best are those that hold all that is chosen, however new one of another choice is: a dump of
    definitions alone has no row that a whole one could use.
    """
    wanted = set(databases)

    def rank(dump: Dump) -> tuple[bool, int, datetime]:
        holds = dump.selection == selection or dump.selection.holds_all
        return (holds, len(wanted & set(dump.databases)), dump.taken_at)

    related = [dump for dump in dumps if wanted & set(dump.databases)]
    return max(related, key=rank, default=None)


def last_alike(dumps: Sequence[Dump], plan: DatabasesPlan, selection: Selection) -> Dump | None:
    """Return the newest dump of the same databases and selection, to compare a new one with."""

    def is_alike(dump: Dump) -> bool:
        names = plan.all if dump.all_databases else set(dump.databases) == set(plan.names)
        return dump.origin is Origin.SERVER and names and dump.selection == selection

    return max(filter(is_alike, dumps), key=lambda dump: dump.taken_at, default=None)
