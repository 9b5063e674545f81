"""The dialogs from which a moment is restored, or looked into. Both say first what will happen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from pgkeep.service.jobs.job import Job
from pgkeep.units import format_duration, format_size
from pgkeep.web import pieces
from pgkeep.web.timeline.asking import (
    SANDBOX_FOR,
    Answer,
    new_directory,
    restore_words,
    sandbox_words,
)
from pgkeep.web.visit import Visit

Started = Callable[[Job], object]


def restore_dialog(visit: Visit, answer: Answer, started: Started) -> ui.dialog:
    """Return a dialog that restores into a new directory."""
    tops = visit.board.config.config.service.restore_directories
    top = tops[0] if tops else ""
    with _dialog("Restore into a new directory") as (dialog, body):
        with body:
            pieces.facts(_what_will_happen(visit, answer))
            directory = (
                ui.input(
                    "New directory", value=new_directory(top, visit.cluster, visit.board.now())
                )
                .props("outlined dense")
                .classes("w-full")
            )
            start = ui.checkbox("Start the server there afterwards")
            port = ui.number("On port", value=5499, min=1024, max=65535, format="%d")
            port.props("outlined dense").bind_visibility_from(start, "value")
            shown = ui.element("div").classes("w-full")

        def words() -> tuple[str, ...]:
            more = ("--start", "--port", str(int(port.value or 0))) if start.value else ()
            return (*restore_words(answer, directory.value.strip()), *more)

        act = _Act("Restore", words, started, shown, (directory, start, port))
        _go(visit, dialog, body, act)
    return dialog


def sandbox_dialog(visit: Visit, answer: Answer, started: Started) -> ui.dialog:
    """Return a dialog that opens a sandbox."""
    with _dialog("Open a sandbox") as (dialog, body):
        with body:
            ui.label(
                "A copy of the cluster as it was then, on this host, reached by psql here alone. "
                "Nothing that is done in it stays, and the live cluster is not touched."
            ).classes("pk-muted")
            pieces.facts(_what_will_happen(visit, answer))
            duration = ui.select(list(SANDBOX_FOR), value="2h", label="Leave it up for")
            duration.props("outlined dense").classes("w-full")
            shown = ui.element("div").classes("w-full")

        def words() -> tuple[str, ...]:
            return sandbox_words(answer, str(duration.value))

        _go(visit, dialog, body, _Act("Open sandbox", words, started, shown, (duration,)))
    return dialog


def _what_will_happen(visit: Visit, answer: Answer) -> list[tuple[str, str]]:
    plan = answer.plan
    assert plan is not None  # these dialogs are for what can be reached
    how = "by the last drill" if answer.measured else "a guess: no drill has measured it here"
    rows = [
        ("To", f"{'just before ' if answer.wanted.before else ''}{answer.target}"),
        ("From backup", f"{plan.backup.id}, {visit.long(plan.backup.stopped_at)}"),
        ("Writes", f"{format_size(plan.backup.size)}, and replays {format_size(plan.wal_bytes)}"),
        ("Takes", f"about {format_duration(answer.seconds)} ({how})"),
        ("Live cluster", "is not touched"),
    ]
    return rows + [("Note", warning) for warning in plan.warnings]


class _dialog:  # noqa: N801 - read as a with statement
    """A dialog with a title, a body and room for buttons."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __enter__(self) -> tuple[ui.dialog, ui.element]:
        self._dialog = ui.dialog().props(f'aria-label="{self._title}"')
        self._dialog.__enter__()
        self._card = ui.card().classes("pk-stack").style("width: 560px; max-width: 94vw")
        self._card.__enter__()
        pieces.heading(self._title)
        body = ui.element("div").classes("pk-stack")
        return self._dialog, body

    def __exit__(self, *error: object) -> None:
        self._card.__exit__(*error)
        self._dialog.__exit__(*error)


@dataclass(frozen=True, slots=True)
class _Act:
    """What a dialog does when its button is pressed."""

    title: str
    words: Callable[[], tuple[str, ...]]
    started: Started
    shown: ui.element  # where the command stands
    inputs: tuple[ValueElement[Any], ...]


def _go(visit: Visit, dialog: ui.dialog, body: ui.element, act: _Act) -> None:
    """Add the command, the typed name and the buttons."""

    def again() -> None:
        act.shown.clear()
        with act.shown:
            pieces.command(pieces.pgkeep_words(visit, act.words()))
        button.set_enabled(name.value.strip() == visit.cluster)

    def run() -> None:
        job = visit.start(act.words(), confirm=name.value.strip())
        if job is not None:
            dialog.close()
            act.started(job)

    with body:
        name = pieces.typed_name(visit.cluster, again)
        with ui.row().classes("pk-row").style("justify-content: flex-end"):
            ui.button("Cancel", on_click=dialog.close).props("unelevated").classes("pk-plain")
            button = ui.button(act.title, on_click=run).props("unelevated").classes("pk-primary")
    for one in act.inputs:
        one.on_value_change(again)
    again()
