"""pgkeep's real command line, in real processes, some of which are killed at some moment."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support.command import PGKEEP, Result
from support.wait import wait_for
from torture.journal import Journal

LIMIT_S = 400  # no command here has more than seconds of work: one that takes longer hangs
Victim = Literal["main", "worker"]


@dataclass(frozen=True, slots=True)
class Kill:
    """A process of a command that is killed, and when."""

    victim: Victim
    after_s: float


class Command:
    """One command that runs."""

    def __init__(self, words: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.words = words
        self._output = output
        self._began = time.monotonic()
        with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(
                words,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def end(self) -> Result:
        """Wait for its end, and for that of every process it started; both must come."""
        told = " ".join(self.words)
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{told}: no end after {LIMIT_S} s") from None
        wait_for(lambda: not self.family(), 30, f"the end of what {told} started")
        stdout = self._output.read_text(errors="replace")
        stderr = self._output.with_suffix(".err").read_text(errors="replace")
        return Result(told, status, stdout, stderr)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def family(self) -> list[int]:
        """Return its living processes; a server that it started is on its own."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                found.append(int(name))
        return found

    def strike(self, kill: Kill, chance: random.Random) -> bool:
        """Kill it, or one of its workers, after a while; False: it had ended by then."""
        time.sleep(kill.after_s)
        if kill.victim == "worker":
            workers = [pid for pid in self.family() if pid != self.process.pid]
            if workers:
                return send(chance.choice(workers), signal.SIGKILL)
        return self.process.poll() is None and send(self.process.pid, signal.SIGKILL)

    def freeze(self, seconds: float) -> None:
        """Stop all its processes for a while."""
        stopped = self.family()
        for pid in stopped:
            send(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in stopped:
            send(pid, signal.SIGCONT)


class Commands:
    """Runs the command on one config."""

    def __init__(self, config: Path, secret: Mapping[str, str], journal: Journal) -> None:
        self._base = [str(PGKEEP), "--config", str(config)]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment = {**kept, **secret, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self._output = config.parent / "commands"
        self._output.mkdir()
        self._journal = journal
        self._count = 0
        self._seconds: dict[str, float] = {}  # that a command took last, by its first word

    def start(self, *words: str | Path) -> Command:
        self._count += 1
        name = self._output / f"{self._count:04}-{words[0]}.out"
        return Command([*self._base, *map(str, words)], self._environment, name)

    def run(self, *words: str | Path) -> Result:
        """Run a command to its end, whatever that is."""
        with self.started(*words) as command:
            pass
        return self._ended(command)

    @contextmanager
    def started(self, *words: str | Path) -> Iterator[Command]:
        """Run a command while something else is done; it has ended afterwards."""
        command = self.start(*words)
        try:
            yield command
        finally:
            command.end()

    def _ended(self, command: Command) -> Result:
        result = command.end()
        verb = command.words[3]
        if result.exit == 0:
            self._seconds[verb] = command.seconds
        self.tell(result, command.seconds)
        return result

    def killed(self, chance: random.Random, *words: str | Path) -> Result:
        """Kill a command, or a worker of it, at a random moment of its life."""
        usual = self._seconds.get(str(words[0]), 2.0)
        victim: Victim = "main" if chance.random() < 0.6 else "worker"
        kill = Kill(victim, chance.uniform(0.05, max(0.3, usual * 1.05)))
        command = self.start(*words)
        struck = command.strike(kill, chance)
        result = command.end()
        what = f"{victim} killed after {kill.after_s:.2f} s" if struck else "ended before its kill"
        self.tell(result, command.seconds, what)
        if struck and victim == "main":
            assert result.exit == -signal.SIGKILL, result
        return result

    def tell(self, result: Result, seconds: float, what: str = "") -> None:
        words = result.command.removeprefix(" ".join(self._base)).strip()
        error = ""
        if result.exit > 0:
            lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
            error = f"; {lines[0] if lines else result.stderr[-200:]}"
        also = f" ({what})" if what else ""
        self._journal.say(f"pgkeep {words} -> {result.exit} in {seconds:.1f} s{also}{error}")


def works_for(pid: int, *words: bytes) -> bool:
    """Tell whether all these are in a process's command line."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return all(word in line for word in words)


def send(pid: int, what: signal.Signals) -> bool:
    """Send a signal; False when there is no such process."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True
