"""The commands that bring a table or rows of it back: undo table, undo rows."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgkeep.cli.context import NO, Context
from pgkeep.cli.undoing import options
from pgkeep.cli.undoing.options import (
    LOCK_TIMEOUT,
    At,
    Backup,
    Before,
    DryRun,
    EventNumber,
    LockTimeout,
    PgBin,
    Scratch,
    Yes,
)

if TYPE_CHECKING:
    from pgkeep.sandbox.request import SandboxRequest
    from pgkeep.undo.returning.bring_back import Returning, ReturnRequest
    from pgkeep.undo.returning.plan import Way
    from pgkeep.undo.target import Moment

Table = Annotated[
    str, typer.Argument(metavar="DB.SCHEMA.TABLE", help="Odd names in double quotes.")
]
As = Annotated[
    str,
    typer.Option(
        "--as", metavar="NAME", help="Into a new table of its schema; TABLE_recovered if no way is "
        "chosen.", show_default=False,
    ),
]  # fmt: skip


def register(undo: typer.Typer) -> None:
    undo.command("table")(table)
    undo.command("rows")(rows)


def table(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    name: Table,
    *,
    before: Before = "",
    at: At = "",
    event: EventNumber = None,
    as_: As = "",
    into_place: Annotated[
        bool, typer.Option("--into-place", help="Make the dropped table anew, with all it had.")
    ] = False,
    merge: Annotated[
        str, typer.Option(metavar="missing", help="missing: insert the rows that are gone.",
                          show_default=False)
    ] = "",
    dump: Annotated[
        str, typer.Option(metavar="FILE", help="Into a file for pg_restore.", show_default=False)
    ] = "",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
    backup: Backup = None,
    scratch: Scratch = None,
    pg_bin: PgBin = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:  # fmt: skip
    """Bring a table back as it was before an accident.

    Shows what it was and how it differs from the live one, then asks. No row that is there is ever
    overwritten, and a restore point is set before any change.
    """
    from pgkeep.undo.returning.plan import Way

    context: Context = here.obj
    if merge not in ("", "missing"):
        raise typer.BadParameter("--merge takes one word: missing")
    if sum(map(bool, (as_, into_place, merge, dump))) > 1:
        raise typer.BadParameter("--as, --into-place, --merge and --dump are four ways: choose one")
    way = Way.BESIDE
    if into_place:
        way = Way.INTO_PLACE
    elif merge:
        way = Way.MERGE
    elif dump:
        way = Way.DUMP
    typed = {
        "--before": before, "--at": at, "--event": event, "--as": as_, "--dump": dump,
        "--backup": backup, "--scratch": scratch, "--pg-bin": pg_bin,
        "--lock-timeout": lock_timeout if lock_timeout != LOCK_TIMEOUT else "",
    }  # fmt: skip
    words = [
        "undo",
        "table",
        name,
        *options.typed(typed),
        *(["--into-place"] if into_place else []),
    ]
    words += ["--merge", "missing"] if merge else []
    asked = _asked(name, way, lock_timeout, name=as_, file=dump, pg_bin=pg_bin)
    found = options.moment(context, before, at, event)
    return _bring_back(context, asked, found, words, (backup, scratch), yes=yes, dry_run=dry_run)


def rows(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    name: Table,
    *,
    where: Annotated[str, typer.Option(metavar="SQL", help="Which rows: as behind WHERE.")],
    before: Before = "",
    at: At = "",
    event: EventNumber = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="NAME", help="All that match, into a new table.",
                          show_default=False)
    ] = "",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
    backup: Backup = None,
    scratch: Scratch = None,
    pg_bin: PgBin = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:  # fmt: skip
    """Bring those rows of a table back that match and are gone.

    Rows that were changed since are shown, and left as they are.
    """
    from pgkeep.undo.returning.plan import Way

    context: Context = here.obj
    if not where.strip():
        raise typer.BadParameter("--where needs a condition, like --where \"city = 'Bonn'\"")
    typed = {
        "--where": where, "--before": before, "--at": at, "--event": event, "--as": as_,
        "--backup": backup, "--scratch": scratch, "--pg-bin": pg_bin,
        "--lock-timeout": lock_timeout if lock_timeout != LOCK_TIMEOUT else "",
    }  # fmt: skip
    words = ["undo", "rows", name, *options.typed(typed)]
    way = Way.BESIDE if as_ else Way.MERGE
    asked = _asked(name, way, lock_timeout, name=as_, where=where, pg_bin=pg_bin)
    found = options.moment(context, before, at, event)
    return _bring_back(context, asked, found, words, (backup, scratch), yes=yes, dry_run=dry_run)


def _asked(text: str, way: "Way", lock_timeout: str, **more: Any) -> "ReturnRequest":
    from pgkeep.undo.returning.bring_back import ReturnRequest
    from pgkeep.undo.returning.names import parse_table
    from pgkeep.units import parse_duration

    return ReturnRequest(
        table=parse_table(text), way=way, lock_timeout=float(parse_duration(lock_timeout)), **more
    )


def _bring_back(  # noqa: PLR0913 - all but five are named
    context: Context,
    asked: "ReturnRequest",
    found: "Moment",
    words: list[str],
    places: tuple[str | None, str | None],
    *,
    yes: bool,
    dry_run: bool,
) -> int:
    from dataclasses import replace

    from pgkeep.undo.recovering import open_recovered
    from pgkeep.undo.returning.bring_back import demand_database, open_return

    app, progress = context.app, context.progress
    cluster = app.cluster_to_read
    app.refuse_strangers(cluster)
    demand_database(app.conninfo, asked.table)
    asked = replace(asked, moment=found.words, pg_bin=asked.pg_bin or app.settings.pg_bin or None)
    request = _sandbox(context, asked, found, places)
    patience = float(app.settings.wal_timeout)
    with (
        open_recovered(cluster, request, app.connect, patience, progress) as box,
        open_return(box.conninfo(), app.conninfo, asked, progress) as returning,
    ):
        for note in (*box.plan.warnings, *box.notes):
            progress.note(note)
        return _decide(context, returning, words, yes=yes, dry_run=dry_run)


def _sandbox(
    context: Context, asked: "ReturnRequest", found: "Moment", places: tuple[str | None, str | None]
) -> "SandboxRequest":
    backup, scratch = places
    return options.sandbox_of(
        context,
        found,
        databases=(asked.table.database,),
        backup=backup,
        scratch=scratch,
        pg_bin=asked.pg_bin,
    )


def _decide(
    context: Context, returning: "Returning", words: list[str], *, yes: bool, dry_run: bool
) -> int:
    """Show what was found and what will be done; do it, if that is agreed to."""
    from pgkeep.cli.undoing import table_text as render

    asked, seen = returning.request, returning.seen
    shown = {"moment": asked.moment, **seen.to_dict()}
    if not context.json:
        # Told at once: if no way back is open, this is what there is to choose another by.
        context.say_story(render.seen(seen, asked.moment, context.look))
    plan = returning.plan()
    if returning.is_in_vain:
        context.close()
        facts = {**shown, "plan": plan.to_dict(), "done": False}
        context.result(facts, lambda _: "no row is missing: nothing was changed")
        return 0
    if not context.json:
        context.say_story(render.plan(plan, seen, asked.file, context.look))
    agreed = yes or (not dry_run and options.agreed(context, _question(returning)))
    if dry_run or not agreed:
        how = options.again(context, words)
        facts = {**shown, "plan": plan.to_dict(), "done": False}
        context.close()
        context.result(facts, lambda _: f"nothing was changed; to do it: {how}")
        return 0 if dry_run else NO
    report = returning.carry_out(datetime.now(UTC))
    context.close()
    facts = {**shown, **report.to_dict(), "done": True}
    context.result(facts | context.spent(), lambda look: render.report(report, look))
    return 0


def _question(returning: "Returning") -> str:
    from pgkeep.undo.returning.plan import Way

    asked = returning.request
    return {
        Way.BESIDE: f"make the new table {returning.plan().into}?",
        Way.INTO_PLACE: f"bring {asked.table} back into its place?",
        Way.MERGE: f"insert the missing rows into {asked.table}?",
        Way.DUMP: f"write {asked.file}?",
    }[asked.way]
