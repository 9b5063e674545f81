"""The commands that make coming back easy: point, run."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgkeep.cli.context import NO, Context, say
from pgkeep.cli.pointing.running import find_program, run_beside
from pgkeep.cli.text import plain

if TYPE_CHECKING:
    from pgkeep.cli.pointing.text import WaysBack
    from pgkeep.points.plan import Point


def register(app: typer.Typer) -> None:
    app.command("point")(point)
    app.command("run")(run)


def point(
    here: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A new name, up to 63 bytes.")],
    *,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Until it is in the repository; exit status 3 if it does not get there."
        ),
    ] = False,
) -> int:
    """Give this moment a name, to come back to it.

    The name goes into the server's WAL, which is archived at once.
    """
    from pgkeep.cli.pointing import text as render

    context: Context = here.obj
    found = _set(context, name, wait=wait)
    back = render.ways_back(found, context.config, context.cluster)
    context.close()
    context.result(_facts(context, found, back), lambda look: render.point(found, back, look))
    return NO if found.archived is False else 0


def run(
    here: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, as you would alone.")
    ],
    *,
    name: Annotated[str, typer.Option("--point", metavar="NAME", help="The restore point's name.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Run nothing before the point is in the repository.")
    ] = False,
) -> int:
    """Set a restore point and run a command; if it fails, tell the way back.

    The command has stdin, stdout and stderr to itself; its exit status is passed on. What pgkeep
    says goes to stderr, with --json as well.
    """
    from pgkeep.cli.pointing import text as render

    context: Context = here.obj
    program = find_program(command[0])
    if program is None:
        raise typer.BadParameter(f"there is no program {command[0]!r}")
    found = _set(context, name, wait=wait)
    back = render.ways_back(found, context.config, context.cluster)
    context.close()
    if found.archived is False:
        context.note(render.point(found, back, context.look_at_stderr))
        return NO
    context.note(f"restore point {found.name} is set at {found.lsn}")
    status = run_beside(program, command)
    if status:
        # Said even with --quiet: it is for whoever has to mend it.
        say(render.failed(command[0], status, found, back, context.look_at_stderr))
    if context.json:
        facts = {**_facts(context, found, back), "command": command, "exit_status": status}
        say(json.dumps(plain(facts), indent=2))
    return status


def _set(context: Context, name: str, *, wait: bool) -> "Point":
    from pgkeep.cli.recording import new_act, record
    from pgkeep.points.plan import check_name
    from pgkeep.points.point import set_point, wait_for_archive
    from pgkeep.repository.acts.act import POINT

    check_name(name)  # before anything is opened
    app = context.app
    folder = app.cluster_to_read
    with app.connect() as session:
        found = set_point(folder, session, name)
        # At once: whoever waits may be interrupted, and the point is there all the same.
        facts = {"name": found.name, "lsn": str(found.lsn)}
        same = ("pgkeep", "point", found.name)  # and not the command of pgkeep run
        record(context, new_act(folder.name, POINT, None, facts, same))
        if not wait:
            return found
        patience = float(app.settings.wal_timeout)
        return wait_for_archive(found, folder, session, patience, context.progress)


def _facts(context: Context, found: "Point", back: "WaysBack") -> dict[str, Any]:
    cluster = context.app.cluster_name
    return {"cluster": cluster, **found.to_dict(), "commands": back._asdict()}
