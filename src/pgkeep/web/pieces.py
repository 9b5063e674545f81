"""What several pages are put together from. All text is text: nothing here makes HTML of it."""

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from nicegui import ui

from pgkeep.health.condition import Condition
from pgkeep.health.health import State
from pgkeep.service.jobs.job import JobState, Progressed
from pgkeep.units import format_amount, format_duration
from pgkeep.web.theme import JOBS, LEVELS, STATES
from pgkeep.web.visit import Visit
from pgkeep.web.words import capital, for_cluster, is_command

_PORTION: Final = 50  # rows: in the browser within half a second

_DOUBLE_S: Final = 1.0  # in which a second click was not meant

Row = TypeVar("Row")


def heading(text: str, level: int = 2) -> ui.element:
    """Put a heading there: of its level for those who hear the page."""
    label = ui.label(text).classes(f"pk-h{level}")
    return label.props(f'role="heading" aria-level="{level}"')


def badge(text: str, kind: str, icon: str = "") -> ui.element:
    """Put a word with its colour there: kind is good, warn, bad, unknown, accent or muted."""
    with ui.element("span").classes(f"pk-badge {kind}") as made:
        if icon:
            ui.icon(icon).props('aria-hidden="true"')
        ui.label(text)
    return made


def state_badge(state: State | None) -> ui.element:
    """Put a cluster's health there."""
    if state is None:
        return badge("not looked at yet", "muted", "hourglass_empty")
    kind, icon = STATES[state]
    return badge(state.value, kind, icon)


def job_badge(state: JobState) -> ui.element:
    """Put a job's state there."""
    kind, icon = JOBS[state]
    return badge(state.value, kind, icon)


def moment(visit: Visit, at: datetime | None, *, full: bool = False) -> ui.element:
    """Put a time there: in the viewer's zone, and with UTC in full or when it is pointed at."""
    text = visit.long(at) if full else visit.short(at)
    label = ui.label(text)
    if at is not None and not full:
        label.props(f'title="{visit.long(at)}"')
    return label


def command(words: str | Sequence[str]) -> ui.element:
    """Put a command there, with a button that copies it."""
    text = words if isinstance(words, str) else shlex.join(words)
    with ui.element("div").classes("pk-command") as made:
        with ui.element("code"):
            ui.label(text).style("display: inline")
        copy_button(text)
    return made


def starter(title: str, start: Callable[[], object], look: str = "pk-primary") -> ui.button:
    """Put a button there that starts something: a double click does it once."""
    button = ui.button(title).props("unelevated").classes(look)
    return button.on("click", start, throttle=_DOUBLE_S, trailing_events=False)


def copy_button(text: str) -> ui.button:
    """Put a button there that copies a text."""
    button = ui.button(icon="content_copy").props('flat dense size="sm" aria-label="Copy"')
    button.classes("pk-icon")
    copied = f"() => pgkeep.copy({json.dumps(text)})"
    return button.on("click", js_handler=copied).on("click", lambda: ui.notify("Copied"))


def todo(visit: Visit, text: str, cluster: str) -> None:
    """Say what is to be done: a command to copy, or a sentence."""
    if not is_command(text):
        ui.label(text).classes("pk-todo pk-wrap")
        return
    several = len(visit.board.clusters()) > 1
    command(for_cluster(text, cluster if several else ""))


def pgkeep_words(visit: Visit, words: Sequence[str], cluster: str = "") -> list[str]:
    """Return what one types for a command about a cluster, in full."""
    return ["pgkeep", "--cluster", cluster or visit.cluster, *words]


def condition(visit: Visit, one: Condition) -> None:
    """Put a condition there: effect, cause, what to type."""
    kind, icon = LEVELS[one.level]
    with ui.element("div").classes(f"pk-condition {kind}"):
        with ui.row().classes("pk-row tight"):
            badge(one.level.value, kind, icon)
            ui.label(capital(one.effect)).classes("pk-strong pk-wrap")
        ui.label(capital(one.cause)).classes("pk-muted pk-wrap")
        if one.todo:
            todo(visit, one.todo, one.cluster)


def portions(rows: Sequence[Row], show: Callable[[Row], object]) -> None:
    """Show the first rows, and more when asked: all of 500 at once hold up everybody's pages."""
    shown = 0

    def more() -> None:
        nonlocal shown
        with place.parent_slot or place:
            for row in rows[shown : shown + _PORTION]:
                show(row)
        shown += _PORTION
        if shown >= len(rows):
            place.delete()
            return
        place.move(target_index=-1)
        button.set_text(f"Show more: {len(rows) - shown:,} are older")

    with ui.element("div").classes("pk-inset") as place:
        button = ui.button(on_click=more).classes("pk-plain").props("unelevated dense")
        button.props('padding="2px 10px"')
    more()


def facts(rows: Iterable[tuple[str, str]]) -> ui.element:
    """Put names and values there, side by side."""
    with ui.element("dl").classes("pk-facts") as made:
        for name, value in rows:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)
    return made


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> ui.element:
    """Put a table of texts there; wide ones move sideways by themselves."""
    with (
        ui.element("div").classes("pk-wide-table").props('tabindex="0"') as made,
        ui.element("table").classes("pk-table"),
    ):
        with ui.element("thead"), ui.element("tr"):
            for name in header:
                with ui.element("th").props('scope="col"'):
                    ui.label(name)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for value in row:
                        with ui.element("td"):
                            ui.label(value)
    return made


def steps(lines: Sequence[str]) -> ui.element:
    """Put a numbered list there."""
    with ui.element("ol").classes("pk-steps") as made:
        for line in lines:
            with ui.element("li"):
                ui.label(line).style("display: inline").classes("pk-wrap")
    return made


def progress_words(progress: Progressed | None) -> str:
    """'copying files: 1.2 GiB of 4 GiB, 3 min left'."""
    if progress is None:
        return "starting"
    done = format_amount(progress.done, progress.unit)
    of = f" of {format_amount(progress.total, progress.unit)}" if progress.total else ""
    left = f", {format_duration(progress.left_s)} left" if progress.left_s is not None else ""
    detail = f" ({progress.detail})" if progress.detail else ""
    counted = f": {done}{of}{left}" if progress.done or progress.total else left
    return f"{progress.phase or 'running'}{counted}{detail}"


def share(progress: Progressed | None) -> float | None:
    """Return how much of the work is done, from 0 to 1, where that is known."""
    if progress is None or not progress.total:
        return None
    return min(1.0, progress.done / progress.total)


def took(began: datetime | None, ended: datetime | None) -> str:
    """Return how long something took; '' where it has not both ends."""
    if began is None or ended is None:
        return ""
    return format_duration(max(0.0, (ended - began).total_seconds()))


def typed_name(name: str, on_change: Callable[[], object]) -> ui.input:
    """Put a field there in which a cluster's name must be typed before something is done."""
    field = ui.input(f"Type {name} to go on", on_change=on_change)
    return field.props('outlined dense autocomplete="off"').classes("w-full")
