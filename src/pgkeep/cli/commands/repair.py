"""The command for single damaged pages: repair."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from pgkeep.cli.context import NO, Context


def register(app: typer.Typer) -> None:
    app.command("repair")(repair)


def repair(
    here: typer.Context,
    *,
    target_dir: Annotated[
        str, typer.Option(metavar="DIR", help="The data directory of the stopped cluster.")
    ],
    backup: Annotated[
        str | None,
        typer.Option(metavar="BACKUP", help="Take pages from this one only; else the newest."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")
    ] = False,
) -> int:
    """Bring back pages that fail their checksum, where they can be proven.

    The cluster must be stopped. Damaged pages are kept beside it before they are overwritten.
    """
    from pgkeep.cli.render import repair as render_repair
    from pgkeep.repair.repair import RepairRequest, run

    context: Context = here.obj
    app = context.app
    request = RepairRequest(target_dir, backup, dry_run, jobs or app.jobs)
    report = run(app.cluster_to_read, request, now=datetime.now(UTC), progress=context.progress)
    context.close()
    context.result(report.to_dict(), lambda look: render_repair.report(report, look))
    return NO if report.cannot else 0
