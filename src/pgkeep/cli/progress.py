"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from pgkeep import config_file
from pgkeep.cli.context import is_terminal, say
from pgkeep.cli.text import safe
from pgkeep.progress import Progress
from pgkeep.units import format_amount, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_SECONDS: Final = 10.0  # between two lines of one phase: a log stays readable
_DETAIL: Final = 40  # characters of what is in hand, so that the bar stays on its line
TOLD_SECONDS: Final = 0.5  # between two lines for a program
DRAW_SECONDS: Final = 0.1  # between two updates of a bar: advance() may be called per chunk


class Shown(Progress, Protocol):
    """Progress that somebody watches and that must be taken off the screen in the end."""

    def close(self) -> None: ...


def open_progress(*, quiet: bool) -> Shown:
    if config_file.progress_for_programs():
        return JsonProgress()
    if quiet:
        return NotesOnly()
    return BarProgress() if is_terminal(sys.stderr) else LineProgress()


class NotesOnly:
    """What -q leaves: warnings."""

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        pass

    def advance(self, done: int) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        say(safe(text, lines=True))

    def close(self) -> None:
        pass


class JsonProgress:
    """JSON lines for the service, which runs us: service/jobs/following.py reads them."""

    def __init__(
        self, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._said = clock()
        self._detail = ""

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self._detail = ""
        self._tell(phase=safe(title), total=total, unit=unit)

    def advance(self, done: int) -> None:
        if self._clock() - self._said >= TOLD_SECONDS:
            self._said = self._clock()
            self._tell(done=done, detail=self._detail)

    def detail(self, text: str) -> None:
        self._detail = safe(text)

    def note(self, text: str) -> None:
        self._tell(note=safe(text, lines=True))

    def close(self) -> None:
        pass

    def _tell(self, **facts: str | int | None) -> None:
        self._write(json.dumps({"progress": facts}))


class LineProgress:
    """One line when a phase begins, then one every LINE_SECONDS at most."""

    def __init__(
        self, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._title, self._total, self._unit = "", None, "bytes"
        self._began = self._said = clock()
        self._detail = ""

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self._title, self._total, self._unit = safe(title), total, unit  # type: ignore[assignment]
        self._detail = ""
        self._began = self._said = self._clock()
        self._write(f"{self._title}{f': {format_amount(total, unit)}' if total else ''}")

    def advance(self, done: int) -> None:
        now = self._clock()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        far = how_far(done, self._total, self._unit, now - self._began)
        self._write(f"{self._title}: {far}{f' ({self._detail})' if self._detail else ''}")

    def detail(self, text: str) -> None:
        self._detail = safe(text)

    def note(self, text: str) -> None:
        self._write(safe(text, lines=True))

    def close(self) -> None:
        pass


class BarProgress:
    """A bar with rate and time left for the running phase; finished phases leave one line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._title, self._unit, self._total = "", "bytes", 0
        self._began = self._drawn = clock()
        self._done = 0

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self._finish()
        self._title, self._unit, self._total = safe(title), unit, total or 0
        self._began = self._drawn = self._clock()
        self._done = 0
        bars = self._started()
        self._task = bars.add_task(self._title, total=total, far="")

    def advance(self, done: int) -> None:
        self._done = done
        now = self._clock()
        if self._bars is None or self._task is None or now - self._drawn < DRAW_SECONDS:
            return
        self._drawn = now
        far = how_far(done, self._total, self._unit, now - self._began)
        self._bars.update(self._task, completed=done, far=far)

    def detail(self, text: str) -> None:
        if self._bars is not None and self._task is not None:
            cut = text if len(text) <= _DETAIL else f"{text[: _DETAIL - 1]}…"
            name = f"{self._title} {safe(cut)}" if cut else self._title
            self._bars.update(self._task, description=name)

    def note(self, text: str) -> None:
        shown = safe(text, lines=True)
        if self._bars is None:
            say(shown)
        else:
            self._bars.console.print(shown, markup=False, highlight=False)

    def close(self) -> None:
        if self._bars is not None:
            self._finish()
            self._bars.stop()
            self._bars = None

    def _started(self) -> "Bars":
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[far]}", markup=False),
                console=Console(file=sys.stderr),
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        return self._bars

    def _finish(self) -> None:
        if self._bars is None or self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        seconds = self._clock() - self._began
        far = f": {format_amount(self._done, self._unit)}" if self._done else ""
        self.note(f"{self._title}{far} in {format_duration(seconds)}")


def how_far(done: int, total: int | None, unit: str, seconds: float) -> str:
    """Return '1.2 GiB of 4.0 GiB (30 %), 410 MiB/s, 7 s left'; what is not known is left out."""
    text = format_amount(done, unit)
    if total:
        text = f"{text} of {format_amount(total, unit)} ({min(100, 100 * done // total)} %)"
    if seconds >= 1 and done > 0:
        rate = done / seconds
        text += f", {format_amount(round(rate), unit)}/s"
        if total and total > done:
            text += f", {format_duration((total - done) / rate)} left"
    return text
