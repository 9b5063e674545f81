"""Plans side by side, and the arithmetic of the one that is chosen."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pgkeep.advise.facts import METHODS
from pgkeep.advise.inspection import Inspection
from pgkeep.advise.plan import Answer, Plan
from pgkeep.advise.wishes import Wishes
from pgkeep.advise.writing import settings_text
from pgkeep.cli.text import Look, safe, table
from pgkeep.units import format_duration, format_size


def facts(
    wishes: Wishes,
    plans: Sequence[Plan],
    chosen: Plan,
    inspection: Inspection | None,
    config: str,
) -> dict[str, Any]:
    """Return the report as documented for --json."""
    return {
        "wishes": asdict(wishes),
        "inspection": inspection.to_dict() if inspection else None,
        "plans": [
            {**asdict(plan), "fits": plan.fits, "cost_per_month": plan.cost.month} for plan in plans
        ],
        "chosen": chosen.name,
        "config": config,
        "settings": settings_text(chosen, wishes),
    }


def plans(
    wishes: Wishes,
    found: Sequence[Plan],
    chosen: Plan,
    inspection: Inspection | None,
    *,
    styled: bool,
) -> str:
    look = Look(styled=styled)
    header = ("", *(f"{plan.name}{' *' if plan.recommended else ''}" for plan in found))
    rows = [
        ("may lose", *(_goal(plan.rpo, wishes.rpo) for plan in found)),
        ("back within", *(_goal(plan.rto, wishes.rto) for plan in found)),
        ("backups", *(plan.schedule.get("backup", "-") for plan in found)),
        ("dumps", *(plan.schedule.get("dump", "-") for plan in found)),
        ("restore tests", *(plan.schedule["drill"] for plan in found)),
        ("places", *(str(1 + plan.copies) for plan in found)),
        ("stored in a year", *(format_size(int(plan.storage.everywhere)) for plan in found)),
        ("cost a month", *(f"{plan.cost.month:.2f}" for plan in found)),
        ("meets the wishes", *(_fits(plan) for plan in found)),
    ]
    lines = [_measured(inspection)] if inspection else []
    lines += [_wanted(wishes), "", table(header, rows, look), ""]
    lines.append(f"* recommended: {found[0].why}")
    if not chosen.recommended:
        lines.append(f"chosen: {chosen.name}")
    return "\n".join(lines)


def _goal(value: float, goal: float) -> str:
    return f"{format_duration(value)}{'' if value <= goal else ' (!)'}"


def _fits(plan: Plan) -> str:
    missed = [answer.wish for answer in plan.answers if not answer.met]
    return "all" if not missed else f"not {', '.join(missed)}"


def _wanted(wishes: Wishes) -> str:
    return (
        f"wanted: at most {format_duration(wishes.rpo)} lost, back within "
        f"{format_duration(wishes.rto)}, any second of {format_duration(wishes.window)}; "
        f"{format_size(int(wishes.size))}, {format_size(int(wishes.wal_per_day))} of WAL a day"
    )


def _measured(found: Inspection) -> str:
    wal = (
        f"{format_size(int(found.wal_per_day))} of WAL a day"
        if found.wal_per_day is not None
        else "its WAL is not measured yet: statistics are younger than an hour"
    )
    sums = "on" if found.checksums else "OFF"
    return (
        f"measured: PostgreSQL {safe(found.version)}, {format_size(found.size)}, {wal}, "
        f"checksums {sums}, {found.replicas} replicas"
    )


def chosen(plan: Plan, wishes: Wishes, config: str, written: str | None) -> str:
    """Return the arithmetic, the risks and the config of a plan."""
    lines = ["", f"{plan.title}:", *(f"  - {method}" for method in plan.methods)]
    lines += ["", "the arithmetic (rates: docs/choosing.md; a drill measures yours):"]
    lines += [f"  {line}" for line in plan.arithmetic]
    if plan.cost.arithmetic:
        lines.append(f"  cost a month, list prices: {'; '.join(plan.cost.arithmetic)}")
    lines += ["", "3-2-1:", *(f"  {_mark(rule)} {rule.wish}: {rule.says}" for rule in plan.rules)]
    lines += ["", "risks that are left:", *(f"  - {risk}" for risk in plan.risks)]
    settings = settings_text(plan, wishes)
    if settings:
        lines += ["", "PostgreSQL's settings:", *(f"  {line}" for line in settings.splitlines())]
    if written:
        lines += ["", f"written: {safe(written)}; next: pgkeep init --apply, then pgkeep check"]
    else:
        lines += ["", "pgkeep.toml (--write FILE writes it):"]
        lines += [f"  {line}".rstrip() for line in config.splitlines()]
    return "\n".join(lines)


def _mark(answer: Answer) -> str:
    return "yes" if answer.met else "no "


def methods() -> str:
    """Return the methods one by one: a table of sentences would not fit."""
    blocks = [
        "\n".join(
            (
                method.name,
                f"  loses:       {method.loses}",
                f"  restores:    {method.restores}",
                f"  brings back: {method.brings_back}",
                f"  cannot:      {method.cannot}",
                f"  costs:       {method.costs}",
            )
        )
        for method in METHODS
    ]
    return "\n\n".join(blocks)
