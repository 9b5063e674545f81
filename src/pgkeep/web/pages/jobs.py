"""Jobs: what runs and ran, one of them with its log as it goes, and what comes next."""

from typing import Final

from nicegui import ui

from pgkeep.errors import PgkeepError
from pgkeep.service.jobs.job import Job, JobRun
from pgkeep.web import pieces
from pgkeep.web.following import Following
from pgkeep.web.site import Site, address
from pgkeep.web.visit import Visit, notice

_REFRESH_S: Final = 3.0
_MOST: Final = 100  # jobs at first, and more when asked
_UPCOMING: Final = 10


def register(site: Site) -> None:
    site.page("/jobs", "Jobs", _Jobs)


class _Jobs:
    """The page; its list is made anew when a job begins or ends, not more often."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._shown: object = None
        self._most = _MOST
        chosen = visit.query.get("job", "")
        if chosen:
            self._show_one(chosen)
        pieces.heading("Jobs, the newest first")
        self._list = ui.element("section").classes("pk-card pk-clusters")
        self._list.props('aria-label="Jobs"')
        pieces.heading("What comes next")
        self._next = ui.element("section").classes("pk-card pk-clusters")
        self._next.props('aria-label="What comes next"')
        self._refresh()
        visit.live(_REFRESH_S, self._refresh)

    def _show_one(self, id: str) -> None:
        with ui.element("section").classes("pk-card").props('aria-label="Chosen job"'):
            pieces.heading(f"Job {id[:60]}")
            try:
                Following(self._visit, id)
            except PgkeepError as error:
                notice(error)

    def _refresh(self) -> None:
        board, cluster = self._visit.board, self._visit.cluster
        acting, caller = self._visit.parts.acting, self._visit.caller
        runs = [acting.seen(caller, run) for run in board.jobs(cluster or None, self._most + 1)]
        upcoming = board.upcoming(cluster or None)[:_UPCOMING]
        shown = ([(run.job.id, run.state) for run in runs], upcoming and upcoming[0].due_at)
        if shown == self._shown:
            return
        self._shown = shown
        self._list.clear()
        with self._list:
            for run in runs[: self._most]:
                self._row(run)
            if len(runs) > self._most:
                with ui.element("div").classes("pk-inset"):
                    button = ui.button("Show older ones", on_click=self._more).classes("pk-plain")
                    button.props('unelevated dense padding="2px 10px"')
            if not runs:
                _nothing("No job has run yet.")
        self._next.clear()
        with self._next:
            for job in upcoming:
                self._due(job)
            if not upcoming:
                _nothing("Nothing is scheduled: [clusters.NAME.schedule] says what and when.")

    def _more(self) -> None:
        self._most += _MOST
        self._refresh()

    def _row(self, run: JobRun) -> None:
        job = run.job
        with ui.element("div").classes("pk-cluster"):
            with ui.element("div"):
                pieces.job_badge(run.state)
            target = address("/jobs", cluster=self._visit.cluster, job=job.id)
            ui.link(job.kind, target).classes("pk-strong pk-wrap")
            ui.label(" ".join(job.words)).classes("pk-mono pk-sentence pk-wrap")
            with ui.row().classes("pk-row tight pk-muted pk-small"):
                pieces.moment(self._visit, run.began_at or job.asked_at)
                ui.label(pieces.took(run.began_at, run.ended_at))
                ui.label(f"by {job.by}")

    def _due(self, job: Job) -> None:
        with ui.element("div").classes("pk-cluster"):
            pieces.moment(self._visit, job.due_at)
            ui.label(job.kind).classes("pk-strong")
            ui.label(" ".join(job.words)).classes("pk-mono pk-sentence pk-wrap")


def _nothing(text: str) -> None:
    ui.label(text).classes("pk-muted").style("padding: 10px 16px")
