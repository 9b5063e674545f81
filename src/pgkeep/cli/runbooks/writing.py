"""Writes a runbook to a file."""

from pathlib import Path

from pgkeep.cli.drilling.page import CannotWritePage
from pgkeep.cli.pages import write_whole


class CannotWriteRunbook(CannotWritePage):
    """The runbook cannot be written to its file."""

    code = "cannot-write-runbook"

    def __str__(self) -> str:
        return f"cannot write the runbook to {self.file}: {self.why}"

    @property
    def hint(self) -> str:
        return "name another --output, or print it: pgkeep runbook"


def write_runbook(output: Path, text: str) -> None:
    """Write it; readers see the old one or the whole new one. Raise CannotWriteRunbook."""
    try:
        write_whole(output, text)
    except OSError as error:
        raise CannotWriteRunbook((error.strerror or str(error)).lower(), str(output)) from error
