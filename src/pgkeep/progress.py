"""How long work tells how far it is. Faces draw it; the work only reports."""

from typing import Protocol


class Progress(Protocol):
    """Receives the phases of one job. All calls are cheap and come from the job's own thread."""

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        """Begin a phase: 'copying files', with its total where it is known."""
        ...

    def advance(self, done: int) -> None:
        """Say how much of the phase is done by now (a running total, not a step)."""
        ...

    def detail(self, text: str) -> None:
        """Say which part of the phase is in hand: the tables being read. May be called often."""
        ...

    def note(self, text: str) -> None:
        """Say something the user should read now: a warning found on the way, a long wait."""
        ...


class Silent:
    """Progress that nobody watches."""

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        pass

    def advance(self, done: int) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass
