"""A drill's report as one page that needs nothing else: no script, no font, no other file."""

from collections.abc import Iterator
from datetime import tzinfo
from html import escape
from pathlib import Path
from typing import Final

from pgkeep.cli.drilling.text import headline, measured, verdict
from pgkeep.cli.pages import write_whole
from pgkeep.cli.text import Look, safe
from pgkeep.repository.drills.report import Check, Report, Status
from pgkeep.sandbox.request import SandboxFailed
from pgkeep.units import format_duration, plural

_CLASSES: Final = {Status.PASSED: "good", Status.FAILED: "bad", Status.NOT_TESTED: "open"}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2329; --faint: #5c6770; --paper: #ffffff;
  --line: #d8dee3; --card: #f5f7f8; --good: #17693a; --bad: #ae1f1f; --open: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ea; --faint: #9aa5ae; --paper: #15191c;
  --line: #353d43; --card: #1e2428; --good: #6fce97; --bad: #ff8f85; --open: #e5b454; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
.verdict { font-size: 1.5rem; font-weight: 650; margin: 0 0 1.5rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.25rem; margin: 0;
  padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0;
  border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; border-top: 0; }
td { overflow-wrap: anywhere; } td.status, td.time { white-space: nowrap; }
td.status { font-weight: 600; }
td.time { color: var(--faint); text-align: right; padding-right: 0; }
pre { margin: .4rem 0 0; padding: .6rem .75rem; background: var(--card); white-space: pre-wrap;
  border-radius: .35rem; font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.2rem; } footer { margin-top: 2rem; color: var(--faint);
  font-size: .85rem; overflow-wrap: anywhere; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin: 0 0 .6rem; } }
"""


class CannotWritePage(SandboxFailed):
    """The page of a drill's report cannot be written. The report itself is in the repository."""

    code = "cannot-write-page"

    file: str

    def __str__(self) -> str:
        return f"cannot write the report to {self.file}: {self.why}"

    @property
    def hint(self) -> str:
        return "it is on record: pgkeep drill --show latest --html FILE"


def write_page(report: Report, file: Path, zone: tzinfo) -> None:
    """Write the page; readers see the old one or the whole new one. Raise CannotWritePage."""
    try:
        write_whole(file, page(report, Look(zone)))
    except OSError as error:
        raise CannotWritePage((error.strerror or str(error)).lower(), str(file)) from error


def page(report: Report, look: Look) -> str:
    """Return the page; everything in it that came from elsewhere is escaped."""
    title, status = headline(report), _CLASSES[report.status]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing on the page may be fetched or run, whatever a table is called.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            f'<p class="verdict {status}">{_text(verdict(report))}</p>',
            *_measures(report, look),
            *_checks(report),
            *_notes(report),
            f"<footer>drill {_text(report.id)}, by pgkeep {_text(report.pgkeep_version)}</footer>",
            "</body></html>",
            "",
        ]
    )


def _measures(report: Report, look: Look) -> Iterator[str]:
    yield "<dl>"
    for name, value in measured(report, look):
        if value:
            yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield "</dl>"


def _checks(report: Report) -> Iterator[str]:
    yield '<h2>Checks</h2><div class="table"><table>'
    yield '<tr><th>result</th><th>check</th><th>what was found</th><th class="time"></th></tr>'
    for check in report.checks:
        took = format_duration(check.seconds) if check.seconds else ""
        yield (
            f'<tr><td class="status {_CLASSES[check.status]}">{_text(check.status.value)}</td>'
            f"<td>{_text(check.title)}</td><td>{_text(check.words)}{_evidence(check)}</td>"
            f'<td class="time">{_text(took)}</td>'
            "</tr>"
        )
    yield "</table></div>"


def _evidence(check: Check) -> str:
    lines = [safe(line) for line in check.evidence]
    if check.more:
        lines.append(f"and {plural(check.more, 'more line')}")
    return f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else ""


def _notes(report: Report) -> Iterator[str]:
    notes = list(report.notes)
    if report.seed:
        again = f"--to random --seed {report.seed}, or --to {report.target} --exclusive"
        notes.append(f"the same moment again: {again}")
    if notes:
        yield "<h2>Notes</h2><ul>"
        yield from (f"<li>{_text(note)}</li>" for note in notes)
        yield "</ul>"


def _text(text: str) -> str:
    return escape(safe(text))
