"""The commands of the bad day: restore, inspect."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import NO, Context, say
from pgkeep.cli.text import safe
from pgkeep.model.target import Action, BadTarget, RecoveryTarget, TimelineChoice, parse_target

if TYPE_CHECKING:
    from pgkeep.restore.plan import RestorePlan
    from pgkeep.restore.prepare import RestoreRequest
    from pgkeep.restore.start import RecoveryOutcome


BackupId = Annotated[
    str | None,
    typer.Argument(metavar="[BACKUP]", help="Else the newest one that can reach the target."),
]
TargetDir = Annotated[
    str,
    typer.Option(metavar="DIR", help="Where to restore: a new or an empty directory; see --delta."),
]
To = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="latest, immediate, a time like '2026-01-15 15:47:21+00', xid:1234567, "
        "lsn:0/4A000028 or name:before_v2.",
    ),
]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="Stop just before the target, not just after it.")
]
Timeline = Annotated[
    str, typer.Option(metavar="latest|current|N", help="Which branch of history to follow.")
]
ToDo = Annotated[Action, typer.Option(help="What the server does at the target.")]
Tablespaces = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Where a tablespace goes; may be given again."),
]
AcceptHole = Annotated[
    bool, typer.Option("--accept-hole", help="With latest: do without the WAL behind a hole.")
]
Delta = Annotated[
    bool,
    typer.Option(
        "--delta", help="Into an older state of this cluster: write and delete only what differs."
    ),
]
DiscardWal = Annotated[
    bool,
    typer.Option(
        "--discard-wal", help="With --delta: give up changes that are in its pg_wal alone."
    ),
]
Databases = Annotated[
    list[str] | None,
    typer.Option(
        "--database",
        metavar="NAME",
        help="Bring back this database only, the others as empty shells; may be given again.",
    ),
]
Standby = Annotated[
    bool, typer.Option("--standby", help="Make a standby that goes on reading WAL.")
]
PrimaryConninfo = Annotated[
    str, typer.Option(help="With --standby: stream from there too (no password).")
]
PrimarySlot = Annotated[str, typer.Option(help="With --standby: its slot there.")]
KeepArchiving = Annotated[
    bool, typer.Option("--keep-archiving", help="The copy replaces the original and archives on.")
]
Start = Annotated[bool, typer.Option("--start", help="Start the server and follow its recovery.")]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="With --start: not the configured port.")
]
PgBin = Annotated[
    str | None, typer.Option(metavar="DIR", help="With --start: PostgreSQL's programs.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
]
Rate = Annotated[
    str, typer.Option(help="The most to write per second, like 200MB/s.", show_default=False)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")
]


def register(app: typer.Typer) -> None:
    app.command("restore")(restore)
    app.command("inspect")(inspect)


def restore(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    backup_id: BackupId = None,
    *,
    target_dir: TargetDir,
    to: To = "latest",
    exclusive: Exclusive = False,
    timeline: Timeline = "latest",
    action: ToDo = Action.PROMOTE,
    tablespace: Tablespaces = None,
    accept_hole: AcceptHole = False,
    delta: Delta = False,
    discard_wal: DiscardWal = False,
    database: Databases = None,
    standby: Standby = False,
    primary_conninfo: PrimaryConninfo = "",
    primary_slot: PrimarySlot = "",
    keep_archiving: KeepArchiving = False,
    start: Start = False,
    port: Port = None,
    pg_bin: PgBin = None,
    jobs: Jobs = None,
    rate: Rate = "",
    dry_run: DryRun = False,
) -> int:
    """Bring the cluster back as it was at any moment.

    pgkeep list shows which moments there are. What will be done is said before a byte is written.
    """
    from pgkeep.restore.prepare import RestoreRequest
    from pgkeep.units import parse_rate

    context: Context = here.obj
    app = context.app
    target = RecoveryTarget(parse_target(to, app.zone), not exclusive, _timeline(timeline), action)
    request = RestoreRequest(
        target_dir=target_dir,
        recovery=target,
        backup=backup_id,
        tablespaces=tuple(tablespace or ()),
        standby=standby,
        primary_conninfo=primary_conninfo,
        primary_slot_name=primary_slot,
        keep_archiving=keep_archiving,
        server_name=app.settings.server_name,
        stop_at_hole=accept_hole,
        delta=delta,
        discard_wal=discard_wal,
        databases=tuple(database or ()),
        jobs=jobs or app.jobs,
        rate=parse_rate(rate) if rate else 0,
        fetch_command=app.fetch_command(),
    )
    if dry_run:
        return _dry_run(context, request)
    programs = pg_bin or app.settings.pg_bin or None
    return _carry_out(context, request, start=start, port=port, programs=programs)


def _timeline(text: str) -> TimelineChoice:
    if text == "latest":
        return "latest"
    if text == "current":
        return "current"
    if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 32:
        return int(text)
    raise BadTarget(text, "it is no timeline", "write --timeline latest, current or a number")


def _dry_run(context: Context, request: "RestoreRequest") -> int:
    from pgkeep.cli.render import restore as render_restore
    from pgkeep.restore.prepare import prepare

    plan = prepare(context.app.cluster_to_read, request, context.progress).plan
    context.close()
    _tell_who_is_away(context)
    facts = {**plan.to_dict(), "dry_run": True}
    context.result(facts, lambda look: render_restore.plan(plan, look) + "\nnothing was written")
    return 0


def _tell_who_is_away(context: Context) -> None:
    """Tell, before anything is written, whom recovery will wait for.

    PostgreSQL asks for what comes next also where it stops before: for the next timeline's history.
    """
    context.tell_copies()
    copies = context.app.copies
    away = [place.title for place, _ in copies.away]
    left = [place.title for place in context.app.places if place.title not in away]
    if away:
        names = safe(" and ".join(away))
        say(
            f"warning: recovery cannot end while {names} cannot be asked: WAL is only called "
            "missing when every repository has said so; if it is gone for good: pgkeep "
            f"--repository {safe(left[0])} restore ..."
        )


def _carry_out(
    context: Context,
    request: "RestoreRequest",
    *,
    start: bool,
    port: int | None,
    programs: str | None,
) -> int:
    from pgkeep.cli.render import restore as render_restore
    from pgkeep.restore.prepare import prepare
    from pgkeep.restore.restore import carry_out
    from pgkeep.server.binaries import find_binaries

    progress = context.progress
    prepared = prepare(context.app.cluster_to_read, request, progress)
    if start:
        # Looked for before the first byte is written: hours later is a bad time to miss them.
        find_binaries(prepared.plan.backup.generation.major, programs)
    context.note(render_restore.plan(prepared.plan, context.look_at_stderr))
    _tell_who_is_away(context)
    report = carry_out(
        context.app.cluster_to_read, prepared, now=datetime.now(UTC), progress=progress
    )
    if start:
        # Told at once: what follows may take hours or fail, and the files are there.
        context.note(render_restore.written(report))
    elif context.app.some_secret_is_only_here:
        context.note(f"note: {render_restore.LOCKED_OUT}")
    outcome = _start(context, report.plan, port, programs) if start else None
    context.close()
    facts = {**report.to_dict(), "recovery": outcome.to_dict() if outcome else None}
    context.result(
        facts | context.spent(),
        lambda look: render_restore.report(report, outcome, look) + context.spent_text(),
    )
    return 0


def _start(
    context: Context, plan: "RestorePlan", port: int | None, programs: str | None
) -> "RecoveryOutcome":
    from pgkeep.config_file import SECRET_VARIABLE, secret_from_environment
    from pgkeep.restore.start import StartOptions, start
    from pgkeep.server.binaries import find_binaries

    binaries = find_binaries(plan.backup.generation.major, programs)
    secret = secret_from_environment()
    options = StartOptions(
        log_file=f"{plan.target_dir}.log",
        port=port,
        environment=((SECRET_VARIABLE, secret),) if secret else (),
    )
    return start(plan, binaries, options, context.progress)


def inspect(
    here: typer.Context,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A data directory.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Explain a running recovery until it ends.")
    ] = False,
    log: Annotated[
        str | None, typer.Option(metavar="FILE", help="With --follow: the server's log.")
    ] = None,
) -> int:
    """Tell what a data directory would do if it were started.

    Nothing is started or changed.
    """
    from pgkeep.cli.render import restore as render_restore
    from pgkeep.inspect.look import inspect as look_at

    context: Context = here.obj
    if follow:
        from pgkeep.inspect.follow import follow as run

        ended = run(directory, log, context.progress)
        context.close()
        context.result(ended.to_dict(), lambda look: render_restore.followed(ended, look))
        return 0
    report = look_at(directory)
    context.result(report.to_dict(), lambda look: render_restore.inspected(report, look))
    return 0 if report.starts or report.state == "running" else NO
