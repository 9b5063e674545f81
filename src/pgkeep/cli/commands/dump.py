"""Logical backups: dump create, list, show, diff."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pgkeep.cli import everywhere
from pgkeep.cli.commands import dump_files, dump_restore
from pgkeep.cli.commands import dump_options as options
from pgkeep.cli.context import NO, Context, error_facts, group, say_problem
from pgkeep.cli.locking.keeping import lock_after
from pgkeep.errors import PgkeepError
from pgkeep.model.dump import Selection


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
    databases: options.Databases = None,
    every: options.EveryDatabase = False,
    exclude_databases: options.ExcludeDatabases = None,
    schema_only: options.SchemaOnly = False,
    data_only: options.DataOnly = False,
    sections: options.Sections = None,
    tables: options.Tables = None,
    exclude_tables: options.ExcludeTables = None,
    exclude_data: options.ExcludeData = None,
    schemas: options.Schemas = None,
    exclude_schemas: options.ExcludeSchemas = None,
    extensions: options.Extensions = None,
    filter_file: options.FilterFile = None,
    large_objects: options.LargeObjects = None,
    foreign_data: options.ForeignData = None,
    role_passwords: options.RolePasswords = None,
    lock_wait: options.LockWait = "",
    label: options.Label = "",
    jobs: options.Jobs = None,
    scratch: options.Scratch = "",
) -> int:
    """Dump databases with roles and tablespaces, by pg_dump, into the repository."""
    context: Context = here.obj
    if every and databases:
        raise typer.BadParameter("--all and --database contradict each other")
    if exclude_databases and databases:
        raise typer.BadParameter("--exclude-database is for all databases")
    selection = Selection(
        schema_only=schema_only, data_only=data_only, sections=tuple(sections or ()),
        tables=tuple(tables or ()), exclude_tables=tuple(exclude_tables or ()),
        exclude_table_data=tuple(exclude_data or ()), schemas=tuple(schemas or ()),
        exclude_schemas=tuple(exclude_schemas or ()), extensions=tuple(extensions or ()),
        foreign_servers=tuple(foreign_data or ()), large_objects=large_objects,
        exclude_databases=tuple(exclude_databases or ()),
    )  # fmt: skip
    wish = _Wish(
        databases=tuple(databases or ()),
        selection=_with_file(selection, filter_file),
        role_passwords=role_passwords,
        label=label,
        jobs=jobs,
        lock_wait=lock_wait,
        scratch=scratch,
    )
    return _create(context, wish)


class _Wish(NamedTuple):
    """What was typed."""

    databases: tuple[str, ...]
    selection: Selection
    role_passwords: bool | None
    label: str
    jobs: int | None
    lock_wait: str
    scratch: str


def _with_file(selection: Selection, file: Path | None) -> Selection:
    from pgkeep.logical.filters import merged, read_filter

    return selection if file is None else merged(selection, read_filter(file))


def _create(context: Context, wish: _Wish) -> int:
    from pgkeep.cli.render import dump as render
    from pgkeep.logical.create.create import CreateOptions
    from pgkeep.logical.create.create import create as make
    from pgkeep.units import parse_duration

    app = context.app
    place, repository = app.primary(context.note)
    wait = parse_duration(wish.lock_wait) if wish.lock_wait else app.config.dump.lock_wait
    chosen = CreateOptions(
        databases=wish.databases,
        selection=wish.selection,
        role_passwords=wish.role_passwords,
        label=wish.label,
        jobs=wish.jobs or app.jobs,
        level=place.section.compression_level,
        lock_wait_s=wait,
        pg_bin=app.settings.pg_bin,
        scratch=wish.scratch or app.config.dump.scratch,
        rate=app.settings.rate,
        nice=app.settings.nice,
        ionice=app.settings.ionice,
    )
    folder = repository.cluster(app.cluster_name)
    made = make(folder, app.conninfo, chosen, context.progress)
    copies = everywhere.to_the_others(context, place, folder, str(made.facts.id))
    locked = lock_after(context, everywhere.places(context, place))
    context.close()
    facts = made.to_dict() | {
        "error": error_facts(made.problem),
        "copies": [copy.to_dict() for copy in copies],
    }
    context.result(
        facts | locked.facts(), lambda look: render.report(made, look) + everywhere.text(copies)
    )
    status = everywhere.tell(copies) or locked.say(context)
    return say_problem(made.problem, status)


def list_dumps(here: typer.Context) -> int:
    """List the dumps, newest last."""
    from pgkeep.cli.render import dump as render
    from pgkeep.repository import dumps

    context: Context = here.obj
    found = dumps.dumps(context.app.cluster_to_read)
    context.result(
        {
            "cluster": found.cluster,
            "dumps": [dump.to_dict() for dump in found.dumps],
            "unreadable": [{"id": bad.id, "why": bad.why} for bad in found.unreadable],
        },
        lambda look: render.listing(found, look),
    )
    return NO if found.unreadable else 0


def show(here: typer.Context, dump_id: options.Dump = "latest") -> None:
    """Show all that is on record of a dump."""
    from pgkeep.cli.render import dump as render
    from pgkeep.logical.largest import largest_tables
    from pgkeep.repository import dumps

    context: Context = here.obj
    folder = context.app.cluster_to_read
    facts = dumps.read_facts(folder, dumps.find_dump(dumps.dumps(folder), dump_id).id)
    try:
        largest, why_not = largest_tables(folder, facts.id, render.LARGEST), ""
    except PgkeepError as error:  # what is on record is worth seeing all the same
        largest, why_not = [], str(error)
    context.result(
        render.show_facts(facts, largest), lambda look: render.show(facts, largest, why_not, look)
    )


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
    folder = context.app.cluster_to_read
    listed = dumps.dumps(folder)
    found = compare_dumps(
        folder, dumps.find_dump(listed, older).id, dumps.find_dump(listed, newer).id
    )
    context.result(found.to_dict(), lambda look: render.difference(found, look))
    return NO if found.differs else 0
