"""What an export did."""

from dataclasses import asdict, dataclass
from typing import Any

from pgkeep.logical.export.formats import ExportFormat


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A file, directory or stream that was written, whole."""

    dump: str
    format: ExportFormat
    output: str
    databases: tuple[str, ...]
    globals: bool  # roles and tablespaces are in it
    compression: str
    read: int  # bytes of the dump's files
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return asdict(self) | {"duration_s": round(self.duration_s, 3)}
