"""repair as text."""

from typing import Final

from pgkeep.cli.text import Look, plural, safe
from pgkeep.postgres.layout import Fork
from pgkeep.repair.plan import Fate, Verdict
from pgkeep.repair.repair import RepairReport
from pgkeep.units import format_duration

_DONE: Final = {
    Fate.BACKUP: ("repaired from backup {backup}", "can be repaired from backup {backup}"),
    Fate.WAL: ("repaired from WAL", "can be repaired from WAL"),
    Fate.ZEROED: ("zeroed", "can be zeroed"),
    Fate.CANNOT: ("still damaged", "cannot be repaired"),
}


def report(done: RepairReport, look: Look) -> str:
    """Say how the cluster stands now, then each page and why."""
    lines = [_headline(done, look)]
    if done.kept_in:
        lines.append(f"the damaged pages are kept in {safe(done.kept_in)}")
    for verdict in done.verdicts:
        lines += ["", *_page(verdict, done, look)]
    lines += [look.weak(f"note: {safe(note)}") for note in done.notes]
    if done.dry_run and done.verdicts:
        lines += ["", "nothing was written"]
    return "\n".join(lines)


def _headline(done: RepairReport, look: Look) -> str:
    looked = f"checked {plural(done.pages, 'page')} of {plural(done.files, 'file')} in "
    looked += format_duration(done.seconds)
    if not done.verdicts:
        return look.good(f"no page of {safe(done.directory)} is damaged: {looked}")
    count = len(done.verdicts)
    good = count - done.cannot
    what = f"{plural(count, 'page')} of {safe(done.directory)} "
    what += "was damaged" if count == 1 else "were damaged"
    verb = "could be repaired" if done.dry_run else "repaired"
    if not done.cannot:
        every = "it" if count == 1 else f"all {count:,}"
        how = f"{every} can be repaired" if done.dry_run else f"{every} is repaired"
        how = how.replace(f"all {count:,} is", f"all {count:,} are")
        return look.good(f"{what}, {how}: {looked}")
    left = "stays damaged" if done.cannot == 1 else "stay damaged"
    return look.bad(f"{what}: {good:,} {verb}, {done.cannot:,} {left}: {looked}")


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
