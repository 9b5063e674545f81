"""The command for a second place: copy."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import Context, error_facts, say_problem

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.replicate.plan import Choice
    from pgkeep.replicate.report import CopyReport
    from pgkeep.repository.copies.make import Made
    from pgkeep.repository.repository import ClusterFolder, Repository

_JOBS = 4  # threads: each waits for the network or a disk most of the time


def register(app: typer.Typer) -> None:
    app.command("copy")(copy)


def copy(  # noqa: PLR0913 - options
    here: typer.Context,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="REPOSITORY", help="Where the copy is, or is to be.")
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="REPOSITORY", help="What to copy; else the first."),
    ] = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Leave out what retention would let go.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read again at the copy what was sent.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Objects that are under way at a time.")
    ] = _JOBS,
    rate: Annotated[
        str, typer.Option(metavar="RATE", help="Send at most this much a second, like 20MB/s.")
    ] = "",
    from_passphrase_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Opens --from, if not as configured.")
    ] = None,
    to_passphrase_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Opens the copy; else what opens --from.")
    ] = None,
) -> int:
    """Copy backups, dumps and WAL to another place, sealed as they are."""
    from pgkeep.replicate.copy import CopyOptions, preview, run
    from pgkeep.repository.store.open import open_store
    from pgkeep.units import parse_rate

    context: Context = here.obj
    app = context.app
    place = app.place_of(to, to_passphrase_file)  # a wrong name is told before anything is opened
    origin = app.place_of(source, from_passphrase_file).open()
    target, made = _target(context, origin, place, dry_run=dry_run)
    reports = []
    for name in [context.cluster] if context.cluster else origin.clusters():
        ends = origin.cluster(name), target.cluster(name)
        options = CopyOptions(
            jobs=jobs,
            rate=parse_rate(rate) if rate else app.settings_of(name).rate,
            verify=verify,
        )
        if policy:
            options = replace(options, choose=_policy(context, place, *ends))
        if dry_run:
            url = open_store(place.address).url
            reports.append(replace(preview(*ends, options), target=url))
        else:
            reports.append(run(*ends, options, context.progress))
    context.close()
    return _tell(context, origin, reports, made)


def _target(
    context: Context, origin: "Repository", place: "Place", *, dry_run: bool
) -> "tuple[Repository, Made | None]":
    """Return the copy, made if need be; for a dry run perhaps one that is not there yet."""
    from pgkeep.cli.render import copy as render
    from pgkeep.repository.copies.identity import demand_two_places
    from pgkeep.repository.store.open import open_store

    demand_two_places(origin.store, open_store(place.address))
    if dry_run and not _is_copy(origin, place.address):
        from pgkeep.repository.repository import Repository
        from pgkeep.repository.store.memory import MemoryStore

        return Repository(MemoryStore(), origin.id, origin.key), None
    made = place.make_copy(origin)
    if made.created:
        # Before anything is sent: whatever happens then, the recovery key was shown.
        context.say_story(render.made(made, context.look))
    return made.repository, made


def _is_copy(origin: "Repository", address: str) -> bool:
    import os

    from pgkeep.repository.copies.make import demand_place
    from pgkeep.repository.store.open import open_store

    if address.startswith("/") and not os.path.exists(address):
        return False  # a folder that is made by the copy itself
    return demand_place(origin, open_store(address))


def _policy(
    context: Context, place: "Place", source: "ClusterFolder", target: "ClusterFolder"
) -> "Callable[[], Choice]":
    from pgkeep.cli.commands.retention import policy_of
    from pgkeep.retention.together import judge_together

    wanted = policy_of(context.app.retention_in(place, source.name))
    return lambda: judge_together([source, target], wanted, datetime.now(UTC), context.app.zone)


def _tell(
    context: Context, origin: "Repository", reports: "list[CopyReport]", made: "Made | None"
) -> int:
    from pgkeep.cli.render import copy as render

    problem = next((report.problem for report in reports if report.problem), None)
    facts = {
        "repository_id": origin.id,
        "created": made is not None and made.created,
        "recovery_key": made.recovery_key if made is not None else None,
        "clusters": [report.to_dict() for report in reports],
        "error": error_facts(problem),
    }
    context.result(facts, lambda look: render.reports(reports, look))
    return say_problem(problem)
