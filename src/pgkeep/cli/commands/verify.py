"""The command that proves: verify."""

import os
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import Context, error_facts, say_problem

if TYPE_CHECKING:
    from datetime import tzinfo

    from pgkeep.verify.heal import HealReport
    from pgkeep.verify.report import VerifyReport


class HowFar(StrEnum):
    OBJECTS = "objects"
    BYTES = "bytes"


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


_Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Of backups or dumps, or their beginnings; else all."),
]
_Level = Annotated[
    HowFar,
    typer.Option(help="objects: all is there, whole by its size. bytes: and read and hashed."),
]
_Sample = Annotated[str, typer.Option(metavar="SHARE", help="Read a random share only, like 5%.")]
_Seed = Annotated[
    str, typer.Option(help="Read the sample that this seed chose before; else a new one.")
]
_Since = Annotated[str, typer.Option(metavar="WHEN", help="Only what is newer: 7d, or a time.")]
_Jobs = Annotated[
    int | None, typer.Option(min=1, max=256, help="Worker processes; else one per core.")
]
_Rate = Annotated[
    str, typer.Option(metavar="RATE", help="Read at most this much a second, like 200MB/s.")
]
_Repair = Annotated[
    bool, typer.Option("--repair", help="Mend what is damaged or missing from other copies.")
]
_From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="REPOSITORY", help="A copy to mend it from; else all others."),
]
_FromFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Opens --from, if not as configured.")
]


def verify(  # noqa: PLR0913 - options
    here: typer.Context,
    backups: _Ids = None,
    *,
    level: _Level = HowFar.OBJECTS,
    sample: _Sample = "",
    seed: _Seed = "",
    since: _Since = "",
    jobs: _Jobs = None,
    rate: _Rate = "",
    repair: _Repair = False,
    source: _From = None,
    from_passphrase_file: _FromFile = None,
) -> int:
    """Prove that backups, dumps and WAL are there and intact; record it."""
    from pgkeep.repository.proofs import Level
    from pgkeep.units import parse_rate
    from pgkeep.verify.inventory import VerifyOptions
    from pgkeep.verify.plan import BadSample, Manner, parse_sample
    from pgkeep.verify.verify import run

    if source and not repair:
        raise typer.BadParameter("--from is where --repair takes objects from: give both")
    context: Context = here.obj
    app = context.app
    settings = app.settings
    share = parse_sample(sample, seed or os.urandom(8).hex()) if sample else None
    if share is not None and level is not HowFar.BYTES:
        raise BadSample(sample, "at the level objects nothing is read that there could be less of")
    options = VerifyOptions(
        level=Level(level.value),
        wanted=tuple(backups or ()),
        sample=share,
        since=_moment(since, app.zone) if since else None,
        manner=Manner(
            jobs=jobs or app.jobs,
            rate=parse_rate(rate) if rate else settings.rate,
            nice=settings.nice,
            ionice=settings.ionice,
        ),
        window_s=int(settings.retention.window),
    )
    if not repair:
        return _tell(context, run(app.cluster, options, context.progress))
    from pgkeep.verify.heal import heal

    others = app.others(source or (), from_passphrase_file, context.note)
    if not others:
        raise typer.BadParameter("--repair needs another copy of the repository: --from ADDRESS")
    return _tell_healed(context, heal(app.cluster, options, others, context.progress))


def _tell_healed(context: Context, report: "HealReport") -> int:
    """Show what was mended, then what is left; return the exit status."""
    from pgkeep.cli.render import verify as render_verify

    context.close()
    problem = report.verified.problem
    facts = {**report.to_dict(), "error": error_facts(problem)}
    context.result(facts, lambda look: render_verify.healed(report, look))
    context.tell_alone("verify --repair")
    return say_problem(problem)


def _tell(context: Context, report: "VerifyReport") -> int:
    """Show the report, then what is wrong; return the exit status."""
    from pgkeep.cli.render import verify as render_verify

    context.close()
    facts = {**report.to_dict(), "error": error_facts(report.problem)}
    context.result(
        facts | context.spent(),
        lambda look: render_verify.report(report, look) + context.spent_text(),
    )
    context.tell_alone("verify")
    return say_problem(report.problem)


def _moment(text: str, zone: "tzinfo") -> datetime:
    """Read '7d', which is counted back from now, or a time."""
    from pgkeep.model.target import parse_time
    from pgkeep.units import BadUnit, parse_duration

    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except BadUnit:
        return parse_time(text, zone)
