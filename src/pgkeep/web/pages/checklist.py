"""Checklist: what must be done for a cluster in production, whether it is, and the proof."""

from typing import Final

from nicegui import ui

from pgkeep.checklist.row import Checklist, Row, State
from pgkeep.checklist.rows import checklist
from pgkeep.service.jobs.job import JobRun, JobState
from pgkeep.web import pieces
from pgkeep.web.dialogs import Act, Dialog, offer
from pgkeep.web.following import Work
from pgkeep.web.site import Site
from pgkeep.web.visit import Visit
from pgkeep.web.words import capital

_STATES: Final = {
    State.OK: ("good", "check_circle"),
    State.UNKNOWN: ("unknown", "help"),
    State.DUE: ("warn", "schedule"),
    State.NOT_SET_UP: ("muted", "block"),
    State.FAILED: ("bad", "error"),
}


def register(site: Site) -> None:
    site.page("/checklist", "Checklist", _Checklist)


class _Checklist:
    """The page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._work = Work(visit)
        self._place = ui.element("div").classes("pk-stack")
        self._refresh()
        self._work.take_up({"checklist": self._over})

    def _refresh(self) -> None:
        visit, board = self._visit, self._visit.board
        self._place.clear()
        with self._place:
            visit.load(lambda: checklist(board.app(visit.cluster), board.now()), self._show)

    def _show(self, found: Checklist) -> None:
        with ui.row().classes("pk-row"):
            if found.wanting:
                pieces.badge(f"{len(found.wanting)} to do", "warn", "warning")
            else:
                pieces.badge("nothing to do", "good", "check_circle")
            ui.label(f"Looked at {self._visit.short(found.looked_at)}").classes("pk-muted")
            ui.space()
            if self._visit.may("check"):
                pieces.starter("Put it on record…", self._record, "pk-plain")
        with ui.element("section").classes("pk-card pk-clusters") as section:
            section.props('aria-label="Checklist"')
            # What wants action comes first; within that the order is the checklist's own.
            for row in sorted(found.rows, key=_urgency):
                self._row(row)

    def _row(self, row: Row) -> None:
        kind, icon = _STATES[row.state]
        with ui.element("div").classes("pk-backup"):
            with ui.row().classes("pk-row"):
                pieces.badge(row.state.value, kind, icon)
                ui.label(capital(row.name)).classes("pk-strong pk-wrap")
                ui.label(row.how_often).classes("pk-muted pk-small")
            ui.label(capital(row.why)).classes("pk-muted pk-wrap")
            done = [("Proof", row.proof)] if row.proof else []
            if row.last_done is not None:
                done.append(("Last done", self._visit.long(row.last_done)))
            if row.next_due is not None:
                done.append(("Due again", self._visit.long(row.next_due)))
            pieces.facts(done)
            if row.todo:
                pieces.todo(self._visit, row.todo, self._visit.cluster)

    def _record(self) -> None:
        with self._work.place, Dialog("Put it on record") as dialog:
            ui.label(
                "Keeps in the repository what was found today, and how much is stored: an auditor "
                "can read it there."
            ).classes("pk-muted")
        words = ("checklist", "--record")
        act = Act("Put on record", lambda: words, lambda job: self._work.follow(job, self._over))
        offer(self._visit, dialog, act)
        dialog.open()

    def _over(self, run: JobRun) -> None:
        if run.state is not JobState.DONE:
            ui.label("It is not on record: the job's log says why.").classes("pk-strong")
            return
        wanting = [row for row in (run.report or {}).get("rows", ()) if _wants_action(row)]
        said = f"On record, with {len(wanting)} to do." if wanting else "On record: nothing to do."
        ui.label(said).classes("pk-strong")
        self._refresh()


def _urgency(row: Row) -> tuple[bool, int]:
    return not row.state.wants_action, -row.state.rank


def _wants_action(row: dict[str, str]) -> bool:
    return State(row["state"]).wants_action
