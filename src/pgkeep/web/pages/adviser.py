"""The adviser: wishes by sliders, plans that follow them at once, and the config to take away."""

import json
from collections.abc import Callable
from typing import Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from pgkeep.advise.draft import Plan
from pgkeep.advise.plan import advise
from pgkeep.advise.wishes import Hosting, Provider, Wishes
from pgkeep.advise.writing import config_text, settings_text
from pgkeep.config.shown import harmless
from pgkeep.server.connecting import holds_secret
from pgkeep.web import pieces
from pgkeep.web.rows import wishes as rows
from pgkeep.web.rows.wishes import Card, Choices, Measured, Scale
from pgkeep.web.site import Site
from pgkeep.web.visit import Visit
from pgkeep.web.words import capital

_DAY_S: Final = 86400
_OFTEN_S: Final = 0.05  # a slider that moves tells of it
_MOST: Final = 1000  # of days, weeks and months


def register(site: Site) -> None:
    site.page("/adviser", "Adviser", _Adviser, act="advise")


class _Adviser:
    """The page; plans are made anew with every move, which takes less than a millisecond."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._places = rows.places_at_first(_measured(visit))
        self._cards: dict[str, _PlanCard] = {}
        self._order: list[str] = []  # of the cards
        self._name = ""  # of the plan that was chosen; '': the recommended one
        self._wishes, self._plans = Wishes(), list[Plan]()
        with ui.element("section").classes("pk-card").props('aria-label="Wishes"'):
            pieces.heading("What you want")
            with ui.element("div").classes("pk-sliders"):
                for scale in rows.SCALES:
                    self._slider(scale)
            self._questions()
            self._trouble = ui.label().classes("pk-notice bad").props('role="alert"')
        pieces.heading("Plans")
        self._board = ui.element("section").classes("pk-plans").props('aria-label="Plans"')
        self._result = ui.element("section").classes("pk-card")
        self._result.props('aria-label="Config"')
        with self._result:
            self._config()
        self._again()

    def _slider(self, scale: Scale) -> None:
        place = self._places[scale.name]
        with ui.element("div").classes("pk-stack tight"):
            with ui.row().classes("pk-row pk-spread"):
                ui.label(scale.asks).classes("pk-muted")
                said = ui.label(scale.words(place)).classes("pk-strong")
            # The browser's own: keys and names for those who hear the page come with it.
            slider = ui.element("input").classes("pk-range")
            slider.props["type"], slider.props["min"] = "range", 0
            slider.props["max"] = len(scale.steps) - 1
            slider.props["aria-label"] = scale.asks
            # As an attribute: a property would be set back each time that anything else changes.
            slider.props["^value"] = place
            slider.props["^aria-valuetext"] = scale.words(place)

        def moved(event: GenericEventArguments) -> None:
            chosen = max(0, min(int(event.args), len(scale.steps) - 1))
            self._places[scale.name] = chosen
            said.set_text(scale.words(chosen))
            self._again()

        words = json.dumps([scale.words(step) for step in range(len(scale.steps))])
        tell = f"event.target.setAttribute('aria-valuetext', {words}[event.target.value])"
        handler = f"(event) => {{ {tell}; emit(Number(event.target.value)); }}"
        slider.on("input", moved, js_handler=handler, throttle=_OFTEN_S)

    def _questions(self) -> None:
        with ui.row().classes("pk-row"):
            self._hosting = ui.select(rows.HOSTING, value=Hosting.SELF, label="It runs on")
            self._provider = ui.select(rows.PROVIDERS, value=Provider.NONE, label="Whose cloud")
            for choice in (self._hosting, self._provider):
                choice.props("outlined dense options-dense").classes("pk-grow")
        with ui.row().classes("pk-row"):
            self._counts = [
                ui.number(f"{title} kept beyond it", value=value, min=0, max=_MOST, format="%d")
                for (_, title), value in zip(rows.COUNTS, Choices().counts, strict=True)
            ]
            self._growth = ui.number("Growth in a year, %", value=30, min=-90, max=1000)
            self._budget = ui.number("Budget a month", min=0)
            for number in (*self._counts, self._growth, self._budget):
                number.props("outlined dense").classes("pk-number")
        with ui.row().classes("pk-row"):
            self._offsite = ui.switch("A copy in another place", value=True)
            self._table = ui.switch("Single tables and other versions: dumps too", value=True)
        fields = (self._hosting, self._provider, *self._counts, self._growth, self._budget)
        for field in (*fields, self._offsite, self._table):
            field.on_value_change(self._again)

    def _choices(self) -> Choices:
        daily, weekly, monthly = (int(field.value or 0) for field in self._counts)
        return Choices(
            Hosting(self._hosting.value),
            Provider(self._provider.value),
            bool(self._offsite.value),
            bool(self._table.value),
            None if self._budget.value is None else float(self._budget.value),
            float(self._growth.value or 0) / 100,
            (daily, weekly, monthly),
        )

    def _again(self) -> None:
        try:
            self._wishes = rows.wishes_of(self._places, self._choices())
        except ValueError as error:
            self._trouble.set_text(f"{capital(str(error))}.")
            self._trouble.set_visibility(True)
            return
        self._trouble.set_visibility(False)
        self._plans = advise(self._wishes)
        self._show()

    def _show(self) -> None:
        names = sorted(plan.name for plan in self._plans)
        if sorted(self._cards) != names:
            self._board.clear()
            with self._board:
                self._cards = {name: _PlanCard(name, self._choose) for name in names}
            self._order = names
        order = [plan.name for plan in self._plans]
        if order != self._order:
            self._order = order
            for place, name in enumerate(order):
                self._cards[name].element.move(target_index=place)
        chosen = rows.chosen(self._plans, self._name)
        for plan in self._plans:
            card = rows.card_of(plan, self._wishes)
            self._cards[plan.name].show(card, chosen=plan is chosen)
        self._show_config(chosen)

    def _choose(self, name: str) -> None:
        self._name = name
        self._show()

    def _config(self) -> None:
        with ui.row().classes("pk-row pk-spread"):
            self._title = pieces.heading("Its config")
            button = ui.button("Download pgkeep.toml", on_click=self._download)
            button.props("unelevated").classes("pk-primary")
        self._command = ui.element("div").classes("w-full")
        self._text = ui.label().classes("pk-log pk-tall")
        self._text.props('role="region" aria-label="pgkeep.toml" tabindex="0"')
        with ui.expansion("How its numbers come about").classes("w-full").props("dense"):
            self._arithmetic = ui.label().classes("pk-lines pk-muted")
        with ui.expansion("The server's settings").classes("w-full").props("dense"):
            self._settings = ui.label().classes("pk-log")

    def _show_config(self, plan: Plan) -> None:
        self._text.set_text(self._config_of(plan))
        self._arithmetic.set_text("\n".join(rows.arithmetic_of(plan)))
        self._settings.set_text(settings_text(plan, self._wishes) or "It needs none.")
        self._command.clear()
        with self._command:
            words = rows.command_of(self._wishes, plan)
            pieces.command(pieces.pgkeep_words(self._visit, words))

    def _config_of(self, plan: Plan) -> str:
        conninfo, url = _own_places(self._visit)
        cluster = self._visit.cluster or "main"
        return config_text(plan, self._wishes, cluster=cluster, conninfo=conninfo, url=url)

    def _download(self) -> None:
        chosen = rows.chosen(self._plans, self._name)
        ui.download.content(self._config_of(chosen), "pgkeep.toml", "application/toml")


class _PlanCard:
    """One plan, changed in place so that nothing flickers."""

    def __init__(self, name: str, choose: Callable[[str], None]) -> None:
        with ui.element("article").classes("pk-card") as self.element:
            with ui.row().classes("pk-row tight"):
                self._recommended = pieces.badge("recommended", "good", "check_circle")
                self._fits = pieces.badge("misses a wish", "warn", "warning")
            self._title = ui.label().classes("pk-h2")
            self._why = ui.label().classes("pk-muted")
            self._facts = ui.element("div").classes("w-full")
            self._notes = ui.element("div").classes("pk-stack")
            self._button = ui.button(on_click=lambda: choose(name))
            self._button.props("unelevated dense padding='2px 12px'").classes("pk-plain")
        self._shown: object = None

    def show(self, card: Card, *, chosen: bool) -> None:
        if (card, chosen) == self._shown:
            return
        self._shown = (card, chosen)
        self.element.props(f'aria-label="{card.title}"')
        self.element.classes(
            add="pk-chosen" if chosen else "", remove="" if chosen else "pk-chosen"
        )
        self._recommended.set_visibility(bool(card.recommended))
        self._fits.set_visibility(bool(card.unmet))
        self._title.set_text(card.title)
        self._why.set_text(card.recommended)
        self._button.set_text("Its config is below" if chosen else "Show its config")
        self._button.set_enabled(not chosen)
        self._facts.clear()
        with self._facts:
            pieces.facts(card.facts)
        self._notes.clear()
        with self._notes:
            for line in card.unmet:
                ui.label(f"Not met: {line}").classes("pk-warn pk-wrap")
            for line in card.risks:
                ui.label(line).classes("pk-muted pk-small pk-wrap")


def _measured(visit: Visit) -> Measured:
    """Return what the last look knows of the chosen cluster."""
    health = visit.board.health(visit.cluster) if visit.cluster else None
    if health is None:
        return Measured()
    rate = health.wal_bytes_per_s
    return Measured(
        health.cluster_bytes, rate and rate * _DAY_S, health.rpo_goal_s, health.rto_goal_s
    )


def _own_places(visit: Visit) -> tuple[str, str]:
    """Return the connection and repository there are, for those who may see the settings."""
    if not visit.may("settings") or not visit.cluster:
        return "", ""
    conninfo = visit.board.config.config.clusters[visit.cluster].conninfo.reveal()
    address = visit.board.app(visit.cluster).place.address
    shown = address if harmless(address) == address else ""
    return "" if holds_secret(conninfo) else conninfo, shown
