"""The pgkeep command, run as users run it: as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PGKEEP = Path(sys.executable).parent / "pgkeep"
PGKEEP_WAL = Path(sys.executable).parent / "pgkeep-wal"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    command: str
    exit: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    def ok(self) -> "Result":
        """Return itself, or fail the test with all that the command said."""
        assert self.exit == 0, f"{self.command}: exit {self.exit}\n{self.stdout}\n{self.stderr}"
        return self


def run_pgkeep(
    *arguments: str | Path,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    timeout: float = 120,
    program: Path = PGKEEP,
) -> Result:
    """Run pgkeep with a clean environment plus `env`; never fails by itself: see Result.ok()."""
    command = [str(program)]
    command += ["--config", str(config)] if config is not None else []
    command += [str(argument) for argument in arguments]
    done = subprocess.run(
        command,
        env={**_plain_environment(), **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
    )
    return Result(" ".join(command), done.returncode, done.stdout, done.stderr)


def run_pgkeep_wal(*arguments: str | Path, config: Path | None = None, **more: Any) -> Result:
    """Run pgkeep-wal, the small program that PostgreSQL calls."""
    return run_pgkeep(*arguments, config=config, program=PGKEEP_WAL, **more)


def write_config(
    path: Path, repository: Path | str, clusters: Mapping[str, str] | None = None, more: str = ""
) -> Path:
    """Write a pgkeep.toml: the repository's address, and name -> conninfo of each cluster."""
    lines = ["[repository]", f"url = {json.dumps(str(repository))}", ""]
    for name, conninfo in (clusters or {}).items():
        lines += [f"[clusters.{name}]", f"conninfo = {json.dumps(conninfo)}", ""]
    path.write_text("\n".join([*lines, more, ""]))
    return path


def archive_settings(config: Path, cluster: str = "main") -> dict[str, str | int | None]:
    """Return the settings under which a cluster archives through pgkeep-wal."""
    return {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": f"{PGKEEP_WAL} --config {config} --cluster {cluster} push %p",
        "archive_timeout": 60,
    }


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "100",
    }
