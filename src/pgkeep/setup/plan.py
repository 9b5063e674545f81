"""What a server needs so that it can be backed up: settings, and a generation. Pure."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pgkeep.model.cluster import Generation

# What pg_settings shows for archive_command while archive_mode is off (show_archive_command).
DISABLED: Final = "(disabled)"
ARCHIVE_TIMEOUT: Final = 60  # seconds; an idle minute costs a few KiB once it is compressed
PROGRAM: Final = "pgkeep-wal"
_ARCHIVING: Final = {"wal_level", "archive_mode", "archive_library", "archive_command"}
RESTART: Final = {"wal_level", "archive_mode"}  # the others are read again at a reload


class Archiving(NamedTuple):
    """How a server is to hand over its WAL."""

    command: str  # the archive_command
    rpo: int = 0  # seconds that may be lost, of the objectives; 0: none is set

    @property
    def timeout(self) -> int:
        """The archive_timeout: it leaves half of the objective for a segment's way."""
        return min(ARCHIVE_TIMEOUT, max(1, self.rpo // 2)) if self.rpo else ARCHIVE_TIMEOUT


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that should be different, and why."""

    name: str
    current: str
    wanted: str
    reason: str
    pending: bool = False  # it is set already and waits for a restart

    @property
    def needs_restart(self) -> bool:
        return self.name in RESTART

    @property
    def statement(self) -> str:
        quoted = self.wanted.replace("'", "''")
        return f"ALTER SYSTEM SET {self.name} = '{quoted}';"


@dataclass(frozen=True, slots=True)
class SettingsPlan:
    """The settings to change, in the order in which they must be set."""

    needed: tuple[Change, ...]
    offers: tuple[Change, ...]  # better, but nothing depends on it
    foreign: str = ""  # another program's archive_command or archive_library that would be replaced

    @property
    def unset(self) -> tuple[Change, ...]:
        """What is still to be set, as opposed to waiting for a restart."""
        return tuple(change for change in self.needed if not change.pending)

    @property
    def archives_to_us(self) -> bool:
        """Whether the server hands its WAL to pgkeep, if perhaps in another form than we would."""
        return not any(
            change.name in _ARCHIVING and PROGRAM not in change.current for change in self.needed
        )

    @property
    def needs_restart(self) -> bool:
        return any(change.needs_restart for change in self.needed)


def plan_settings(
    settings: Mapping[str, str],
    major: int,
    archiving: Archiving,
    *,
    pending: Collection[str] = (),
    in_files: Mapping[str, str] | None = None,
) -> SettingsPlan:
    """Return what must change for WAL to be archived as wanted.

    `settings` as pg_settings shows them; `pending` wait for a restart; `in_files` has the last
    values of the configuration files where the role may read them.
    """
    in_files = in_files or {}
    needed = [*_levels(settings, pending), *_archiver(settings, in_files, archiving.command)]
    if settings.get("archive_timeout") == "0":
        timeout = str(archiving.timeout)
        reason = f"so that a quiet server's last transactions are archived within {timeout} s too"
        needed.append(Change("archive_timeout", "0", timeout, reason))
    offers = []
    if major >= 17 and settings.get("summarize_wal") == "off":
        reason = "incremental backups then read only the pages that changed"
        offers.append(Change("summarize_wal", "off", "on", reason))
    return SettingsPlan(tuple(needed), tuple(offers), foreign_archiver(settings, in_files))


def foreign_archiver(settings: Mapping[str, str], in_files: Mapping[str, str]) -> str:
    """Return another program's way of archiving that is set up on the server, or ''."""
    if library := settings.get("archive_library", ""):
        return f"archive_library = '{library}'"
    command = configured_command(settings, in_files)
    if command and PROGRAM not in command:
        return f"archive_command = '{command}'"
    return ""


def configured_command(settings: Mapping[str, str], in_files: Mapping[str, str]) -> str:
    """Return the archive_command that is set, even while archiving is off; '' if unknown."""
    shown = settings.get("archive_command", "")
    return in_files.get("archive_command", "") if shown == DISABLED else shown


def _levels(settings: Mapping[str, str], pending: Collection[str]) -> Iterable[Change]:
    # wal_level goes first: a server with archive_mode on and wal_level minimal does not start.
    if settings.get("wal_level") == "minimal":
        reason = "without it WAL lacks what a recovery needs"
        yield Change("wal_level", "minimal", "replica", reason, "wal_level" in pending)
    if settings.get("archive_mode") == "off":
        reason = "the server hands every finished WAL segment to pgkeep"
        yield Change("archive_mode", "off", "on", reason, "archive_mode" in pending)


def _archiver(
    settings: Mapping[str, str], in_files: Mapping[str, str], archive_command: str
) -> Iterable[Change]:
    if library := settings.get("archive_library", ""):
        # Before the command: from 16 on the server refuses to archive while both are set.
        yield Change("archive_library", library, "", "pgkeep archives through archive_command")
    command = configured_command(settings, in_files)
    if not _same_command(command, archive_command):
        reason = "this is how pgkeep stores a WAL segment"
        yield Change("archive_command", command, archive_command, reason)


def _same_command(one: str, other: str) -> bool:
    """Tell whether a shell would run the same, however it is quoted."""
    try:
        return shlex.split(one) == shlex.split(other)
    except ValueError:  # a quote that is not closed
        return one == other


class Identity(StrEnum):
    """How a server relates to what the repository knows of its cluster."""

    FIRST = "first"
    KNOWN = "known"
    UPGRADED = "upgraded"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """Whether a generation is to be opened for this server, and what that means."""

    generation: Generation
    identity: Identity
    previous: Generation | None = None

    @property
    def is_new(self) -> bool:
        return self.identity is not Identity.KNOWN

    @property
    def says(self) -> str:
        """What the user should know about it; '' when there is nothing new."""
        now, before = self.generation, self.previous
        if before is None:
            return ""
        sides = (
            f"backed up so far: PostgreSQL {before.major}, system identifier "
            f"{before.system_identifier}; this server: PostgreSQL {now.major}, system identifier "
            f"{now.system_identifier}"
        )
        if self.identity is Identity.UPGRADED:
            cause = "it looks like a pg_upgrade"
        else:
            cause = "it looks like a new initdb, or like another cluster"
        return (
            f"this is not the server that was backed up so far; {cause} ({sides}). "
            "Older backups stay restorable, but WAL from now on cannot be used with them: "
            "take a backup now with pgkeep backup. If this is another cluster, give it a name of "
            "its own under [clusters] instead"
        )


def plan_generation(known: Sequence[Generation], current: Generation) -> GenerationPlan:
    """Tell what the server is to this cluster's folder; `known` is oldest first."""
    if any(g.id == current.id for g in known):
        return GenerationPlan(current, Identity.KNOWN)
    if not known:
        return GenerationPlan(current, Identity.FIRST)
    previous = known[-1]
    upgraded = current.major > previous.major
    return GenerationPlan(current, Identity.UPGRADED if upgraded else Identity.REPLACED, previous)
