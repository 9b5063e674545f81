"""Timeline: what can be restored of a cluster, and what becomes of any one moment."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from nicegui import ui

from pgkeep.api.rights import NEEDS
from pgkeep.errors import PgkeepError
from pgkeep.model.target import AtTime
from pgkeep.units import format_duration, format_size
from pgkeep.web import pieces
from pgkeep.web.following import Work, outcome
from pgkeep.web.site import Site
from pgkeep.web.timeline.asking import (
    Answer,
    Wanted,
    ask,
    canonical,
    new_directory,
    restore_words,
)
from pgkeep.web.timeline.chart import Chart
from pgkeep.web.timeline.dialogs import restore_dialog, sandbox_dialog
from pgkeep.web.timeline.drawing import drawing
from pgkeep.web.timeline.facts import Facts
from pgkeep.web.timeline.reading import read
from pgkeep.web.visit import Visit, notice, waiting
from pgkeep.web.words import target_time

_REFRESH_S: Final = 60.0
_LEGEND: Final = (
    ("Can be restored", "--pk-band"),
    ("Hole", "--pk-bad"),
    ("Backup", "--pk-accent"),
    ("Dump", "--pk-unknown"),
    ("Restore point", "--pk-warn"),
    ("Drill that passed", "--pk-good"),
    ("Destroyed something", "--pk-bad"),
)


def register(site: Site) -> None:
    site.page("/timeline", "Timeline", _timeline)


def _timeline(visit: Visit) -> None:
    board, cluster = visit.board, visit.cluster
    visit.load(lambda: read(board.app(cluster), board.now()), lambda facts: _show(visit, facts))


def _show(visit: Visit, facts: Facts) -> None:
    _Timeline(visit, facts)


class _Timeline:
    """The page, once its facts are read."""

    def __init__(self, visit: Visit, facts: Facts) -> None:
        self._visit, self._read_at = visit, facts.now
        with ui.element("section").classes("pk-card").props('aria-label="Timeline"'):
            self._toolbar()
            self._chart = Chart(drawing(facts, visit.zone), self._moment, self._mark)
            _legend()
            self._notes = ui.element("div").classes("pk-stack")
        with ui.element("section").classes("pk-card").props('aria-label="Moment"'):
            self._ask_row()
            self._answer = ui.element("div").classes("pk-stack").props('aria-live="polite"')
        self._work = Work(visit)
        with ui.expansion("As text").classes("w-full").props("dense"):
            self._text = ui.element("div").classes("pk-stack")
        self._tell(facts)
        self._work.take_up({"restore": outcome, "undo-sandbox": outcome})
        self._asked = 0
        visit.live(_REFRESH_S, self._again)
        wanted = visit.query.get("to", "")
        if wanted:
            self._before.set_value(bool(visit.query.get("before")))
            self._input.set_value(wanted)
            ui.timer(0, self._look_up, once=True)

    def _toolbar(self) -> None:
        with ui.row().classes("pk-row tight"):
            for title, seconds in (("Hour", 3600), ("Day", 86400), ("Week", 604800)):
                self._tool(title, lambda s=seconds: self._chart.show_last(s), f"The last {title}")
            self._tool("All", self._show_all, "All that is known")
            ui.space()
            for icon, title, factor in (("zoom_in", "Zoom in", 0.6), ("zoom_out", "Zoom out", 1.7)):
                button = ui.button(icon=icon, on_click=lambda f=factor: self._chart.zoom(f))
                button.props(f'flat dense round aria-label="{title}"').classes("pk-icon")

    def _show_all(self) -> None:
        self._chart.show_all()

    @staticmethod
    def _tool(title: str, act: Any, name: str) -> None:
        button = ui.button(title, on_click=act).classes("pk-plain")
        button.props(f'unelevated dense no-caps padding="2px 10px" aria-label="{name}"')

    def _ask_row(self) -> None:
        with ui.row().classes("pk-row top"):
            self._input = ui.input("Moment", value="latest").classes("pk-moment")
            self._input.props(
                'outlined dense hint="Click on the timeline, or type what restore --to takes: '
                'latest, a time, xid:…, lsn:…, name:…"'
            )
            self._input.on("keydown.enter", self._typed)
            self._before = ui.checkbox("just before it")
            pieces.starter("Look up", self._typed)

    def _tell(self, facts: Facts) -> None:
        self._read_at = facts.now
        self._notes.clear()
        with self._notes:
            for note in facts.notes:
                ui.label(note).classes("pk-muted pk-small pk-wrap")
            if not facts.lanes:
                said = "Nothing can be restored yet: there is no backup."
                ui.label(said).classes("pk-notice warn")
                pieces.command(pieces.pgkeep_words(self._visit, ["backup"]))
        self._text.clear()
        with self._text:
            _as_text(self._visit, facts)

    def _tell_old(self, error: PgkeepError) -> None:
        if self._notes.is_deleted:
            return
        self._notes.clear()
        with self._notes:
            read_at = self._visit.short(self._read_at)
            ui.label(f"This is as it was at {read_at}.").classes("pk-notice warn")
            notice(error)

    async def _again(self) -> None:
        visit = self._visit
        try:
            board, cluster = visit.board, visit.cluster
            facts = await visit.read(lambda: read(board.app(cluster), board.now()))
        except PgkeepError as error:
            self._tell_old(error)
            return
        if not self._text.is_deleted:
            self._chart.draw(drawing(facts, visit.zone))
            self._tell(facts)

    async def _moment(self, ms: int) -> None:
        self._before.set_value(False)
        self._input.set_value(target_time(datetime.fromtimestamp(ms / 1000, UTC)))
        await self._look_up()

    async def _mark(self, mark: Mapping[str, Any]) -> None:
        if not mark["target"]:
            return
        self._before.set_value(bool(mark["before"]))
        self._input.set_value(str(mark["target"]))
        await self._look_up(int(mark["at"]))

    async def _typed(self) -> None:
        await self._look_up()

    async def _look_up(self, at: int | None = None) -> None:
        visit = self._visit
        if not visit.is_current():
            visit.log_in_again()
            return
        self._asked += 1
        mine = self._asked
        wanted = Wanted(str(self._input.value or "").strip(), bool(self._before.value))
        self._chart.choose(at if at is not None else _moment_of(wanted.text, visit))
        self._answer.clear()
        with self._answer:
            waiting("Looking it up in the archived WAL…")
        directory, found = _directory(visit), Answer(wanted, wanted.text)
        try:
            board, cluster = visit.board, visit.cluster
            found = await visit.read(lambda: ask(board.app(cluster), wanted, visit.zone, directory))
        except PgkeepError as error:
            found = replace(found, error=error)
        if mine != self._asked or self._answer.is_deleted:
            return  # another moment was chosen meanwhile, or the page is gone
        self._answer.clear()
        with self._answer:
            self._show(found)

    def _show(self, answer: Answer) -> None:
        visit, plan = self._visit, answer.plan
        if plan is None:
            assert answer.error is not None
            word = "no room for it" if answer.no_room else "cannot be reached"
            pieces.badge(word, "bad", "error")
            notice(answer.error)
            return
        pieces.badge("can be restored", "good", "check_circle")
        how = "by the last drill" if answer.measured else "a guess: no drill has measured it here"
        pieces.facts(
            [
                ("Moment", _in_words(answer, visit)),
                ("Backup", f"{plan.backup.id}, of {visit.long(plan.backup.stopped_at)}"),
                ("Stops", str(plan.stop) if plan.stop else "at the end of the archived WAL"),
                ("Timeline", str(plan.timeline)),
                ("WAL to replay", f"at most {format_size(plan.wal_bytes)}"),
                ("Takes", f"about {format_duration(answer.seconds)} ({how})"),
                *(("Note", warning) for warning in plan.warnings),
            ]
        )
        words = restore_words(answer, plan.target_dir)
        pieces.command(pieces.pgkeep_words(visit, words))
        with ui.row().classes("pk-row"):
            self._act("Restore here…", "restore", answer, _why_no_restore(visit))
            self._act("Open a sandbox here…", "sandbox", answer, "")

    def _act(self, title: str, act: str, answer: Answer, why_not: str) -> None:
        visit = self._visit

        def show() -> None:
            made = restore_dialog if act == "restore" else sandbox_dialog
            with self._work.place:
                made(visit, answer, self._work.follow).open()

        button = pieces.starter(title, show, "pk-primary" if act == "restore" else "pk-plain")
        if not visit.may(act):
            why_not = f"It takes role {NEEDS[act]}; you are {visit.user.role}."
        if why_not:
            button.disable()
            ui.label(why_not).classes("pk-muted pk-small")


def _directory(visit: Visit) -> str:
    tops = visit.board.config.config.service.restore_directories
    return new_directory(
        tops[0] if tops else tempfile.gettempdir(), visit.cluster, visit.board.now()
    )


def _why_no_restore(visit: Visit) -> str:
    if visit.board.config.config.service.restore_directories:
        return ""
    return "Restoring from here is off: [service] restore_directories names no folder."


def _moment_of(text: str, visit: Visit) -> int | None:
    try:
        target, _ = canonical(text, visit.zone)
    except PgkeepError:
        return None
    return int(target.time.timestamp() * 1000) if isinstance(target, AtTime) else None


def _in_words(answer: Answer, visit: Visit) -> str:
    before = "just before " if answer.wanted.before else ""
    target, typed = canonical(answer.target, UTC)
    return before + (visit.long(target.time) if isinstance(target, AtTime) else typed)


def _legend() -> None:
    with ui.element("div").classes("pk-legend"):
        for title, colour in _LEGEND:
            with ui.element("span").classes("key").style(f"--key: var({colour})"):
                ui.label(title).style("display: inline")


def _as_text(visit: Visit, facts: Facts) -> None:
    """Tell what is drawn to whoever does not see it."""
    for lane in facts.lanes:
        pieces.heading(lane.title, 3)
        rows = [("Restorable", f"{visit.long(b.start)} to {visit.long(b.end)}") for b in lane.bands]
        rows += [("Hole", f"{gap.words}, from {visit.long(gap.start)}") for gap in lane.gaps]
        pieces.facts(rows)
    pieces.heading("What happened, the newest first", 3)
    newest = list(reversed(facts.marks))[:100]
    pieces.facts([(visit.short(m.at), ", ".join((m.title, *m.words))) for m in newest])
