"""The command that writes the page for the worst day: runbook."""

from pathlib import Path
from typing import Annotated

import typer

from pgkeep.cli.context import Context

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it there; else it is printed."),
]
Html = Annotated[bool, typer.Option("--html", help="A page for browsers and printers.")]


def register(app: typer.Typer) -> None:
    app.command("runbook")(runbook)


def runbook(here: typer.Context, *, output: Output = None, html: Html = False) -> None:
    """Write down how to get everything back when all else is gone.

    Repositories, keys, config and commands for each disaster, without any secret: Markdown, or
    HTML. Print it, and keep it elsewhere.
    """
    from datetime import UTC, datetime

    from pgkeep.cli.recording import new_act, record
    from pgkeep.cli.runbooks.writing import write_runbook
    from pgkeep.config.shown import fingerprint
    from pgkeep.repository.acts.act import RUNBOOK
    from pgkeep.runbook.html import html as as_html
    from pgkeep.runbook.look import look
    from pgkeep.runbook.markdown import markdown
    from pgkeep.runbook.write import runbook as write

    context: Context = here.obj
    facts = look(context.app, datetime.now(UTC))
    page = write(facts)
    text = as_html(page) if html else markdown(page)
    place = str(output.absolute()) if output else ""
    if output is not None:
        write_runbook(output, text)
    known = {"file": place or "printed", "config": fingerprint(context.app.loaded.table)}
    record(context, new_act(facts.cluster, RUNBOOK, None, known))
    context.close()
    result = {"cluster": facts.cluster, "file": place or None, "page": text if not place else None,
              "troubles": facts.troubles}  # fmt: skip
    context.result(result, lambda _: f"wrote {place}" if place else text)
    for trouble in facts.troubles:
        context.note(f"warning: not all could be asked, and the page says so: {trouble}")
