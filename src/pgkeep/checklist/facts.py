"""What the checklist is judged from: what was done last, by what proof."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Done:
    """Something that was done, and what tells of it."""

    at: datetime
    proof: str  # 'drill 20261128T005242.230407Z-953a65ff'
    wrong: str = ""  # why it is no good all the same


@dataclass(frozen=True, slots=True)
class Archive:
    """What coverage says of the newest backup and the WAL after it."""

    to: datetime | None  # the newest moment that can be restored
    holes: int = 0  # after the newest backup: what was written since cannot be reached


@dataclass(frozen=True, slots=True)
class Server:
    """What the server said of itself when it was asked for this checklist."""

    asked_at: datetime
    checksums: bool
    archives: bool  # archive_mode and a command or library
    standby: bool = False
    archived: Done | None = None  # the newest file, by pg_stat_archiver
    failing_since: datetime | None = None  # None: the last attempt succeeded
    failing: str = ""  # the file it fails with
    waiting: int | None = None  # files; None: the role may not look


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is let go in one repository, and when that was done last."""

    repository: str
    policy: str  # retention, in words; '' when none is set
    done: Done | None = None


@dataclass(frozen=True, slots=True)
class Kit:
    """What opens one repository when the config and its passphrase are gone."""

    repository: str
    encrypted: bool
    recovery_slots: int = 0
    test: Done | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """Somebody who would be told, and when a message to them was last tried."""

    name: str
    test: Done | None = None


@dataclass(frozen=True, slots=True)
class CopyRule:
    """One rule of 3-2-1, as `pgkeep check --321` judges it."""

    name: str
    holds: bool
    says: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One cluster at one moment. None: there is no such thing on record."""

    cluster: str
    dump: Done | None = None  # newest of all that is in the cluster
    backup: Done | None = None
    archive: Archive | None = None
    server: Server | None = None
    server_trouble: str = ""  # why the server could not be asked
    checked: Done | None = None  # when archiving was last found good and that was recorded
    sizes: Done | None = None  # when it was recorded how much is stored
    rotations: tuple[Rotation, ...] = ()
    drill: Done | None = None  # the newest, whatever came of it
    drill_passed: Done | None = None
    drill_every: timedelta = timedelta(days=35)
    repositories: int = 1
    rules: tuple[CopyRule, ...] = ()  # of 3-2-1; none: it could not be looked at
    rules_trouble: str = ""
    locked: CopyRule | None = None  # whether a copy is there that nobody here can delete
    point: Done | None = None
    kits: tuple[Kit, ...] = ()
    channels: tuple[Channel, ...] = ()
    runbook: Done | None = None
    runbook_stale: str = ""  # what has changed since it was written
