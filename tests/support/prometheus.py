"""A real Prometheus on a free port of 127.0.0.1, and its promtool."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.wait import wait_for

_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')


def require_prometheus(program: str = "prometheus") -> str:
    """Return a program of Prometheus; skip the test without it, but fail where CI runs."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test the metrics with {program}: it is missing")
        pytest.skip(f"NOT TESTED with Prometheus: no {program}; apt-get install prometheus")
    return found


def promtool(*words: str, given: bytes = b"") -> str:
    """Run promtool, which must be content; return what it says."""
    command = [require_prometheus("promtool"), *words]
    done = subprocess.run(command, check=False, input=given, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, path: str, **values: str) -> Any:
        """Return what its API answers."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=values, timeout=60).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the series that an expression has now."""
        return list(self.ask("query", query=expression)["result"])


@contextmanager
def prometheus_running(folder: Path, config: str) -> Iterator[Prometheus]:
    """Run a Prometheus with this config; what it keeps is in the folder."""
    (folder / "prometheus.yml").write_text(config)
    log = folder / "prometheus.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                require_prometheus(),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/series",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=said,
            stderr=said,
        )
    try:

        def listens() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text()
            return _LISTENS.search(log.read_text())

        found = wait_for(listens, what=log.read_text())
        assert found is not None
        one = Prometheus(f"http://{found[1]}")
        wait_for(lambda: httpx.get(f"{one.url}/-/ready", timeout=60).status_code == 200)
        yield one
    finally:
        process.kill()
        process.wait(30)
