"""init, check and key as text."""

from collections.abc import Sequence

from pgkeep.cli.text import Look, safe, table
from pgkeep.repository.keys import KeySlot
from pgkeep.setup.check import CheckReport, StoresReport
from pgkeep.setup.init import InitReport, RepositoryReport
from pgkeep.setup.plan import Change
from pgkeep.setup.verdicts import State, Verdict


def init(report: InitReport, look: Look) -> str:
    """Say what was made, which settings are to be changed, and what to type next."""
    made = "created" if report.created else "is there already"
    sealed = "encrypted" if report.encrypted else "not encrypted"
    generation = report.generation.generation
    lines = [
        f"repository {safe(report.repository)}, {sealed}, {made}",
        f"cluster {safe(report.cluster)}: PostgreSQL {generation.major}, system identifier "
        f"{generation.system_identifier}",
    ]
    if report.recovery_key:
        lines += ["", recovery_key(report.recovery_key, look)]
    lines += _copies(report.copies, look)
    if report.generation.says:
        lines += ["", look.weak(f"NOTE: {report.generation.says}")]
    lines += ["", *_settings(report, look)]
    offers = [change for change in report.settings.offers if change not in report.applied]
    if offers:
        lines += ["", "an offer, nothing depends on it:", *map(_change, offers)]
    return "\n".join([*lines, "", f"next: {_next(report)}"])


def repository(report: RepositoryReport, look: Look) -> str:
    """Say what was made for dumps alone."""
    made = "created" if report.created else "is there already"
    sealed = "encrypted" if report.encrypted else "not encrypted"
    lines = [f"repository {safe(report.repository)}, {sealed}, {made}"]
    if report.recovery_key:
        lines += ["", recovery_key(report.recovery_key, look)]
    lines += _copies(report.copies, look)
    return "\n".join([*lines, "", "next: pgkeep dump create"])


def _copies(copies: Sequence[RepositoryReport], look: Look) -> list[str]:
    lines = []
    for copy in copies:
        made = "made" if copy.created else "is there already"
        lines += ["", f"its copy {safe(copy.repository)} {made}"]
        if copy.recovery_key:
            lines += ["", recovery_key(copy.recovery_key, look)]
    return lines


def recovery_key(key: str, look: Look) -> str:
    """Show the one secret that pgkeep ever prints."""
    return "\n".join(
        [
            look.bad("RECOVERY KEY: print or write it down NOW, it is shown only this once:"),
            "",
            f"    {look.bold(key)}",
            "",
            "With it and the repository everything can be restored when the passphrase is lost.",
            "Keep it away from this machine. Whoever has both can read your data.",
        ]
    )


def _settings(report: InitReport, look: Look) -> list[str]:
    needed = report.settings.needed
    if not needed and not report.applied:
        return [look.good("the server has all the settings that pgkeep needs")]
    if report.applied:
        lines = ["set on the server, and reloaded:", *map(_change, report.applied)]
    else:
        lines = []
    waiting = [change for change in needed if change.pending]
    if waiting:
        lines.append("set already, waiting for a restart of the server:")
        lines += map(_change, waiting)
    if not report.applied and report.settings.unset:
        lines.append("the server needs these settings:")
        lines += map(_change, report.settings.unset)
        lines.append("  SELECT pg_reload_conf();")
        if report.settings.foreign:
            says = f"NOTE: another program archives its WAL now: {safe(report.settings.foreign)}"
            lines.append(look.weak(says))
    return lines


def _change(change: Change) -> str:
    restart = ", takes a restart" if change.needs_restart else ""
    return f"  {safe(change.statement)}\n    -- {safe(change.reason)}{restart}"


def _next(report: InitReport) -> str:
    restart = (
        f"restart PostgreSQL (pg_ctl restart -D {safe(report.data_directory)}, or its service)"
    )
    if report.restart_needed and not (report.settings.unset and not report.applied):
        return f"{restart}, then pgkeep check"
    if report.settings.unset and not report.applied:
        return "run the statements, or pgkeep init --apply"
    return "pgkeep check, then pgkeep backup"


_STATES = {State.OK: "ok", State.NOTE: "note", State.FAILED: "FAILED"}


def check(report: CheckReport, look: Look) -> str:
    """One line per question, and the fix below it."""
    return _checked(f"cluster {safe(report.cluster)}", report.verdicts, look)


def check_stores(report: StoresReport, look: Look) -> str:
    """The same for each store."""
    parts = [_checked(f"repository {safe(url)}", verdicts, look) for url, verdicts in report.stores]
    return "\n\n".join(parts)


def _checked(what: str, verdicts: Sequence[Verdict], look: Look) -> str:
    wide = max(len(verdict.name) for verdict in verdicts)
    lines = [line for verdict in verdicts for line in _verdict(verdict, wide, look)]
    count = sum(verdict.state is State.FAILED for verdict in verdicts)
    if count:
        failed = "check failed" if count == 1 else "checks failed"
        end = look.bad(f"{what}: {count} {failed}")
    else:
        end = look.good(f"{what}: all is well")
    return "\n".join([*lines, "", end])


def _verdict(verdict: Verdict, wide: int, look: Look) -> list[str]:
    paint = {State.OK: look.good, State.NOTE: look.weak, State.FAILED: look.bad}[verdict.state]
    state = paint(f"{_STATES[verdict.state]:<6}")
    lines = [f"{state}  {verdict.name:<{wide}}  {safe(verdict.says)}"]
    indent = " " * (8 + wide + 2)
    lines += [f"{indent}fix: {safe(line)}" if n == 0 else f"{indent}     {safe(line)}"
              for n, line in enumerate(verdict.fix.splitlines())]  # fmt: skip
    return lines


def slots(found: Sequence[KeySlot], look: Look) -> str:
    if not found:
        return "no key slots: the repository is not encrypted"
    rows = [
        [slot.id, slot.kind, look.at(slot.created_at), slot.damage or "ok", slot.label]
        for slot in found
    ]
    return table(["SLOT", "KIND", "ADDED", "STATE", "LABEL"], rows, look)
