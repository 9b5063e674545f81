"""What a runbook is written from. No secret is among it: names and places of them only."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Slot:
    """A key slot: who has what opens it is for people to write down."""

    id: str
    kind: str
    label: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """One repository: how to get there and what opens it."""

    name: str  # what --repository takes
    address: str
    site: str
    credentials: str  # what lets one in there, and where that is kept
    encrypted: bool | None  # None: it could not be looked at
    opened_by: str  # where the config finds the passphrase
    slots: tuple[Slot, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # endpoint, region, ...
    locks: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """The cluster's server, as it said itself, or as the newest backup knows it."""

    source: str  # 'asked on db1' or 'as of backup ...'
    version: str
    data_directory: str
    port: int | None = None
    sockets: str = ""
    config_file: str = ""
    hba_file: str = ""
    owner: str = ""  # whose the data directory is: as whom everything is run
    programs: str = ""  # PostgreSQL's, on this host
    databases: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()  # their directories
    size: int | None = None  # bytes, of the newest backup

    @property
    def major(self) -> str:
        return self.version.split(".")[0]


@dataclass(frozen=True, slots=True)
class Thing:
    """A backup or dump."""

    id: str
    at: datetime
    size: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the newest drill that passed has measured."""

    id: str
    at: datetime
    of: str
    restored_bytes: int
    restore_s: float | None
    recovery_s: float | None
    ready_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One cluster at the time of writing."""

    cluster: str
    written_at: datetime
    host: str
    user: str
    version: str  # of pgkeep
    python: str
    config_file: str
    config_text: str  # valid, without secrets
    places: tuple[Place, ...]
    server: Server
    restorable_from: datetime | None = None
    restorable_to: datetime | None = None
    backup: Thing | None = None
    dump: Thing | None = None
    measured: Measured | None = None
    troubles: tuple[str, ...] = ()  # what could not be asked
