"""Puts the service together: health, alerts, the HTTP server with what is installed of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgkeep.app import App, Loaded
from pgkeep.cli.context import say
from pgkeep.cli.text import safe
from pgkeep.health.forecast import Sample
from pgkeep.health.health import Health
from pgkeep.health.look import Sizes
from pgkeep.places import Place
from pgkeep.service.asking import CommandSocket
from pgkeep.service.board import Board
from pgkeep.service.jobs.running import OwnProcesses, Runner
from pgkeep.service.serve import Face, Tells

if TYPE_CHECKING:
    from pgkeep.api.serving import Mount


class ServiceParts:
    """What `pgkeep serve` runs besides the loop."""

    def __init__(self, *, listen: str | None, page: bool) -> None:
        self._listen = listen
        self._page = page

    def runner(self, config: str, directory: Path) -> Runner:
        return OwnProcesses(config, directory)

    def look(self, app: App, sizes: Sizes) -> Health:
        from pgkeep.health.look import look

        return look(app, sizes)

    def weigh(self, app: App) -> Sequence[tuple[Place, Sample]]:
        from pgkeep.health.look import weigh

        return weigh(app)

    def tells(self, loaded: Loaded, state_directory: Path) -> Tells:
        from pgkeep.alerts.telling import Teller

        return Teller(loaded.config, state_directory)

    def faces(self, board: Board) -> Sequence[Face]:
        if not self._page:
            return (CommandSocket(board),)
        from pgkeep.api.serving import HttpFace

        return (CommandSocket(board), HttpFace(board, self._listen, _page(), say=_say))


def _page() -> "Mount | None":
    """Return what mounts the page; None, and say so, where its framework is not installed."""
    try:
        from pgkeep.web.build import mount
    except ModuleNotFoundError as error:
        if error.name != "nicegui":
            raise
        _say("note: there is no page: install pgkeep[web] for it")
        return None
    return mount


def _say(text: str) -> None:
    say(safe(text))
