"""backup_label and tablespace_map."""

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.backup_label import (
    BadBackupLabel,
    clean_label,
    format_tablespace_map,
    parse_backup_label,
    parse_tablespace_map,
    remap_tablespaces,
)

LABEL = """\
START WAL LOCATION: 0/9000028 (file 000000010000000000000009)
CHECKPOINT LOCATION: 0/9000080
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 13:19:14 UTC
LABEL: my "label": START TIMELINE: 5
START TIMELINE: 1
"""


def test_a_label_is_read_and_written_alike() -> None:
    found = parse_backup_label(LABEL)
    assert (found.start, found.checkpoint) == (Lsn(0x9000028), Lsn(0x9000080))
    assert (found.start_file, found.timeline) == ("000000010000000000000009", 1)
    assert found.label == 'my "label": START TIMELINE: 5'
    assert not found.from_standby
    assert str(found) == LABEL
    assert parse_backup_label(LABEL.replace("primary", "standby")).from_standby


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "it does not begin with the start of WAL", id="empty"),
        pytest.param(
            LABEL.replace("\n", "\r\n"), "it does not begin with the start of WAL", id="windows"
        ),
        pytest.param(LABEL[60:], "it does not begin with the start of WAL", id="no first line"),
        pytest.param(
            LABEL.replace("START TIMELINE: 1", ""),
            "it does not say from where the backup is",
            id="no timeline",
        ),
        pytest.param(
            LABEL.replace("primary", "elsewhere"),
            "it does not say from where the backup is",
            id="no source",
        ),
        pytest.param(
            LABEL + "INCREMENTAL FROM LSN: 0/7000028\nINCREMENTAL FROM TLI: 1\n",
            "it belongs to pg_basebackup's incremental backup",
            id="incremental",
        ),
    ],
)
def test_a_label_that_recovery_would_refuse_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadBackupLabel) as caught:
        parse_backup_label(text)
    assert str(caught.value) == f"cannot restore with this backup_label: {why}"


def test_a_users_label_becomes_one_short_line() -> None:
    assert clean_label("before\nmigration\t\x1b[1m ü") == "before migration  [1m ü"
    assert len(clean_label("ü" * 2000).encode()) == 1000


MAP = "16400 /srv/fast disk\n16401 /a\\\nb\\\\c\n"
PLACES = {16400: "/srv/fast disk", 16401: "/a\nb\\c"}


def test_a_map_is_read_and_written_alike() -> None:
    assert parse_tablespace_map(MAP) == PLACES
    assert format_tablespace_map(PLACES) == MAP
    assert parse_tablespace_map("") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("16400\n", "it has an unreadable line '16400'"),
        ("16400 relative\n", "it has an unreadable line '16400 relative'"),
        ("x /a\n", "it has an unreadable line 'x /a'"),
        ("16400 /a\n16400 /b\n", "it names tablespace 16400 twice"),
        ("16400 /a", "its last line is cut off"),
        ("16400 /a\\", "its last line is cut off"),
    ],
)
def test_a_damaged_map_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadBackupLabel) as caught:
        parse_tablespace_map(text)
    assert str(caught.value) == f"cannot restore with this tablespace_map: {why}"


def test_tablespaces_are_moved_in_the_map() -> None:
    assert remap_tablespaces(MAP, {16400: "/new\\x"}) == "16400 /new\\\\x\n16401 /a\\\nb\\\\c\n"
    with pytest.raises(BadBackupLabel, match="does not name tablespace 5"):
        remap_tablespaces(MAP, {5: "/x"})
