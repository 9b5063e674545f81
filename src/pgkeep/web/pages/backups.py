"""Backups and dumps: what there is, how far it is proven, and what is done about it."""

from collections.abc import Callable, Mapping
from typing import Final

from nicegui import ui

from pgkeep.api.rights import NEEDS
from pgkeep.repository.drills.report import Status
from pgkeep.service.jobs.job import JobRun, JobState
from pgkeep.units import format_size
from pgkeep.web import pieces, reading
from pgkeep.web.dialogs import Act, Dialog, offer
from pgkeep.web.following import Ended, Following, Work, outcome
from pgkeep.web.reading import DumpInside
from pgkeep.web.rows import backups as rows
from pgkeep.web.rows.backups import Found, Row
from pgkeep.web.site import Site
from pgkeep.web.visit import Visit


def register(site: Site) -> None:
    site.page("/backups", "Backups", _Backups)


class _Backups:
    """The page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        with ui.row().classes("pk-row"):
            self._button("Back up now…", "backup", self._back_up, "pk-primary")
            self._button("Dump now…", "dump", self._dump, "pk-plain")
            self._button("Verify all…", "verify", self._verify_all, "pk-plain")
        self._work = Work(visit)
        self._list = ui.element("div").classes("pk-stack")
        self._refresh()
        self._work.take_up({kind: self._over(ended) for kind, ended in _ENDED.items()})

    def _button(self, title: str, act: str, show: Callable[[], None], look: str) -> None:
        if self._visit.may(act):
            pieces.starter(title, show, look)

    def _refresh(self) -> None:
        visit, board = self._visit, self._visit.board
        self._list.clear()
        with self._list:
            visit.load(
                lambda: reading.backups_of(board.app(visit.cluster), board.now()), self._show
            )

    def _show(self, found: Found) -> None:
        made = rows.rows(found)
        said = f"As they were at {self._visit.short(found.now)}."
        ui.label(said).classes("pk-muted pk-small")
        for noun, title in (("backup", "Backups"), ("dump", "Dumps")):
            own = [row for row in made if row.noun == noun]
            pieces.heading(f"{title}, the newest first")
            with ui.element("section").classes("pk-card pk-clusters") as section:
                section.props(f'aria-label="{title}"')
                pieces.portions(own, self._row)
                if not own:
                    ui.label("There is none yet.").classes("pk-muted pk-inset")

    def _row(self, row: Row) -> None:
        with ui.element("div").classes("pk-backup"):
            with ui.row().classes("pk-row"):
                if row.at is not None:
                    pieces.moment(self._visit, row.at)
                ui.label(row.title).classes("pk-strong pk-wrap")
                ui.label(row.id).classes("pk-mono pk-muted")
                for state in row.states:
                    pieces.badge(state.word, state.kind).tooltip(state.says)
            if row.words:
                ui.label(row.words).classes("pk-muted pk-small pk-wrap")
            troubles = [one for one in row.states if one.kind in ("bad", "warn") and one.says]
            for state in troubles:
                ui.label(f"{state.word}: {state.says}").classes(f"pk-{state.kind} pk-small pk-wrap")
            with ui.row().classes("pk-row tight"):
                self._acts(row)

    def _acts(self, row: Row) -> None:
        def act(title: str, needed: str, show: Callable[[Row], None]) -> None:
            if not self._visit.may(needed):
                return
            button = pieces.starter(title, lambda: show(row), "pk-plain")
            button.props('dense padding="1px 9px"')
            button.props["aria-label"] = f"{title} {row.id}"

        if row.noun == "dump" and row.at is not None:
            act("What is in it", "look", self._inside)
        act("Verify", "verify", self._verify)
        act("Drill", "drill", self._drill)
        if row.pinned:
            act("Unpin", "unpin", self._unpin)
        act("Pin", "pin", self._pin)
        act("Delete…", "preview", self._delete)

    # Acts that add or prove

    def _ask(self, dialog: Dialog, act: Act) -> None:
        offer(self._visit, dialog, act)
        dialog.open()

    def _follow(self, ended: Ended = outcome) -> Callable[..., None]:
        """Return what shows a job that was started, and the list anew when it is over."""

        return lambda job: self._work.follow(job, self._over(ended))

    def _over(self, ended: Ended) -> Ended:
        def over(run: JobRun) -> None:
            ended(run)
            self._refresh()

        return over

    def _back_up(self) -> None:
        with self._work.place, Dialog("Back up now") as dialog:
            kind = ui.select(["auto", "full", "incremental"], value="auto", label="Type")
            kind.props("outlined dense").classes("w-full")
            label = ui.input("Label").props("outlined dense").classes("w-full")

        def words() -> tuple[str, ...]:
            named = ("--label", label.value.strip()) if (label.value or "").strip() else ()
            return ("backup", *(() if kind.value == "auto" else ("--type", kind.value)), *named)

        self._ask(dialog, Act("Back up", words, self._follow(), (kind, label)))

    def _dump(self) -> None:
        with self._work.place, Dialog("Dump now") as dialog:
            name = ui.input("Only this database", placeholder="all of them")
            name.props("outlined dense").classes("w-full")

        def words() -> tuple[str, ...]:
            wanted = (name.value or "").strip()
            return ("dump", "create", *(("--database", wanted) if wanted else ("--all",)))

        self._ask(dialog, Act("Dump", words, self._follow(), (name,)))

    def _verify_all(self) -> None:
        with self._work.place, Dialog("Verify all") as dialog:
            ui.label(
                "Reads everything that is stored, and proves it by its hashes. A sample reads a "
                "share of it."
            ).classes("pk-muted")
            share = ui.input("Sample", placeholder="all of it; like 5%").props("outlined dense")

        def words() -> tuple[str, ...]:
            wanted = (share.value or "").strip()
            return ("verify", *(("--sample", wanted) if wanted else ()))

        self._ask(dialog, Act("Verify", words, self._follow(), (share,)))

    def _verify(self, row: Row) -> None:
        with self._work.place, Dialog(f"Verify {row.id}") as dialog:
            said = "Reads all that it needs, and proves it by its hashes."
            ui.label(said).classes("pk-muted")
        self._ask(dialog, Act("Verify", lambda: ("verify", row.id), self._follow()))

    def _drill(self, row: Row) -> None:
        with self._work.place, Dialog(f"Drill {row.id}") as dialog:
            ui.label(
                "Restores it on this host, starts a server on the copy, looks whether everything "
                "is there, and removes it again. The live cluster is not touched."
            ).classes("pk-muted")
        started = self._follow(_show_drill)
        self._ask(dialog, Act("Drill", lambda: rows.drill_words(row), started))

    def _pin(self, row: Row) -> None:
        with self._work.place, Dialog(f"Pin {row.id}") as dialog:
            ui.label("It stays whatever retention says.").classes("pk-muted")
            reason = ui.input("Reason", value="kept by hand").props("outlined dense")
            until = ui.input("Until", placeholder="for good; 90d, 2027-01-31")
            for field in (reason, until.props("outlined dense")):
                field.classes("w-full")

        def words() -> tuple[str, ...]:
            return rows.pin_words(row, reason.value or "", until.value or "")

        self._ask(dialog, Act("Pin", words, self._follow(), (reason, until)))

    def _unpin(self, row: Row) -> None:
        with self._work.place, Dialog(f"Unpin {row.id}") as dialog:
            said = "All its pins are removed: the next expire deletes it if retention lets it go."
            ui.label(said).classes("pk-notice warn")
        self._ask(dialog, Act("Unpin", lambda: ("pin", row.id, "--remove"), self._follow()))

    # What is in a dump, and what deleting loses

    def _inside(self, row: Row) -> None:
        visit = self._visit
        with self._work.place, Dialog(f"Dump {row.id}", width=760) as dialog:
            visit.load(
                lambda: reading.inside_dump(visit.board.app(visit.cluster), row.id), _show_inside
            )
        dialog.open()

    def _delete(self, row: Row) -> None:
        """Run what says what would be lost, and only then offer the deletion itself."""
        visit = self._visit
        job = visit.start(rows.delete_words(row, preview=True))
        if job is None:
            return
        with self._work.place, Dialog(f"Delete {row.id}", width=680) as dialog:
            said = "First, what would be lost. Nothing is deleted by looking."
            ui.label(said).classes("pk-muted")
            Following(visit, job.id, lambda run: self._offer_deletion(dialog, row, run))
        dialog.open()

    def _offer_deletion(self, dialog: Dialog, row: Row, run: JobRun) -> None:
        if run.state is not JobState.DONE or run.report is None:
            return
        loss = rows.loss_of(run.report)
        ui.label(loss.says).classes(f"pk-notice {'' if loss.harmless else 'bad'} pk-strong")
        pieces.facts(loss.facts)
        if not self._visit.may("delete"):
            said = f"Deleting takes role {NEEDS['delete']}; you are {self._visit.user.role}."
            ui.label(said).classes("pk-notice")
            return

        def words() -> tuple[str, ...]:
            return rows.delete_words(row, preview=False)

        look = "pk-danger"
        offer(self._visit, dialog, Act("Delete", words, self._follow(), confirm=True, look=look))


def _show_drill(run: JobRun) -> None:
    if run.report is None or "checks" not in run.report:
        return
    found = rows.drilled(run.report)
    kinds = {Status.PASSED: "good", Status.FAILED: "bad", Status.NOT_TESTED: "warn"}
    pieces.badge(f"drill {found.status.value}", kinds[found.status])
    pieces.facts(found.facts)
    pieces.table(("Check", "Result", "What was seen"), found.checks)


# Of jobs that run already, and which lists become others by them.
_ENDED: Final[Mapping[str, Ended]] = {
    **dict.fromkeys(("backup", "dump", "verify", "expire", "pin"), outcome),
    "drill": _show_drill,
}


def _show_inside(inside: DumpInside) -> None:
    facts = inside.facts
    pieces.heading("Databases", 3)
    pieces.table(
        ("Database", "Owner", "Tables", "Rows", "Data"),
        [
            (one.name, one.owner, f"{one.tables:,}", f"{one.rows:,}", format_size(one.data_bytes))
            for one in facts.databases
        ],
    )
    roles = ", ".join(facts.globals.roles) if facts.globals else "are not in it"
    pieces.facts([("Roles", roles), ("Moments", facts.consistency or "one snapshot")])
    pieces.heading("The largest tables", 3)
    if inside.why_not:
        ui.label(f"They cannot be listed: {inside.why_not}").classes("pk-notice warn pk-wrap")
        return
    pieces.table(
        ("Database", "Table", "Rows", "Data"),
        [
            (one.database, f"{one.schema}.{one.name}", f"{one.rows:,}", format_size(one.bytes))
            for one in inside.largest
        ],
    )
