"""Dialogs from which a command is started: they show it, and say first what will happen."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from pgkeep.service.jobs.job import Job
from pgkeep.web import pieces
from pgkeep.web.visit import Visit

Started = Callable[[Job], object]


class Dialog(AbstractContextManager["Dialog"]):
    """A dialog with a title; what is made in its block is its body."""

    def __init__(self, title: str, *, width: int = 560) -> None:
        self.box = ui.dialog()
        # Not as words of props(): an id out of a repository may hold whatever it likes.
        self.box.props["aria-label"] = title
        with self.box:
            self._card = ui.card().classes("pk-stack").style(f"width: {width}px; max-width: 94vw")
        with self._card:
            with ui.row().classes("pk-row pk-spread top").style("flex-wrap: nowrap"):
                pieces.heading(title).classes("pk-wrap")
                close = ui.button(icon="close", on_click=self.box.close).classes("pk-icon")
                close.props('flat dense round size="sm" aria-label="Close"')
            self.body = ui.element("div").classes("pk-stack")
        # It is made anew each time that it is opened.
        self.box.on("hide", self.box.delete)

    def __enter__(self) -> "Dialog":
        self.body.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.body.__exit__(kind, error, trace)

    def open(self) -> None:
        self.box.open()


@dataclass(frozen=True, slots=True)
class Act:
    """What a dialog does when its button is pressed."""

    title: str
    words: Callable[[], tuple[str, ...]]
    started: Started
    inputs: tuple[ValueElement[Any], ...] = ()  # on which the words depend
    confirm: bool = False  # whether the cluster's name must be typed
    look: str = "pk-primary"


def offer(visit: Visit, dialog: Dialog, act: Act) -> None:
    """Add the command, the name to type and the buttons to a dialog."""

    def again() -> None:
        shown.clear()
        with shown:
            pieces.command(pieces.pgkeep_words(visit, act.words()))
        button.set_enabled(not act.confirm or _typed() == visit.cluster)

    def _typed() -> str:
        return str(name.value or "").strip()

    def run() -> None:
        job = visit.start(act.words(), confirm=_typed() if act.confirm else "")
        if job is not None:
            dialog.box.close()
            act.started(job)

    with dialog.body:
        shown = ui.element("div").classes("w-full")
        name = pieces.typed_name(visit.cluster, again)
        name.set_visibility(act.confirm)
        with ui.row().classes("pk-row").style("justify-content: flex-end"):
            ui.button("Cancel", on_click=dialog.box.close).props("unelevated").classes("pk-plain")
            button = pieces.starter(act.title, run, act.look)
    for one in act.inputs:
        one.on_value_change(again)
    again()
