"""A page as HTML that needs nothing else: no script, no font, no other file. Prints well. Pure."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from pgkeep.runbook.page import Blanks, Block, Grid, Listing, Page, Step, Words

_FITS: Final = 60  # characters on a line of paper; a hyphen must not look like one that was added
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2329; --faint: #5c6770; --paper: #ffffff;
  --line: #d8dee3; --card: #f5f7f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ea; --faint: #9aa5ae; --paper: #15191c;
  --line: #353d43; --card: #1e2428; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; border-top: 2px solid var(--line);
  padding-top: .75rem; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0;
  border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
ol { padding-left: 2.2rem; } li { margin: .75rem 0; }
pre { margin: .4rem 0; padding: .6rem .75rem; background: var(--card); white-space: pre-wrap;
  border: 1px solid var(--line); border-radius: .35rem;
  font: .85rem/1.45 ui-monospace, monospace; }
code { display: block; font: inherit; padding-left: 4ch; text-indent: -4ch;
  word-break: break-all; }
code::before { content: "$ "; color: var(--faint); }
code b { font-weight: inherit; white-space: nowrap; }
.takes { color: var(--faint); font-size: .9rem; }
.blank { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem; }
.blank span:last-child { border-bottom: 1px solid var(--ink); min-height: 2.2rem; }
@media (max-width: 34rem) { .blank { grid-template-columns: 1fr; gap: 0; } }
@media print { :root { --ink: #000; --faint: #333; --paper: #fff; --line: #999; --card: #fff; }
  body { max-width: none; padding: 0; font-size: 10.5pt; } pre, tr, li { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""


def html(page: Page) -> str:
    """Return the page; everything in it that came from elsewhere is escaped."""
    title = escape(page.title)
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing on the page may be fetched or run, whatever a database is called.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{title}</h1>",
        *_blocks(page.intro),
        "<nav><ol>",
        *(f'<li><a href="#{escape(s.key)}">{escape(s.title)}</a></li>' for s in page.sections),
        "</ol></nav>",
    ]
    for number, section in enumerate(page.sections, 1):
        lines += [
            f'<section><h2 id="{escape(section.key)}">{number}. {escape(section.title)}</h2>',
            *_blocks(section.blocks),
            "</section>",
        ]
    return "\n".join([*lines, "</main></body></html>", ""])


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    step = 0
    for block in blocks:
        match block:
            case Words():
                yield f"<p>{escape(block.text)}</p>"
            case Step():
                step += 1
                yield from _step(block, step)
            case Grid():
                yield from _grid(block)
            case Listing():
                yield f"<pre>{escape(block.text)}</pre>"
            case Blanks():
                yield from (
                    f'<p class="blank"><span>{escape(label)}</span><span></span></p>'
                    for label in block.labels
                )


def _step(step: Step, number: int) -> Iterator[str]:
    yield f"<p><strong>Step {number}.</strong> {escape(step.text)}"
    if step.takes:
        yield f'<span class="takes">({escape(step.takes)})</span>'
    yield "</p>"
    if step.commands:
        yield f"<pre>{''.join(map(_command, step.commands))}</pre>"


def _command(line: str) -> str:
    """Return a command so that it is broken between its words alone, as long as they fit a line."""
    words = (
        f"<b>{escape(word)}</b>" if len(word) <= _FITS else escape(word) for word in line.split(" ")
    )
    return f"<code>{' '.join(words)}</code>"


def _grid(grid: Grid) -> Iterator[str]:
    yield "<table><tr>"
    yield from (f'<th scope="col">{escape(cell)}</th>' for cell in grid.header)
    yield "</tr>"
    for row in grid.rows:
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"
