"""Options that the commands bringing something back have in common."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pgkeep.cli.context import Context
from pgkeep.cli.text import safe

if TYPE_CHECKING:
    from pgkeep.sandbox.request import SandboxRequest
    from pgkeep.undo.target import Moment

Before = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="Just before: xid:1234567, lsn:0/4A000028, or a time.",
        show_default=False,
    ),
]
At = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="As it was at: '15:47:21' (today's, or yesterday's), or all that restore --to takes.",
        show_default=False,
    ),
]
EventNumber = Annotated[
    int | None,
    typer.Option("--event", min=1, metavar="N", help="Just before event N of the last undo find."),
]
Backup = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The backup to begin with; else the newest that can."),
]
Scratch = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Where the recovered copy goes; else as pgkeep.toml says."),
]
PgBin = Annotated[str | None, typer.Option(metavar="DIR", help="PostgreSQL's programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")
]
LockTimeout = Annotated[
    str, typer.Option(metavar="DURATION", help="The longest wait for tables that others hold.")
]
LOCK_TIMEOUT: Final = "10s"


def moment(context: Context, before: str, at: str, event: int | None) -> "Moment":
    """Return the moment that exactly one of the options names."""
    from pgkeep.undo import target
    from pgkeep.undo.finding.remembered import Remembered

    target.demand_one(sum((bool(before), bool(at), event is not None)))
    if event is not None:
        return target.of_event(Remembered.of(context.app.cluster_to_read).recall(event))
    read, text = (target.before, before) if before else (target.at, at)
    return read(text, context.app.zone, datetime.now(UTC))


def sandbox_of(  # noqa: PLR0913  # all but two are named
    context: Context,
    found: "Moment",
    *,
    databases: tuple[str, ...],
    backup: str | None,
    scratch: str | None,
    pg_bin: str | None,
    purpose: str = "pgkeep undo",
) -> "SandboxRequest":
    """Return the sandbox to look into."""
    from dataclasses import replace

    request = context.app.sandbox_request(found.recovery, purpose, scratch, pg_bin)
    return replace(request, databases=databases, backup=backup)


def agreed(context: Context, question: str) -> bool:
    """Ask on a terminal; where nobody can answer, nobody has agreed."""
    if context.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    context.close()  # a bar would write over the question
    sys.stderr.write(f"{safe(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def typed(given: Mapping[str, Any]) -> list[str]:
    """Return the words of those options that have a value."""
    return [word for name, value in given.items() if value for word in (name, str(value))]


def again(context: Context, words: Sequence[str]) -> str:
    """Return the command that does what was shown: the same words, and --yes."""
    places = {
        "--config": context.config,
        "--cluster": context.cluster,
        "--repository": context.repository,
    }
    return shlex.join(["pgkeep", *typed(places), *words, "--yes"])
