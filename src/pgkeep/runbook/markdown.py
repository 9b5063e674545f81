"""A page as Markdown. Pure."""

import re
from collections.abc import Iterable, Iterator

from pgkeep.runbook.page import Blanks, Block, Grid, Listing, Page, Step, Words

# An underscore within a word is none of Markdown's, and paths are read off this page as they stand.
_SPECIAL = re.compile(r"([\\`*\[\]<>#|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def markdown(page: Page) -> str:
    """Return the page; what came from elsewhere cannot become markup."""
    lines = [f"# {_text(page.title)}", "", *_blocks(page.intro)]
    for number, section in enumerate(page.sections, 1):
        lines += [f"## {number}. {_text(section.title)}", "", *_blocks(section.blocks)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    step = 0
    for block in blocks:
        match block:
            case Words():
                yield _text(block.text)
            case Step():
                step += 1
                yield from _step(block, step)
            case Grid():
                yield from _grid(block)
            case Listing():
                yield from _fenced(block.text.rstrip("\n"), "toml")
            case Blanks():
                yield from (f"- {_text(label)}: {'_' * 40}" for label in block.labels)
        yield ""


def _step(step: Step, number: int) -> Iterator[str]:
    takes = f" *({_text(step.takes)})*" if step.takes else ""
    yield f"**Step {number}.** {_text(step.text)}{takes}"
    if step.commands:
        yield ""
        yield from _fenced("\n".join(step.commands), "sh")


def _grid(grid: Grid) -> Iterator[str]:
    yield _row(grid.header)
    yield _row(["---"] * len(grid.header))
    for row in grid.rows:
        yield _row(tuple(map(_text, row)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fenced(text: str, language: str) -> Iterator[str]:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield text
    yield fence


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
