"""Logical backups: dump restore."""

from dataclasses import replace as replaced
from typing import TYPE_CHECKING

import typer

from pgkeep.cli.commands import dump_options as options
from pgkeep.cli.context import Context
from pgkeep.model.dump import Selection

if TYPE_CHECKING:
    from pgkeep.logical.masks.rules import MaskRule
    from pgkeep.logical.restoring.report import RestoreRequest


def register(dump: typer.Typer) -> None:
    dump.command("restore")(restore)


def restore(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    dump_id: options.Dump,
    *,
    into: options.Into = "",
    name: options.Name = "",
    create: options.Create = False,
    database: options.OneDatabase = "",
    every: options.AllOfDump = False,
    exclude_databases: options.NotOfDump = None,
    tables: options.Tables = None,
    exclude_tables: options.ExcludeTables = None,
    exclude_data: options.ExcludeData = None,
    schemas: options.Schemas = None,
    schema_only: options.SchemaOnly = False,
    jobs: options.Jobs = None,
    create_roles: options.CreateRoles = False,
    no_owner: options.NoOwner = False,
    no_privileges: options.NoPrivileges = False,
    role_map: options.RoleMap = None,
    tablespace_map: options.TablespaceMap = None,
    no_tablespaces: options.NoTablespaces = False,
    replace: options.Replace = False,
    force: options.Force = False,
    drop_old: options.DropOld = False,
    keep_failed: options.KeepFailed = False,
    no_analyze: options.NoAnalyze = False,
    masked: options.Masked = False,
    sample: options.Sample = "",
    seed: options.Seed = 0,
    dry_run: options.DryRun = False,
) -> int:
    """Restore a dumped database into a new one, compare it, and only then give it its name."""
    from pgkeep.logical.restoring.preflight import parse_map
    from pgkeep.logical.restoring.report import RestoreRequest
    from pgkeep.logical.sample.plan import parse_share

    context: Context = here.obj
    _demand_sense(name, every=every, create=create, replace=replace, others=force or drop_old)
    if (database or exclude_databases) and every is bool(database):
        raise typer.BadParameter("--all restores every one but --exclude-database; --database one")
    chosen = Selection(
        tables=tuple(tables or ()),
        exclude_tables=tuple(exclude_tables or ()),
        exclude_table_data=tuple(exclude_data or ()),
        schemas=tuple(schemas or ()),
        schema_only=schema_only,
    )
    made = RestoreRequest(
        dump=dump_id, into=into, database=database, name=name, selection=chosen, jobs=jobs or 0,
        create_roles=create_roles, owners=not no_owner, privileges=not no_privileges,
        roles=parse_map(role_map or (), "pair of roles"),
        tablespaces=parse_map(tablespace_map or (), "pair of tablespaces"),
        keep_tablespaces=not no_tablespaces, replace=replace, force=force, drop_old=drop_old,
        keep_failed=keep_failed, analyze=not no_analyze,
        masks=_masks(context) if masked else (),
        sample=parse_share(sample) if sample else 0.0, seed=seed, dry_run=dry_run,
    )  # fmt: skip
    return _carry_out(context, made, tuple(exclude_databases or ()), every=every)


def _carry_out(
    context: Context, request: "RestoreRequest", exclude: tuple[str, ...], *, every: bool
) -> int:
    from pgkeep.cli.render import dump_restore as render
    from pgkeep.logical.restoring.every import restore_every
    from pgkeep.logical.restoring.restore import restore as one
    from pgkeep.repository import dumps

    app = context.app
    found = dumps.find_dump(dumps.dumps(app.cluster_to_read), request.dump)
    request = replaced(
        request,
        dump=found.id,
        into=request.into or app.conninfo,
        jobs=request.jobs or app.jobs,
        pg_bin=app.settings.pg_bin,
    )
    if every:
        made = restore_every(app.cluster_to_read, request, exclude, context.progress)
        context.close()
        facts = [report.to_dict() for report in made.reports]
        context.result(
            {"restored": facts, "left_alone": list(made.left_alone)},
            lambda look: render.every(made, look),
        )
        return 0
    report = one(app.cluster_to_read, request, context.progress)
    context.close()
    context.result(report.to_dict(), lambda look: render.report(report, look))
    return 0


def _demand_sense(name: str, *, every: bool, create: bool, replace: bool, others: bool) -> None:
    if name and (every or create):
        raise typer.BadParameter("-d gives one database another name; --all and --create give none")
    if others and not replace:
        raise typer.BadParameter("--force and --drop-old go with --replace")


def _masks(context: Context) -> "tuple[MaskRule, ...]":
    from pgkeep.logical.masks.rules import parse_masks

    rules = parse_masks(context.app.config.dump.masks)
    if not rules:
        raise typer.BadParameter(f"--masked, but {context.app.loaded.file} has no [dump.masks]")
    return rules
