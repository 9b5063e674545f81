"""Which names PostgreSQL archives, and whose a data directory is."""

import os
from pathlib import Path

import pytest

from pgkeep.model.wal_file import kind_of
from pgkeep.repository.repository import UnknownGeneration
from pgkeep.wal.identity import (
    ControlUnreadable,
    GenerationUnclear,
    generation_of,
    identifier_beside,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("000000010000000A000000FF", "segment"),
        ("000000010000000A000000FF.partial", "partial"),
        ("00000002.history", "history"),
        ("000000010000000A000000FF.00000028.backup", "backup"),
        ("", ""),
        ("000000010000000a000000ff", ""),
        ("000000010000000A000000F", ""),
        ("000000010000000A000000FFF", ""),
        ("000000010000000A000000FF.gz", ""),
        ("000000010000000A000000FF.partial.partial", ""),
        ("000000010000000A000000FF.28.backup", ""),
        ("000000010000000A000000FF.backup", ""),
        ("00000002.history.partial", ""),
        ("RECOVERYXLOG", ""),
        ("xlogtemp.123", ""),
        ("../../00000002.history", ""),
        (".history", ""),
    ],
)
def test_only_the_names_that_postgresql_archives_count(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def data_directory(folder: Path, control: bytes) -> Path:
    (folder / "global").mkdir(parents=True)
    (folder / "pg_wal").mkdir()
    (folder / "global/pg_control").write_bytes(control)
    return folder


IDENTIFIER = 7710983248089545577


def test_the_data_directory_tells_whose_wal_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_directory(tmp_path / "data", IDENTIFIER.to_bytes(8, "little") + bytes(100))
    assert identifier_beside(f"{data}/pg_wal/00000002.history") == IDENTIFIER
    monkeypatch.chdir(data)
    assert identifier_beside("pg_wal/RECOVERYXLOG") == IDENTIFIER
    assert identifier_beside(f"{tmp_path}/00000002.history") is None


def test_a_linked_pg_wal_still_belongs_to_its_data_directory(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", IDENTIFIER.to_bytes(8, "little"))
    (data / "pg_wal").rename(tmp_path / "elsewhere")
    (data / "pg_wal").symlink_to(tmp_path / "elsewhere")
    assert identifier_beside(f"{data}/pg_wal/00000002.history") == IDENTIFIER


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8)])
def test_a_damaged_pg_control_is_not_taken_for_none(tmp_path: Path, content: bytes) -> None:
    data = data_directory(tmp_path / "data", content)
    with pytest.raises(ControlUnreadable, match="it is damaged"):
        identifier_beside(f"{data}/pg_wal/00000002.history")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_pg_control_is_not_taken_for_none(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", IDENTIFIER.to_bytes(8, "little"))
    (data / "global/pg_control").chmod(0)
    with pytest.raises(ControlUnreadable, match="Permission denied"):
        identifier_beside(f"{data}/pg_wal/00000002.history")


def test_a_generation_is_found_by_its_whole_identifier() -> None:
    known = ("17-123", "18-4123")
    assert generation_of(4123, known) == "18-4123"
    assert generation_of(23, known) is None


def test_strange_wal_is_refused_with_both_identities() -> None:
    error = UnknownGeneration("archive 00000001", "18-77", "main", "/srv/pgkeep", ("17-55",))
    assert str(error) == (
        "cannot archive 00000001: it belongs to system identifier 77 (PostgreSQL 18), and cluster "
        "main in /srv/pgkeep is system identifier 55 (PostgreSQL 17)"
    )
    assert error.hint == (
        "was this server upgraded or initialised again? then: pgkeep --cluster main init "
        "--new-generation. Is it a copy of another one? then set archive_mode = off here, or "
        "give it a cluster name of its own"
    )
    new = UnknownGeneration("archive 00000001", "18-77", "main", "/srv/pgkeep", ())
    assert str(new) == "cannot archive 00000001: cluster main is not set up in /srv/pgkeep"
    assert new.hint == "set it up with: pgkeep --cluster main init"


def test_a_file_that_names_no_server_asks_for_one() -> None:
    error = GenerationUnclear("fetch 00000002.history", "main", ("17-55", "18-77"))
    assert str(error) == (
        "cannot fetch 00000002.history: cluster main has WAL of 2 servers (17-55, 18-77), and no "
        "data directory here tells which is meant"
    )
