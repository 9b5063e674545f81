"""Plans side by side, and the arithmetic of the one that is chosen."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import inf
from typing import Any, Final

from pgkeep.advise.draft import Answer, Plan
from pgkeep.advise.facts import FACTS
from pgkeep.advise.inspection import Inspection
from pgkeep.advise.methods import METHODS
from pgkeep.advise.wishes import Wishes
from pgkeep.advise.writing import settings_text
from pgkeep.cli.text import Look, safe, table
from pgkeep.units import format_duration, format_size

_WIDE: Final = 100  # columns


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
        "plans": [plan.to_dict() for plan in plans],
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
        ("with the site", *(_site(plan) for plan in found)),
        ("back within", *(_goal(plan.rto, wishes.rto) for plan in found)),
        ("backups", *(plan.schedule.get("backup", "-") for plan in found)),
        ("dumps", *(plan.schedule.get("dump", "-") for plan in found)),
        ("restore tests", *(plan.schedule["drill"] for plan in found)),
        ("repositories", *(_where(plan) for plan in found)),
        ("stored in a year", *(format_size(plan.storage.everywhere) for plan in found)),
        ("cost a month", *(f"{plan.cost.month:.2f}" for plan in found)),
        ("3-2-1", *(_three(plan) for plan in found)),
        ("checklist", *(_share(plan.checklist) for plan in found)),
        ("wishes", *(_fits(plan) for plan in found)),
    ]
    lines = _measured(inspection) if inspection else []
    lines += [*_wrapped(_wanted(wishes)), "", table(header, rows, look), ""]
    lines += _wrapped(f"* {found[0].name}: {found[0].why}")
    if not chosen.recommended:
        lines.append(f"chosen: {chosen.name}")
    return "\n".join(lines)


def _goal(value: float, goal: float) -> str:
    return f"{format_duration(value)}{'' if value <= goal else ' (!)'}"


def _site(plan: Plan) -> str:
    return "everything (!)" if plan.site_rpo == inf else format_duration(plan.site_rpo)


def _where(plan: Plan) -> str:
    return ", ".join(place.name for place in plan.places)


def _three(plan: Plan) -> str:
    return "yes" if all(rule.met for rule in plan.rules[:3]) else "no"


def _share(answers: Sequence[Answer]) -> str:
    return f"{sum(answer.met for answer in answers)} of {len(answers)}"


def _fits(plan: Plan) -> str:
    return "all met" if plan.fits else f"{len(plan.unmet)} not met"


def _wanted(wishes: Wishes) -> str:
    second = (
        f"any second of {format_duration(wishes.window)}" if wishes.window else "no single moments"
    )
    return (
        f"wanted: at most {format_duration(wishes.rpo)} lost, back within "
        f"{format_duration(wishes.rto)}, {second}; for "
        f"{format_size(wishes.size)} with {format_size(wishes.wal_per_day)} of WAL a day, "
        f"{wishes.growth:+.0%} in a year"
    )


def _measured(found: Inspection) -> list[str]:
    service = f"a managed service ({found.service})" if found.service else "no managed service"
    unseen = f" and {found.unseen} databases of unknown size" if found.unseen else ""
    growth = found.recorded.growth
    weak = "; planned for a tenth of the size or more" if found.wal_is_weak else ""
    role = "a standby" if found.standby else "a primary"
    summaries = f", summarize_wal {_on(found.summarize_wal)}" if found.major >= 17 else ""
    lines = [
        f"measured: PostgreSQL {safe(found.version)}, {role} with {found.replicas} replicas, "
        f"{service}",
        f"  {format_size(found.size)}{unseen}, {found.tables} tables in the connected database; "
        + ("growth not known" if growth is None else f"{growth:+.0%} a year by backups on record"),
        f"  WAL: {format_size(found.wal_per_day)} a day, {found.wal_source}{weak}",
        f"  checksums {_on(found.checksums)}, archiving {_on(found.archiving)}, archive_timeout "
        f"{found.archive_timeout} s, wal_level {safe(found.wal_level)}{summaries}",
    ]
    return [line for text in lines for line in _wrapped(text)]


def _on(value: bool) -> str:
    return "on" if value else "OFF"


def chosen(plan: Plan, wishes: Wishes, config: str, written: str | None) -> str:
    """Return the arithmetic, the risks and the config of a plan."""
    lines = ["", f"{plan.title}:", *_listed(plan.methods)]
    lines += ["", "the arithmetic (docs/choosing.md has where the rates are from):"]
    lines += [line for text in plan.arithmetic for line in _wrapped(text, "  ")]
    cost = "; ".join(plan.cost.arithmetic) or "nothing is in a bucket; disks are not counted"
    lines += _wrapped(f"cost a month in a year, list prices: {cost}", "  ")
    if plan.unmet:
        lines += ["", "not met:"]
        lines += _listed(f"{one.wish}: {one.says}; it takes {one.takes}" for one in plan.unmet)
    lines += ["", "3-2-1-1-0:", *_listed(_answer(rule) for rule in plan.rules)]
    done = [row.wish for row in plan.checklist if row.met]
    lines += ["", "the production checklist:", *_listed([f"seen to: {', '.join(done)}"])]
    left = [f"{row.wish} ({row.says})" for row in plan.checklist if not row.met]
    lines += _listed([f"left to you: {', '.join(left)}; pgkeep checklist says what to type"])
    lines += ["", "risks that are left:", *_listed(plan.risks)]
    settings = settings_text(plan, wishes)
    if settings:
        lines += ["", "PostgreSQL's settings:", *(f"  {line}" for line in settings.splitlines())]
    return "\n".join([*lines, "", *_config(config, written)])


def _answer(answer: Answer) -> str:
    more = f"; it takes {answer.takes}" if answer.takes else ""
    return f"{'yes' if answer.met else 'no'}: {answer.wish} ({answer.says}{more})"


def _config(config: str, written: str | None) -> list[str]:
    if written:
        name = safe(written)
        return [
            f"written: {name}; next: the settings, pgkeep --config {name} init --apply, a restart,",
            f"  then pgkeep --config {name} check",
        ]
    return [
        "pgkeep.toml (--write FILE writes it, --print shows it alone):",
        *(f"  {line}".rstrip() for line in config.splitlines()),
    ]


def _listed(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in _wrapped(f"- {text}", "  ")]


def _wrapped(text: str, indent: str = "") -> list[str]:
    own = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.lstrip(),
        _WIDE,
        initial_indent=indent + own,
        subsequent_indent=f"{indent}{own}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def methods() -> str:
    """Return the methods one by one: a table of sentences would not fit."""
    blocks = []
    for method in METHODS:
        lines = [method.name]
        for name in ("loses", "restores", "brings_back", "cannot", "costs"):
            lines += _wrapped(f"{name.replace('_', ' ')}: {getattr(method, name)}", "  ")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def page_tables() -> tuple[str, str]:
    """Return the tables of docs/choosing.md: the methods, and every number with its source."""
    header = "| method | loses | restores | brings back | cannot | costs |"
    lines = [header, "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(asdict(method).values())} |" for method in METHODS]
    numbers = ["| what | figure | where it is from |", "|---|---|---|"]
    numbers += [f"| {one.name} | {_figure(one.value, one.unit)} | {one.source} |" for one in FACTS]
    return "\n".join(lines), "\n".join(numbers)


def _figure(value: float, unit: str) -> str:
    if unit == "bytes/s":
        return f"{value / 1e6:.0f} MB/s"
    return format_duration(value) if unit == "s" else f"{value:g} {unit}"
