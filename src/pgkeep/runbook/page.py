"""A page as blocks, before it is Markdown or HTML. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of several: what is done, what is typed, how long that takes."""

    text: str
    commands: tuple[str, ...] = ()  # each can be typed as it stands; CAPITALS are to be replaced
    takes: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Text that must be kept as it is: a file."""

    text: str


@dataclass(frozen=True, slots=True)
class Blanks:
    """Lines to be filled in by hand."""

    labels: tuple[str, ...]


Block = Words | Step | Grid | Listing | Blanks


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    key: str  # stable: 'server-dead'
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole runbook."""

    title: str
    intro: tuple[Block, ...]
    sections: tuple[Section, ...]

    def commands(self, key: str = "") -> Iterator[str]:
        """Yield every command line, of one section or of all."""
        for section in self.sections:
            if key in ("", section.key):
                for block in section.blocks:
                    if isinstance(block, Step):
                        yield from block.commands
