"""The site: every page passes here, so that none is shown to whom it is not for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from pgkeep.api.rights import NEEDS
from pgkeep.api.sessions import current_caller
from pgkeep.errors import PgkeepError
from pgkeep.web import words
from pgkeep.web.visit import Visit, notice

if TYPE_CHECKING:
    from pgkeep.api.parts import Parts
    from pgkeep.service.board import Board

Build = Callable[[Visit], object]
NO_CLUSTER: Final = "The config describes no cluster yet: [clusters.NAME] with its conninfo does."
_OF_NO_CLUSTER: Final = ("/", "/adviser", "/jobs", "/settings")  # pages that are of all, or of none


@dataclass(frozen=True, slots=True)
class Site:
    """What pages are registered on."""

    parts: "Parts"
    paths: set[str] = field(default_factory=set)  # of pages there are

    @property
    def board(self) -> "Board":
        return self.parts.board

    def page(self, path: str, title: str, build: Build, *, act: str = "look") -> None:
        """Have `build` fill the page at `path`, in the frame, for whoever may do `act`."""

        def shown(request: Request) -> None:
            _fill(self._visit(request, path), title, build, act)

        self.paths.add(path)
        ui.page(path, title=f"{title} · pgkeep", dark=None)(shown)

    def _visit(self, request: Request, path: str) -> Visit:
        """Return who looks at what."""
        caller = current_caller(request)
        assert caller.user is not None  # the gate lets nobody else in
        query = dict(request.query_params)
        clusters = self.board.clusters()
        asked = query.get("cluster", "")
        cluster = asked or (clusters[0] if clusters else "")
        zone = words.zone_of(request.cookies.get("pgkeep_zone", ""))
        return Visit(self.parts, caller, caller.user, path, cluster, zone, query, self.paths)


def _fill(visit: Visit, title: str, build: Build, act: str) -> None:
    from pgkeep.web.frame import framed

    with framed(visit, title):
        if not visit.cluster and visit.path not in _OF_NO_CLUSTER:
            ui.label(NO_CLUSTER).classes("pk-notice warn")
            return
        if visit.cluster and visit.cluster not in visit.board.clusters():
            ui.label(f"The config has no cluster {visit.cluster[:80]}.").classes("pk-notice warn")
            return
        if not visit.user.may(act):
            needed = NEEDS.get(act)
            said = f"This page takes role {needed}, and {visit.user.name} is {visit.user.role}."
            ui.label(said).classes("pk-notice warn")
            return
        try:
            build(visit)
        except PgkeepError as error:
            notice(error)


def address(path: str, **query: Any) -> str:
    """Return a link within the site."""
    kept: Mapping[str, str] = {k: str(v) for k, v in query.items() if v not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path
