"""The command advise: plans for what somebody wants, and the config of the one that is chosen."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.cli.advising import options
from pgkeep.cli.context import Context

if TYPE_CHECKING:
    from pgkeep.advise.inspection import Inspection
    from pgkeep.advise.plan import Plan
    from pgkeep.advise.wishes import Wishes


def register(app: typer.Typer) -> None:
    app.command("advise")(advise)


def advise(  # noqa: PLR0913 - what can be wished for
    here: typer.Context,
    *,
    rpo: options.Rpo = None,
    rto: options.Rto = None,
    size: options.Size = None,
    wal_rate: options.WalRate = None,
    growth: options.Growth = 30.0,
    hosting: options.HostingOption = None,
    provider: options.ProviderOption = None,
    retention: options.Retention = None,
    table_level: options.TableLevel = None,
    offsite: options.Offsite = None,
    budget: options.Budget = None,
    pg_version: options.PgVersion = 18,
    inspect: options.Inspect = False,
    plan: options.Plan = None,
    write: options.Write = None,
    compare: options.Compare = False,
) -> int:
    """Say which backups you need, how often, at what cost.

    On a terminal what is not given is asked. Plans come with their arithmetic, and the config of
    the one that you choose.
    """
    context: Context = here.obj
    if compare:
        return _compare(context)
    given: dict[str, Any] = {
        "rpo": _duration(rpo),
        "rto": _duration(rto),
        "size": _size(size),
        "wal_rate": _size(wal_rate),
        "hosting": hosting,
        "provider": provider,
        "retention": _duration(retention),
        "table_level": table_level,
        "offsite": offsite,
        "budget": budget,
        "growth": growth / 100,
        "major": pg_version,
    }
    return _propose(context, given, inspect=inspect, name=plan, write=write)


def _compare(context: Context) -> int:
    """Show what the methods can and cannot do."""
    from pgkeep.advise.facts import METHODS
    from pgkeep.cli.advising import text as render

    if context.json:
        _print({"methods": [_fields(method) for method in METHODS]})
    else:
        context.say_story(render.methods())
    return 0


def _propose(
    context: Context,
    given: Mapping[str, Any],
    *,
    inspect: bool,
    name: str | None,
    write: str | None,
) -> int:
    """Measure, ask what is not known, and show the plans."""
    from pgkeep.advise.plan import advise as make_plans
    from pgkeep.cli.advising import text as render

    inspection = _inspect(context) if inspect else None
    wishes = _wishes(given, inspection, asks=sys.stdin.isatty() and not context.json)
    plans = make_plans(wishes)
    chosen = _chosen(plans, name)
    text = _config(context, chosen, wishes)
    if write is not None:
        _write(write, text)
    result = render.facts(wishes, plans, chosen, inspection, text)
    if context.json:
        _print(result)
    else:
        styled = sys.stdout.isatty()
        context.say_story(render.plans(wishes, plans, chosen, inspection, styled=styled))
        context.say_story(render.chosen(chosen, wishes, text, write))
    return 0


def _fields(value: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(value)


def _print(facts: dict[str, Any]) -> None:
    from pgkeep.cli.context import print_json

    print_json(facts)


def _duration(text: str | None) -> float | None:
    from pgkeep.units import parse_duration

    return None if text is None else float(parse_duration(text))


def _size(text: str | None) -> float | None:
    from pgkeep.units import parse_size

    return None if text is None else float(parse_size(text))


def _inspect(context: Context) -> "Inspection":
    from pgkeep.advise.inspection import inspect_server

    with context.app.connect() as session:
        return inspect_server(session)


def _wishes(given: Mapping[str, Any], inspection: "Inspection | None", *, asks: bool) -> "Wishes":
    """Put together what was given, measured and answered; the rest is as it is usual."""
    from pgkeep.advise.wishes import Wishes
    from pgkeep.cli.advising.questions import ask

    known = dict(given)
    if inspection is not None:
        measured = {
            "size": float(inspection.size),
            "wal_rate": inspection.wal_per_day,
            "hosting": inspection.hosting,
            "provider": inspection.service,
        }
        known |= {name: value for name, value in measured.items() if known[name] is None}
        known["major"] = inspection.major
    if asks:
        known |= ask(known)
    names = {"wal_rate": "wal_per_day", "retention": "window"}
    found = {names.get(name, name): value for name, value in known.items() if value is not None}
    try:
        wishes = replace(Wishes(), **found)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if wishes.hosting is Hosting.MANAGED and wishes.provider is Provider.NONE:
        return replace(wishes, provider=Provider.OTHER)
    return wishes


def _chosen(plans: "list[Plan]", wanted: str | None) -> "Plan":
    for plan in plans:
        if wanted in (None, plan.name):
            return plan
    names = ", ".join(plan.name for plan in plans)
    raise typer.BadParameter(f"there is no plan {wanted!r}: there is {names}")


def _config(context: Context, plan: "Plan", wishes: "Wishes") -> str:
    """Return the plan's pgkeep.toml, with what an existing config says of the cluster."""
    from pgkeep.advise.writing import config_text
    from pgkeep.config_file import ConfigMissing

    try:
        app = context.app
        name = context.cluster or next(iter(app.config.clusters), "main")
        conninfo = app.settings_of(name).conninfo.reveal()
        url = app.config.repository[0].url
    except ConfigMissing:
        return config_text(plan, wishes, cluster=context.cluster or "main")
    from pgkeep.server.connecting import holds_secret

    # What is written may be read by others.
    conninfo = "" if holds_secret(conninfo) else conninfo
    return config_text(plan, wishes, cluster=name, conninfo=conninfo, url=url)


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise typer.BadParameter(f"{path} is there already, and was left alone") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise typer.BadParameter(f"{path} cannot be written: {why}") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
