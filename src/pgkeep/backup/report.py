"""What a finished backup has to say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.repository.manifest.facts import CorruptPage, Reuse

_SHOWN: Final = 5  # damaged pages in the error's message; the report has them all


class CorruptPages(PgkeepError):
    """A backup was made and kept, but pages of the cluster itself are damaged.

    run() does not raise it: the report carries it, so that the report is shown as well.
    """

    code = "corrupt-pages"
    exit_status = 65

    backup: str
    count: int
    first: tuple[str, ...]  # 'public.orders block 17 (base/5/16384)'

    def __str__(self) -> str:
        more = "" if self.count <= len(self.first) else f" and {self.count - len(self.first)} more"
        return (
            f"the cluster has damaged pages: {self.count} failed their checksum in backup "
            f"{self.backup}, which was kept: {', '.join(self.first)}{more}"
        )

    @property
    def hint(self) -> str:
        return (
            "keep the older backups, they may hold these pages intact; check the disks, and read "
            "the tables named here (pg_amcheck) before trusting them"
        )


@dataclass(frozen=True, slots=True)
class BackupReport:
    """One backup that is complete: everything that restoring it needs is in the repository."""

    backup: Backup
    cluster: str
    read: int  # bytes read from the cluster
    duration_s: float
    copy_s: float  # of that, copying files
    segments: Sequence[str]  # the WAL that restoring it needs at least, first and last
    reuse: Reuse | None = None  # of an incremental one
    resumed: int = 0  # bytes that an interrupted attempt had stored
    corrupt: Sequence[CorruptPage] = ()  # may be cut short: backup.corrupt_pages is the true count
    census: str = ""  # its id; '' when none was taken
    notes: Sequence[str] = ()  # what was left out, and what looked odd

    @property
    def id(self) -> str:
        return self.backup.id

    @property
    def speed(self) -> float:
        """Bytes of the cluster read per second, while files were copied."""
        return self.read / self.copy_s if self.copy_s else 0.0

    @property
    def problem(self) -> CorruptPages | None:
        """What the command's exit status must tell although the backup was made."""
        if not self.backup.corrupt_pages:
            return None
        first = tuple(_describe(page) for page in self.corrupt[:_SHOWN])
        return CorruptPages(self.id, self.backup.corrupt_pages, first)

    @property
    def exit_status(self) -> int:
        """What the command ends with: 0, or that of the problem."""
        return self.problem.exit_status if self.problem else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        backup = self.backup
        return {
            "id": backup.id,
            "cluster": self.cluster,
            "type": backup.type.value,
            "label": backup.label,
            "system_identifier": str(backup.generation.system_identifier),
            "major": backup.generation.major,
            "timeline": backup.timeline,
            "start_lsn": str(backup.start_lsn),
            "stop_lsn": str(backup.stop_lsn),
            "started_at": backup.started_at.isoformat(),
            "stopped_at": backup.stopped_at.isoformat(),
            "first_segment": self.segments[0],
            "last_segment": self.segments[-1],
            "files": backup.files,
            "size": backup.size,
            "read": self.read,
            "stored": backup.stored,
            "resumed_bytes": self.resumed,
            "reuse": None if self.reuse is None else msgspec.to_builtins(self.reuse),
            "duration_s": round(self.duration_s, 3),
            "copy_s": round(self.copy_s, 3),
            "bytes_per_second": round(self.speed),
            "corrupt_pages": backup.corrupt_pages,
            "corrupt": [
                {"path": page.path, "block": page.block, "relation": page.relation}
                for page in self.corrupt
            ],
            "census": self.census or None,
            "notes": list(self.notes),
        }


def _describe(page: CorruptPage) -> str:
    if page.relation:
        return f"{page.relation} block {page.block} ({page.path})"
    return f"{page.path} block {page.block}"
