"""Timeline."""

from nicegui import ui

from pgkeep.web.site import Site
from pgkeep.web.visit import Visit


def register(site: Site) -> None:
    site.page("/timeline", "Timeline", _timeline)


def _timeline(visit: Visit) -> None:
    ui.label(visit.cluster)
