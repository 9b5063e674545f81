"""The command status: what can be restored of each cluster, and what endangers that."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pgkeep.cli.context import NO, Context

if TYPE_CHECKING:
    from pgkeep.health.health import Health

_LIMIT: Final = "30s"  # longer than every usual time limit on the way to a server or a bucket


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    here: typer.Context,
    *,
    look: Annotated[
        bool, typer.Option("--look", help="Look now, although the service has looked.")
    ] = False,
    time_limit: Annotated[
        str, typer.Option(metavar="DURATION", help="A cluster that takes longer is unknown.")
    ] = _LIMIT,
) -> int:
    """Show up to when each cluster can be restored, and what is wrong.

    Asks the running service, which looks all the time; without one it looks by itself. Exit status
    3 when something is critical.
    """
    from pgkeep.cli.health import text as render
    from pgkeep.health.health import State
    from pgkeep.units import parse_duration

    context: Context = here.obj
    limit = float(parse_duration(time_limit))
    found, by_service = (None, False) if look else (_asked(context), True)
    if found is None:
        found, by_service = _look(context, limit), False
    context.close()
    now = datetime.now(UTC)
    facts: dict[str, Any] = {
        "by_service": by_service,
        "clusters": [health.to_dict() for health in found],
    }
    context.result(facts, lambda how: render.status(found, now, how, by_service=by_service))
    bad = (State.IN_DANGER, State.UNKNOWN)
    return NO if any(health.state in bad for health in found) else 0


def _asked(context: Context) -> "list[Health] | None":
    """Return what the service knows of the clusters that are meant; None when none runs."""
    from pgkeep.cli.serving.command import state_directory
    from pgkeep.config_file import ConfigMissing
    from pgkeep.errors import PgkeepError
    from pgkeep.service.asking import ask_health

    if context.repository is not None:
        return None
    try:
        found = ask_health(state_directory(context))
    except ConfigMissing:
        raise
    except PgkeepError as error:
        context.note(f"note: {error}; looking without it")
        return None
    known = {health.cluster: health for health in found or ()}
    wanted = [context.cluster] if context.cluster else list(context.app.config.clusters)
    # A service that was given another config may know other clusters.
    return [known[name] for name in wanted] if wanted and known.keys() >= set(wanted) else None


def _look(context: Context, limit: float) -> "list[Health]":
    """Look at every cluster that is meant, many at a time."""
    from pgkeep.health.together import look_together, looking

    names = [context.cluster] if context.cluster else list(context.app.config.clusters)
    names = names or [context.app.cluster_name]
    progress = context.progress
    if len(names) > 1:
        progress.phase("looking at clusters", len(names), "clusters")
    return look_together(names, looking(context.app), limit, progress.advance)
