"""The commands about backups: backup, list, show, point."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from pgkeep.cli import everywhere
from pgkeep.cli.context import Context, error_facts, say_problem
from pgkeep.cli.locking.keeping import lock_after


class Type(StrEnum):
    AUTO = "auto"
    FULL = "full"
    INCREMENTAL = "incremental"


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)
    app.command("list")(list_backups)
    app.command("show")(show)
    app.command("point")(point)


def backup(
    here: typer.Context,
    *,
    kind: Annotated[
        Type, typer.Option("--type", help="auto: incremental where there is a usable parent.")
    ] = Type.AUTO,
    label: Annotated[str, typer.Option(help="A word for people, shown in lists.")] = "",
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
    ] = None,
    rate: Annotated[
        str, typer.Option(help="The most to read per second, like 200MB/s.", show_default=False)
    ] = "",
) -> int:
    """Back up the running cluster: what changed since the last backup."""
    from pgkeep.backup.backup import BackupOptions, Kind, run
    from pgkeep.backup.datadir_source import DataDirectorySource
    from pgkeep.backup.incremental.base import Cleaning
    from pgkeep.census.take import record
    from pgkeep.cli.render import backup as render_backup
    from pgkeep.units import parse_rate

    context: Context = here.obj
    app = context.app
    settings = app.settings
    place, repository = app.primary(context.note)
    options = BackupOptions(
        kind=Kind(kind.value),
        label=label,
        jobs=jobs or app.jobs,
        level=place.section.compression_level,
        archive_timeout=settings.wal_timeout,
        rate=parse_rate(rate) if rate else settings.rate,
        nice=settings.nice,
        ionice=settings.ionice,
        cleaning=Cleaning(settings.cleaning.overlays, settings.cleaning.live),
    )
    folder = repository.cluster(app.cluster_name)
    app.refuse_strangers(folder)
    with DataDirectorySource.connect(app.conninfo, settings.data_directory or None) as source:
        beside, count = app.copies_beside(place), partial(record, app.conninfo)
        report = run(source, folder, options, context.progress, copies=beside, take_census=count)
    copies = everywhere.to_the_others(context, place, folder, report.id, report.census)
    locked = lock_after(context, everywhere.places(context, place))
    context.close()
    facts = {
        **report.to_dict(),
        "error": error_facts(report.problem),
        "copies": [copy.to_dict() for copy in copies],
        **context.spent(),
    }
    told = everywhere.text(copies) + context.spent_text()
    context.result(facts | locked.facts(), lambda look: render_backup.report(report, look) + told)
    status = everywhere.tell(copies) or locked.say(context)
    return say_problem(report.problem, status)


def list_backups(
    here: typer.Context,
    *,
    all_clusters: Annotated[
        bool, typer.Option("--all", help="Every cluster of the repository.")
    ] = False,
) -> None:
    """Show the backups, and which moments can be restored."""
    from datetime import UTC, datetime

    from pgkeep.cli.render import listing as render_listing
    from pgkeep.coverage.listing import list_cluster
    from pgkeep.retention.pins import holding, read_pins

    context: Context = here.obj
    app = context.app
    folders = (
        [app.copies.repository.cluster(name) for name in app.copies.repository.clusters()]
        if all_clusters
        else [app.cluster_to_read]
    )
    found = [list_cluster(folder) for folder in folders]
    now = datetime.now(UTC)
    pins = {folder.name: holding(read_pins(folder), now) for folder in folders}
    context.result(
        render_listing.facts(found, pins, all_clusters=all_clusters),
        lambda look: render_listing.text(found, look, pins),
    )


def show(
    here: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="BACKUP", help="An id, its beginning, or latest.")
    ] = "latest",
) -> None:
    """Show one backup in full."""
    from datetime import UTC, datetime

    from pgkeep.cli.render import backup as render_backup
    from pgkeep.repository import catalog
    from pgkeep.retention.pins import holding, read_pins

    context: Context = here.obj
    folder = context.app.cluster_to_read
    backup = catalog.find_backup(catalog.backups(folder), backup_id)
    facts = catalog.read_facts(folder, backup.id)
    pinned = holding(read_pins(folder), datetime.now(UTC)).get(backup.id)
    context.result(
        {**render_backup.facts(facts), "pinned": pinned},
        lambda look: render_backup.facts_text(facts, look, pinned or ""),
    )


def point(
    here: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Like before_v2_migration.")],
) -> None:
    """Make a named restore point, for restore --to name:NAME."""
    from pgkeep.cli.render import backup as render_backup

    context: Context = here.obj
    if not 1 <= len(name.encode()) <= 63 or not name.isprintable():
        raise typer.BadParameter("a restore point's name has 1 to 63 bytes, all printable")
    with context.app.connect() as session:
        lsn, moment = session.create_restore_point(name), session.clock()
    context.result(
        render_backup.point_facts(name, lsn, moment, context.app.cluster_name),
        lambda look: render_backup.point(name, lsn, moment, look),
    )
