"""The command about money: cost."""

import typer

from pgkeep.cli.context import Context


def register(app: typer.Typer) -> None:
    app.command("cost")(cost)


def cost(here: typer.Context) -> None:
    """Say what the repositories cost a month, and what the last backup cost.

    At list prices, unless pgkeep.toml has your own.
    """
    from datetime import UTC, datetime

    from pgkeep.cli.spending import text as render
    from pgkeep.costs.survey import Priced, look_at_costs

    context: Context = here.obj
    places = [Priced(place.open(), place.tariff) for place in context.app.places]
    found = look_at_costs(places, datetime.now(UTC))
    context.close()
    context.result(
        {"repositories": [one.to_dict() for one in found]}, lambda look: render.costs(found, look)
    )
