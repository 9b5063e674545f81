"""Logical backups: dump create, list, show, diff."""

from pathlib import Path
from typing import Annotated

import typer

from pgkeep.cli.commands import dump_files, dump_restore
from pgkeep.cli.context import NO, Context, error_facts, group, say_error

Patterns = list[str]
_ID = typer.Argument(metavar="DUMP", help="An id, its beginning, or latest.")


def register(app: typer.Typer) -> None:
    dump = typer.Typer(
        help="Logical backups: create, list, show, diff, restore, export, import.",
        callback=group,
        invoke_without_command=True,
    )
    dump.command("create")(create)
    dump.command("list")(list_dumps)
    dump.command("show")(show)
    dump.command("diff")(diff)
    dump_restore.register(dump)
    dump_files.register(dump)
    app.add_typer(dump, name="dump")


def create(  # noqa: PLR0913 - what pg_dump can choose, by its own names
    here: typer.Context,
    *,
    databases: Annotated[
        Patterns | None, typer.Option("--database", "-d", help="Dump this one; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every database: the default.")] = False,
    exclude_databases: Annotated[
        Patterns | None,
        typer.Option("--exclude-database", metavar="PATTERN", help="Of all, not these."),
    ] = None,
    schema_only: Annotated[
        bool, typer.Option("--schema-only", "-s", help="Definitions, no data.")
    ] = False,
    data_only: Annotated[
        bool, typer.Option("--data-only", "-a", help="Data, no definitions.")
    ] = False,
    sections: Annotated[
        Patterns | None, typer.Option("--section", help="pre-data, data or post-data.")
    ] = None,
    tables: Annotated[
        Patterns | None, typer.Option("--table", "-t", metavar="PATTERN", help="Only these tables.")
    ] = None,
    exclude_tables: Annotated[
        Patterns | None, typer.Option("--exclude-table", "-T", metavar="PATTERN", help="Not these.")
    ] = None,
    exclude_data: Annotated[
        Patterns | None,
        typer.Option("--exclude-table-data", metavar="PATTERN", help="Of these, no rows."),
    ] = None,
    schemas: Annotated[
        Patterns | None, typer.Option("--schema", "-n", metavar="PATTERN", help="Only these.")
    ] = None,
    exclude_schemas: Annotated[
        Patterns | None,
        typer.Option("--exclude-schema", "-N", metavar="PATTERN", help="Not these."),
    ] = None,
    extensions: Annotated[
        Patterns | None, typer.Option("--extension", "-e", metavar="PATTERN", help="Only these.")
    ] = None,
    filter_file: Annotated[
        Path | None, typer.Option("--filter", help="A file of include and exclude lines.")
    ] = None,
    large_objects: Annotated[
        bool | None,
        typer.Option("--large-objects/--no-large-objects", help="With or without them."),
    ] = None,
    foreign_data: Annotated[
        Patterns | None,
        typer.Option("--include-foreign-data", metavar="PATTERN", help="Of these servers."),
    ] = None,
    role_passwords: Annotated[
        bool | None,
        typer.Option(
            "--role-passwords/--no-role-passwords", help="Else where the role may read them."
        ),
    ] = None,
    lock_wait: Annotated[
        str, typer.Option(help="How long to wait for locked tables; else dump.lock_wait.")
    ] = "",
    label: Annotated[str, typer.Option(help="A word for people, shown in lists.")] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=256, help="Else one per core.")
    ] = None,
    scratch: Annotated[
        str, typer.Option(help="Where data passes through, a quarter of a GiB at a time.")
    ] = "",
) -> int:
    """Dump databases with roles and tablespaces, by pg_dump, into the repository."""
    from pgkeep.cli.render import dump as render
    from pgkeep.logical.create.create import CreateOptions
    from pgkeep.logical.create.create import create as make
    from pgkeep.logical.filters import merged, read_filter
    from pgkeep.model.dump import Selection
    from pgkeep.units import parse_duration

    context: Context = here.obj
    app = context.app
    if every and databases:
        raise typer.BadParameter("--all and --database contradict each other")
    if exclude_databases and databases:
        raise typer.BadParameter("--exclude-database is for all databases")
    selection = Selection(
        schema_only=schema_only,
        data_only=data_only,
        sections=tuple(sections or ()),
        tables=tuple(tables or ()),
        exclude_tables=tuple(exclude_tables or ()),
        exclude_table_data=tuple(exclude_data or ()),
        schemas=tuple(schemas or ()),
        exclude_schemas=tuple(exclude_schemas or ()),
        extensions=tuple(extensions or ()),
        foreign_servers=tuple(foreign_data or ()),
        large_objects=large_objects,
    )
    if filter_file is not None:
        selection = merged(selection, read_filter(filter_file))
    options = CreateOptions(
        databases=tuple(databases or ()),
        exclude_databases=tuple(exclude_databases or ()),
        selection=selection,
        role_passwords=role_passwords,
        label=label,
        jobs=jobs or app.jobs,
        level=app.config.repository.compression_level,
        lock_wait_s=parse_duration(lock_wait) if lock_wait else app.config.dump.lock_wait,
        pg_bin=app.settings.pg_bin,
        scratch=scratch or app.config.dump.scratch,
        rate=app.settings.rate,
        nice=app.settings.nice,
        ionice=app.settings.ionice,
    )
    made = make(app.cluster, app.conninfo, options, context.progress)
    context.close()
    problem = made.problem
    facts = made.to_dict() | {"error": error_facts(problem) if problem else None}
    context.result(facts, lambda look: render.report(made, look))
    if problem is None:
        return 0
    say_error(problem)
    return problem.exit_status


def list_dumps(here: typer.Context) -> int:
    """List the dumps, newest last."""
    from pgkeep.cli.render import dump as render
    from pgkeep.repository import dumps

    context: Context = here.obj
    found = dumps.dumps(context.app.cluster)
    context.result(
        {
            "cluster": found.cluster,
            "dumps": [render.dump_facts(dump) for dump in found.dumps],
            "unreadable": [{"id": bad.id, "why": bad.why} for bad in found.unreadable],
        },
        lambda look: render.listing(found, look),
    )
    return NO if found.unreadable else 0


def show(here: typer.Context, dump_id: Annotated[str, _ID] = "latest") -> None:
    """Show all that is on record of a dump."""
    from pgkeep.cli.render import dump as render
    from pgkeep.repository import dumps

    context: Context = here.obj
    folder = context.app.cluster
    facts = dumps.read_facts(folder, dumps.find_dump(dumps.dumps(folder), dump_id).id)
    context.result(render.show_facts(facts), lambda look: render.show(facts, look))


def diff(
    here: typer.Context,
    older: Annotated[str, typer.Argument(metavar="A", help="An id or its beginning.")],
    newer: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
) -> int:
    """Show what changed from one dump to another: objects, definitions, rows. Status 3: it did."""
    from pgkeep.cli.render import dump as render
    from pgkeep.logical.diff import compare_dumps
    from pgkeep.repository import dumps

    context: Context = here.obj
    folder = context.app.cluster
    listed = dumps.dumps(folder)
    found = compare_dumps(
        folder, dumps.find_dump(listed, older).id, dumps.find_dump(listed, newer).id
    )
    context.result(found.to_dict(), lambda look: render.difference(found, look))
    return NO if found.differs else 0
