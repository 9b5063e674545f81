"""What is asked of a sandbox, what was measured while it was made, and why there is none."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgkeep.errors import PgkeepError
from pgkeep.model.target import RecoveryTarget
from pgkeep.units import MIB, format_size

_TO_THE_END = RecoveryTarget()


class SandboxFailed(PgkeepError):
    """There is no sandbox to look into. The family of all that is done in one."""

    code = "sandbox-failed"
    exit_status = 96

    why: str

    def __str__(self) -> str:
        return f"cannot recover in a sandbox: {self.why}"


class SandboxServerFailed(SandboxFailed):
    """The server of a sandbox did not come up, or not as far as it should."""

    code = "sandbox-server-failed"

    directory: str  # removed by now
    log: str  # the last lines of the server's log, which is removed too

    @property
    def hint(self) -> str:
        return f"the last lines of the server's log, which is removed by now:\n{self.log}"


class SandboxTooSmall(SandboxFailed):
    """The file system for sandboxes has no room for this backup."""

    code = "sandbox-too-small"

    directory: str
    needed: int
    free: int

    def __str__(self) -> str:
        missing = format_size(self.needed - self.free)
        return (
            f"cannot make a sandbox in {self.directory}: {missing} are missing there "
            f"({self.why}); nothing was written"
        )

    @property
    def hint(self) -> str:
        return (
            "name a directory on a larger file system with --scratch DIR, or under [sandbox] in "
            "pgkeep.toml"
        )


class SandboxMisplaced(SandboxFailed):
    """The directory for sandboxes is one in which none may be."""

    code = "sandbox-misplaced"

    directory: str

    def __str__(self) -> str:
        return f"cannot make a sandbox in {self.directory}: {self.why}; nothing was written"

    @property
    def hint(self) -> str:
        return "name another directory with --scratch DIR, or under [sandbox] in pgkeep.toml"


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """Which moment of which cluster is wanted, and with what.

    `recovery.action` says what is wanted: PROMOTE for a server that can be written to, PAUSE for
    one that stands at the target and can only be read. SHUTDOWN is refused (ValueError).
    """

    recovery: RecoveryTarget = _TO_THE_END
    backup: str | None = None  # an id, the beginning of one, or 'latest'; None: pgkeep chooses
    databases: tuple[str, ...] = ()  # the content of these only; none: of all
    directory: str = ""  # where sandboxes are made; '': see place.usual_directory()
    jobs: int = 0  # 0: one per core
    rate: int = 0  # bytes per second that restoring may write; 0: no limit
    room: int = 256 * MIB  # that must be free beside the cluster: for WAL of its own, and sorting
    fetch_command: tuple[str, ...] = ("pgkeep-wal", "fetch")  # App.fetch_command()
    environment: tuple[tuple[str, str], ...] = ()  # of the server: restore_command may need it
    role: str = ""  # one that may log in: its superusers are asked of it; '': guessed
    pg_bin: str | None = None  # PostgreSQL's programs; None: looked for
    purpose: str = "a sandbox"  # for whoever finds it: 'pgkeep drill'
    settings: tuple[tuple[str, str], ...] = ()  # of the server: these win over all others


@dataclass(frozen=True, slots=True)
class Measured:
    """What it took to get a server that answers. Seconds by a monotonic clock."""

    restored_files: int
    restored_bytes: int
    restore_seconds: float  # to write them and to have them on disk
    wal_files: int  # segments fetched from the archive
    wal_bytes: int  # replayed: from the first record to the last
    recovery_seconds: float  # from the server's start to the end of recovery
    seconds: float  # from the decision to the first answer of the server
    newest_change: datetime | None  # the end of the last transaction that was replayed, in UTC

    def to_dict(self) -> dict[str, Any]:
        """Return it as --json shows it."""
        newest = self.newest_change
        return {
            "restored_files": self.restored_files,
            "restored_bytes": self.restored_bytes,
            "restore_seconds": round(self.restore_seconds, 3),
            "wal_files": self.wal_files,
            "wal_bytes": self.wal_bytes,
            "recovery_seconds": round(self.recovery_seconds, 3),
            "seconds": round(self.seconds, 3),
            "newest_change": None if newest is None else newest.isoformat(),
        }
