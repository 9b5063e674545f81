"""The command that looks for accidents: undo find."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import Context
from pgkeep.undo.event import EventKind

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from pgkeep.app import App
    from pgkeep.undo.finding.find import FindRequest
    from pgkeep.undo.meaning.choose import Wanted

_Since = Annotated[
    str,
    typer.Option(
        metavar="WHEN",
        help="Committed since: 2h, or a time as --to of restore; else 24 h before the newest.",
        show_default=False,
    ),
]
_Until = Annotated[
    str, typer.Option(metavar="WHEN", help="Committed until; else to the end of WAL.")
]
_Table = Annotated[
    list[str] | None,
    typer.Option(metavar="TABLE", help="Only this one, as it is shown; may be given again."),
]
_Database = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this one; may be given again.")
]
_Kind = Annotated[
    list[EventKind] | None,
    typer.Option(help="Only this kind; may be given again. Else all but rewrite."),
]
_MinRows = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rows deleted or updated in one transaction; else 1000, or half of a table.",
    ),
]
_Jobs = Annotated[
    int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
]


def register(undo: typer.Typer) -> None:
    undo.command("find")(find)


def find(  # noqa: PLR0913 - options
    here: typer.Context,
    *,
    since: _Since = "",
    until: _Until = "",
    table: _Table = None,
    database: _Database = None,
    kind: _Kind = None,
    min_rows: _MinRows = None,
    jobs: _Jobs = None,
) -> None:
    """Find what was dropped, emptied, deleted or updated, and the moment before.

    Looks through archived WAL, and the server's pg_wal where it can be read here.
    """
    from pgkeep.cli.undoing import find_text
    from pgkeep.undo.finding.find import run
    from pgkeep.undo.finding.remembered import Remembered
    from pgkeep.undo.meaning.changes import Weight
    from pgkeep.undo.meaning.choose import Wanted

    context: Context = here.obj
    app = context.app
    wanted = Wanted(
        since=_moment(since, app.zone) if since else None,
        until=_moment(until, app.zone) if until else None,
        tables=tuple(table or ()),
        databases=tuple(database or ()),
        kinds=tuple(kind or ()),
        weight=Weight() if min_rows is None else Weight(min_rows, or_half=False),
    )
    found = run(app.cluster_to_read, request_of(app, wanted, jobs), context.progress)
    refused = Remembered.of(app.cluster_to_read).remember(found.events)
    context.close()
    if refused:
        context.note(f"warning: --event will not know these numbers: cannot write {refused}")
    context.result(
        found.to_dict() | context.spent(),
        lambda look: find_text.report(found, look) + context.spent_text(),
    )


def request_of(app: "App", wanted: "Wanted", jobs: int | None) -> "FindRequest":
    """Return what find.run() needs to look with this app."""
    from pgkeep.census.take import take
    from pgkeep.undo.finding.find import FindRequest

    return FindRequest(
        wanted=wanted,
        jobs=jobs or app.jobs,
        data_directory=app.find_data_directory,
        live_census=lambda: take(app.conninfo),
    )


def _moment(text: str, zone: "tzinfo") -> "datetime":
    """Read '2h', which is counted back from now, or a time."""
    from datetime import UTC, datetime, timedelta

    from pgkeep.model.target import parse_time
    from pgkeep.units import BadUnit, parse_duration

    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except BadUnit:
        return parse_time(text, zone)
