"""Overview: how well every cluster is protected, what to do now, what runs."""

from collections.abc import Collection
from typing import Final

from nicegui import ui

from pgkeep.health.condition import Condition
from pgkeep.health.health import Health, State
from pgkeep.service.jobs.job import JobRun, JobState
from pgkeep.web import pieces
from pgkeep.web.rows import sentences
from pgkeep.web.site import NO_CLUSTER, Site, address
from pgkeep.web.theme import STATES
from pgkeep.web.visit import Visit
from pgkeep.web.words import ago

_REFRESH_S: Final = 2.0
_MOST_TODO: Final = 12
_MOST_ROWS: Final = 250  # of clusters: more are found by their names


def register(site: Site) -> None:
    site.page("/", "Overview", _Overview)


class _Overview:
    """The page; refreshed in place, so that nothing flickers and no focus is lost."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._rows: dict[str, _Row] = {}
        self._jobs: dict[str, _JobRow] = {}
        self._told: object = None
        self._counted: object = None
        self._troubled: list[str] = []
        self._state: State | None = None
        self._chips = ui.row().classes("pk-row tight").props('role="group" aria-label="By state"')
        self._troubles = ui.element("div").classes("pk-stack").props('aria-live="polite"')
        self._todo = ui.element("section").classes("pk-card").props('aria-label="To do now"')
        self._running = ui.element("section").classes("pk-card").props('aria-label="Running"')
        with self._running:
            pieces.heading("Running now")
        with ui.row().classes("pk-row pk-spread"):
            pieces.heading("Clusters")
            self._filter = ui.input("Filter by name", on_change=self._refresh)
            self._filter.props("dense outlined clearable")
            self._filter.set_visibility(len(visit.board.clusters()) > 5)
        self._list = ui.element("section").classes("pk-card pk-clusters")
        self._list.props('aria-label="Clusters"')
        self._refresh()
        visit.live(_REFRESH_S, self._refresh)

    def _refresh(self) -> None:
        board = self._visit.board
        names = board.clusters()
        healths = {name: board.health(name) for name in names}
        self._show_counts(list(healths.values()))
        ordered = sentences.worst_first(names, [healths[name] for name in names])
        self._show_troubles(list(board.troubles))
        self._show_todo(sentences.todo(healths[name] for name in ordered))
        self._show_running([run for run in board.under_way() if not run.state.is_over])
        wanted = str(self._filter.value or "").strip().lower()
        shown = [n for n in ordered if wanted in n.lower() and self._is_wanted(healths[n])]
        self._show_clusters(shown[:_MOST_ROWS], healths, len(shown))

    def _show_troubles(self, found: list[str]) -> None:
        """Tell what is wrong with the service itself: alerts that reach nobody."""
        if found == self._troubled:
            return
        self._troubled = found
        self._troubles.clear()
        with self._troubles:
            for one in found:
                ui.label(one).classes("pk-notice warn pk-wrap")

    def _is_wanted(self, health: Health | None) -> bool:
        return self._state is None or (health is not None and health.state is self._state)

    def _show_counts(self, healths: list[Health | None]) -> None:
        counts = sentences.counts(healths)
        if (counts, self._state) == self._counted:
            return
        self._counted = (counts, self._state)
        self._chips.clear()
        with self._chips:
            for state, count in counts.items():
                self._chip(state, count)
            if not counts:
                first = "The first look at the clusters is under way."
                ui.label(first if healths else NO_CLUSTER).classes("pk-muted")

    def _chip(self, state: State, count: int) -> None:
        kind, icon = STATES[state]

        def choose() -> None:
            self._state = None if self._state is state else state
            self._refresh()

        pressed = str(self._state is state).lower()
        button = ui.button(f"{count} {state.value}", icon=icon, on_click=choose)
        button.props(f'unelevated no-caps dense padding="3px 12px" aria-pressed="{pressed}"')
        button.classes(f"pk-chip {kind}")

    def _show_todo(self, found: list[Condition]) -> None:
        if found == self._told:
            return
        self._told = found
        self._todo.clear()
        several = len(self._visit.board.clusters()) > 1
        with self._todo:
            pieces.heading("To do now")
            if not found:
                with ui.element("div").classes("pk-condition good"):
                    ui.label("Nothing: no cluster has a condition.").classes("pk-muted")
            for one in found[:_MOST_TODO]:
                if several and one.cluster:
                    _link(one.cluster)
                pieces.condition(self._visit, one)
            if len(found) > _MOST_TODO:
                more = f"and {len(found) - _MOST_TODO} more, in the clusters below"
                ui.label(more).classes("pk-muted")

    def _show_running(self, runs: list[JobRun]) -> None:
        self._running.set_visibility(bool(runs))
        known = {run.job.id for run in runs}
        for id in [id for id in self._jobs if id not in known]:
            self._jobs.pop(id).element.delete()
        for run in runs:
            if run.job.id not in self._jobs:
                with self._running:
                    self._jobs[run.job.id] = _JobRow(run, self._visit.pages)
            self._jobs[run.job.id].show(run)

    def _show_clusters(
        self, names: list[str], healths: dict[str, Health | None], count: int
    ) -> None:
        if list(self._rows) != names:
            self._list.clear()
            self._rows.clear()
            with self._list:
                for name in names:
                    self._rows[name] = _Row(self._visit, name)
                if count > len(names):
                    said = f"{count - len(names)} more: filter by name to see them"
                    ui.label(said).classes("pk-muted").style("padding: 10px 16px")
                if not names:
                    ui.label("No cluster fits.").classes("pk-muted").style("padding: 10px 16px")
        for name in names:
            self._rows[name].show(healths[name])


class _Row:
    """One cluster."""

    def __init__(self, visit: Visit, name: str) -> None:
        self._visit = visit
        self._state: object = ()
        with ui.element("div").classes("pk-cluster"):
            self._badge = ui.element("div")
            _link(name)
            self._words = ui.label().classes("pk-sentence pk-wrap")
            self._looked = ui.label().classes("pk-muted pk-small pk-wide")

    def show(self, health: Health | None) -> None:
        now = self._visit.board.now()
        state = health.state if health else None
        if state != self._state:
            self._state = state
            self._badge.clear()
            with self._badge:
                pieces.state_badge(state)
        self._words.set_text(sentences.sentence(health, now, self._visit.zone))
        if health is not None:
            count = len(health.conditions)
            looked = f"looked {ago(health.looked_at, now)}"
            self._looked.set_text(f"{count} to do, {looked}" if count else looked)


class _JobRow:
    """One job under way."""

    def __init__(self, run: JobRun, pages: Collection[str]) -> None:
        job = run.job
        with ui.element("div").classes("pk-stack") as self.element:
            with ui.row().classes("pk-row"):
                self._badge = ui.element("div")
                ui.label(f"{job.kind} of {job.cluster}").classes("pk-strong pk-wrap")
                ui.label(f"by {job.by}").classes("pk-muted pk-small")
                self._words = ui.label().classes("pk-muted pk-wrap")
                ui.space()
                if "/jobs" in pages:
                    ui.link("Log", address("/jobs", cluster=job.cluster, job=job.id))
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress"')
        self._state: JobState | None = None

    def show(self, run: JobRun) -> None:
        if run.state is not self._state:
            self._state = run.state
            self._badge.clear()
            with self._badge:
                pieces.job_badge(run.state)
        waiting = run.state is JobState.WAITING
        self._words.set_text("" if waiting else pieces.progress_words(run.progress))
        share = pieces.share(run.progress)
        self._bar.set_visibility(share is not None)
        self._bar.set_value(share or 0)


def _link(cluster: str) -> None:
    ui.link(cluster, address("/timeline", cluster=cluster)).classes("pk-strong pk-wrap")
