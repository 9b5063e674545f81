"""A runbook on paper: its steps, and somebody who types them as they stand."""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pgkeep.server.binaries import SERVER_ENVIRONMENT, as_server_user
from support.command import Result, run_pgkeep


@dataclass(frozen=True)
class PaperStep:
    """One step: what it says, and what is to be typed."""

    text: str
    commands: tuple[str, ...]


@dataclass
class Paper:
    """A page in Markdown. `put` has what CAPITALS mean; `owner_of` is whose the servers are."""

    page: str
    owner_of: Path
    secret: str = ""  # typed where the page asks for what opens the repository
    put: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def section(self, title: str) -> list[PaperStep]:
        """Return the steps of the section with this in its title, or in the words before them."""
        [text] = (part for part in re.split(r"^## ", self.page, flags=re.MULTILINE)[1:]
                  if title in part.splitlines()[0])  # fmt: skip
        found = []
        for step in re.split(r"^\*\*Step \d+\.\*\* ", text, flags=re.MULTILINE)[1:]:
            blocks = re.findall(r"^```sh\n(.*?)^```", step, re.DOTALL | re.MULTILINE)
            lines = tuple(line for block in blocks for line in block.splitlines())
            found.append(PaperStep(step.splitlines()[0], lines))
        return found

    @property
    def config(self) -> str:
        """The config that the page shows."""
        [found] = re.findall(r"^```toml\n(.*?)^```", self.page, re.DOTALL | re.MULTILINE)
        return str(found)

    def type(self, step: PaperStep, **more: str) -> list[Result]:
        """Type all of a step's commands; every one must succeed."""
        return [self.enter(line, **more).ok() for line in step.commands]

    def enter(self, line: str, **more: str) -> Result:
        """Type one command line."""
        for capitals, meaning in {**self.put, **more}.items():
            line = re.sub(rf"\b{capitals}\b", meaning.replace("\\", r"\\"), line)
        words = shlex.split(line)
        if words[0] == "read":
            assert line == "read -rs PGKEEP_PASSPHRASE && export PGKEEP_PASSPHRASE"
            self.environment["PGKEEP_PASSPHRASE"] = self.secret
            return Result(line, 0, "", "")
        if words[0] == "pgkeep":
            return run_pgkeep(*words[1:], env=self.environment)
        return _other(words, self.owner_of, self.environment)


def _other(words: list[str], owner_of: Path, environment: Mapping[str, str]) -> Result:
    """Run a program that is not pgkeep; one of PostgreSQL's as the server's user."""
    if Path(words[0]).name == "pg_ctl":
        words = as_server_user(words, owner_of)
    done = subprocess.run(
        words,
        env={**SERVER_ENVIRONMENT, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Result(shlex.join(words), done.returncode, done.stdout, done.stderr)
