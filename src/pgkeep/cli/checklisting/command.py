"""The command that says what is done, due and broken: checklist."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import DONE, NO, Context

if TYPE_CHECKING:
    from pgkeep.checklist.row import Checklist

Record = Annotated[
    bool,
    typer.Option("--record", help="Keep the answers, and how much is stored, in the repository."),
]


def register(app: typer.Typer) -> None:
    app.command("checklist")(checklist)


def checklist(here: typer.Context, *, record: Record = False) -> int:
    """Is all done that a production database needs? With proof.

    Exit status 3 if anything is due or has failed; with --record, if it is not on record.
    """
    from pgkeep.checklist.rows import checklist as look
    from pgkeep.cli.checklisting import text as render

    context: Context = here.obj
    context.progress.phase("looking at repositories and server")
    found = look(context.app)
    is_good = not found.wanting
    if record:
        # It was asked to write down how things are, and how they are is no failure to do so.
        is_good = _keep(context, found)
        found = look(context.app)  # it has a row about what was recorded
    context.close()
    context.result(found.to_dict(), lambda answer: render.checklist(found, answer, _words(context)))
    return DONE if is_good else NO


def _words(context: Context) -> tuple[str, ...]:
    """Return how commands begin that mean the same cluster."""
    given = (("--config", context.config), ("--cluster", context.cluster))
    return ("pgkeep", *(word for name, value in given if value for word in (name, value)))


def _keep(context: Context, found: "Checklist") -> bool:
    """Put it on record; tell whether it is."""
    from pgkeep.checklist.storage import stored_bytes, stored_words
    from pgkeep.cli.recording import new_act, record
    from pgkeep.repository.acts.act import CHECKLIST

    sizes = stored_bytes(context.app)
    facts = {row.key: row.state.value for row in found.rows}
    facts |= {"stored": stored_words(sizes)}
    facts |= {f"bytes of {name}": str(size) for name, size in sizes.items()}
    return record(context, new_act(found.cluster, CHECKLIST, None, facts))
