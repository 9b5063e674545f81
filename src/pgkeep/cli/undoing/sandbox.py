"""The command that leaves a recovered server up to look around in: undo sandbox."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pgkeep.cli.context import NO, Context, say
from pgkeep.cli.text import Look, fields, safe
from pgkeep.cli.undoing import options
from pgkeep.cli.undoing.options import At, Backup, Before, EventNumber, PgBin, Scratch
from pgkeep.units import plural

if TYPE_CHECKING:
    from pgkeep.sandbox.sandbox import Sandbox

_PURPOSE: Final = "pgkeep undo sandbox"
_LONGEST: Final = timedelta(days=30)
_LOOK_S: Final = 3600.0  # how long one wait for the server's end lasts


def register(undo: typer.Typer) -> None:
    undo.command("sandbox")(sandbox)


def sandbox(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    *,
    before: Before = "",
    at: At = "",
    event: EventNumber = None,
    for_: Annotated[
        str,
        typer.Option("--for", metavar="DURATION", help="Leave it up so long, in the background; "
                     "without: until Ctrl-C.", show_default=False),
    ] = "",
    stop: Annotated[
        bool, typer.Option("--stop", help="Remove those of this cluster that were left up.")
    ] = False,
    database: Annotated[
        list[str] | None,
        typer.Option("--database", metavar="NAME", help="Only this one; may be given again."),
    ] = None,
    backup: Backup = None,
    scratch: Scratch = None,
    pg_bin: PgBin = None,
) -> int:  # fmt: skip
    """Recover a copy of the cluster to a moment, and leave it up for looking around.

    Nothing reaches it but psql on this machine, and nothing that is done in it stays.
    """
    from pgkeep.undo.recovering import open_recovered

    context: Context = here.obj
    if stop:
        return _stop(context, scratch)
    until = _until(for_)
    app = context.app
    found = options.moment(context, before, at, event)
    request = options.sandbox_of(
        context,
        found,
        databases=tuple(database or ()),
        backup=backup,
        scratch=scratch,
        pg_bin=pg_bin or app.settings.pg_bin or None,
        purpose=_PURPOSE,
    )
    connect = app.connect if app.settings.conninfo.reveal() else None
    patience = float(app.settings.wal_timeout)
    cluster = app.cluster_to_read
    with open_recovered(cluster, request, connect, patience, context.progress) as box:
        if until is not None:
            box.keep(until)
        context.close()
        context.result(_facts(box, found.words), lambda look: _text(box, found.words, look))
        if until is None:
            _wait(context, box)
    return 0


def _until(text: str) -> datetime | None:
    from pgkeep.units import parse_duration

    if not text:
        return None
    length = timedelta(seconds=parse_duration(text))
    if not timedelta() < length <= _LONGEST:
        raise typer.BadParameter(f"--for takes up to {_LONGEST.days} days, like 2h")
    return datetime.now(UTC) + length


def _wait(context: Context, box: "Sandbox") -> None:
    """Wait until Ctrl-C, which ends the block that the sandbox is made for, or its server's end."""
    from pgkeep.server.processes import wait_until

    context.note("Ctrl-C ends it and removes everything")
    while not wait_until(lambda: not box.is_running(), _LOOK_S):
        pass
    say("its server was shut down: the sandbox is removed")


def _stop(context: Context, scratch: str | None) -> int:
    from pgkeep.sandbox.cleaning import remove, sandboxes_in
    from pgkeep.sandbox.place import usual_directory

    directory = scratch or context.app.config.sandbox.directory or usual_directory()
    gone = []
    for found in sandboxes_in(directory, datetime.now(UTC)):
        mark = found.mark
        # Of one that is not kept the process that made it is still there: it ends its own.
        if mark is None or mark.purpose != _PURPOSE or mark.kept_until is None:
            continue
        if mark.cluster == context.app.cluster_name:
            remove(found.root, mark)
            gone.append(str(found.root))
    context.close()
    text = f"removed {', '.join(gone)}" if gone else f"no sandbox of this cluster is in {directory}"
    context.result({"removed": gone}, lambda _: safe(text))
    return 0 if gone else NO


def _facts(box: "Sandbox", moment: str) -> dict[str, Any]:
    return {
        "moment": moment,
        "psql": box.psql(),
        "conninfo": box.conninfo(),
        "backup": box.plan.backup.id,
        "directory": box.directory,
        "log": box.log_file,
        "kept_until": box.kept_until,
        "read_only": box.is_read_only,
        "measured": box.measured.to_dict(),
        "notes": list(box.notes),
    }


def _text(box: "Sandbox", moment: str, look: Look) -> str:
    until = box.kept_until
    pairs = [
        ("look around", box.psql()),
        ("backup", str(box.plan.backup.id)),
        ("stands", str(box.plan.stop) if box.plan.stop else "at the end of the WAL on record"),
        ("replayed", plural(box.measured.wal_files, "WAL file")),
        ("directory", str(box.directory)),
        ("until", f"{look.when(until)}, or pgkeep undo sandbox --stop" if until else ""),
    ]
    head = look.bold(f"a copy of the cluster {moment} is up")
    return "\n".join([head, fields(pairs, "  "), *(f"  {safe(note)}" for note in box.notes)])
