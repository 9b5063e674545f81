"""The command that tries the recovery kit: key test."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import Context
from pgkeep.cli.recording import facts_of, new_act, record
from pgkeep.cli.text import Look, safe
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.setup.kit import KitReport


def key_test(
    here: typer.Context,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Holds it as its only line; else type it."),
    ] = None,
) -> None:
    """Does the recovery kit open the repository? Type the key that was printed.

    What the config opens the repository with is not used. Only reads, and keeps on record that it
    was tried.
    """
    from pgkeep.config_file import secret_from_file
    from pgkeep.repository.acts.act import KEY_TEST
    from pgkeep.repository.metering.opening import open_metered
    from pgkeep.repository.seal import Damaged, WrongKey
    from pgkeep.setup.kit import try_kit

    context: Context = here.obj
    place = context.app.place
    secret = secret_from_file(file) if file else _ask()
    try:
        report, opened = try_kit(open_metered(place.address), secret, _own(place), _known(context))
    except (WrongKey, Damaged) as error:
        record(context, new_act("", KEY_TEST, error, facts_of(place)))
        raise
    facts = facts_of(place) | {
        "kind": report.kind,
        "slot": report.slot,
        "label": report.label,
        "read": report.read,
    }
    record(context, new_act("", KEY_TEST, None, facts), opened)
    context.result(report.to_dict(), lambda look: _text(report, look))
    context.tell_alone("key test")


def _ask() -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("no terminal to ask on: name a --file")
    return getpass.getpass("Recovery key (PGKEEP-...), or another passphrase: ")


def _own(place: "Place") -> str | None:
    """Return what the config opens it with; None where that is lost, too."""
    try:
        return place.secret()
    except PgkeepError:
        return None


def _known(context: Context) -> tuple[str, ...]:
    """Return the config's clusters: the names of a whole repository are many."""
    return tuple(context.app.config.clusters)


def _text(report: "KitReport", look: Look) -> str:
    from pgkeep.repository.keys import RECOVERY

    what = "recovery key" if report.kind == RECOVERY else "passphrase"
    label = f" ({safe(report.label)})" if report.label else ""
    lines = [
        look.good(f"this {what} opens {safe(report.repository)}"),
        f"key slot {report.slot}{label}, made {look.when(report.made_at)}",
    ]
    if report.read:
        lines.append(f"unsealed with it: {report.read} of cluster {safe(report.cluster)}")
    else:
        lines.append("nothing is stored there yet, so nothing could be unsealed")
    lines.append("nothing that the config has was used; put the kit back where it was")
    return "\n".join(lines)
