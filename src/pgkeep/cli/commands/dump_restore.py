"""Logical backups: dump restore."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import Context
from pgkeep.model.dump import Selection

if TYPE_CHECKING:
    from pgkeep.logical.masks.rules import MaskRule

Patterns = list[str]


def register(dump: typer.Typer) -> None:
    dump.command("restore")(restore)


def restore(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    dump_id: Annotated[
        str, typer.Argument(metavar="DUMP", help="An id, its beginning, or latest.")
    ],
    *,
    into: Annotated[
        str, typer.Option(metavar="CONNINFO", help="The server; else that of the cluster.")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", "-d", help="The new database; else as in the dump.")
    ] = "",
    create: Annotated[
        bool, typer.Option("--create", help="Under its own name: the default without -d.")
    ] = False,
    database: Annotated[str, typer.Option(help="Which database of the dump.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every database of the dump.")] = False,
    tables: Annotated[
        Patterns | None,
        typer.Option("--table", "-t", metavar="PATTERN", help="Only these, and what they need."),
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
    schema_only: Annotated[
        bool, typer.Option("--schema-only", "-s", help="Definitions, no data.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=256, help="Else one per core.")
    ] = None,
    create_roles: Annotated[
        bool, typer.Option("--create-roles", help="Make the roles that are missing.")
    ] = False,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Everything belongs to the restoring role.")
    ] = False,
    no_privileges: Annotated[
        bool, typer.Option("--no-privileges", "-x", help="Without GRANT and REVOKE.")
    ] = False,
    role_map: Annotated[
        Patterns | None, typer.Option(metavar="OLD=NEW", help="Another role for one.")
    ] = None,
    tablespace_map: Annotated[
        Patterns | None, typer.Option(metavar="OLD=NEW", help="Another tablespace for one.")
    ] = None,
    no_tablespaces: Annotated[
        bool, typer.Option("--no-tablespaces", help="All in the default one.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Swap with the database of that name, and keep it.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --replace: end the sessions of the old one.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="With --replace: drop the old one after the swap.")
    ] = False,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Leave what came out wrong, to look at it.")
    ] = False,
    no_analyze: Annotated[
        bool, typer.Option("--no-analyze", help="Gather no statistics afterwards.")
    ] = False,
    masked: Annotated[
        bool, typer.Option("--masked", help="Mask columns as [dump.masks] says.")
    ] = False,
    sample: Annotated[
        str, typer.Option(help="Only a share of the rows, like 10%, and all that they refer to.")
    ] = "",
    seed: Annotated[int, typer.Option(help="With --sample: another number, other rows.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, and change nothing.")
    ] = False,
) -> int:
    """Restore a dumped database into a new one, compare it, and only then give it its name."""
    from dataclasses import replace as replaced

    from pgkeep.cli.render import dump_restore as render
    from pgkeep.logical.restoring.preflight import parse_map
    from pgkeep.logical.restoring.report import RestoreRequest
    from pgkeep.logical.restoring.restore import restore as carry_out
    from pgkeep.logical.sample.plan import parse_share
    from pgkeep.repository import dumps

    context: Context = here.obj
    app = context.app
    _demand_sense(name, every=every, create=create, replace=replace, options=(force, drop_old))
    folder = app.cluster
    found = dumps.find_dump(dumps.dumps(folder), dump_id)
    request = RestoreRequest(
        dump=found.id,
        into=into or app.conninfo,
        database=database,
        name=name,
        selection=Selection(
            tables=tuple(tables or ()),
            exclude_tables=tuple(exclude_tables or ()),
            exclude_table_data=tuple(exclude_data or ()),
            schemas=tuple(schemas or ()),
            schema_only=schema_only,
        ),
        jobs=jobs or app.jobs,
        create_roles=create_roles,
        owners=not no_owner,
        privileges=not no_privileges,
        roles=parse_map(role_map or (), "pair of roles"),
        tablespaces=parse_map(tablespace_map or (), "pair of tablespaces"),
        keep_tablespaces=not no_tablespaces,
        replace=replace,
        force=force,
        drop_old=drop_old,
        keep_failed=keep_failed,
        analyze=not no_analyze,
        masks=_masks(context) if masked else (),
        sample=parse_share(sample) if sample else 0.0,
        seed=seed,
        dry_run=dry_run,
        pg_bin=app.settings.pg_bin,
    )
    names = found.databases if every else (database,)
    reports = [
        carry_out(folder, replaced(request, database=one), context.progress) for one in names
    ]
    context.close()
    facts = {"restored": [report.to_dict() for report in reports]} if every else (
        reports[0].to_dict()
    )  # fmt: skip
    context.result(facts, lambda look: "\n\n".join(render.report(one, look) for one in reports))
    return 0


def _demand_sense(
    name: str, *, every: bool, create: bool, replace: bool, options: tuple[bool, bool]
) -> None:
    if name and (every or create):
        raise typer.BadParameter("-d gives one database another name; --all and --create give none")
    if any(options) and not replace:
        raise typer.BadParameter("--force and --drop-old go with --replace")


def _masks(context: Context) -> "tuple[MaskRule, ...]":
    from pgkeep.logical.masks.rules import parse_masks

    rules = parse_masks(context.app.config.dump.masks)
    if not rules:
        raise typer.BadParameter(f"--masked, but {context.app.loaded.file} has no [dump.masks]")
    return rules
