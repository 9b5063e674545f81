"""pg_control by its documented offsets; a real one: integration/test_pg_files."""

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.control import (
    BadControlFile,
    State,
    parse_control,
    read_control,
    read_control_bytes,
)
from pgkeep.postgres.crc32c import crc32c
from pgkeep.postgres.versions import UnsupportedVersion

LAYOUTS = {
    14: (1300, 202107181, 288),
    15: (1300, 202209061, 288),
    16: (1300, 202307071, 288),
    17: (1700, 202406281, 288),
    18: (1800, 202506291, 292),
}
FIELDS: dict[int, tuple[str, Any]] = {
    0: ("Q", 7710983248089545577), 16: ("i", 6), 24: ("q", 1_700_000_000), 32: ("Q", 0x9000080),
    40: ("Q", 0x9000028), 48: ("I", 3), 52: ("I", 2), 56: ("B", 1), 64: ("Q", (1 << 32) | 812),
    72: ("I", 24576), 104: ("q", 1_699_999_999), 136: ("Q", 0xA000000), 144: ("I", 3),
    152: ("Q", 5), 160: ("Q", 6), 168: ("B", 1), 172: ("i", 2), 176: ("B", 1), 180: ("i", 100),
    184: ("i", 8), 188: ("i", 10), 192: ("i", 4), 196: ("i", 64), 200: ("B", 1),
    208: ("d", 1234567.0), 216: ("I", 8192), 220: ("I", 131072), 224: ("I", 8192),
    228: ("I", 16 << 20), 252: ("I", 1),
}  # fmt: skip


def control(major: int = 18, **changes: Any) -> bytes:
    """A pg_control with a right checksum; changes are at_<offset>=value."""
    number, catalog, crc_at = LAYOUTS[major]
    content = bytearray(8192)
    fields = {**FIELDS, 8: ("I", number), 12: ("I", catalog)}
    for offset, (code, value) in fields.items():
        struct.pack_into("<" + code, content, offset, changes.get(f"at_{offset}", value))
    struct.pack_into("<I", content, crc_at, crc32c(bytes(content[:crc_at])))
    return bytes(content)


@pytest.mark.parametrize("major", LAYOUTS)
def test_every_field_is_where_it_belongs(major: int) -> None:
    found = parse_control(control(major))
    assert (found.major, found.system_identifier) == (major, 7710983248089545577)
    assert (found.state, str(found.state)) == (State.IN_PRODUCTION, "in production")
    assert found.updated_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert found.checkpoint_at == datetime.fromtimestamp(1_699_999_999, UTC)
    assert (found.checkpoint, found.redo) == (Lsn(0x9000080), Lsn(0x9000028))
    assert (found.timeline, found.previous_timeline, found.full_page_writes) == (3, 2, True)
    assert (found.next_xid, found.next_oid) == ((1 << 32) | 812, 24576)
    assert (found.min_recovery_point, found.min_recovery_timeline) == (Lsn(0xA000000), 3)
    assert (found.backup_start, found.backup_end, found.backup_end_required) == (5, 6, True)
    assert (found.wal_level, found.wal_log_hints) == ("logical", True)
    assert (found.max_connections, found.max_worker_processes) == (100, 8)
    assert (found.max_wal_senders, found.max_prepared_transactions) == (10, 4)
    assert (found.max_locks_per_transaction, found.track_commit_timestamp) == (64, True)
    assert (found.block_size, found.wal_block_size, found.checksums) == (8192, 8192, True)
    assert found.generation.id == f"{major}-7710983248089545577"
    assert found.generation.segment_size == 16 << 20
    assert found.tablespace_folder == f"PG_{major}_{LAYOUTS[major][1]}"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(
            control()[:200], BadControlFile,
            "cannot trust global/pg_control: it has only 200 bytes", id="short",
        ),
        pytest.param(
            control()[:100] + b"\xff" + control()[101:], BadControlFile,
            "cannot trust global/pg_control: its checksum is wrong", id="flipped",
        ),
        pytest.param(
            bytes(8192), BadControlFile,
            "cannot trust global/pg_control: it names pg_control version 0", id="zeros",
        ),
        pytest.param(
            control(at_16=9), BadControlFile,
            "cannot trust global/pg_control: it names state 9 and wal_level 2", id="state",
        ),
        pytest.param(
            control(at_228=12345), BadControlFile,
            "cannot trust global/pg_control: it names WAL segments of 12345 bytes", id="segment",
        ),
        pytest.param(
            control(at_208=7654321.0), BadControlFile,
            "cannot trust global/pg_control: it was written on another kind of machine",
            id="another machine",
        ),
        pytest.param(
            control(at_24=1 << 60), BadControlFile,
            f"cannot trust global/pg_control: it names an impossible time ({1 << 60})", id="time",
        ),
        pytest.param(
            control(15, at_12=202007201), UnsupportedVersion,
            "cannot handle global/pg_control: it belongs to PostgreSQL 13", id="13",
        ),
        pytest.param(
            control(at_8=1902), UnsupportedVersion,
            "cannot handle global/pg_control: it belongs to PostgreSQL 19", id="19",
        ),
        pytest.param(
            control(at_12=202506300), UnsupportedVersion,
            "cannot handle global/pg_control: it belongs to PostgreSQL with catalog 202506300, "
            "no release of it", id="beta",
        ),
    ],
)  # fmt: skip
def test_anything_else_is_refused(content: bytes, error: type[PgkeepError], message: str) -> None:
    with pytest.raises(error) as caught:
        parse_control(content)
    assert str(caught.value) == message


def test_a_file_that_stays_damaged_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "global").mkdir()
    with pytest.raises(BadControlFile, match="no such file"):
        read_control(str(tmp_path))
    path = tmp_path / "global/pg_control"
    path.write_bytes(control())
    assert read_control(str(tmp_path)).major == 18
    assert read_control_bytes(str(tmp_path)) == control()
    path.write_bytes(control()[:200] + control(at_32=7)[200:])
    with pytest.raises(BadControlFile, match="checksum"):
        read_control(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "crc"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_crc32c_has_its_published_values(content: bytes, crc: int) -> None:
    assert crc32c(content) == crc
    assert crc32c(content[4:], crc32c(content[:4])) == crc
