"""pg_control: the state of a cluster, as its last checkpoint left it.

Source: pg_control.h (ControlFileData) for control versions 1300, 1700 and 1800, little endian.
"""

import os
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import valid_segment_size
from pgkeep.postgres.crc32c import crc32c
from pgkeep.postgres.versions import VERSIONS, UnsupportedVersion

CONTROL_SIZE: Final = 8192
_CRC_OFFSET: Final = {1300: 288, 1700: 288, 1800: 292}
_MINOR_NAMES: Final = {1201: "12", 1100: "11", 1002: "10", 1902: "19"}
_TRIES: Final = 10
_WAIT: Final = 0.02  # seconds: the server writes the whole file at once


class BadControlFile(PgkeepError):
    """A pg_control that cannot be believed."""

    code = "bad-control-file"
    exit_status = 52

    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot trust {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "pg_controldata shows what the file says; without it the cluster cannot start"


class State(IntEnum):
    """What the cluster was doing when the file was written (DBState)."""

    STARTING_UP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def clean(self) -> bool:
        """Tell whether the server was stopped in order."""
        return self in {State.SHUT_DOWN, State.SHUT_DOWN_IN_RECOVERY}


@dataclass(frozen=True, slots=True)
class ControlFile:
    """What pg_control says."""

    system_identifier: int
    major: int
    control_version: int
    catalog_version: int
    state: State
    updated_at: datetime
    checkpoint: Lsn
    redo: Lsn
    timeline: int
    previous_timeline: int
    full_page_writes: bool
    next_xid: int  # 64 bits: epoch and xid
    next_oid: int
    checkpoint_at: datetime
    min_recovery_point: Lsn
    min_recovery_timeline: int
    backup_start: Lsn
    backup_end: Lsn
    backup_end_required: bool
    wal_level: str
    wal_log_hints: bool
    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int
    track_commit_timestamp: bool
    block_size: int
    segment_blocks: int
    wal_block_size: int
    segment_size: int
    checksum_version: int

    @property
    def checksums(self) -> bool:
        return self.checksum_version != 0

    @property
    def generation(self) -> Generation:
        return Generation(
            self.system_identifier,
            self.major,
            self.segment_size,
            self.block_size,
            self.segment_blocks,
        )

    @property
    def tablespace_folder(self) -> str:
        """This cluster's directory in each of its tablespaces."""
        return f"PG_{self.major}_{self.catalog_version}"


def parse_control(content: bytes, path: str = "global/pg_control") -> ControlFile:
    """Read pg_control's bytes. Raise BadControlFile or UnsupportedVersion, naming `path`."""
    if len(content) < 296:
        raise BadControlFile(path, f"it has only {len(content)} bytes")
    control_version, catalog_version = struct.unpack_from("<II", content, 8)
    major = _major(path, control_version, catalog_version)
    offset = _CRC_OFFSET[control_version]
    (stored,) = struct.unpack_from("<I", content, offset)
    if crc32c(content[:offset]) != stored:
        raise BadControlFile(path, "its checksum is wrong")
    return _parse(content, path, major)


def read_control(data_directory: str) -> ControlFile:
    """Read and parse PGDATA's pg_control; see read_control_bytes."""
    content = read_control_bytes(data_directory)
    return parse_control(content, os.path.join(data_directory, "global/pg_control"))


def read_control_bytes(data_directory: str) -> bytes:
    """Return pg_control's bytes once their checksum is right: a running server may be writing.

    Gives up when two reads in a row see the same wrong bytes, or after ten reads.
    """
    path = os.path.join(data_directory, "global/pg_control")
    before = b""
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            with open(path, "rb") as file:
                content = file.read(CONTROL_SIZE)
        except OSError as error:
            raise BadControlFile(path, (error.strerror or str(error)).lower()) from error
        try:
            parse_control(content, path)
        except (BadControlFile, UnsupportedVersion):
            if last or content == before:
                raise
        else:
            return content
        before = content
        time.sleep(_WAIT)
    raise AssertionError


def _major(path: str, control_version: int, catalog_version: int) -> int:
    if control_version not in _CRC_OFFSET:
        if 900 < control_version < 4000:
            named = _MINOR_NAMES.get(control_version, f"with pg_control {control_version}")
            raise UnsupportedVersion(path, named)
        raise BadControlFile(path, f"it names pg_control version {control_version}")
    for version in VERSIONS.values():
        if version.catalog_version == catalog_version:
            return version.major
    # 13 shares the layout of 14 to 16; a beta has a catalog of its own.
    if catalog_version == 202007201:
        raise UnsupportedVersion(path, "13")
    raise UnsupportedVersion(path, f"with catalog {catalog_version}, no release of it")


def _parse(content: bytes, path: str, major: int) -> ControlFile:
    def field(code: str, offset: int) -> int:
        return int(struct.unpack_from("<" + code, content, offset)[0])

    state, wal_level, segment_size = field("i", 16), field("i", 172), field("I", 228)
    if state not in State._value2member_map_ or wal_level not in range(3):
        raise BadControlFile(path, f"it names state {state} and wal_level {wal_level}")
    if not valid_segment_size(segment_size):
        raise BadControlFile(path, f"it names WAL segments of {segment_size} bytes")
    if struct.unpack_from("<d", content, 208) != (1234567.0,):
        raise BadControlFile(path, "it was written on another kind of machine")
    return ControlFile(
        system_identifier=field("Q", 0),
        major=major,
        control_version=field("I", 8),
        catalog_version=field("I", 12),
        state=State(state),
        updated_at=_time(path, field("q", 24)),
        checkpoint=Lsn(field("Q", 32)),
        redo=Lsn(field("Q", 40)),
        timeline=field("I", 48),
        previous_timeline=field("I", 52),
        full_page_writes=field("B", 56) != 0,
        next_xid=field("Q", 64),
        next_oid=field("I", 72),
        checkpoint_at=_time(path, field("q", 104)),
        min_recovery_point=Lsn(field("Q", 136)),
        min_recovery_timeline=field("I", 144),
        backup_start=Lsn(field("Q", 152)),
        backup_end=Lsn(field("Q", 160)),
        backup_end_required=field("B", 168) != 0,
        wal_level=("minimal", "replica", "logical")[wal_level],
        wal_log_hints=field("B", 176) != 0,
        max_connections=field("i", 180),
        max_worker_processes=field("i", 184),
        max_wal_senders=field("i", 188),
        max_prepared_transactions=field("i", 192),
        max_locks_per_transaction=field("i", 196),
        track_commit_timestamp=field("B", 200) != 0,
        block_size=field("I", 216),
        segment_blocks=field("I", 220),
        wal_block_size=field("I", 224),
        segment_size=segment_size,
        checksum_version=field("I", 252),
    )


def _time(path: str, seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise BadControlFile(path, f"it names an impossible time ({seconds})") from error
