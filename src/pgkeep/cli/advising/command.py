"""The command advise: plans for what somebody wants, and the config of the one that is chosen."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from pgkeep.cli.advising import options
from pgkeep.cli.context import Context

if TYPE_CHECKING:
    from pgkeep.advise.draft import Plan
    from pgkeep.advise.inspection import Inspection
    from pgkeep.advise.wishes import Wishes


class _Output(NamedTuple):
    """Which plan is shown, and what becomes of its config."""

    plan: str | None
    write: str | None
    force: bool
    config_alone: bool


def register(app: typer.Typer) -> None:
    app.command("advise")(advise)


def advise(  # noqa: PLR0913 - what can be wished for
    here: typer.Context,
    *,
    rpo: options.Rpo = None,
    rto: options.Rto = None,
    size: options.Size = None,
    wal_rate: options.WalRate = None,
    growth: options.Growth = None,
    hosting: options.HostingOption = None,
    provider: options.ProviderOption = None,
    retention: options.Retention = None,
    daily: options.Daily = 7,
    weekly: options.Weekly = 4,
    monthly: options.Monthly = 12,
    table_level: options.TableLevel = None,
    offsite: options.Offsite = None,
    budget: options.Budget = None,
    pg_version: options.PgVersion = None,
    inspect: options.Inspect = False,
    conninfo: options.Conninfo = None,
    plan: options.Plan = None,
    write: options.Write = None,
    force: options.Force = False,
    print_config: options.Print = False,
    compare: options.Compare = False,
) -> int:
    """Say which backups you need, how often, at what cost.

    On a terminal what is not given is asked. Plans come with their arithmetic, and the config of
    the one that you choose.
    """
    from pgkeep.cli.advising.questions import wal_a_day
    from pgkeep.units import parse_duration, parse_size

    context: Context = here.obj
    if compare:
        return _compare(context)
    given: dict[str, Any] = {
        "rpo": _read(parse_duration, rpo),
        "rto": _read(parse_duration, rto),
        "size": _read(parse_size, size),
        "wal_rate": _read(wal_a_day, wal_rate),
        "growth": None if growth is None else growth / 100,
        "hosting": hosting,
        "provider": provider,
        "retention": _read(parse_duration, retention),
        "daily": daily,
        "weekly": weekly,
        "monthly": monthly,
        "table_level": table_level,
        "offsite": offsite,
        "budget": budget,
        "major": pg_version,
    }
    inspection = _inspect(context, conninfo) if inspect or conninfo is not None else None
    output = _Output(plan, write, force, print_config)
    return _propose(context, given, inspection, conninfo, output)


def _read(parse: Any, text: str | None) -> float | None:
    return None if text is None else float(parse(text))


def _compare(context: Context) -> int:
    """Show what the methods can and cannot do."""
    from dataclasses import asdict

    from pgkeep.advise.facts import FACTS
    from pgkeep.advise.methods import METHODS
    from pgkeep.cli.advising import text as render
    from pgkeep.cli.context import print_json

    if context.json:
        facts = [fact._asdict() for fact in FACTS]
        print_json({"methods": [asdict(method) for method in METHODS], "facts": facts})
    else:
        context.say_story(render.methods())
    return 0


def _propose(
    context: Context,
    given: Mapping[str, Any],
    inspection: "Inspection | None",
    conninfo: str | None,
    output: _Output,
) -> int:
    """Ask what is not known, and show the plans."""
    from pgkeep.advise.plan import advise as make_plans
    from pgkeep.cli.advising import text as render
    from pgkeep.cli.advising.writing import write_config
    from pgkeep.cli.context import is_terminal, print_json

    asks = sys.stdin.isatty() and not context.json
    wishes = _wishes(given, inspection, asks=asks)
    plans = make_plans(wishes)
    chosen = _chosen(plans, output.plan)
    config = _config(context, chosen, wishes, conninfo)
    if output.write is not None:
        write_config(output.write, config, force=output.force)
    if context.json:
        print_json(render.facts(wishes, plans, chosen, inspection, config))
    elif output.config_alone:
        context.say_story(config.rstrip("\n"))
    else:
        styled = is_terminal(sys.stdout)
        context.say_story(render.plans(wishes, plans, chosen, inspection, styled=styled))
        context.say_story(render.chosen(chosen, wishes, config, output.write))
    return 0


def _inspect(context: Context, conninfo: str | None) -> "Inspection":
    from pgkeep.advise.inspection import inspect_server
    from pgkeep.advise.recorded import NOTHING
    from pgkeep.server.connecting import holds_secret
    from pgkeep.server.session import Session

    if conninfo is None:
        with context.app.connect() as session:
            return inspect_server(session, _recorded(context))
    if holds_secret(conninfo):
        why = "a password on the command line is seen by everybody: put it into ~/.pgpass"
        raise typer.BadParameter(why)
    with Session.connect(conninfo, any_version=True) as session:
        return inspect_server(session, NOTHING)


def _recorded(context: Context) -> Any:
    """Return what is on record; without a repository that can be read, nothing, and say so."""
    from pgkeep.advise.recorded import NOTHING, recorded
    from pgkeep.coverage.listing import list_cluster
    from pgkeep.errors import PgkeepError

    try:
        return recorded(list_cluster(context.app.cluster_to_read))
    except PgkeepError as error:
        context.note(f"note: growth and measured rates are not known: {error}")
        return NOTHING


def _wishes(given: Mapping[str, Any], inspection: "Inspection | None", *, asks: bool) -> "Wishes":
    """Put together what was given, measured and answered; the rest is as it is usual."""
    from pgkeep.advise.wishes import Hosting, Provider, Wishes
    from pgkeep.cli.advising.questions import ask

    known = dict(given)
    if inspection is not None:
        found = inspection.recorded
        measured = {
            "size": float(inspection.size),
            "wal_rate": inspection.wal_to_plan_for,
            "growth": found.growth,
            "hosting": inspection.hosting,
            "provider": inspection.service,
            "major": inspection.major,
            "checksums": inspection.checksums,
            "restore_rate": found.restore_rate,
            "replay_rate": found.replay_rate,
        }
        known |= {name: value for name, value in measured.items() if known.get(name) is None}
    if asks:
        known |= ask(known)
    if known["hosting"] is Hosting.MANAGED and known["provider"] in (None, Provider.NONE):
        known["provider"] = Provider.OTHER
    names = {"wal_rate": "wal_per_day", "retention": "window"}
    wanted = {names.get(name, name): value for name, value in known.items() if value is not None}
    try:
        return Wishes(**wanted)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _chosen(plans: "list[Plan]", wanted: str | None) -> "Plan":
    for number, plan in enumerate(plans, 1):
        if wanted in (None, plan.name, str(number)):
            return plan
    names = ", ".join(plan.name for plan in plans)
    raise typer.BadParameter(f"there is no plan {wanted!r}: there is {names}")


def _config(context: Context, plan: "Plan", wishes: "Wishes", conninfo: str | None) -> str:
    """Return the plan's pgkeep.toml, with what an existing config says of the cluster."""
    from pgkeep.advise.writing import config_text
    from pgkeep.config_file import ConfigMissing
    from pgkeep.server.connecting import holds_secret

    url = ""
    name = context.cluster or "main"
    try:
        app = context.app
        name = context.cluster or next(iter(app.config.clusters), name)
        # A path is meant from the folder of the config that it stands in.
        url = app.config.repository[0].url
        url = url if "://" in url else app.configured[0].address
        conninfo = conninfo or app.config.clusters[name].conninfo.reveal()
    except (ConfigMissing, KeyError):
        pass
    # What is written may be read by others.
    known = "" if not conninfo or holds_secret(conninfo) else conninfo
    return config_text(plan, wishes, cluster=name, conninfo=known, url=url)
