"""A job as it goes: state, progress, log; on whichever page it was started."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from nicegui import ui

from pgkeep.api.errors import NotAllowed
from pgkeep.errors import PgkeepError
from pgkeep.service.jobs.job import Job, JobRun, JobState
from pgkeep.units import format_duration, format_size
from pgkeep.web import pieces
from pgkeep.web.visit import Visit, say, sentence
from pgkeep.web.words import capital

_GLANCE_S: Final = 0.7
_TAIL: Final = 60  # lines of the log
_COMMANDS: Final = ("Start command", "Psql")  # of reports, to be copied


Ended = Callable[[JobRun], object]


class Work:
    """Where a page shows the jobs that were started on it, the newest first."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.place = ui.element("div").classes("pk-stack")

    def follow(self, job: Job, ended: Ended | None = None) -> None:
        """Show a job until it is over, and then what came of it, or what `ended` makes of it."""
        with self.place, ui.element("section").classes("pk-card") as card:
            card.props('aria-label="What was started"')
            try:
                Following(self._visit, job.id, ended)
            except PgkeepError as error:
                say(error)
        card.move(target_index=0)

    def take_up(self, kinds: Mapping[str, Ended]) -> None:
        """Show what runs for the cluster already, of some kinds: who loads a page again sees it."""
        for run in self._visit.board.under_way():
            job = run.job
            if job.cluster == self._visit.cluster and job.kind in kinds:
                self.follow(job, kinds[job.kind])


class Following:
    """What is shown of one job while it runs, and when it is over."""

    def __init__(self, visit: Visit, id: str, ended: Ended | None = None) -> None:
        self._visit, self._id, self._ended = visit, id, ended or outcome
        self._acting = visit.parts.acting
        self._offset, self._lines = 0, [""]
        self._state: JobState | None = None
        run = self._acting.seen(visit.caller, visit.board.job(id))
        with ui.element("div").classes("pk-stack").props('role="group" aria-label="Job"'):
            pieces.command(pieces.pgkeep_words(visit, run.job.words, run.job.cluster))
            with ui.row().classes("pk-row"):
                self._badge = ui.element("span")
                self._words = ui.label().classes("pk-muted pk-wrap").props('aria-live="polite"')
                ui.space()
                self._cancel = ui.button("Cancel", on_click=self._stop).classes("pk-plain")
                self._cancel.props("dense unelevated no-caps padding='2px 10px'")
                self._cancel.set_visibility(visit.may("jobs-cancel"))
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress"')
            self._outcome = ui.element("div").classes("pk-stack")
            self._log = (
                ui.label().classes("pk-log").props('role="log" aria-label="Log" tabindex="0"')
            )
        self._timer = visit.live(_GLANCE_S, self._look)
        self._look()

    def _look(self) -> None:
        try:
            run = self._acting.seen(self._visit.caller, self._visit.board.job(self._id))
            self._read_log()
        except NotAllowed as error:  # it may show rows: how the job goes is for everybody
            self._log.set_text(sentence(error))
        except PgkeepError as error:  # forgotten by now
            self._timer.deactivate()
            say(error)
            return
        if run.job.by == self._visit.user.name and not run.state.is_over:
            self._visit.stay()
        self._show(run)

    def _read_log(self) -> None:
        while True:
            piece, self._offset = self._acting.log(self._visit.caller, self._id, self._offset)
            if not piece:
                break
            first, *more = piece.split("\n")
            self._lines[-1] += first
            self._lines = [*self._lines, *more][-_TAIL:]
        text = "\n".join(self._lines).strip()
        if text != self._log.text:
            self._log.set_text(text)
        # Its first line is the command, which stands above.
        self._log.set_visibility("\n" in text)

    def _show(self, run: JobRun) -> None:
        if run.state is not self._state:
            self._state = run.state
            self._badge.clear()
            with self._badge:
                pieces.job_badge(run.state)
            if run.state.is_over:
                self._end(run)
        if run.state is JobState.RUNNING:
            self._words.set_text(pieces.progress_words(run.progress))
            share = pieces.share(run.progress)
            self._bar.props(remove="indeterminate") if share is not None else self._bar.props(
                "indeterminate"
            )
            self._bar.set_value(share or 0)
        elif run.state is JobState.WAITING:
            self._words.set_text("for another job of this cluster to end")

    def _end(self, run: JobRun) -> None:
        self._timer.deactivate()
        self._bar.set_visibility(False)
        self._cancel.set_visibility(False)
        began, ended = run.began_at, run.ended_at
        took = pieces.took(began, ended)
        self._words.set_text(f"took {took}" if took else "")
        with self._outcome:
            # An error is told in the same way whatever was done.
            outcome(run) if run.error else self._ended(run)

    def _stop(self) -> None:
        try:
            self._visit.check_log_in()
            self._visit.parts.acting.cancel(self._visit.caller, self._id)
        except PgkeepError as error:
            say(error)


def outcome(run: JobRun) -> None:
    """Show what came of a job that is over: its error, or the plain facts of its report."""
    if run.error:
        with ui.element("div").classes("pk-notice bad").props('role="alert"'):
            ui.label(str(run.error.get("message") or "it failed")).classes("pk-strong pk-wrap")
            if run.error.get("hint"):
                ui.label(str(run.error["hint"])).classes("pk-wrap")
        return
    report = run.report or {}
    rows = [(_title(k), _words(k, v)) for k, v in report.items() if _is_plain(v)]
    if rows:
        pieces.facts([row for row in rows if row[0] not in _COMMANDS])
    for title, text in rows:
        if title in _COMMANDS:
            ui.label(title).classes("pk-muted")
            pieces.command(text)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and value not in ("", False)


def _title(key: str) -> str:
    words = key.removesuffix("_s").replace("_", " ").replace("lsn", "LSN").replace("wal", "WAL")
    return capital(words)


def _words(key: str, value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, int | float) and key.endswith(("seconds", "_s")):
        return format_duration(value)
    if isinstance(value, int) and key.endswith(("bytes", "size", "stored")):
        return format_size(value)
    return str(value)
