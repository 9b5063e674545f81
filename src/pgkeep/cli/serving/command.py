"""The commands of the service: serve, jobs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pgkeep import config_file
from pgkeep.cli.context import FAILED, NO, Context, group, say
from pgkeep.cli.text import safe

if TYPE_CHECKING:
    from pgkeep.app import Loaded

_GLANCE_S: Final = 0.5  # between two looks at a job that is followed


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)
    jobs = typer.Typer(
        help="What the running service does: its jobs.",
        callback=group,
        invoke_without_command=True,
    )
    jobs.command("list")(jobs_list)
    jobs.command("show")(jobs_show)
    jobs.command("run")(jobs_run)
    jobs.command("cancel")(jobs_cancel)
    app.add_typer(jobs, name="jobs")


def serve(
    here: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="Where the page, /api and /metrics are."),
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Only jobs, health and alerts: no HTTP at all.")
    ] = False,
) -> int:
    """Run jobs on time, watch health, send alerts, serve the page.

    And /api and /metrics. Runs in the foreground until SIGTERM or Ctrl-C. SIGHUP has it read its
    config again.
    """
    from pgkeep.cli.serving.parts import ServiceParts
    from pgkeep.service.serve import Service, alone, signals_for

    context: Context = here.obj
    directory = state_directory(context)
    with alone(directory):
        parts = ServiceParts(listen=listen, page=not no_page)
        service = Service(lambda: _load(context), directory, parts, _say_log)
        with signals_for(service):
            service.run()
    return 0


def state_directory(context: Context) -> Path:
    """Return where the service of this config keeps its state."""
    return Path(config_file.state_directory(context.app.config.service.state_directory))


def _load(context: Context) -> "Loaded":
    from pgkeep.app import App

    return App(context.config).loaded


def _say_log(text: str) -> None:
    say(safe(text))


def jobs_list(
    here: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many, the newest.")] = 20,
) -> int:
    """Show jobs: what runs, what is over, what comes next."""
    from pgkeep.cli.serving import text as render

    context: Context = here.obj
    facts = {"cluster": context.cluster, "limit": limit}
    runs = _ask(context, "jobs", **facts)
    upcoming = _ask(context, "upcoming", cluster=context.cluster)
    found = {"jobs": runs, "upcoming": upcoming}
    context.result(found, lambda look: render.jobs(runs, upcoming, look))
    return 0


def jobs_show(
    here: typer.Context,
    id: Annotated[str, typer.Argument(metavar="JOB", help="Its id.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Until it is over.")] = False,
) -> int:
    """Show one job: its command, how far it is, its log."""
    context: Context = here.obj
    return _show(context, id, follow=follow)


def jobs_run(
    here: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="As behind pgkeep: backup, ...")
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Until it is over.")] = False,
) -> int:
    """Have the service run a command, in its turn."""
    import getpass

    context: Context = here.obj
    cluster = context.app.cluster_name
    run = _ask(context, "start", cluster=cluster, words=words, by=getpass.getuser())
    return _show(context, run["job"]["id"], follow=follow)


def jobs_cancel(
    here: typer.Context, id: Annotated[str, typer.Argument(metavar="JOB", help="Its id.")]
) -> int:
    """Ask a job to stop; it cleans up after itself."""
    from pgkeep.cli.serving import text as render

    context: Context = here.obj
    run = _ask(context, "cancel", id=id)
    context.result(run, lambda look: render.job(run, "", look))
    return 0


def _show(context: Context, id: str, *, follow: bool) -> int:
    from pgkeep.cli.serving import text as render

    log, offset = "", 0
    while True:
        run = _ask(context, "job", id=id)
        while True:
            piece, offset = _ask(context, "log", id=id, offset=offset)
            if not piece:
                break
            if follow and not context.json:
                context.say_story(safe(piece.rstrip("\n"), lines=True))
            else:
                log += piece
        if not follow or run["ended_at"] is not None:
            break
        time.sleep(_GLANCE_S)
    context.result({**run, "log": log}, lambda look: render.job(run, log, look))
    if not follow:
        return 0
    return {"done": 0, "no": NO}.get(run["state"], FAILED)


def _ask(context: Context, what: str, **facts: Any) -> Any:
    """Ask the running service. Raise when none runs."""
    from pgkeep.service.asking import ask
    from pgkeep.service.errors import ServiceFailed

    directory = state_directory(context)
    answer = ask(directory, what, **facts)
    if answer is None:
        why = f"no service runs with state directory {directory}"
        raise ServiceFailed("ask the service", why, "start it with: pgkeep serve")
    return answer
