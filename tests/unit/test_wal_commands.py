"""The command texts: what the shell makes of them is what was meant."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from pgkeep.wal.commands import archive_command, find_program, restore_command

HOSTILE = [
    "/plain/path",
    "/with space/and  two",
    "/quote'd/and\"double",
    "/percent%f/%p/%%/100%",
    "/dollar$HOME/$(id)/`id`",
    "/back\\slash/\\n",
    "/umlaut-äöü/馬",
    "/star*/semi;colon/#/&",
]


def run_by_postgresql(command: str, file: str, path: str) -> list[str]:
    """Replace the placeholders as PostgreSQL does, run the shell, return the words it made."""
    text = command.replace("%%", "\0").replace("%f", file).replace("%p", path).replace("\0", "%")
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=True)
    return done.stdout.decode().split("\n")[:-1]


@pytest.fixture
def printer(tmp_path: Path) -> str:
    """A program that prints its arguments, a line each; in a folder of many characters."""
    path = tmp_path / "a 'hard' \"name\" $x 100%p" / "pgkeep-wal"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("path", HOSTILE)
def test_scenario_70_hostile_paths_reach_the_program_unchanged(printer: str, path: str) -> None:
    archive = archive_command("main", config=path, program=printer)
    assert run_by_postgresql(archive, "00F", "pg_wal/00F") == [
        *("--config", path, "--cluster", "main", "push", "pg_wal/00F")
    ]
    ahead = archive_command("main", config=path, program=printer, ahead=True)
    *words, place, verb, file = run_by_postgresql(ahead, "00F", "pg_wal/00F")
    assert words == ["--config", path, "--cluster", "main", "--acks"]
    assert re.fullmatch(rf"pgkeep-acks-[0-9a-f]{{8}}/{os.getpid()}", place)
    assert (verb, file) == ("push", "pg_wal/00F")
    restore = restore_command("main", "18-77", repository=path, program=printer)
    words = run_by_postgresql(restore, "00F", "pg_wal/RECOVERYXLOG")
    spool = words.pop(-3)
    assert re.fullmatch(r"pgkeep-spool-18-77-[0-9a-f]{8}", spool)
    assert words == [
        *("--repository", path, "--cluster", "main", "fetch", "--generation", "18-77"),
        *("--missing-status", "90", "--spool", "00F", "pg_wal/RECOVERYXLOG"),
    ]


@pytest.mark.parametrize(
    ("program", "status"),
    [
        pytest.param("exit 0", 0, id="done"),
        pytest.param("exit 90", 1, id="missing"),
        pytest.param("exit 1", 200, id="Python did not start"),
        pytest.param("exit 2", 200, id="usage"),
        pytest.param("exit 200", 200, id="failed"),
        pytest.param("kill -9 $$", 200, id="killed"),
        pytest.param("kill -15 $$", 143, id="shutdown"),
    ],
)
def test_scenario_60_only_a_missing_file_ends_recovery(
    tmp_path: Path, program: str, status: int
) -> None:
    path = tmp_path / "pgkeep-wal"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    command = restore_command("main", "18-77", config="/c", program=str(path))
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == status


def test_scenario_60_a_removed_installation_stops_recovery(tmp_path: Path) -> None:
    command = restore_command("main", "18-77", config="/c", program=f"{tmp_path}/gone")
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 200


def test_a_segment_that_lies_ready_is_taken_without_the_program(tmp_path: Path) -> None:
    command = restore_command("main", "18-77", config="/c", program=f"{tmp_path}/gone")
    spool = tmp_path / "pg_wal" / command.partition("pg_wal/")[2].partition("/")[0]
    spool.mkdir(parents=True)
    (spool / "00F").write_bytes(b"content")
    text = command.replace("%f", "00F").replace("%p", "pg_wal/RECOVERYXLOG")
    statuses = [
        subprocess.run(["/bin/sh", "-c", text], cwd=tmp_path, check=False).returncode
        for _ in range(2)
    ]
    assert statuses == [0, 200]
    assert (tmp_path / "pg_wal/RECOVERYXLOG").read_bytes() == b"content"


def test_what_another_archive_left_is_never_taken() -> None:
    commands = {
        restore_command("main", "18-77", config="/c", program="/p"),
        restore_command("main", "18-78", config="/c", program="/p"),
        restore_command("copy", "18-77", config="/c", program="/p"),
        restore_command("main", "18-77", config="/d", program="/p"),
        restore_command("main", "18-77", repository="/c", program="/p"),
    }
    assert len({c.partition("pgkeep-spool-")[2].partition("/")[0] for c in commands}) == 5


def test_the_program_is_found_beside_python() -> None:
    assert Path(find_program()).is_absolute()
    assert Path(find_program()).name == "pgkeep-wal"


def test_a_command_without_origin_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="a config or a repository"):
        archive_command("main")
