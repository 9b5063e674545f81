"""Command lines, read as the pgkeep command reads them, and not carried out."""

import shlex

from typer.main import get_command

from pgkeep.cli.context import Context, hoist
from pgkeep.cli.main import build_app


def demand_valid(line: str) -> None:
    """Fail unless a command line has commands, options and values that pgkeep knows."""
    program, *words = shlex.split(line)
    assert program == "pgkeep", line
    command = get_command(build_app(Context()))
    here = command.make_context("pgkeep", hoist(words))
    while hasattr(command, "resolve_command"):
        rest = [*here._protected_args, *here.args]
        assert rest, f"{line}: a command is missing"
        name, command, rest = command.resolve_command(here, rest)
        assert command is not None
        here = command.make_context(name, rest, parent=here)
    assert not here.args, line
