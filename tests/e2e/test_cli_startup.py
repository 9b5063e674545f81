"""How fast the command is there, and that a pipe may close."""

import subprocess
import time

import pytest

from support.command import PGKEEP, run_pgkeep

LIMIT = 0.5  # seconds; it takes 0.08 on a quiet machine, and tests run beside others


def test_help_is_there_at_once() -> None:
    best = 10.0
    for _ in range(5):
        began = time.perf_counter()
        run_pgkeep("--help").ok()
        best = min(best, time.perf_counter() - began)
    assert best < LIMIT


@pytest.mark.parametrize("command", ["init", "restore", "wal status", "key add"])
def test_every_command_explains_itself(command: str) -> None:
    done = run_pgkeep(*command.split(), "--help").ok()
    assert f"Usage: pgkeep {command}" in done.stdout


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    code = (
        "import sys; from pgkeep.cli.main import run; run(['--help']);"
        "print([m for m in ('rich', 'numpy', 'psycopg', 'msgspec') if m in sys.modules])"
    )
    python = PGKEEP.parent / "python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_may_go_away() -> None:
    with subprocess.Popen(
        [PGKEEP, "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


def test_a_result_that_cannot_be_written_is_a_failure() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [PGKEEP, "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_completion_is_offered() -> None:
    environment = {
        "_PGKEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": "pgkeep re",
        "COMP_CWORD": "1",
    }
    assert run_pgkeep(env=environment).stdout.split() == ["restore", "repair"]
