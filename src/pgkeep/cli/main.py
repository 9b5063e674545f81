"""The `pgkeep` command: options in, one report out, and the only place where errors end.

Exit status: 0 done, 1 failed, 2 usage, 3 the answer is "no", 4 it could not be tested, above 10
one per error class (docs/errors.md), 130 after Ctrl-C, 128 plus the signal's number after another
signal.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer

from pgkeep import __version__, config_file
from pgkeep.cli.advising import command as advising
from pgkeep.cli.alerting import command as alert
from pgkeep.cli.census import command as census
from pgkeep.cli.checklisting import command as checklist
from pgkeep.cli.commands import backup, copy, dump, repair, restore, retention, setup, verify, wal
from pgkeep.cli.context import (
    FAILED,
    USAGE,
    Context,
    ReaderGone,
    error_facts,
    group,
    hoist,
    print_json,
    say,
    say_error,
)
from pgkeep.cli.drilling import command as drill
from pgkeep.cli.health import command as health
from pgkeep.cli.pointing import command as point
from pgkeep.cli.runbooks import command as runbook
from pgkeep.cli.serving import command as serving
from pgkeep.cli.spending import command as cost
from pgkeep.cli.text import safe
from pgkeep.cli.undoing import command as undo
from pgkeep.cli.users import command as users
from pgkeep.errors import PgkeepError

BROKEN_PIPE: Final = 141  # what a shell shows for a program that SIGPIPE ended

_ABOUT: Final = """Backup, point-in-time recovery and proof of it for PostgreSQL.

The first hour: pgkeep init, pgkeep check, pgkeep backup, pgkeep list, pgkeep restore.
Global options may stand before or after the command."""


class Stopped(BaseException):
    """A signal asked to stop. Everything on the way out cleans up, as after an exception.

    Not a KeyboardInterrupt: typer would make its own exit of that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    status = run(sys.argv[1:])
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.exit(status)
    # What stdout still holds cannot be written: told already. The interpreter would try again at
    # its end, and exit with a status of its own.
    os._exit(status or FAILED)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return the exit status; errors are told on stderr."""
    sys.stderr = _Forgiving(sys.stderr)
    context = Context()
    try:
        _catch_signals()
        _end_with_parent()
        answer = build_app(context)(hoist(arguments), prog_name="pgkeep", standalone_mode=False)
    except (PgkeepError, typer.TyperException) as error:
        context.close()
        return _tell(error, context)
    except ReaderGone:
        # Whoever read the result has seen enough. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except Stopped as stop:
        context.close()
        name = "Ctrl-C" if stop.number == signal.SIGINT else signal.Signals(stop.number).name
        say(f"stopped by {name}")
        return 128 + stop.number
    except typer.Abort:  # Ctrl-D, or a terminal that was closed, where something was asked
        context.close()
        say("stopped: no answer")
        return 128 + signal.SIGINT
    except Exception as error:
        context.close()
        return _tell_bug(error, context)
    finally:
        context.close()
    return answer if isinstance(answer, int) else 0


class _Forgiving:
    """stderr whose reader may go away: a closed terminal must not end a backup."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _catch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has set SIGHUP
            signal.signal(number, _stop)


def _end_with_parent() -> None:
    """Be asked to stop when the service that runs us is gone: nobody would hear how it went."""
    parent = config_file.ends_with()
    if parent is not None:
        from pgkeep.cli.parent import end_with

        end_with(parent)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def build_app(context: Context) -> typer.Typer:
    app = typer.Typer(help=_ABOUT, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback(invoke_without_command=True)
    def begin(  # noqa: PLR0913 - the global options
        here: typer.Context,
        *,
        config: Annotated[
            str | None, typer.Option(help="pgkeep.toml; else $PGKEEP_CONFIG, ./, /etc/pgkeep/.")
        ] = None,
        cluster: Annotated[
            str | None, typer.Option(help="Which [clusters.NAME]; not needed for one.")
        ] = None,
        repository: Annotated[
            str | None, typer.Option(help="A path or address to use instead of the config's.")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
        verbose: Annotated[
            int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more.")
        ] = 0,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    ) -> None:
        context.config, context.cluster, context.repository = config, cluster, repository
        context.json, context.verbose, context.quiet = json, verbose, quiet
        here.obj = context
        if version:
            _version(here)
            raise typer.Exit
        group(here)

    for part in (
        *(setup, backup, restore, dump, verify, drill, copy),
        *(repair, retention, wal, census, point, cost, undo),
        *(serving, alert, health, checklist, runbook, users, advising),
    ):
        part.register(app)
    app.command("demo")(_demo)
    app.command("version")(_version)
    return app


def _version(here: typer.Context) -> None:
    """Show the version."""
    facts = {"version": __version__, "python": sys.version.split()[0]}
    if here.obj.json:
        print_json(facts)
    else:  # not result(): it would read the config for the zone of times
        here.obj.say_story(f"pgkeep {facts['version']} (Python {facts['python']})")


def _demo(
    here: typer.Context,
    *,
    pg_bin: Annotated[
        str | None, typer.Option(help="Use the PostgreSQL programs in this folder.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files to look at.")] = False,
) -> int:
    """See the whole story on a throwaway cluster, in a minute."""
    from pgkeep.demo.story import tell
    from pgkeep.server.binaries import find_binaries

    context: Context = here.obj
    story = tell(find_binaries(None, pg_bin), context.say_story, keep=keep)
    if context.json:
        print_json(story.to_dict())
    return 0


def _tell(error: PgkeepError | typer.TyperException, context: Context) -> int:
    """Print what could not be done and what to type next; return the exit status."""
    if context.verbose:
        say(safe("".join(traceback.format_exception(error)), lines=True))
    if isinstance(error, PgkeepError):
        if context.json:
            print_json({"error": error_facts(error)})
        say_error(error)
        return error.exit_status
    message, hint = _usage(error)
    if context.json:
        print_json({"error": _facts_of("usage", USAGE, message, hint)})
    say(f"error: {safe(message)}")
    say(f"hint: {hint}")
    return USAGE


def _facts_of(code: str, status: int, message: str, hint: str) -> dict[str, Any]:
    return {"code": code, "exit_status": status, "message": message, "hint": hint, "facts": {}}


def _usage(error: typer.TyperException) -> tuple[str, str]:
    """Return a usage error in the house's style."""
    where = getattr(error, "ctx", None)
    command = where.command_path if where is not None else "pgkeep"
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:], f"see: {command} --help"


def _tell_bug(error: Exception, context: Context) -> int:
    kind = type(error).__name__
    message = f"pgkeep has a bug: {kind}: {error}" if str(error) else f"pgkeep has a bug: {kind}"
    hint = "run it again with -v and report what it prints"
    if context.json:
        print_json({"error": _facts_of("bug", FAILED, message, hint)})
    if context.verbose:
        say(safe("".join(traceback.format_exception(error)), lines=True))
    say(f"error: {safe(message)}")
    say(f"hint: {hint}")
    return FAILED
