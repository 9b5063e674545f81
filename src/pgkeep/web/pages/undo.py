"""Undo: look for what was destroyed, see what would come back, and bring it back."""

from collections.abc import Sequence
from datetime import datetime

from nicegui import ui

from pgkeep.api.rights import NEEDS
from pgkeep.service.jobs.job import Job, JobRun
from pgkeep.undo.event import Event
from pgkeep.undo.finding.remembered import Remembered
from pgkeep.units import plural
from pgkeep.web import pieces
from pgkeep.web.dialogs import Act, Dialog, offer
from pgkeep.web.following import Work
from pgkeep.web.rows import events as rows
from pgkeep.web.rows.events import Ask, Lost, Preview, Way
from pgkeep.web.site import Site, address
from pgkeep.web.visit import Visit


def register(site: Site) -> None:
    site.page("/undo", "Undo", _Undo, act="undo-find")


class _Undo:
    """The page: the search, what it found, and the event that was chosen."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        with ui.element("section").classes("pk-card").props('aria-label="Look for accidents"'):
            pieces.heading("Look for accidents")
            self._search()
        self._finding = Work(visit)
        pieces.heading("What was destroyed, the newest first")
        self._list = ui.element("section").classes("pk-card pk-clusters")
        self._list.props('aria-label="What was destroyed"')
        self._chosen = ui.element("div").classes("pk-stack").props('aria-live="polite"')
        self._refresh()
        returns = dict.fromkeys(("undo-table", "undo-rows", "undo-database"), _show_either)
        self._finding.take_up({"undo-find": self._found, **returns})

    def _search(self) -> None:
        ui.label(
            "Looks through archived WAL for tables and rows that were dropped, emptied, deleted or "
            "updated, and for the last moment before each. It changes nothing."
        ).classes("pk-muted")
        with ui.row().classes("pk-row top"):
            since = ui.input("Since", value="24h").props('outlined dense hint="2h, or a time"')
            table = ui.input("Only this table").props('outlined dense hint="app.public.users"')
            least = ui.number("At least so many rows", min=1, format="%d")
            least.props('outlined dense hint="else 1,000, or half of a table"')
            pieces.starter("Look", lambda: self._look(words()))
        shown = ui.element("div").classes("w-full")

        def words() -> tuple[str, ...]:
            number = str(int(least.value)) if least.value else ""
            return rows.find_words(since.value or "", table.value or "", number)

        def again() -> None:
            shown.clear()
            with shown:
                pieces.command(pieces.pgkeep_words(self._visit, words()))

        for field in (since, table, least):
            field.on_value_change(again)
        again()

    def _look(self, words: tuple[str, ...]) -> None:
        job = self._visit.start(words)
        if job is not None:
            self._finding.follow(job, self._found)

    def _found(self, run: JobRun) -> None:
        report = run.report or {}
        count = len(report.get("events", ()))
        ui.label(f"{plural(count, 'event') if count else 'No events'} found.").classes("pk-strong")
        for blind in report.get("blind", ()):
            which = f"{blind['first']} to {blind['last']}"
            said = f"What was done in WAL {which} is not seen: {blind['why']}"
            ui.label(said).classes("pk-notice warn pk-wrap")
        for note in report.get("notes", ()):
            ui.label(str(note)).classes("pk-muted pk-wrap")
        self._refresh()

    def _refresh(self) -> None:
        visit = self._visit
        self._chosen.clear()
        self._list.clear()

        def read() -> tuple[list[Event], datetime | None]:
            found = Remembered.of(visit.board.app(visit.cluster).cluster_to_read)
            return found.events(), found.searched_at()

        with self._list:
            visit.load(read, self._show)

    def _show(self, searched: tuple[Sequence[Event], datetime | None]) -> None:
        found, at = searched
        newest = sorted(found, key=lambda event: event.commit_time, reverse=True)
        pieces.portions(newest, self._row)
        if not found:
            said = "Nothing: no search has found anything. Look for accidents above."
            ui.label(said).classes("pk-muted")
        if at is not None:
            ui.label(f"By the search of {self._visit.long(at)}.").classes("pk-muted pk-small")

    def _row(self, event: Event) -> None:
        with ui.element("div").classes("pk-cluster"):
            pieces.moment(self._visit, event.commit_time)
            ui.label(event.kind.words).classes("pk-strong")
            with ui.element("div").classes("pk-sentence"):
                ui.label(event.relation).classes("pk-wrap")
                ui.label(rows.words_of(event)).classes("pk-muted pk-small")
            button = ui.button("Choose", on_click=lambda: self._choose(event)).classes("pk-plain")
            button.props["aria-label"] = f"Choose {event.kind.words} of {event.relation}"
            button.props('unelevated dense padding="2px 10px"')

    def _choose(self, event: Event) -> None:
        self._chosen.clear()
        with self._chosen:
            _Chosen(self._visit, event)
        ui.run_javascript(f"document.getElementById('c{self._chosen.id}').scrollIntoView()")


class _Chosen:
    """One event: what of it comes back, and how."""

    def __init__(self, visit: Visit, event: Event) -> None:
        self._visit, self._event = visit, event
        self._lost = {one.name: one for one in rows.lost_by(event)}
        self._offers: list[tuple[ui.element, ui.button]] = []  # previews, and what takes them up
        with ui.element("section").classes("pk-card").props('aria-label="Chosen event"'):
            pieces.heading(f"{event.kind.words.capitalize()}: {event.relation}")
            pieces.facts(
                [
                    ("Committed", visit.long(event.commit_time)),
                    ("Last moment before", f"lsn:{event.stop_lsn}"),
                    ("Rows", rows.rows_of(event)),
                    *(("Note", line) for line in rows.details_of(event)),
                ]
            )
            target = f"lsn:{event.stop_lsn}"
            link = address("/timeline", cluster=visit.cluster, to=target, before="1")
            ui.link("Look at this moment on the timeline", link)
            if not self._lost:
                said = "No table or database of it is known by name: restore the moment before it."
                ui.label(said).classes("pk-notice warn")
                return
            if not visit.may("undo"):
                said = f"Bringing back takes role {NEEDS['undo']}; you are {visit.user.role}."
                ui.label(said).classes("pk-notice")
                return
            self._form()
        self._previews = Work(visit)

    def _form(self) -> None:
        first = next(iter(self._lost.values()))
        with ui.row().classes("pk-row top"):
            self._what = ui.select(list(self._lost), value=first.name, label="Bring back")
            self._what.props("outlined dense options-dense").classes("pk-grow")
            self._into = ui.input("Under another name").props("outlined dense")
            self._where = ui.input("Only rows where (SQL)").props("outlined dense")
        self._way = ui.radio({way: way.value for way in Way}, value=first.way)
        self._way.props('dense aria-label="How"')
        self._way.set_visibility(first.noun == "table")
        shown = ui.element("div").classes("w-full")
        button = pieces.starter("Show what would come back", self._preview)
        button.style("align-self: flex-start")

        def again() -> None:
            shown.clear()
            self._into.set_visibility(self._takes_name)
            self._where.set_visibility(self._takes_where)
            with shown:
                words = rows.return_words(self._ask(), preview=True)
                pieces.command(pieces.pgkeep_words(self._visit, words))

        for field in (self._what, self._into, self._where, self._way):
            field.on_value_change(again)
        again()

    @property
    def _lost_one(self) -> Lost:
        return self._lost[str(self._what.value)]

    @property
    def _takes_name(self) -> bool:
        return self._lost_one.noun == "database" or Way(self._way.value) is Way.BESIDE

    @property
    def _takes_where(self) -> bool:
        """Whether single rows may be chosen: of a table that is there, by whoever may write SQL."""
        is_there = Way(self._way.value) is not Way.INTO_PLACE
        return is_there and self._visit.may("undo-by-sql")

    def _ask(self) -> Ask:
        into = str(self._into.value or "").strip() if self._takes_name else ""
        where = str(self._where.value or "").strip() if self._takes_where else ""
        return Ask(self._event, self._lost_one, Way(self._way.value), into, where)

    def _preview(self) -> None:
        ask = self._ask()
        job = self._visit.start(rows.return_words(ask, preview=True))
        if job is not None:
            self._previews.follow(job, lambda run: self._seen(run, ask))

    def _seen(self, run: JobRun, ask: Ask) -> None:
        if run.report is None:
            return
        preview = rows.preview_of(run.report)
        with ui.element("div").classes("pk-stack") as shown:
            _show(preview)
        if preview.in_vain:
            return
        button = pieces.starter("Bring it back…", lambda: self._ask_for_it(ask))
        button.style("align-self: flex-start")
        self._offers.append((shown, button))

    def _ask_for_it(self, ask: Ask) -> None:
        with self._previews.place, Dialog("Bring it back") as dialog:
            said = "This changes the live server. A restore point is set before any change."
            ui.label(said).classes("pk-notice warn")
            pieces.facts([("What", ask.lost.name), ("How", ask.way.value)])
        act = Act(
            "Bring it back",
            lambda: rows.return_words(ask),
            self._bring_back,
            confirm=True,
        )
        offer(self._visit, dialog, act)
        dialog.open()

    def _bring_back(self, job: Job) -> None:
        """Follow it; from now on no preview tells how things are."""
        for _, button in self._offers:
            button.disable()
        self._previews.follow(job, self._over)

    def _over(self, run: JobRun) -> None:
        _returned(run)
        if run.report is None:
            return  # nothing has changed; another look offers it again
        for shown, button in self._offers:
            button.delete()
            shown.clear()
            with shown:
                said = "This was seen before it was brought back, and holds no more: show it again."
                ui.label(said).classes("pk-notice")
        self._offers.clear()


def _show(preview: Preview) -> None:
    pieces.facts(preview.facts)
    if preview.rows:
        pieces.heading(preview.listed, 3)
        pieces.table(preview.header, preview.rows)
    if preview.steps:
        pieces.heading("What will be done on the live server", 3)
        pieces.steps(preview.steps)
    if preview.in_vain:
        ui.label("No row is missing: there is nothing to bring back.").classes("pk-notice")


def _show_either(run: JobRun) -> None:
    """Show what came of a job that was under way when the page was opened."""
    if run.report is not None and "--dry-run" in run.job.words:
        _show(rows.preview_of(run.report))
    else:
        _returned(run)


def _returned(run: JobRun) -> None:
    if run.report is not None:
        pieces.facts(rows.returned(run.report))
