"""One page, open in one browser: who looks, at which cluster, and what they may have done."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from nicegui import ui

from pgkeep.api.errors import NotLoggedIn
from pgkeep.api.sessions import Caller
from pgkeep.api.users import User
from pgkeep.errors import PgkeepError
from pgkeep.web import words
from pgkeep.web.beside import Found, beside

if TYPE_CHECKING:
    from pgkeep.api.parts import Parts
    from pgkeep.service.board import Board
    from pgkeep.service.jobs.job import Job

_LONG_S: Final = 5.0  # from when on it is said that something takes long


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page knows of whoever looks at it."""

    parts: "Parts"
    caller: Caller
    user: User
    path: str
    cluster: str  # the one that is chosen; '' where the config has none
    zone: tzinfo  # the viewer's
    query: Mapping[str, str]
    pages: Collection[str]  # paths of the pages there are

    @property
    def board(self) -> "Board":
        return self.parts.board

    def may(self, act: str) -> bool:
        """Tell whether the role covers an act of rights.NEEDS: what it does not is not offered."""
        return self.user.may(act)

    def is_current(self) -> bool:
        """Tell whether the log-in still lasts; a page stays open longer than that."""
        return self.parts.is_current(self.caller)

    def stay(self) -> None:
        """Count waiting as being there: a log-in must not end before what was begun in it has."""
        if self.caller.session is not None:
            self.parts.sessions.use(self.caller.session)

    def start(self, words_: Sequence[str], confirm: str = "", cluster: str = "") -> "Job | None":
        """Have a command run as a job; say why not, and return None, where it is refused."""
        try:
            self.check_log_in()
            return self.parts.acting.start(self.caller, cluster or self.cluster, words_, confirm)
        except PgkeepError as error:
            say(error)
            return None

    def check_log_in(self) -> None:
        """Raise NotLoggedIn when the log-in is over."""
        if not self.is_current():
            self.log_in_again()
            raise NotLoggedIn("do this", "the log-in is over", "log in again")

    def log_in_again(self) -> None:
        """Go to the log-in, and from there back to where this is."""
        here = f"{self.path}?{urlencode(self.query)}" if self.query else self.path
        ui.navigate.to(f"/login?next={quote(here, safe='')}")

    def live(self, seconds: float, refresh: Callable[[], object]) -> ui.timer:
        """Call `refresh` now and then while the page is open and the log-in lasts."""

        def again() -> object:
            if not self.is_current():
                timer.deactivate()
                self.log_in_again()
                return None
            return refresh()

        timer = ui.timer(seconds, again, immediate=False)
        return timer

    async def read(self, read: Callable[[], Found]) -> Found:
        """Read from a repository beside the event loop. Raise what `read` raises, TooBusy."""
        return await beside(self.parts.readers, read)

    def load(
        self, read: Callable[[], Found], show: Callable[[Found], Awaitable[None] | None]
    ) -> None:
        """Read from a repository beside the event loop, and show what is found, or why not."""
        place = ui.column().classes("pk-stack")

        async def fill() -> None:
            with place:
                waiting("Reading…")
            try:
                found = await self.read(read)
            except PgkeepError as error:
                if not place.is_deleted:
                    place.clear()
                    with place:
                        notice(error)
                return
            if place.is_deleted:
                return
            place.clear()
            with place:
                shown = show(found)
                if isinstance(shown, Awaitable):
                    await shown

        ui.timer(0, fill, once=True)

    # Times as this viewer reads them

    def short(self, moment: datetime | None) -> str:
        return words.short(moment, self.zone, self.board.now())

    def long(self, moment: datetime | None) -> str:
        return words.long(moment, self.zone)


def waiting(text: str) -> None:
    """Show that something is being read, and after a while what may be the reason."""
    with ui.row().classes("pk-row").props('role="status"'):
        ui.spinner(size="20px")
        label = ui.label(text).classes("pk-muted pk-wrap")

    def tell() -> None:
        label.set_text(
            f"{text} The repository is slow or does not answer; it may take minutes until that is "
            "certain. Overview, Jobs and Settings do without it."
        )

    ui.timer(_LONG_S, tell, once=True)


def say(error: PgkeepError) -> None:
    """Tell why something was refused or failed, with what to do next."""
    text = sentence(error)
    ui.notify(text, type="negative", multi_line=True, timeout=10000, close_button="Close")


def sentence(error: PgkeepError) -> str:
    """Return an error as people read it."""
    said = words.capital(str(error))
    return f"{said}; {error.hint}" if error.hint else said


def notice(error: PgkeepError) -> None:
    """Show an error in its place on the page."""
    with ui.element("div").classes("pk-notice bad").props('role="alert"'):
        ui.label(words.capital(str(error))).classes("pk-strong pk-wrap")
        if error.hint:
            ui.label(error.hint).classes("pk-wrap")
