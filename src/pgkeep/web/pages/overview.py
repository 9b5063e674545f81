"""Overview."""

from nicegui import ui

from pgkeep.web.site import Site
from pgkeep.web.visit import Visit


def register(site: Site) -> None:
    site.page("/", "Overview", _overview)


def _overview(visit: Visit) -> None:
    ui.label(visit.cluster)
