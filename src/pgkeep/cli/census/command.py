"""The commands about censuses: take, list, show."""

from typing import Annotated

import typer

from pgkeep.cli import everywhere
from pgkeep.cli.context import NO, Context, group


def register(app: typer.Typer) -> None:
    census = typer.Typer(
        help="Names, files and sizes of all relations, for undo: take, list, show.",
        callback=group,
        invoke_without_command=True,
    )
    census.command("take")(take)
    census.command("list")(list_censuses)
    census.command("show")(show)
    app.add_typer(census, name="census")


def take(here: typer.Context) -> int:
    """Write down what every database holds now. Every backup does so too.

    Status 3: a database could not be read.
    """
    from pgkeep.census.take import record, refused
    from pgkeep.cli.census import text

    context: Context = here.obj
    app = context.app
    place, repository = app.primary(context.note)
    folder = repository.cluster(app.cluster_name)
    context.progress.phase("reading the catalogs")
    facts = record(app.conninfo, folder)
    copies = everywhere.to_the_others(context, place, folder, facts.id, facts.id)
    context.close()
    shown = {**text.facts(facts), "copies": [copy.to_dict() for copy in copies]}
    told = everywhere.text(copies)
    context.result(shown, lambda look: text.taken(facts, look) + told)
    return everywhere.tell(copies) or (NO if refused(facts) else 0)


def list_censuses(here: typer.Context) -> None:
    """List the censuses, newest last."""
    from pgkeep.cli.census import text
    from pgkeep.repository.census.shelf import listed

    context: Context = here.obj
    folder = context.app.cluster_to_read
    found = listed(folder)
    context.result(
        {
            "cluster": folder.name,
            "censuses": [{"id": one.id, "taken_at": one.moment, "size": one.size} for one in found],
        },
        lambda look: text.listing(folder.name, found, look),
    )


def show(
    here: typer.Context,
    census_id: Annotated[
        str, typer.Argument(metavar="CENSUS", help="An id, its beginning, or latest.")
    ] = "latest",
    *,
    database: Annotated[
        str | None, typer.Option(help="Show the relations of this one.", show_default=False)
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="PostgreSQL's own catalogs and TOAST tables too.")
    ] = False,
) -> None:
    """Show which databases a census knows, or all relations of one."""
    from pgkeep.cli.census import text
    from pgkeep.repository.census.shelf import (
        census_facts,
        database_named,
        find_census,
        read_census,
    )

    context: Context = here.obj
    folder = context.app.cluster_to_read
    facts = census_facts(folder, find_census(folder, census_id))
    if database is None:
        context.result(text.facts(facts), lambda look: text.shown(facts, look))
        return
    oid = database_named(facts, database).oid
    (found,) = read_census(folder, facts.id, {oid}).databases
    relations = text.chosen(found, system=system)
    context.result(
        {**text.facts(facts), "database": found.name, "relations": text.relation_facts(relations)},
        lambda look: text.database(facts, found, relations, look),
    )
