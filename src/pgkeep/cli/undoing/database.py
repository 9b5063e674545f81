"""The command that brings a dropped database back: undo database."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import NO, Context
from pgkeep.cli.text import Look, safe
from pgkeep.cli.undoing import options
from pgkeep.cli.undoing.find import request_of
from pgkeep.cli.undoing.options import (
    At,
    Backup,
    Before,
    DryRun,
    EventNumber,
    PgBin,
    Scratch,
    Yes,
)
from pgkeep.units import plural

if TYPE_CHECKING:
    from pgkeep.undo.databases import DatabaseReport, DatabaseReturn, DatabaseSeen
    from pgkeep.undo.target import Moment


def register(undo: typer.Typer) -> None:
    undo.command("database")(database)


def database(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The database, as it was called.")],
    *,
    before: Before = "",
    at: At = "",
    event: EventNumber = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Under another name.", show_default=False)
    ] = "",
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Dump and restore in parallel.")
    ] = None,
    backup: Backup = None,
    scratch: Scratch = None,
    pg_bin: PgBin = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:
    """Bring a dropped database back, with its owner, settings and grants.

    Without a moment its DROP DATABASE is looked for in WAL, and the moment before it taken. A
    database of that name, if there is one, is left as it is.
    """
    from pgkeep.undo.databases import DatabaseRequest, DatabaseReturn, demand_free
    from pgkeep.undo.recovering import open_recovered

    context: Context = here.obj
    app, progress = context.app, context.progress
    cluster = app.cluster_to_read
    app.refuse_strangers(cluster)
    demand_free(app.conninfo, as_ or name)
    found = _moment(context, name, before, at, event)
    programs = pg_bin or app.settings.pg_bin or None
    request = options.sandbox_of(
        context, found, databases=(name,), backup=backup, scratch=scratch, pg_bin=programs
    )
    asked = DatabaseRequest(
        name=name, wanted=as_, jobs=jobs or app.jobs, moment=found.words, pg_bin=programs
    )
    given = {
        "--before": before, "--at": at, "--event": event, "--as": as_,
        "--backup": backup, "--scratch": scratch, "--pg-bin": pg_bin,
    }  # fmt: skip
    how = options.again(context, ["undo", "database", name, *options.typed(given)])
    patience = float(app.settings.wal_timeout)
    with open_recovered(cluster, request, app.connect, patience, progress) as box:
        work = DatabaseReturn(box.conninfo(), app.conninfo, asked, box.directory, progress)
        return _decide(context, work, how, yes=yes, dry_run=dry_run)


def _moment(context: Context, name: str, before: str, at: str, event: int | None) -> "Moment":
    """Return the moment that was given, else the one before the database was dropped."""
    from pgkeep.undo import target
    from pgkeep.undo.databases import drop_not_found, last_drop
    from pgkeep.undo.event import EventKind
    from pgkeep.undo.finding.find import run
    from pgkeep.undo.meaning.choose import Wanted

    xid = target.xid_of(before, context.app.zone)
    if at or event is not None or (before and xid is None):
        return options.moment(context, before, at, event)
    app = context.app
    # Of all names: one made after the last census has none on record.
    wanted = Wanted(kinds=(EventKind.DROP_DATABASE,))
    drops = run(app.cluster_to_read, request_of(app, wanted, None), context.progress).events
    drop = last_drop(drops, name, xid)
    if drop is not None:
        context.note(f"dropped at {context.look_at_stderr.when(drop.commit_time)}")
        return target.of_event(drop)
    if before:
        return options.moment(context, before, at, event)
    raise drop_not_found(name, drops)


def _decide(context: Context, work: "DatabaseReturn", how: str, *, yes: bool, dry_run: bool) -> int:
    seen = work.look()
    if not context.json:
        context.say_story(_seen(seen, work.request.moment, context.look))
    question = f"bring database {seen.name} back as {seen.into}?"
    agreed = yes or (not dry_run and options.agreed(context, question))
    if dry_run or not agreed:
        context.close()
        facts = {"moment": work.request.moment, **seen.to_dict(), "done": False}
        context.result(facts, lambda _: f"nothing was changed; to do it: {how}")
        return 0 if dry_run else NO
    report = work.carry_out(seen, datetime.now(UTC))
    context.close()
    facts = {"moment": work.request.moment, **report.to_dict(), "done": True}
    context.result(facts | context.spent(), lambda look: _report(report, look))
    return 0


def _seen(seen: "DatabaseSeen", moment: str, look: Look) -> str:
    from pgkeep.units import format_size

    rows = sum(count for _, _, count in seen.rows)
    head = f"database {safe(seen.name)} {moment}: {format_size(seen.size)}, "
    lines = [look.bold(f"{head}{plural(len(seen.rows), 'table')}, {plural(rows, 'row')}")]
    largest = sorted(seen.rows, key=lambda one: -one[2])[:10]
    lines += [f"  {safe(schema)}.{safe(name)}: {plural(n, 'row')}" for schema, name, n in largest]
    more = len(seen.rows) - len(largest)
    return "\n".join(lines + ([f"  and {plural(more, 'more table')}"] if more > 0 else []))


def _report(report: "DatabaseReport", look: Look) -> str:
    rows = sum(count for _, _, count in report.seen.rows)
    lines = [
        look.good(
            f"database {safe(report.seen.into)} is back: {plural(len(report.seen.rows), 'table')} "
            f"with {plural(rows, 'row')}, {plural(report.compared, 'object')} compared"
        )
    ]
    if report.restore_point is not None:
        lines.append(f"restore point {report.restore_point.name} was set before")
    return "\n".join(lines)
