"""What can be seen of a data directory without starting it, and what is said of it. Pure nouns."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pgkeep.postgres.backup_label import BackupLabel
from pgkeep.postgres.control import ControlFile


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """One tablespace: where its link, or the tablespace_map, points."""

    oid: str
    target: str
    there: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A directory, as it lies there."""

    directory: str
    version: str  # PG_VERSION; '' when there is none
    names: frozenset[str] = frozenset()  # entries of the directory
    missing_directories: tuple[str, ...] = ()  # those without which no server starts
    control: ControlFile | None = None
    control_problem: str = ""
    label: BackupLabel | None = None
    label_problem: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # recovery settings, as they would apply
    wal_files: int = 0
    wal_first_needed: str = ""  # the segment in which replay would begin
    wal_first_there: bool = False
    wal_bytes: int = 0  # in pg_wal, from there on without a gap
    tablespaces: tuple[LinkSeen, ...] = ()
    mode: int = 0o700
    owner: str = ""
    owner_uid: int = 0
    marker: str = ""  # what the marker of an unfinished restore says
    restored_by: str = ""  # what pgkeep wrote into postgresql.auto.conf about its restore
    running_pid: int | None = None
    running_why: str = ""
    running_certain: bool = False
    running_status: str = ""
    programs: str = ""  # '15.18 in /usr/lib/postgresql/15/bin'; '' when there are none
    user_uid: int = 0  # who asks

    def has(self, name: str) -> bool:
        return name in self.names


class State(StrEnum):
    """What a directory is."""

    NOT_A_DATA_DIRECTORY = "not-a-data-directory"
    RUNNING = "running"
    HALF_RESTORED = "half-restored"
    CLEAN = "clean"
    CRASHED = "crashed"
    RESTORED = "restored"  # with a backup_label and recovery.signal: will recover from the archive
    RECOVERING = "recovering"  # archive recovery had begun and would go on
    STANDBY = "standby"
    BACKUP_COPY = "backup-copy"  # a backup_label, but no signal to use the archive
    BROKEN = "broken"  # cannot tell what a start would do, or it would do harm


@dataclass(frozen=True, slots=True)
class InspectReport:
    """What a directory is, what a start would do, and what to type."""

    directory: str
    state: State
    headline: str  # one sentence
    starts: bool  # whether a server would start on it
    what_happens: tuple[str, ...] = ()  # in order, if it is started
    problems: tuple[str, ...] = ()  # why it would fail
    warnings: tuple[str, ...] = ()
    never_delete: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()  # commands, with words
    facts: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as --json shows it."""
        return {
            "directory": self.directory,
            "state": self.state.value,
            "headline": self.headline,
            "starts": self.starts,
            "what_happens": list(self.what_happens),
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "never_delete": list(self.never_delete),
            "next_steps": list(self.next_steps),
            "facts": dict(self.facts),
        }
