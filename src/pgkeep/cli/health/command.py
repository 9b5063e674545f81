"""The command of health: status."""

import time
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from pgkeep.cli.context import NO, Context
from pgkeep.cli.serving.command import state_directory
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.health.health import Health

_LIMIT: Final = "30s"  # longer than every usual time limit on the way to a server or a bucket


class Found(NamedTuple):
    """Health of the clusters that were asked about, in the config's order."""

    healths: "list[Health]"
    by_service: bool  # as it has seen them last; else looked at now


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    here: typer.Context,
    *,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Look now, whatever a running service has seen.")
    ] = False,
    time_limit: Annotated[
        str, typer.Option(metavar="DURATION", help="A cluster that takes longer is unknown.")
    ] = _LIMIT,
) -> int:
    """Show what can be restored, up to when, when that was proven, and what is wrong.

    Exit status 3 when something is critical, or not known.
    """
    from pgkeep.cli.health import text as render
    from pgkeep.units import parse_duration

    context: Context = here.obj
    limit = float(parse_duration(time_limit))
    clusters = _clusters(context)
    found = None if fresh or context.repository else _asked(context, clusters)
    if found is None:
        found = Found(_looked(context, clusters, limit), by_service=False)
    context.close()
    facts = {
        "clusters": [health.to_dict() for health in found.healths],
        "by_service": found.by_service,
        "good": render.is_good(found.healths),
    }
    context.result(
        facts, lambda look: render.status(found.healths, look, by_service=found.by_service)
    )
    return 0 if facts["good"] else NO


def _clusters(context: Context) -> list[str]:
    """Return those that are meant: the one that was named, else all of the config."""
    described = list(context.app.config.clusters)
    if context.cluster is not None or not described:
        return [context.app.cluster_name]
    return described


def _asked(context: Context, clusters: list[str]) -> Found | None:
    """Return what a running service has seen; None when none runs, or it knows other clusters."""
    from pgkeep.service.asking import ask_health

    try:
        known = {health.cluster: health for health in ask_health(state_directory(context)) or ()}
    except PgkeepError as error:
        context.note(f"note: {error}; looking without it")
        return None
    if not known or not known.keys() >= set(clusters):
        return None
    return Found([known[cluster] for cluster in clusters], by_service=True)


def _looked(context: Context, clusters: list[str], limit: float) -> "list[Health]":
    from pgkeep.health.together import look_together, looking

    progress = context.progress
    began = time.monotonic()
    told = False

    def advance(done: int) -> None:
        nonlocal told
        if not told and time.monotonic() - began > 1.0:  # what is quick needs no bar
            progress.phase("looking at clusters", len(clusters), "clusters")
            told = True
        if told:
            progress.advance(done)

    return look_together(clusters, looking(context.app), limit, advance)
