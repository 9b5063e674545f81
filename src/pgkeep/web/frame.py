"""The frame of every page: product, cluster, navigation, light and dark, who is logged in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nicegui import ui

from pgkeep import __version__
from pgkeep.service.errors import ServiceFailed
from pgkeep.web.site import address
from pgkeep.web.theme import ACCENT
from pgkeep.web.visit import Visit, say

# Path, title, icon.
PAGES: Final = (
    ("/", "Overview", "dashboard"),
    ("/timeline", "Timeline", "timeline"),
    ("/backups", "Backups", "inventory_2"),
    ("/undo", "Undo", "history"),
    ("/adviser", "Adviser", "tune"),
    ("/checklist", "Checklist", "checklist"),
    ("/jobs", "Jobs", "play_circle"),
    ("/storage", "Storage", "storage"),
    ("/settings", "Settings", "settings"),
)
_PHONE: Final = 900  # pixels of width from which on navigation stays open


def plain_head() -> None:
    """Put styles and the script for light and dark into a page's head."""
    version = f"?v={__version__}"
    ui.add_head_html(
        f'<script src="/assets/pgkeep.js{version}"></script>'
        f'<link rel="stylesheet" href="/assets/pgkeep.css{version}">'
    )
    ui.colors(primary=ACCENT)


@contextmanager
def framed(visit: Visit, title: str) -> Iterator[None]:
    """Open a page's frame; what is made inside is its content."""
    plain_head()
    ui.on_exception(_went_wrong)
    ui.add_body_html('<a class="skip" href="#content">Skip to content</a>')
    with ui.header().classes("pk-header").props('bordered aria-label="pgkeep"'):
        menu = _icon("menu", "Navigation")
        menu.classes("lt-md")
        ui.link("pgkeep", address("/", cluster=visit.cluster)).classes("pk-brand")
        _chooser(visit)
        ui.space()
        _icon("contrast", "Light or dark").on("click", js_handler="() => pgkeep.toggle()")
        _account(visit)
    drawer = ui.left_drawer(value=False, bordered=True).props(
        f"width=200 breakpoint={_PHONE} show-if-above"
    )
    menu.on_click(drawer.toggle)
    # On a phone it covers the page; beside it, where there is room, it stays.
    narrow = f"() => innerWidth < {_PHONE} && emit()"
    for part in (menu, drawer):
        part.on("keydown.escape", drawer.hide, js_handler=narrow)
    with drawer.classes("p-0"), ui.element("nav").classes("pk-nav").props('aria-label="Pages"'):
        _navigation(visit)
    with ui.element("div").props('id="content" tabindex="-1"'):
        ui.html(f"<h1>{title}</h1>", sanitize=False)  # a title of ours
        yield


def _went_wrong(error: Exception) -> None:
    """Tell whoever looks of a bug: the log alone would leave a button that does nothing."""
    why = f"a bug: {type(error).__name__}: {error}"
    say(ServiceFailed("do this", why, "the service's log has it in full"))


def _navigation(visit: Visit) -> None:
    for path, title, icon in PAGES:
        if path not in visit.pages:
            continue
        link = ui.link(target=address(path, cluster=visit.cluster)).classes("pk-nav-link")
        if path == visit.path:
            link.props('aria-current="page"')
        with link:
            ui.icon(icon).props('aria-hidden="true"')
            ui.label(title)


def _chooser(visit: Visit) -> None:
    clusters = visit.board.clusters()
    if not clusters:
        return

    def choose() -> None:
        ui.navigate.to(address(visit.path, cluster=chosen.value))

    chosen = ui.select(
        clusters,
        value=visit.cluster if visit.cluster in clusters else None,
        with_input=len(clusters) > 12,
        on_change=choose,
    )
    chosen.classes("pk-chooser").props('dense outlined options-dense aria-label="Cluster"')


def _account(visit: Visit) -> None:
    with _icon("account_circle", "Account"), ui.menu().props("auto-close"):
        with ui.element("div").classes("pk-stack").style("padding: 12px 16px; min-width: 200px"):
            ui.label(visit.user.name).classes("pk-strong pk-wrap")
            ui.label(f"Role: {visit.user.role}").classes("pk-muted pk-small")
        if visit.caller.session is not None:
            ui.separator()
            ui.menu_item("Log out", on_click=lambda: _log_out(visit))


def _log_out(visit: Visit) -> None:
    visit.parts.log_out(visit.caller)
    ui.navigate.to("/login")


def _icon(name: str, title: str) -> ui.button:
    button = ui.button(icon=name).props(f'flat round dense aria-label="{title}"')
    with button:
        ui.tooltip(title)
    return button
