"""repair as text."""

from typing import Final

from pgkeep.cli.text import Look, safe
from pgkeep.postgres.layout import Fork
from pgkeep.repair.plan import Fate, Verdict
from pgkeep.repair.repair import RepairReport
from pgkeep.units import format_duration, plural

_DONE: Final = {
    Fate.BACKUP: ("repaired from backup {backup}", "can be repaired from backup {backup}"),
    Fate.WAL: ("repaired from WAL", "can be repaired from WAL"),
    Fate.ZEROED: ("zeroed", "can be zeroed"),
    Fate.CANNOT: ("still damaged", "cannot be repaired"),
}


def report(done: RepairReport, look: Look) -> str:
    """Say how the cluster stands now, then each page and why."""
    paint = look.bad if done.cannot else look.good
    looked = f"{plural(done.pages, 'page')} of {plural(done.files, 'file')}"
    lines = [paint(_headline(done)), f"checked {looked} in {format_duration(done.seconds)}"]
    if done.kept_in:
        lines.append(f"what was overwritten is kept in {safe(done.kept_in)}")
    for verdict in done.verdicts:
        lines += ["", *_page(verdict, done, look)]
    lines += [look.weak(f"note: {safe(note)}") for note in done.notes]
    if done.dry_run and done.verdicts:
        lines += ["", "nothing was written"]
    return "\n".join(lines)


def _headline(done: RepairReport) -> str:
    where, count = safe(done.directory), len(done.verdicts)
    good = count - done.cannot
    if not count:
        return f"no page of {where} is damaged"
    pages = f"{good:,} of {plural(count, 'damaged page')} of {where}"
    if done.dry_run:
        return f"{pages} can be repaired"
    return f"{pages} {'is' if good == 1 else 'are'} repaired"


def _page(verdict: Verdict, done: RepairReport, look: Look) -> list[str]:
    page, relation = verdict.page, verdict.page.relation
    name = done.databases.get(relation.database, "")
    where = f"database {name}" if name else f"database {relation.database}"
    if not relation.database:
        where = "shared by all databases"
    fork = "" if relation.fork is Fork.MAIN else f", {_FORKS[relation.fork]}"
    words = _DONE[verdict.fate][1 if done.dry_run else 0].format(backup=verdict.backup)
    paint = look.bad if verdict.fate is Fate.CANNOT else look.good
    lines = [f"{safe(page.path)} block {page.block} ({safe(where)}{fork}): {paint(words)}"]
    lines.append(f"  because {safe(verdict.why)}")
    if verdict.advice:
        lines.append(f"  {safe(verdict.advice)}")
    return lines


_FORKS: Final = {
    Fork.FSM: "its free space map",
    Fork.VM: "its visibility map",
    Fork.INIT: "its initial state",
}
