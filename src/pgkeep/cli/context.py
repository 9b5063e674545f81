"""What every command has: the global options, where to write, and the wired application."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import typer

from pgkeep import config_file
from pgkeep.cli.text import Look, plain, safe
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.app import App
    from pgkeep.cli.progress import Shown
    from pgkeep.repository.metering.prices import Spent

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO: Final = 3  # the answer is "no": a check failed, nothing can be restored

# They may stand before or after the command; True when a value follows.
GLOBAL_OPTIONS: Final = {
    "--config": True, "--cluster": True, "--repository": True,
    "--json": False, "--verbose": False, "-v": False, "--quiet": False, "-q": False,
}  # fmt: skip


class ReaderGone(BaseException):
    """Whoever read stdout went away. Not an OSError: typer would make its own exit of that."""


@dataclass
class Context:
    """One run of the command. Built by the callback of the typer app, read by every command."""

    config: str | None = None
    cluster: str | None = None
    repository: str | None = None
    json: bool = False
    verbose: int = 0
    quiet: bool = False

    @cached_property
    def app(self) -> "App":
        from pgkeep.app import App

        return App(self.config, self.cluster, self.repository)

    @property
    def look(self) -> Look:
        return Look(self.app.zone, styled=is_terminal(sys.stdout))

    @property
    def look_at_stderr(self) -> Look:
        return Look(self.app.zone, styled=is_terminal(sys.stderr))

    @cached_property
    def progress(self) -> "Shown":
        from pgkeep.cli.progress import open_progress

        return open_progress(quiet=self.quiet)

    def close(self) -> None:
        """Leave the screen as it was found, and tell which copies did not do their part."""
        if "progress" in self.__dict__:
            self.progress.close()
        self.tell_copies()

    def tell_copies(self) -> None:
        """Tell which copies have not done their part so far."""
        if "app" in self.__dict__:
            for text in self.app.copies_notes():
                say(f"warning: {safe(text)}")

    def result(self, facts: Mapping[str, Any], text: Callable[[Look], str]) -> None:
        """Print the result: one JSON object, or the text that `text` makes of it."""
        if self.json:
            print_json(facts)
        else:
            _write(text(self.look).rstrip("\n") + "\n")

    def spent(self) -> dict[str, Any]:
        """Return what this run has asked of its repositories, as --json shows it."""
        from pgkeep.cli.spending.text import requests_facts

        return {"requests": requests_facts(self._traffic())}

    def spent_text(self) -> str:
        """Return the same for people: nothing unless they asked for it with -v."""
        from pgkeep.cli.spending.text import requests_text

        return "".join(f"\n{line}" for line in requests_text(self._traffic())) * bool(self.verbose)

    def tell_alone(self, command: str) -> None:
        """Where there are several repositories, say which one a command was for: never for all."""
        here, *others = self.app.places
        if others:
            more = ", ".join(f"pgkeep --repository {safe(one.title)} {command}" for one in others)
            self.note(f"note: that was repository {safe(here.title)} alone; the others: {more}")

    def _traffic(self) -> "list[Spent]":
        from pgkeep.repository.metering.opening import traffic_at
        from pgkeep.repository.metering.prices import Spent

        found = []
        for place in self.app.places:
            url, asked = traffic_at(place.address)
            if asked.requests:
                found.append(Spent(url, asked, place.tariff))
        return found

    def say_story(self, text: str) -> None:
        """Print a piece of a result that is told while it happens."""
        if self.json:
            say(text)
        else:
            _write(f"{text}\n")

    def note(self, text: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            say(text)


def print_json(facts: Mapping[str, Any]) -> None:
    _write(json.dumps(plain(facts), indent=2, ensure_ascii=True) + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()  # a full disk behind stdout shows here, not after the last chance
    except BrokenPipeError:
        raise ReaderGone from None


def say(text: str) -> None:
    """Write to stderr, which `main` made forgiving: it may have lost its reader."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def group(here: typer.Context) -> None:
    """Be the callback of a group of commands: alone it shows its help, as a usage error."""
    if here.invoked_subcommand is None:
        say(here.get_help())
        raise typer.Exit(USAGE)


def error_facts(error: PgkeepError | None) -> dict[str, Any] | None:
    """Return an error as --json shows it; None where there is none."""
    if error is None:
        return None
    return {
        "code": error.code,
        "exit_status": error.exit_status,
        "message": str(error),
        "hint": error.hint,
        "facts": error.facts(),
    }


def say_error(error: PgkeepError) -> None:
    """Tell what could not be done, what to type next, and the names to look it up by."""
    say(f"error: {safe(str(error))}")
    if error.hint:
        say(f"hint: {safe(error.hint, lines=True)}")
    say(f"code: {error.code}, exit status {error.exit_status}")


def say_problem(problem: PgkeepError | None, otherwise: int = DONE) -> int:
    """Tell what is wrong, after the report, and return its exit status; `otherwise` if nothing."""
    if problem is None:
        return otherwise
    say_error(problem)
    return problem.exit_status


def is_terminal(stream: Any) -> bool:
    """Tell whether a person with colours reads `stream`."""
    return bool(stream.isatty()) and not config_file.colours_unwanted()


def hoist(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the global options first, wherever they were typed."""
    front: list[str] = []
    rest: list[str] = []
    given = iter(arguments)
    for argument in given:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            rest.append(argument)
            rest.extend(given)
        elif name in GLOBAL_OPTIONS:
            front.append(argument)
            if GLOBAL_OPTIONS[name] and not equals:
                front.extend(value for value in [next(given, None)] if value is not None)
        else:
            rest.append(argument)
    return front + rest
