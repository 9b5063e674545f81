"""What a drill did and found, as text and JSON. docs/commands.md lists the fields."""

from collections.abc import Sequence
from typing import Any, Final

from pgkeep.cli.text import Look, fields, plain, safe, table
from pgkeep.model.dump import noun_of
from pgkeep.repository.drills.report import Check, Report, Status
from pgkeep.repository.drills.storing import Drills
from pgkeep.units import format_duration, format_size, plural

_INDENT: Final = "    "
_SHOWN: Final = 4  # checks that a verdict names


def facts(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = plain(report)
    return {**found, "untested": report.untested}


def text(report: Report, look: Look) -> str:
    """Say what came out first, then what it took, then every check."""
    parts = [f"{look.bold(headline(report))}: {_verdict(report, look)}"]
    parts.append(fields(measured(report, look), "  "))
    rows = "\n".join(_check(check, look) for check in report.checks)
    parts.append(rows)
    notes = [look.weak(f"note: {safe(note)}") for note in report.notes]
    if report.seed:
        again = f"--to random --seed {report.seed}, or --to {report.target} --exclusive"
        notes.append(f"the same moment again: {again}")
    notes.append(f"report: pgkeep drill --show {report.id}")
    parts.append("\n".join(notes))
    return "\n\n".join(parts)


def headline(report: Report) -> str:
    """Return 'drill of backup 2026... of cluster main'."""
    what = f"{noun_of(report.of)} {report.of} " if report.of else ""
    return safe(f"drill of {what}{'of ' if what else ''}cluster {report.cluster}")


def verdict(report: Report) -> str:
    """Return the outcome in words: 'passed, but not tested: amcheck'."""
    match report.status:
        case Status.PASSED:
            untested = _few(report.untested)
            return f"passed, but not tested: {untested}" if untested else "passed"
        case Status.FAILED:
            return f"failed: {_few([check.title for check in report.failed])}"
        case Status.NOT_TESTED:
            return "could not test"


def _few(titles: Sequence[str]) -> str:
    more = len(titles) - _SHOWN
    return ", ".join(titles[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _verdict(report: Report, look: Look) -> str:
    words = safe(verdict(report))
    if report.status is Status.PASSED:
        return look.weak(words) if report.untested else look.good(words)
    return look.bad(words)


def measured(report: Report, look: Look) -> list[tuple[str, str]]:
    """Return what was measured, as names and values; '' where it was not."""
    found = report.measures
    pairs = [
        ("target", _target(report)),
        ("reached", report.reached),
        ("restored", _took(found.restored_bytes, found.restore_s)),
        ("WAL replayed", _took(found.wal_bytes, found.recovery_s)),
        ("usable after", format_duration(found.ready_s) if found.ready_s is not None else ""),
    ]
    if found.tables:
        pairs.append(("rows", f"{found.rows:,} in {plural(found.tables, 'table')}"))
    if found.newest_commit is not None:
        age = ""
        if found.age_s is not None:
            age = f", {format_duration(max(0.0, found.age_s))} before the drill began"
        newest = "taken at" if noun_of(report.of) == "dump" else "newest commit"
        pairs.append((newest, f"{look.when(found.newest_commit)}{age}"))
    pairs.append(
        ("server", f"PostgreSQL {report.server} on {report.host}" if report.server else "")
    )
    seconds = (report.finished_at - report.started_at).total_seconds()
    pairs.append(("finished", f"{look.when(report.finished_at)}, after {format_duration(seconds)}"))
    return pairs


def _target(report: Report) -> str:
    if noun_of(report.of) == "dump":
        return ""
    if report.seed:
        return f"{report.target}, drawn by lot"
    return report.target if report.asked == report.target else f"{report.target} ({report.asked})"


def _took(size: int, seconds: float | None) -> str:
    return "" if seconds is None else f"{format_size(size)} in {format_duration(seconds)}"


def _check(check: Check, look: Look) -> str:
    paint = {
        Status.PASSED: look.good, Status.FAILED: look.bad, Status.NOT_TESTED: look.weak,
    }[check.status]  # fmt: skip
    lines = [f"  {paint(f'{check.status.value:<14}')}  {safe(check.title)}: {safe(check.words)}"]
    lines += [f"{_INDENT}{safe(line)}" for line in check.evidence]
    if check.more:
        lines.append(f"{_INDENT}and {plural(check.more, 'more line')}")
    return "\n".join(lines)


def list_facts(found: Drills) -> dict[str, Any]:
    return {
        "drills": [facts(report) for report in found.found],
        "unreadable": [
            {"name": bad.name, "code": bad.error.code, "message": str(bad.error)}
            for bad in found.unreadable
        ],
    }


def listed(found: Drills, look: Look) -> str:
    rows = [
        [
            report.id,
            look.at(report.finished_at),
            report.of,
            report.target,
            format_duration(report.measures.ready_s) if report.measures.ready_s is not None else "",
            verdict(report),
        ]
        for report in found.found
    ]
    head = ["DRILL", "FINISHED", "OF", "TARGET", "USABLE AFTER", "RESULT"]
    parts = [table(head, rows, look)] if rows else ["no drills yet: pgkeep drill makes one"]
    parts += [look.bad(f"cannot be read: {safe(str(bad.error))}") for bad in found.unreadable]
    return "\n".join(parts)


# what `list` shows


def last_words(found: Drills, look: Look) -> str:
    """Say when a cluster was last proven by a restore, and from which backup."""
    passed, last = found.last_passed, found.last
    if last is None:
        return "never proven by a restore: pgkeep drill does it"
    if passed is None:
        when = look.at(last.finished_at)
        return f"never proven by a restore; the last drill, {when}, {_short(last)}"
    words = f"proven by a restore of {passed.of} {look.at(passed.finished_at)}"
    if passed.untested:
        words += f" (not tested: {_few(passed.untested)})"
    return words if last is passed else f"{words}; since then a drill of {last.of} {_short(last)}"


def _short(report: Report) -> str:
    return "failed" if report.status is Status.FAILED else "could not be made"


def last_facts(found: Drills) -> dict[str, Any] | None:
    """Return what --json of `list` shows: the last drill, and the last that passed."""
    if found.last is None:
        return None
    passed = found.last_passed
    return {
        "last": _brief(found.last),
        "last_passed": _brief(passed) if passed else None,
    }


def _brief(report: Report) -> dict[str, Any]:
    return {
        "id": report.id,
        "status": report.status.value,
        "of": report.of,
        "target": report.target,
        "finished_at": report.finished_at,
        "untested": report.untested,
    }
