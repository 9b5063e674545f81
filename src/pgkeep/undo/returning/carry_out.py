"""Carries a plan out on the live server: in one transaction, counted before it is committed."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, assert_never

from pgkeep.model.lsn import Lsn
from pgkeep.progress import Progress
from pgkeep.server.processes import wait_until
from pgkeep.server.session import Session
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.names import TableName, columns_sql
from pgkeep.undo.returning.plan import (
    AddKey,
    CopyRows,
    Merge,
    ReturnPlan,
    RevokeDefaults,
    Run,
    Step,
)
from pgkeep.undo.returning.side import ConnectionBroke, Refused, Side, reachable

_GRANTEES: Final = """
SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
       ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
WHERE c.oid = %s::pg_catalog.regclass AND a.grantee <> c.relowner
"""
_ENDING_S: Final = 30.0  # for the session of a lost connection to end
_VIOLATED: Final = "23503"  # foreign_key_violation
# These say nothing of what was to be made, and another time it would work: full, locked,
# interrupted, deadlocked, broken files. Then nothing is done, rather than half of it.
_OF_THE_MOMENT: Final = ("40", "53", "55P03", "57", "58", "XX")


class CountsDiffer(CannotUndo):
    """What arrived on the live server is not what was sent. It was rolled back."""

    code = "undo-counts-differ"


class CommitUnknown(CannotUndo):
    """The connection broke while the work was being committed, and nobody answers."""

    code = "undo-commit-unknown"


@dataclass(frozen=True, slots=True)
class RestorePointMade:
    """Where undo itself can be undone."""

    name: str
    lsn: Lsn


@dataclass(slots=True)
class Done:
    """What came of a plan."""

    copied: dict[str, int] = field(default_factory=dict)  # rows by target table
    inserted: int | None = None  # by a merge
    in_the_way: int = 0  # staged rows that a row of the live table kept out
    not_valid: list[tuple[str, int]] = field(default_factory=list)  # foreign keys, and violators
    failed: list[str] = field(default_factory=list)  # what could not be made: told of

    @property
    def rows(self) -> int:
        return sum(self.copied.values()) if self.inserted is None else self.inserted


def make_restore_point(conninfo: str, table: TableName, now: datetime) -> RestorePointMade:
    """Set a restore point on the live cluster. Raise what Session raises: then nothing is done."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", table.table)[:30]
    name = f"before_undo_of_{plain}_{stamp}"
    with Session.connect(conninfo, any_version=True) as session:
        return RestorePointMade(name, session.create_restore_point(name))


def carry_out(plan: ReturnPlan, recovered: Side, live: Side, progress: Progress) -> Done:
    """Carry a plan out, or leave the live server as it was: then raise CannotUndo.

    CommitUnknown alone leaves open which of the two it is.
    """
    work = _Work(recovered, live, progress)
    try:
        live.run("BEGIN", doing=f"bring back {plan.table}")
        for step in plan.steps:
            if not isinstance(step, RevokeDefaults):  # too short to tell of
                progress.phase(step.what)
            work.carry_out(step)
        work.demand_all_there()
        xid = live.value("SELECT pg_catalog.pg_current_xact_id()::text")
    except BaseException:
        with suppress(CannotUndo):  # a lost connection has done the same
            live.run("ROLLBACK")
        raise
    _commit(live, xid, plan.table)
    return work.done


def _commit(live: Side, xid: str, table: TableName) -> None:
    """Commit; if the connection breaks just then, ask over another what came of it."""
    try:
        live.run("COMMIT", doing=f"commit what came back of {table}")
    except ConnectionBroke as broke:
        status = _status(live, xid)
        if status == "aborted":
            raise
        if status != "committed":
            raise CommitUnknown(
                f"tell whether {table} came back",
                "the connection broke while it was being committed, and nobody knows the end",
                f"ask the server when it is back: SELECT pg_xact_status('{xid}')",
            ) from broke


def _status(live: Side, xid: str) -> str | None:
    """Return how a transaction ended; None where nobody tells, or it goes on."""
    again = reachable(live.conninfo, live.title, live.database)
    if again is None:
        return None
    asked = "SELECT pg_catalog.pg_xact_status(%s::pg_catalog.xid8)"
    found: list[str] = []

    def has_ended() -> bool:
        found[:] = [again.value(asked, xid)]
        return found[0] != "in progress"

    with again:
        try:
            # The old session may be just about to notice that nobody listens.
            return found[0] if wait_until(has_ended, _ENDING_S) else None
        except CannotUndo:
            return None


def _demand_harmless(no: Refused) -> None:
    """Raise it again if it may not be a reason to go on without what failed."""
    if no.sqlstate.startswith(_OF_THE_MOMENT):
        raise no


@dataclass(slots=True)
class _Work:
    recovered: Side
    live: Side
    progress: Progress
    done: Done = field(default_factory=Done)
    encoding: str = ""

    def carry_out(self, step: Step) -> None:
        match step:
            case Run():
                self._run(step)
            case CopyRows():
                self._copy(step)
            case Merge():
                self._merge(step)
            case AddKey():
                self._add_key(step)
            case RevokeDefaults():
                self._revoke(step)
            case _:
                assert_never(step)

    def demand_all_there(self) -> None:
        """Raise CountsDiffer unless every table has the rows that were sent to it."""
        for target, sent in self.done.copied.items():
            there = self.live.value(f"SELECT count(*) FROM ONLY {target}")  # quoted
            if there != sent:
                raise CountsDiffer(
                    f"bring back {target}", f"{there:,} rows arrived, and {sent:,} were sent"
                )

    def _run(self, step: Run) -> None:
        if step.required:
            self._statements(step)
            return
        try:
            with self.live.attempt():
                self._statements(step)
        except Refused as no:
            _demand_harmless(no)
            self.done.failed.append(f"{step.what}: {no.why}")

    def _statements(self, step: Run) -> None:
        for statement in step.statements:
            self.live.run(statement, doing=f"make {step.what}")

    def _copy(self, step: CopyRows) -> None:
        if not self.encoding:
            ask = "SELECT pg_catalog.current_setting('server_encoding')"
            self.encoding = self.recovered.value(ask)
        listed = f" ({columns_sql(step.columns)})" if step.columns else ""
        blocks = self.recovered.copy_out(step.query, self.encoding, f"read {step.what}")
        taken = self.live.copy_in(
            f"{step.target}{listed}", self.encoding, self._counted(blocks), f"write {step.what}"
        )
        self.done.copied[step.target] = taken

    def _counted(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        done = 0
        for block in blocks:
            done += len(block)
            self.progress.advance(done)
            yield block

    def _merge(self, step: Merge) -> None:
        staged = sum(self.done.copied.values())
        inserted = self.live.change(step.statement, doing=f"insert {step.what}")
        exact = self.live.value(step.counted)
        if exact < inserted:
            raise CountsDiffer(
                f"insert {step.what}",
                f"{inserted:,} rows were inserted, and {exact:,} are as they were: a rule or a "
                "trigger changed them",
            )
        self.done.inserted, self.done.in_the_way = inserted, staged - inserted

    def _add_key(self, step: AddKey) -> None:
        try:
            with self.live.attempt():
                self.live.run(step.statement, doing=f"make {step.what}")
        except Refused as no:
            _demand_harmless(no)
            if no.sqlstate != _VIOLATED:
                self.done.failed.append(f"{step.what}: {no.why}")
                return
        else:
            return
        count = self.live.value(step.violators)
        try:
            with self.live.attempt():
                self.live.run(step.not_valid, doing=f"make {step.what}")
        except Refused as no:
            _demand_harmless(no)
            self.done.failed.append(f"{step.what}: {count:,} rows violate it, and {no.why}")
        else:
            self.done.not_valid.append((step.what, count))

    def _revoke(self, step: RevokeDefaults) -> None:
        for (grantee,) in self.live.run(_GRANTEES, step.relation):
            statement = f"REVOKE ALL ON {step.kind} {step.relation} FROM {grantee}"
            self.live.run(statement, doing=f"set {step.what}")
