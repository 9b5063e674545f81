"""`pgkeep serve` as a process, and commands that talk to it."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGTERM
from typing import Any, Self

from pgkeep.schedule.due import Key
from pgkeep.service.jobs.ledger import Ledger
from support.command import PGKEEP, Result, run_pgkeep
from support.wait import wait_for


class Service:
    """One service, started and stopped as systemd would; its words go into a file."""

    def __init__(self, config: Path, state: Path) -> None:
        self.config = config
        self.state = state
        self._log = config.parent / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def address(self) -> str:
        """Return where the page is, of a service that was started with it."""
        found = re.search(r"the page and /api are at (https?://\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    def start(self, *words: str, page: bool = False, env: Mapping[str, str] | None = None) -> Self:
        """Start it, without its page or with one on a port that the system chooses."""
        face = ("--listen", "127.0.0.1:0") if page else ("--no-page",)
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [str(PGKEEP), "--config", str(self.config), "serve", *face, *words],
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        wait_for(lambda: "pgkeep serves" in self.said or self.has_ended, what=self.said)
        assert not self.has_ended, self.said
        return self

    @property
    def has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    @property
    def open_files(self) -> int:
        assert self._process is not None
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = SIGTERM) -> int:
        """Stop it; return its exit status."""
        if self._process is None:
            return 0
        self.send(number)
        status = self._process.wait(60)
        self._process = None
        return status

    def run(self, *words: str) -> Result:
        return run_pgkeep(*words, config=self.config)

    def jobs(self, kind: str = "") -> list[Any]:
        """Return the jobs that the service knows, newest first."""
        found = self.run("jobs", "list", "--json").ok().json["jobs"]
        return [run for run in found if kind in ("", run["job"]["kind"])]

    def wait_for_job(self, kind: str, *states: str, timeout: float = 90) -> Any:
        """Return the newest job of a kind once it is in one of the states."""

        def found() -> Any:
            runs = self.jobs(kind)
            return runs[0] if runs and runs[0]["state"] in states else None

        return wait_for(found, timeout, f"{kind} to be {' or '.join(states)}: {self.said}")


def settled_long_ago(state: Path, *kinds: str, cluster: str = "main", days: int = 3) -> None:
    """Have the schedule's entries look as if the service had been away for days."""
    state.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(state)
    for kind in kinds:
        ledger.settle(Key(cluster, kind), datetime.now(UTC) - timedelta(days=days))
    ledger.close()


def config_text(repository: Path, state: Path, clusters: Mapping[str, str], more: str = "") -> str:
    """Return a config of several clusters, by their conninfo."""
    sections = "".join(
        f"[clusters.{name}]\nconninfo = {json.dumps(conninfo)}\njobs = 1\n"
        for name, conninfo in clusters.items()
    )
    return (
        f"[repository]\nurl = {json.dumps(str(repository))}\n{sections}"
        f'[service]\nstate_directory = {json.dumps(str(state))}\nlook_every = "1s"\n{more}'
    )
