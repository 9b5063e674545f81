"""What a WAL command may import: it starts once for every segment."""

import subprocess
import sys

import pytest

HEAVY = {
    *("numpy", "msgspec", "dataclasses", "psycopg", "pydantic", "typer", "rich", "asyncio"),
    *("logging", "cryptography", "inspect", "subprocess", "threading", "pathlib", "tomllib"),
    *("shlex", "tempfile", "shutil", "typing", "re", "json", "datetime"),
}


@pytest.mark.parametrize("command", ["push", "fetch"])
def test_the_wal_commands_import_nothing_heavy(command: str) -> None:
    code = (
        "import sys, pgkeep.wal.main, pgkeep.wal.place, pgkeep.wal.retry; "
        "import pgkeep.wal.ahead.prefetch, pgkeep.wal.ahead.asking; "
        f"import pgkeep.wal.{command}; "
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
