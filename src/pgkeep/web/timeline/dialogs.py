"""The dialogs from which a moment is restored, or looked into. Both say first what will happen."""

from nicegui import ui

from pgkeep.units import format_duration, format_size
from pgkeep.web import pieces
from pgkeep.web.dialogs import Act, Dialog, Started, offer
from pgkeep.web.timeline.asking import (
    SANDBOX_FOR,
    Answer,
    new_directory,
    restore_words,
    sandbox_words,
)
from pgkeep.web.visit import Visit


def restore_dialog(visit: Visit, answer: Answer, started: Started) -> Dialog:
    """Return a dialog that restores into a new directory."""
    tops = visit.board.config.config.service.restore_directories
    top = tops[0] if tops else ""
    with Dialog("Restore into a new directory") as dialog:
        pieces.facts(_what_will_happen(visit, answer))
        name = new_directory(top, visit.cluster, visit.board.now())
        directory = ui.input("New directory", value=name).props("outlined dense").classes("w-full")
        start = ui.checkbox("Start the server there afterwards")
        port = ui.number("On port", value=5499, min=1024, max=65535, format="%d")
        port.props("outlined dense").bind_visibility_from(start, "value")

    def words() -> tuple[str, ...]:
        more = ("--start", "--port", str(int(port.value or 0))) if start.value else ()
        return (*restore_words(answer, directory.value.strip()), *more)

    inputs = (directory, start, port)
    offer(visit, dialog, Act("Restore", words, started, inputs, confirm=True))
    return dialog


def sandbox_dialog(visit: Visit, answer: Answer, started: Started) -> Dialog:
    """Return a dialog that opens a sandbox."""
    with Dialog("Open a sandbox") as dialog:
        ui.label(
            "A copy of the cluster as it was then, on this host, reached by psql here alone. "
            "Nothing that is done in it stays, and the live cluster is not touched."
        ).classes("pk-muted")
        pieces.facts(_what_will_happen(visit, answer))
        duration = ui.select(list(SANDBOX_FOR), value="2h", label="Leave it up for")
        duration.props("outlined dense").classes("w-full")

    def words() -> tuple[str, ...]:
        return sandbox_words(answer, str(duration.value))

    offer(visit, dialog, Act("Open sandbox", words, started, (duration,), confirm=True))
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
