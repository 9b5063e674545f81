"""Storage: how much is stored over time, where that leads, how full the repositories are, costs."""

from datetime import UTC, datetime

from nicegui import ui

from pgkeep.config.shown import harmless
from pgkeep.service.jobs.ledger import KEPT
from pgkeep.units import format_size
from pgkeep.web import pieces, reading
from pgkeep.web.reading import Storage
from pgkeep.web.rows import storage as rows
from pgkeep.web.site import Site
from pgkeep.web.visit import Visit


def register(site: Site) -> None:
    site.page("/storage", "Storage", _storage)


def _storage(visit: Visit) -> None:
    _room(visit)
    board, cluster, now = visit.board, visit.cluster, visit.board.now()
    sizes = board.ledger.sizes(cluster, now - KEPT)
    visit.load(
        lambda: reading.storage_of(board.app(cluster), now, sizes),
        lambda found: _show(visit, found),
    )


def _room(visit: Visit) -> None:
    """Show how full the repositories are, by the last look."""
    health = visit.board.health(visit.cluster)
    with ui.element("section").classes("pk-card").props('aria-label="Room"'):
        pieces.heading("Room")
        if health is None:
            ui.label("The first look is under way.").classes("pk-muted")
            return
        pieces.facts(
            (harmless(one.name or one.address), rows.room_words(one, visit.board.now()))
            for one in health.repositories
        )
        looked = f"By the look of {visit.long(health.looked_at)}."
        ui.label(looked).classes("pk-muted pk-small")


def _show(visit: Visit, found: Storage) -> None:
    with ui.element("section").classes("pk-card").props('aria-label="Over time"'):
        pieces.heading("Stored over time")
        for name, curve in found.curves:
            if len(found.curves) > 1:
                ui.label(harmless(name)).classes("pk-strong")
            _curve(visit, curve)
    for name, why in found.troubles:
        said = f"Repository {name} cannot be listed: {why}"
        ui.label(said).classes("pk-notice bad pk-wrap")
    for name, cost in found.costs:
        with ui.element("section").classes("pk-card") as card:
            card.props["aria-label"] = f"Cost of {name}"
            pieces.heading(harmless(name))
            pieces.facts(rows.cost_rows(cost))
            ui.label("Of all clusters in it.").classes("pk-muted pk-small")
    pieces.command("pgkeep cost")


def _curve(visit: Visit, curve: rows.Curve) -> None:
    drawn = rows.draw(curve)
    if drawn is None:
        ui.label("There is nothing yet.").classes("pk-muted")
        return
    # Numbers alone: nothing of a repository's is in it.
    ui.html(
        f'<svg class="pk-curve" viewBox="0 0 {rows.WIDTH} {rows.HEIGHT}" '
        'preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="area" d="{drawn.area}"/><path class="line" d="{drawn.line}"/>'
        f'<path class="ahead" d="{drawn.ahead}"/></svg>',
        sanitize=False,
    ).classes("w-full")
    with ui.row().classes("pk-row pk-spread pk-muted pk-small"):
        for moment in (drawn.first, drawn.last):
            ui.label(visit.short(datetime.fromtimestamp(moment, UTC)))
    facts = [("Now", rows.now_words(curve)), ("Grows by", rows.growth_words(curve))]
    if curve.ahead is not None:
        at = visit.short(datetime.fromtimestamp(curve.ahead.at, UTC))
        facts.append(("At that rate", f"{format_size(curve.ahead.size)} on {at} (dashed)"))
    pieces.facts(facts)
    ui.label(rows.source_words(curve)).classes("pk-muted pk-small")
