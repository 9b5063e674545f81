"""Locks in buckets as text and JSON: lock, hidden. docs/commands.md lists the fields."""

from collections.abc import Sequence
from typing import Any, Final

from pgkeep.cli.context import error_facts
from pgkeep.cli.text import Look, safe, table
from pgkeep.repository.store.objectlock.tampering import Deed, Tampering
from pgkeep.retention.locking.hidden import Hidden
from pgkeep.retention.locking.report import LockReport
from pgkeep.units import plural

_SHOWN: Final = 20


def facts(done: LockReport) -> dict[str, Any]:
    return {
        "cluster": done.cluster,
        "repository": done.repository,
        "mode": done.mode.value,
        "dry_run": done.dry_run,
        "needed": done.needed,
        "extended": done.extended,
        "gone": done.gone,
        "until": done.until,
        "longest": done.longest,
        "frozen": done.frozen,
        "unreadable": list(done.unreadable),
        "tampering": [_deed_facts(deed) for deed in done.tampering],
        "error": error_facts(done.problem),
    }


def text(done: LockReport, look: Look) -> str:
    verb = "would be" if done.dry_run else "were"
    needed = plural(done.needed, "object")
    lines = [f"{needed} must be locked; {done.extended} {verb} locked, or locked longer"]
    if done.until is not None and done.longest is not None:
        held = "would be" if done.dry_run else "are"
        lines.append(
            f"all of them {held} locked until {look.when(done.until)}, "
            f"the longest until {look.when(done.longest)}"
        )
    if done.gone:
        lines.append(f"{plural(done.gone, 'object')} went meanwhile: an expire was at work")
    if done.unreadable:
        ids = ", ".join(map(safe, done.unreadable))
        lines.append(look.bad(f"cannot be read, so what it needs is unknown: {ids}"))
    if done.frozen:
        lines.append(look.bad("everything there was taken for needed, until that is cleared up"))
    if done.dry_run:
        lines.append("dry run: nothing was locked")
    return "\n".join([*lines, *_deeds(done.tampering, look)])


def hidden_facts(found: Hidden) -> dict[str, Any]:
    return {
        "repository": found.repository,
        "tampering": [_deed_facts(deed) for deed in found.tampering],
        "first": found.first,
        "last": found.last,
        "before": found.before or None,
        "brought_back": found.brought_back,
        "error": error_facts(found.problem),
    }


def hidden_text(found: Hidden, look: Look) -> str:
    if found.first is None or found.last is None:
        return look.good(f"nothing that was locked is hidden in {safe(found.repository)}")
    lines = [
        f"{plural(found.count(Deed.HIDDEN), 'locked object')} hidden, "
        f"{found.count(Deed.OVERWRITTEN)} overwritten, "
        f"from {look.when(found.first)} to {look.when(found.last)}",
        *_deeds(found.tampering, look),
    ]
    if found.brought_back:
        lines.append(look.good(f"brought back: {plural(found.brought_back, 'object')}"))
        return "\n".join(lines)
    return "\n".join(
        [
            *lines,
            "to read the repository as it was before:",
            f"  pgkeep --repository '{safe(found.before)}' list",
            "to make these versions the current ones again: pgkeep hidden --bring-back",
        ]
    )


def _deeds(found: Sequence[Tampering], look: Look) -> list[str]:
    if not found:
        return []
    rows = [[safe(deed.name), deed.deed.value, look.at(deed.at)] for deed in found[:_SHOWN]]
    lines = [table(["OBJECT", "WAS", "AT"], rows, look)]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more: --json has all")
    return lines


def _deed_facts(deed: Tampering) -> dict[str, Any]:
    return {
        "name": deed.name,
        "deed": deed.deed.value,
        "at": deed.at,
        "version": deed.original.id,
        "size": deed.original.size,
    }
