"""Logical backups as files: dump export, dump import."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli import everywhere
from pgkeep.cli.commands import dump_options as options
from pgkeep.cli.commands.dump_options import Patterns
from pgkeep.cli.context import Context, ReaderGone
from pgkeep.logical.export.formats import STDOUT, ExportFormat

if TYPE_CHECKING:
    from pgkeep.logical.export.plan import ExportRequest


_Tables = Annotated[
    Patterns | None,
    typer.Option("--table", "-t", metavar="TABLE", help="plain: only these, as pg_restore -t."),
]
_Schemas = Annotated[
    Patterns | None,
    typer.Option("--schema", "-n", metavar="SCHEMA", help="plain: only what is in these."),
]


def register(dump: typer.Typer) -> None:
    """Add the commands to `pgkeep dump`."""
    dump.command("export")(export)
    dump.command("import")(import_)


def export(  # noqa: PLR0913 - what pg_restore can choose, by its own names
    here: typer.Context,
    dump_id: options.Dump,
    *,
    form: Annotated[ExportFormat, typer.Option("--format", "-F", help="As pg_dump calls them.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="PATH", help="A new file or directory; or -"),
    ],
    database: Annotated[str, typer.Option("--database", "-d", help="Of several, this one.")] = "",
    compress: Annotated[
        str, typer.Option(metavar="METHOD", help="custom, plain: none, gzip[:1-9], zstd[:1-19].")
    ] = "none",
    create: Annotated[
        bool, typer.Option("--create", "-C", help="plain: make the database as well.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", "-c", help="plain: drop what is there, first.")
    ] = False,
    if_exists: Annotated[
        bool, typer.Option("--if-exists", help="With --clean: if it is there.")
    ] = False,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", "-O", help="plain: whoever runs it owns everything.")
    ] = False,
    no_privileges: Annotated[
        bool, typer.Option("--no-privileges", "-x", help="plain: no GRANT and REVOKE.")
    ] = False,
    tables: _Tables = None,
    schemas: _Schemas = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace the file or dump that is there.")
    ] = False,
) -> None:
    """Write a dump as what pg_restore and psql read."""
    from pgkeep.logical.export.plan import ExportRequest
    from pgkeep.repository import dumps

    context: Context = here.obj
    app = context.app
    if output == STDOUT and context.json:
        raise typer.BadParameter("--json and '-o -' would both write to stdout")
    request = ExportRequest(
        dump=dumps.find_dump(dumps.dumps(app.cluster_to_read), dump_id).id,
        output=output,
        format=form,
        database=database,
        compress=compress,
        create=create,
        clean=clean,
        if_exists=if_exists,
        no_owner=no_owner,
        no_privileges=no_privileges,
        tables=tuple(tables or ()),
        schemas=tuple(schemas or ()),
        force=force,
        pg_bin=app.settings.pg_bin,
    )
    _write(context, request)


def _write(context: Context, request: "ExportRequest") -> None:
    from pgkeep.cli.render import dump_files as render
    from pgkeep.logical.export.export import export as write

    try:
        done = write(context.app.cluster_to_read, request, context.progress)
    except BrokenPipeError:
        raise ReaderGone from None
    context.close()
    if request.output == STDOUT:
        context.note(render.exported(done, context.look_at_stderr))
    else:
        context.result(done.to_dict(), lambda look: render.exported(done, look))


def import_(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A .dump, .tar, directory, .sql, .sql.gz or .sql.zst of pg_dump."
        ),
    ],
    *,
    label: Annotated[str, typer.Option(help="A word for people, shown in lists.")] = "",
    database: Annotated[
        str, typer.Option("--database", "-d", help="Its database's name, if the file's is wrong.")
    ] = "",
    globals_file: Annotated[
        str, typer.Option("--globals", metavar="FILE", help="Of pg_dumpall --globals-only.")
    ] = "",
    taken_at: Annotated[
        str, typer.Option(metavar="TIME", help="When it was made; else as the file says.")
    ] = "",
    accept_incomplete: Annotated[
        bool, typer.Option("--accept-incomplete", help="SQL without the mark that ends it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read it, say what is in it, and store nothing.")
    ] = False,
) -> int:
    """Take a file of pg_dump or pg_dumpall into the repository, as a dump like any other."""
    from pgkeep.cli.render import dump_files as render
    from pgkeep.logical.importing.importing import ImportOptions, import_file
    from pgkeep.model.target import parse_time

    context: Context = here.obj
    app = context.app
    place, repository = app.primary(context.note)
    options = ImportOptions(
        file=file,
        zone=app.zone,
        label=label,
        database=database,
        globals_file=globals_file,
        taken_at=parse_time(taken_at, app.zone) if taken_at else None,
        accept_incomplete=accept_incomplete,
        dry_run=dry_run,
        level=place.section.compression_level,
    )
    folder = repository.cluster(app.cluster_name)
    made = import_file(folder, options, context.progress)
    copies = [] if dry_run else everywhere.to_the_others(context, place, folder, str(made.facts.id))
    context.close()
    facts = made.to_dict() | {"copies": [copy.to_dict() for copy in copies]}
    context.result(facts, lambda look: render.imported(made, look) + everywhere.text(copies))
    return everywhere.tell(copies)
