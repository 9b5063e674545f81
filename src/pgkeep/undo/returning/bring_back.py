"""Brings a table of a recovered copy back: looks, plans, and does it when the user agrees."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pgkeep.progress import Progress
from pgkeep.server.client_tools import ClientTools, find_tools
from pgkeep.server.connecting import DatabaseMissing
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.carry_out import carry_out, make_restore_point
from pgkeep.undo.returning.compare import Comparison, Difference, missing_rows
from pgkeep.undo.returning.definitions import definitions, dump_table
from pgkeep.undo.returning.entries import Chosen, choose
from pgkeep.undo.returning.found import Found
from pgkeep.undo.returning.look import look, look_recovered, types_missing
from pgkeep.undo.returning.names import TableName, as_option
from pgkeep.undo.returning.plan import (
    LiveFacts,
    NoWayBack,
    ReturnPlan,
    SequenceState,
    TableThere,
    Way,
    plan_beside,
    plan_into_place,
    plan_merge,
)
from pgkeep.undo.returning.report import Seen, UndoReport
from pgkeep.undo.returning.side import Side

RECOVERED: Final = "the recovered copy"
LIVE: Final = "the live server"
_TRIGGERS: Final = """
SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger
WHERE tgrelid = %s::pg_catalog.regclass AND NOT tgisinternal AND tgenabled IN ('O', 'A')
ORDER BY tgname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRequest:
    """What is to come back, and how."""

    table: TableName
    way: Way = Way.BESIDE
    name: str = ""  # with BESIDE: the new table's; '': the old one's with '_recovered'
    where: str = ""  # which rows, in SQL; '': all
    file: str = ""  # with DUMP
    lock_timeout: float = 10.0  # seconds to wait for others' locks
    moment: str = "at that moment"  # in words, for errors
    pg_bin: str | None = None


@dataclass(slots=True)
class Returning:
    """Both servers, and what was found on them. From open_return(); not for several threads."""

    request: ReturnRequest
    recovered: Side
    live: Side
    seen: Seen
    progress: Progress
    _plan: ReturnPlan | None = field(default=None)

    def plan(self) -> ReturnPlan:
        """Return what will be done. Raise NoWayBack, TableThere, with what to type instead."""
        if self._plan is None:
            self._plan = self._planned()
        return self._plan

    def carry_out(self, now: datetime) -> UndoReport:
        """Do it, or leave the live server as it was. The restore point is set before."""
        plan, request = self.plan(), self.request
        if plan.way is Way.DUMP:
            self.progress.phase(f"dumping {request.table}")
            size = dump_table(self._tools, self.recovered.conninfo, self.seen.then, request.file)
            return UndoReport(self.seen, plan, file=request.file, file_size=size)
        if self.is_in_vain:
            return UndoReport(self.seen, plan)
        # Before the first change: undo itself can be undone.
        point = make_restore_point(self.live.conninfo, request.table, now)
        done = carry_out(plan, self.recovered, self.live, self.progress)
        return UndoReport(self.seen, plan, restore_point=point, done=done)

    @property
    def is_in_vain(self) -> bool:
        """Whether no row is missing, so that nothing would be changed."""
        difference = self.seen.difference
        return self.request.way is Way.MERGE and difference is not None and not difference.missing

    @property
    def _tools(self) -> ClientTools:
        version = str(self.recovered.value("SELECT pg_catalog.current_setting('server_version')"))
        return find_tools(version, self.recovered.title, self.request.pg_bin)

    def _planned(self) -> ReturnPlan:
        match self.request.way:
            case Way.BESIDE:
                return self._beside()
            case Way.INTO_PLACE:
                return self._into_place()
            case Way.MERGE:
                return self._merge()
            case Way.DUMP:
                return ReturnPlan(Way.DUMP, self.request.table, self.request.table, ())

    def _beside(self) -> ReturnPlan:
        then, request = self.seen.then, self.request
        name = request.name or request.table.beside("_recovered")
        into = request.table._replace(table=name)
        taken = self.live.run(
            "SELECT 1 FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            into.schema,
            into.table,
        )
        if taken:
            raise TableThere(
                f"bring {request.table} back as {into}",
                "there is something of this name already, and nothing is ever overwritten",
                "give another name with --as",
            )
        self._demand_schema(into.schema)
        missing = types_missing(self.live, then)
        return plan_beside(then, into, missing, self._live_facts().roles, request.where)

    def _demand_schema(self, schema: str) -> None:
        found = self.live.run("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", schema)
        if not found:
            raise NoWayBack(
                f"bring {self.request.table} back beside its place",
                f"schema {schema} is gone too",
                "--into-place makes the schema as well; or CREATE SCHEMA first",
            )

    def _into_place(self) -> ReturnPlan:
        then, request = self.seen.then, self.request
        if self.seen.now is not None:
            raise TableThere(
                f"bring {request.table} back into its place",
                "it is there, and no row is ever overwritten",
                "--merge missing brings back the rows that are gone, --as NAME all of them beside",
            )
        if request.where:
            raise NoWayBack(
                f"bring back rows of {request.table}",
                "the table is gone",
                f"pgkeep undo table {request.table.typed} --into-place, or --as NAME",
            )
        chosen = self._chosen(then)
        states = {}
        for one in chosen.entries:
            if one.entry.desc == "SEQUENCE":
                name = (one.entry.namespace or "", one.entry.tag or "")
                states[name] = self._state(*name)
        return plan_into_place(then, chosen, self._live_facts(), states)

    def _chosen(self, then: Found) -> Chosen:
        self.progress.phase("reading definitions")
        tools, database = self._tools, then.name.database
        before = definitions(tools, self.recovered.conninfo, database)
        now = definitions(tools, self.live.conninfo, database)
        there = {(e.namespace, e.tag) for e in now if e.desc in ("TABLE", "VIEW", "SEQUENCE")}
        kept = [one for one in then.members if (one.schema, one.name) in there]
        if kept:
            names = ", ".join(f"{one.schema}.{one.name}" for one in kept)
            beside = as_option(then.name.beside("_recovered"))
            raise TableThere(
                f"bring {then.name} back into its place",
                f"of its partitions and heirs, {names} are there, and nothing is overwritten",
                f"{beside} brings all rows into a table of their own",
            )
        tables = [(one.schema, one.name) for one in then.members]
        return choose(before, now, tables, self._live_facts().extensions)

    def _state(self, schema: str, name: str) -> SequenceState:
        row = self.recovered.run(
            "SELECT s.seqincrement, pg_catalog.pg_sequence_last_value(s.seqrelid)"
            " FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            schema,
            name,
        )[0]
        return SequenceState(row[1] or 0, row[1] is not None, row[0])

    def _live_facts(self) -> LiveFacts:
        def names(statement: str) -> frozenset[str]:
            return frozenset(row[0] for row in self.live.run(statement))

        return LiveFacts(
            names("SELECT rolname FROM pg_catalog.pg_roles"),
            names("SELECT spcname FROM pg_catalog.pg_tablespace"),
            names("SELECT name FROM pg_catalog.pg_available_extensions"),
        )

    def _merge(self) -> ReturnPlan:
        then, now, table = self.seen.then, self.seen.now, self.request.table
        beside = as_option(table.beside("_recovered"))
        if now is None:
            raise NoWayBack(
                f"bring back rows of {table}",
                "the table itself is gone",
                f"pgkeep undo table {table.typed} --into-place, or {beside}",
            )
        if self.seen.difference is None or set(now.key) != set(then.key):
            what = "no key that tells its rows apart" if not then.key else "another key by now"
            raise NoWayBack(
                f"merge rows into {table}",
                f"it has {what}, so nobody can say which rows are gone",
                f"{beside} brings all of them into a table of their own",
            )
        if then.heirs:
            names = ", ".join(f"{one.schema}.{one.name}" for one in then.heirs)
            self.progress.note(f"only rows of {table} itself: {names} are tables of their own")
        stored = {column.name for column in now.stored}
        names_ = [column.name for column in then.stored if column.name in stored]
        triggers = [(row[0], row[1]) for row in self.live.run(_TRIGGERS, now.name.sql)]
        missing = missing_rows(then, names_, self.request.where)
        return plan_merge(then, now, missing, triggers, self.request.where)


@contextmanager
def open_return(
    recovered: str, live: str, request: ReturnRequest, progress: Progress
) -> Iterator[Returning]:
    """Look at a table on both servers, given by their connection strings; nothing is changed.

    Raise TableUnknown, CannotUndo for what is no table, CannotConnect.
    """
    table = request.table
    with ExitStack() as stack:
        copy = stack.enter_context(_open_recovered(recovered, request))
        server = stack.enter_context(_open_live(live, table))
        server.run(f"SET lock_timeout = '{round(request.lock_timeout * 1000)}ms'")
        progress.phase(f"looking at {table}")
        then = look_recovered(copy, table, request.moment, request.where)
        now = look(server, table)
        difference: Difference | None = None
        if now is not None:
            difference = Comparison(copy, server, then, now, request.where).run(progress)
        yield Returning(request, copy, server, Seen(then, now, difference, request.where), progress)


def demand_database(live: str, table: TableName) -> None:
    """Raise CannotUndo unless the live server has the table's database and takes changes.

    For before a copy is recovered, which can take hours.
    """
    _open_live(live, table).close()


def _open_recovered(conninfo: str, request: ReturnRequest) -> Side:
    database = request.table.database
    try:
        return Side.open(conninfo, RECOVERED, database)
    except DatabaseMissing as missing:
        raise CannotUndo(
            f"bring back {request.table}",
            f"there was no database {database} {request.moment}",
            "pgkeep undo find --kind drop-database shows when one was dropped",
        ) from missing


def _open_live(conninfo: str, table: TableName) -> Side:
    try:
        side = Side.open(conninfo, LIVE, table.database)
    except DatabaseMissing as missing:
        raise CannotUndo(
            f"bring back {table}",
            f"the live server has no database {table.database}",
            f"pgkeep undo database {shlex.quote(table.database)} brings all of it back",
        ) from missing
    if side.value("SELECT pg_catalog.pg_is_in_recovery()"):
        side.close()
        raise CannotUndo(
            f"bring back {table}",
            "the live server is a standby, which takes no changes",
            "name the primary in conninfo in pgkeep.toml",
        )
    return side
