"""The command status: what can be restored of each cluster, and what endangers that."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pgkeep.cli.context import NO, Context

if TYPE_CHECKING:
    from pgkeep.health.health import Health

_AT_ONCE: Final = 8
_PATIENCE_S: Final = 60.0  # for those that are still looked at when others are done long since
_GLANCE_S: Final = 0.2


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    here: typer.Context,
    *,
    look: Annotated[
        bool, typer.Option("--look", help="Look now, although the service has looked.")
    ] = False,
) -> int:
    """Show up to when each cluster can be restored, and what endangers that.

    Asks the running service, which looks all the time; without one it looks by itself. Exit status
    3 when something is critical.
    """
    from pgkeep.cli.health import text as render
    from pgkeep.health.health import State

    context: Context = here.obj
    found, by_service = (None, False) if look else (_asked(context), True)
    if found is None:
        found, by_service = _look(context), False
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
    if found is None or context.cluster is None:
        return found
    return [health for health in found if health.cluster == context.cluster] or None


def _look(context: Context) -> "list[Health]":
    """Look at every cluster that is meant, several at a time; what hangs is said to."""
    from pgkeep.health.look import unknown

    names = [context.cluster] if context.cluster else list(context.app.config.clusters)
    names = names or [context.app.cluster_name]
    progress = context.progress
    if len(names) > 1:
        progress.phase("looking at clusters", len(names), "clusters")
    pool = ThreadPoolExecutor(_AT_ONCE)
    futures = {name: pool.submit(_one, context, name) for name in names}
    waited = 0.0
    while not all(future.done() for future in futures.values()) and waited < _PATIENCE_S:
        done, left = wait(futures.values(), _GLANCE_S)
        progress.advance(len(done))
        # The clock runs while nothing else is left to be done: many clusters take their time.
        waited += _GLANCE_S if len(left) <= _AT_ONCE else 0.0
    pool.shutdown(wait=False, cancel_futures=True)
    return [
        future.result()
        if future.done()
        else unknown(name, f"no answer within {_PATIENCE_S:g} seconds")
        for name, future in futures.items()
    ]


def _one(context: Context, name: str) -> "Health":
    from pgkeep.app import App
    from pgkeep.errors import PgkeepError
    from pgkeep.health.look import look, unknown

    try:
        return look(App(context.config, name, context.repository))
    except PgkeepError as error:
        return unknown(name, str(error), error.hint)
