"""Brings a dropped database back: dumped from the recovered copy, restored into the live server.

As every restore it is made under a name of ours, compared with what it was, and gets its own name
last of all: whatever goes wrong before leaves the live server without it.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pgkeep.logical.restoring.archive import (
    database_options,
    in_two_steps,
    restore_section,
    statements_for,
    write_archive,
)
from pgkeep.logical.restoring.compare import compare_objects, objects_of
from pgkeep.logical.restoring.place import DatabaseThere, Place
from pgkeep.logical.restoring.plan import EntryPlan, plan_entries
from pgkeep.logical.restoring.roles import roles_of
from pgkeep.postgres.archive.entries import encoding_of
from pgkeep.postgres.archive.toc import TocEntry, TocHeader, read_toc
from pgkeep.progress import Progress
from pgkeep.server.client_programs import connecting, run_program
from pgkeep.server.client_tools import ClientTools, find_tools
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.session import Session
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.event import Event
from pgkeep.undo.returning.carry_out import RestorePointMade
from pgkeep.undo.returning.names import relation_sql
from pgkeep.undo.returning.side import Side

_SHOWN: Final = 20
_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema' AND (c.relkind = 'r' OR c.relispopulated) ORDER BY 1, 2
"""
_SEQUENCES: Final = """
SELECT schemaname, sequencename, last_value FROM pg_catalog.pg_sequences ORDER BY 1, 2
"""
_UNMARK: Final = """
UPDATE pg_catalog.pg_database SET datconnlimit = -1 WHERE datname = %s AND datconnlimit = -2
"""


class DatabaseNotThere(CannotUndo):
    """The recovered copy has no such database, or not its files any more."""

    code = "database-not-there"


class DatabaseDiffers(CannotUndo):
    """A database came out otherwise than it was. It was not made visible."""

    code = "undone-database-differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRequest:
    """Which database is to come back, and how."""

    name: str
    wanted: str = ""  # its new name; '': the old one
    jobs: int = 1
    moment: str = "at that moment"  # in words, for errors
    pg_bin: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """What a database was."""

    name: str
    into: str
    size: int
    rows: tuple[tuple[str, str, int], ...]  # schema, table, count
    sequences: tuple[tuple[str, str, int | None], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "database": self.name,
            "into": self.into,
            "size": self.size,
            "tables": [
                {"schema": schema, "name": name, "rows": rows} for schema, name, rows in self.rows
            ],
        }


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """What came back."""

    seen: DatabaseSeen
    restore_point: RestorePointMade | None = None  # None: nothing was done
    compared: int = 0  # objects

    def to_dict(self) -> dict[str, Any]:
        """Return what --json shows: docs/undo.md."""
        point = self.restore_point
        return {
            **self.seen.to_dict(),
            "restore_point": None if point is None else {"name": point.name, "lsn": str(point.lsn)},
            "compared": self.compared,
        }


@dataclass(frozen=True, slots=True)
class DatabaseReturn:
    """A database of a recovered copy, and the live server it is to come back to."""

    recovered: str  # connection strings
    live: str
    request: DatabaseRequest
    scratch: Path  # where its dump fits: the sandbox's own directory
    progress: Progress

    def look(self) -> DatabaseSeen:
        """Return what the database was. Raise DatabaseNotThere, DatabaseThere."""
        request = self.request
        into = request.wanted or request.name
        demand_free(self.live, into)
        with self._open_recovered() as side:
            self.progress.phase(f"counting the rows of {request.name}")
            size = side.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
            return DatabaseSeen(request.name, into, size, *_content(side))

    def carry_out(self, seen: DatabaseSeen, now: datetime) -> DatabaseReport:
        """Bring it back, or leave nothing. The restore point is set before."""
        request, progress = self.request, self.progress
        with Session.connect(self.recovered, database=request.name) as session:
            version = session.query("SELECT pg_catalog.current_setting('server_version')")[0][0]
        tools = find_tools(version, "the recovered copy", request.pg_bin)
        progress.phase(f"dumping {request.name}")
        dump = self._dump(tools)
        with (dump / "toc.dat").open("rb") as opened:
            header, found = read_toc(opened, f"the dump of {request.name}")
            entries = list(found)
        self._demand_roles(entries)
        # Before the first change: undo itself can be undone.
        point = self._restore_point(now)
        plan = plan_entries(
            entries, None, schema_only=False, privileges=True, encoding=encoding_of(entries)
        )
        with Place(self.live, seen.into, f"database {request.name}") as place:
            self._fill(place, tools, (header, entries, plan), dump)
            compared = self._demand_same(place, tools, plan, seen)
            self._open(place, entries, plan)
            place.finish()
        return DatabaseReport(seen, point, compared)

    def _open_recovered(self) -> Side:
        name = self.request.name
        with Side.open(self.recovered, "the recovered copy") as side:
            # DROP DATABASE marks it before it removes anything (dbcommands.c:
            # DATCONNLIMIT_INVALID_DB), and that is no part of its transaction: the copy may stand
            # behind the mark, with all files there. Without them connecting fails all the same.
            side.run(_UNMARK, name, doing=f"open database {name} of the recovered copy")
        try:
            return Side.open(self.recovered, "the recovered copy", name)
        except CannotConnect as missing:
            raise DatabaseNotThere(
                f"bring back database {name}",
                f"it was not there {self.request.moment}, or its files were gone: DROP DATABASE "
                f"removes them before it ends ({missing.why})",
                "leave the moment out, and the one before it is looked for: pgkeep undo database "
                f"{shlex.quote(name)}",
            ) from missing

    def _dump(self, tools: ClientTools) -> Path:
        dump = self.scratch / "dump"
        to = connecting(self.recovered, self.request.name)
        argv = [
            tools.tool("pg_dump"), "--format=directory", "--create", "--no-password",
            # A little of the processor for a third of the room.
            "--compress=1", "--quote-all-identifiers", f"--jobs={self.request.jobs}",
            f"--file={dump}", f"--dbname={to.conninfo}",
        ]  # fmt: skip
        run_program(f"dump database {self.request.name}", argv, environment=to.environment)
        return dump

    def _demand_roles(self, entries: Sequence[TocEntry]) -> None:
        wanted = roles_of(entries, owners=True)
        with Session.connect(self.live, any_version=True) as session:
            there = {row[0] for row in session.query("SELECT rolname FROM pg_catalog.pg_roles")}
        gone = sorted(wanted - there - {"public", "PUBLIC"})
        if gone:
            names = ", ".join(gone[:_SHOWN])
            raise CannotUndo(
                f"bring back database {self.request.name}",
                f"roles that own things in it are gone: {names}",
                "; ".join(f'CREATE ROLE "{name}"' for name in gone[:_SHOWN]),
            )

    def _restore_point(self, now: datetime) -> RestorePointMade:
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", self.request.name)[:20]
        name = f"before_undo_of_database_{plain}_{stamp}"
        with Session.connect(self.live, any_version=True) as session:
            return RestorePointMade(name, session.create_restore_point(name))

    def _fill(
        self,
        place: Place,
        tools: ClientTools,
        archive: tuple[TocHeader, list[TocEntry], EntryPlan],
        dump: Path,
    ) -> None:
        header, entries, plan = archive
        maker = next((entry for entry in plan.of_database if entry.desc == "DATABASE"), None)
        self.progress.phase("making the database")
        encoding = encoding_of(entries)
        options = database_options(maker, encoding, {}, keep_spaces=True, usual=encoding)
        place.create(options)
        to, jobs = connecting(place.conninfo), self.request.jobs
        self.progress.phase("definitions")
        restore_section(tools, dump, "pre-data", connecting=to)
        self.progress.phase("rows")
        restore_section(tools, dump, "data", connecting=to, jobs=jobs)
        self.progress.phase("building keys, indexes and triggers")
        for number, part in enumerate(in_two_steps(plan.definitions)):
            folder = self.scratch / f"definitions{number}"
            write_archive(folder, header, part)
            restore_section(tools, folder, "post-data", connecting=to, jobs=jobs)

    def _demand_same(
        self, place: Place, tools: ClientTools, plan: EntryPlan, seen: DatabaseSeen
    ) -> int:
        """Raise DatabaseDiffers unless objects, row counts and sequences are the same."""
        self.progress.phase("comparing")
        there = objects_of(tools, connecting(place.conninfo), self.scratch)
        encoding = encoding_of(there)
        differences, compared = compare_objects(
            plan.definitions, there, privileges=True, encoding=encoding
        )
        with Side.open(place.conninfo, "the live server") as side:
            rows, sequences = _content(side)
        for what, before, after in (
            ("table", seen.rows, rows),
            ("sequence", seen.sequences, sequences),
        ):
            gone = set(before) ^ set(after)
            differences += sorted(f"{what} {one[0]}.{one[1]}: {one[2]}" for one in gone)
        if differences:
            shown = "; ".join(differences[:_SHOWN])
            raise DatabaseDiffers(
                f"bring back database {seen.name}", f"it came out otherwise than it was: {shown}"
            )
        return compared

    def _open(self, place: Place, entries: Sequence[TocEntry], plan: EntryPlan) -> None:
        """Give the database its owner, settings, grants and comment."""
        settings = [entry.definition or "" for entry in entries if entry.desc == "STDSTRINGS"]
        own = statements_for(plan.of_database, self.request.name, place.name)
        maker = next((entry for entry in plan.of_database if entry.desc == "DATABASE"), None)
        owner = (maker.owner if maker is not None else None) or ""
        place.restore_visibility([*settings, *own], encoding_of(entries), owner)


def last_drop(drops: Sequence[Event], name: str, xid: int | None) -> Event | None:
    """Return the newest drop of a database, or a transaction's, whose id may have an epoch."""
    fitting = [
        one
        for one in drops
        if (one.database == name if xid is None else one.xid == xid & 0xFFFFFFFF)
    ]
    return max(fitting, key=lambda one: one.commit_lsn, default=None)


def drop_not_found(name: str, drops: Sequence[Event]) -> DatabaseNotThere:
    """Say that none of `drops`, of the last 24 hours, can be known to be of the database `name`."""
    nameless = [one for one in drops if not one.database]
    what = f"bring back database {name}"
    if not nameless:
        return DatabaseNotThere(
            what,
            "its DROP DATABASE is not in the last 24 hours of WAL on record",
            "pgkeep undo find --kind drop-database --since 30d looks further back; --event then "
            "takes its number",
        )
    last = max(nameless, key=lambda one: one.commit_lsn)
    return DatabaseNotThere(
        what,
        f"no DROP DATABASE of the last 24 hours is known to be of it; {last.relation}, dropped at "
        f"{last.commit_time:%Y-%m-%d %H:%M:%S} UTC, was made after the last census: no name is on "
        "record",
        f"if it may be that one: pgkeep undo database {name} --before xid:{last.xid}",
    )


def demand_free(live: str, name: str) -> None:
    """Raise DatabaseThere if the live server has a database of this name."""
    if Place(live, name, "").exists():
        raise DatabaseThere(name)


def _content(
    side: Side,
) -> tuple[tuple[tuple[str, str, int], ...], tuple[tuple[str, str, int | None], ...]]:
    """Return the rows of every table, and where every sequence stands."""
    rows = tuple(
        (schema, name, side.value(f"SELECT count(*) FROM ONLY {relation_sql(schema, name)}"))  # noqa: S608
        for schema, name in side.run(_TABLES)
    )
    return rows, tuple((row[0], row[1], row[2]) for row in side.run(_SEQUENCES))
