"""The command that proves by restoring: drill."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pgkeep.cli.context import DONE, NO, Context, error_facts, say_problem
from pgkeep.model.target import Latest, RecoveryTarget, parse_target, parse_timeline

if TYPE_CHECKING:
    from pgkeep.app import App
    from pgkeep.drill.request import DrillRequest, Wishes
    from pgkeep.errors import PgkeepError
    from pgkeep.repository.drills.report import Report, Status

NOT_TESTED: Final = 4  # the exit status of a drill that could not be made

Wanted = Annotated[
    str | None,
    typer.Argument(
        metavar="[BACKUP|DUMP]", help="An id or its beginning; else the newest that reaches TARGET."
    ),
]
To = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="As for restore: latest, immediate, a time, xid:1234567, lsn:0/4A000028, "
        "name:before_v2; or random, for a moment drawn from all that can be restored.",
    ),
]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="Stop just before the target, not just after it.")
]
Timeline = Annotated[
    str, typer.Option(metavar="latest|current|N", help="Which branch of history to follow.")
]
Seed = Annotated[
    str, typer.Option(help="With --to random: draw what this seed drew before.", show_default=False)
]
NewestDump = Annotated[bool, typer.Option("--dump", help="The newest dump, instead of a backup.")]
Scratch = Annotated[
    str,
    typer.Option(
        metavar="DIR", help="Where to restore, with room for all of it.", show_default=False
    ),
]
Page = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page, too.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
]
Rate = Annotated[
    str, typer.Option(help="The most to write per second, like 200MB/s.", show_default=False)
]
PgBin = Annotated[
    str | None, typer.Option(metavar="DIR", help="PostgreSQL's programs of the backup's version.")
]
ListOnly = Annotated[bool, typer.Option("--list", help="Show the drills on record instead.")]
Show = Annotated[
    str,
    typer.Option(
        metavar="DRILL", help="Show one of them again: its id, or latest.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command("drill")(drill)


def drill(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    wanted: Wanted = None,
    *,
    to: To = "latest",
    exclusive: Exclusive = False,
    timeline: Timeline = "latest",
    seed: Seed = "",
    newest_dump: NewestDump = False,
    scratch: Scratch = "",
    html: Page = None,
    jobs: Jobs = None,
    rate: Rate = "",
    pg_bin: PgBin = None,
    list_only: ListOnly = False,
    show: Show = "",
) -> int:
    """Restore for real, start it, check it, and report.

    Nothing else is left. Exit status: 0 passed, 3 failed, 4 could not be tested.
    """
    from pgkeep.drill.request import RANDOM, DrillRequest
    from pgkeep.units import parse_rate

    context: Context = here.obj
    if list_only or show:
        return _list(context) if list_only else _show(context, show, html)
    app = context.app
    target = Latest() if to == RANDOM else parse_target(to, app.zone)
    recovery = RecoveryTarget(target, not exclusive, parse_timeline(timeline))
    place = scratch or app.config.drill.directory
    sandbox = app.sandbox_request(recovery, "pgkeep drill", place, pg_bin)
    request = DrillRequest(
        sandbox=replace(
            sandbox, jobs=jobs or sandbox.jobs, rate=parse_rate(rate) if rate else sandbox.rate
        ),
        wanted=wanted,
        newest_dump=newest_dump,
        asked=to,
        seed=seed or os.urandom(4).hex(),
        wishes=_wishes(app),
    )
    return _make(context, request, html)


def _wishes(app: "App") -> "Wishes":
    from pgkeep.drill.looking.queries import Query
    from pgkeep.drill.request import Wishes
    from pgkeep.model.expectation import parse_expectation

    general, own = app.config.drill, app.settings.drill
    return Wishes(
        amcheck=general.amcheck,
        read_all=general.read_all,
        read_limit=int(general.read_limit),
        may_be_empty=tuple(own.may_be_empty),
        queries=tuple(
            Query(one.query, one.database, parse_expectation(one.expect), one.words)
            for one in own.checks
        ),
        query_timeout_s=int(general.query_timeout),
    )


def _make(context: Context, request: "DrillRequest", html: Path | None) -> int:
    from pgkeep.cli.drilling import text as render
    from pgkeep.drill.drill import drill as carry_out

    done = carry_out(context.app.cluster_to_read, request, context.progress)
    context.close()
    problem = _write(context, done.report, html) or done.problem
    facts = {**render.facts(done.report), "error": error_facts(problem)}
    context.result(
        facts | context.spent(),
        lambda look: render.text(done.report, look) + context.spent_text(),
    )
    status = say_problem(problem)
    return status_of(done.report.status) or status


def status_of(status: "Status") -> int:
    """Return the exit status that says how a drill came out."""
    from pgkeep.repository.drills.report import Status

    return {Status.PASSED: DONE, Status.FAILED: NO, Status.NOT_TESTED: NOT_TESTED}[status]


def _write(context: Context, report: "Report", html: Path | None) -> "PgkeepError | None":
    """Write the page, if one is wanted. What goes wrong is told after the report, which stands."""
    from pgkeep.cli.drilling.page import CannotWritePage, write_page

    if html is None:
        return None
    try:
        write_page(report, html, context.app.zone)
    except CannotWritePage as error:
        return error
    return None


def _list(context: Context) -> int:
    from pgkeep.cli.drilling import text as render
    from pgkeep.repository.drills.storing import read_reports

    found = read_reports(context.app.cluster_to_read)
    context.result(render.list_facts(found), lambda look: render.listed(found, look))
    return DONE


def _show(context: Context, wanted: str, html: Path | None) -> int:
    from pgkeep.cli.drilling import text as render
    from pgkeep.repository.drills.storing import find_report

    report = find_report(context.app.cluster_to_read, wanted)
    problem = _write(context, report, html)
    facts = {**render.facts(report), "error": error_facts(problem)}
    context.result(facts, lambda look: render.text(report, look))
    return say_problem(problem)
