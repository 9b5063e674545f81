"""The commands about WAL. push and fetch are pgkeep-wal's: PostgreSQL calls that one."""

from typing import Annotated

import typer

from pgkeep.cli.context import NO, Context, group
from pgkeep.cli.text import safe

_PATH = typer.Argument(metavar="PATH", help="The segment: %p of archive_command.")


def register(app: typer.Typer) -> None:
    wal = typer.Typer(
        help="Archived WAL: push, fetch, status, take-over.",
        callback=group,
        invoke_without_command=True,
    )
    wal.command("push")(push)
    wal.command("fetch")(fetch)
    wal.command("status")(status)
    wal.command("take-over")(take_over)
    app.add_typer(wal, name="wal")


def push(here: typer.Context, path: Annotated[str, _PATH]) -> int:
    """Store one WAL file, as pgkeep-wal push does."""
    return _run(here.obj, ["push", "--", path])


def fetch(
    here: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="%f of restore_command.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="%p of restore_command.")],
    *,
    generation: Annotated[
        str | None, typer.Option(help="From this generation, like 18-7710983248089545577.")
    ] = None,
) -> int:
    """Bring one WAL file back, as pgkeep-wal fetch does."""
    options = [f"--generation={generation}"] if generation else []
    return _run(here.obj, [*options, "fetch", "--", name, destination])


def _run(context: Context, words: list[str]) -> int:
    from pgkeep.wal.main import main

    given = {
        "config": context.config,
        "cluster": context.cluster,
        "repository": context.repository,
    }
    return main([*(f"--{name}={value}" for name, value in given.items() if value), *words])


def status(here: typer.Context) -> int:
    """Show what is archived, what is missing and what waits."""
    from pgkeep.app import NoConnection
    from pgkeep.cli.render import wal as render_wal
    from pgkeep.server.connecting import CannotConnect
    from pgkeep.wal.survey import survey

    context: Context = here.obj
    app = context.app
    data_directory = app.settings.data_directory or None
    try:
        with app.connect() as session:
            found = survey(app.cluster_to_read, session, data_directory)
    except (CannotConnect, NoConnection) as error:
        # The archive alone is worth seeing: the server may be what is lost.
        context.note(f"note: the server could not be asked: {safe(str(error))}")
        found = survey(app.cluster_to_read, None, data_directory)
    context.result(render_wal.facts(found), lambda look: render_wal.status(found, look))
    return NO if found.problems else 0


def take_over(
    here: typer.Context,
    *,
    data_directory: Annotated[
        str, typer.Option(metavar="DIR", help="Of this server; else the server is asked.")
    ] = "",
) -> int:
    """Make this server the one that archives: after a failover, or a move."""
    from pgkeep.cli.render import wal as render_wal
    from pgkeep.wal.takeover import take_over_archive

    context: Context = here.obj
    app = context.app
    directory = data_directory or app.find_data_directory()
    folders = [place.open().cluster(app.cluster_name) for place in app.writing]
    done = take_over_archive(folders, directory, app.settings.server_name)
    context.result(
        {"archives": [one.to_dict() for one in done]}, lambda _: render_wal.taken_over(done)
    )
    return 0
