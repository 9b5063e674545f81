"""The formats of an export. Imports nothing: the command line needs it for its help."""

from enum import StrEnum
from typing import Final

STDOUT: Final = "-"


class ExportFormat(StrEnum):
    """What is written; the names are pg_dump's."""

    CUSTOM = "custom"
    DIRECTORY = "directory"
    TAR = "tar"
    PLAIN = "plain"
    GLOBALS = "globals"
