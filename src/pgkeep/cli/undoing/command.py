"""The commands about accidents: undo find, and those that take back what it found."""

import typer

from pgkeep.cli.context import group
from pgkeep.cli.undoing import find


def register(app: typer.Typer) -> None:
    undo = typer.Typer(
        help="Accidents: find them in WAL, bring back what they destroyed.",
        callback=group,
        invoke_without_command=True,
    )
    find.register(undo)
    app.add_typer(undo, name="undo")
