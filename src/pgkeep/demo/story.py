"""The README story: a table is dropped and brought back, to the second, in two ways; a drill.

Everything is done with the commands a user would type, on a server and in a repository that are
made for it and removed afterwards.
"""

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pgkeep.demo.picture import Mark, timeline
from pgkeep.demo.shop import FIRST_ORDERS, MORE_ORDERS, Books, books, clock, open_shop, sell
from pgkeep.errors import PgkeepError
from pgkeep.server.binaries import Binaries
from pgkeep.server.instance import ServerProcess
from pgkeep.server.processes import wait_until
from pgkeep.server.scratch import ScratchCluster
from pgkeep.units import format_duration, format_size

_YOURS = """
The same with your own cluster, as the user that PostgreSQL runs as:

  pgkeep init --write-config pgkeep.toml --url /backup/pgkeep \\
      --conninfo 'host=/var/run/postgresql dbname=postgres'
  pgkeep init --apply        # then restart PostgreSQL if it says so
  pgkeep check && pgkeep backup && pgkeep list
  pgkeep restore --target-dir DIR --to '2026-01-15 15:47:21+00' --start --port 5433"""


class DemoFailed(PgkeepError):
    """A step of the demo did not do what it should: pgkeep is broken here, or the machine is."""

    code = "demo-failed"
    exit_status = 95

    step: str
    why: str

    def __str__(self) -> str:
        return f"cannot show the whole story, it ends at '{self.step}': {self.why}"

    @property
    def hint(self) -> str:
        return "run pgkeep demo --keep and look at restored.log in the folder that it names"


class Step(NamedTuple):
    """One step as it went."""

    title: str
    seconds: float
    detail: str


class Story(NamedTuple):
    """The whole demo as it went."""

    steps: tuple[Step, ...]
    before: Books
    after: Books
    undone: Books
    dropped_at: datetime
    target: str
    directory: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "steps": [{"title": s.title, "seconds": round(s.seconds, 3)} for s in self.steps],
            "orders_before": self.before.orders,
            "orders_after": self.after.orders,
            "identical": self.before == self.after == self.undone,
            "target": self.target,
            "directory": self.directory,
        }


class _Stage:
    """Runs steps, times them, and says each as it is done."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.steps: list[Step] = []
        self._say = say

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        details: list[str] = []
        began = time.monotonic()
        yield details
        step = Step(title, time.monotonic() - began, "; ".join(details))
        self.steps.append(step)
        number = f"{len(self.steps)}."
        self._say(f"  {number:4}{title:<57}{format_duration(step.seconds):>8}")
        for detail in details:
            self._say(f"       {detail}")


class _Pgkeep:
    """The command, as a user would type it."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "pgkeep.toml"

    def configure(self, cluster: ScratchCluster, repository: Path) -> None:
        self._config.write_text(
            f'[repository]\nurl = "{repository}"\n\n[clusters.shop]\n'
            f'conninfo = "{cluster.conninfo}"\npg_bin = "{cluster.binaries.directory}"\n'
        )

    def __call__(self, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "pgkeep", "--config", str(self._config), "--json"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(typed(*arguments), done.stderr.strip() or f"exit {done.returncode}")
        report = json.loads(done.stdout)
        assert isinstance(report, dict)
        return report


def typed(*arguments: str) -> str:
    """Return a command line as one would type it."""
    return f"$ pgkeep {shlex.join(arguments)}"


def tell(binaries: Binaries, say: Callable[[str], None], *, keep: bool = False) -> Story:
    """Play the story and clean up; raise DemoFailed when the books differ in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pgkeep-demo-"))
    try:
        say(f"A shop on a throwaway PostgreSQL {binaries.version}, in {folder}\n")
        with ScratchCluster(binaries, folder / "shop") as cluster:
            story = _play(cluster, folder, say)
        say(f"  repository and restored copy: {folder}" if keep else "  and all of it is removed")
        say(_YOURS)
        return story
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _play(cluster: ScratchCluster, folder: Path, say: Callable[[str], None]) -> Story:
    stage, pgkeep = _Stage(say), _Pgkeep(folder)
    pgkeep.configure(cluster, folder / "repository")
    with stage.step(f"a shop opens, with {FIRST_ORDERS:,} orders"):
        open_shop(cluster)
    with stage.step("a repository; WAL is archived from now on") as details:
        details.append(typed("init", "--apply"))
        pgkeep("init", "--apply")
        cluster.restart()  # archive_mode counts from the next start
    with stage.step("a backup of the running server") as details:
        details.append(typed("backup"))
        report = pgkeep("backup")
        details.append(f"{format_size(report['size'])} in, {format_size(report['stored'])} stored")
    with stage.step(f"{MORE_ORDERS:,} more orders, then a named restore point") as details:
        sell(cluster, MORE_ORDERS)
        details.append(typed("point", "before_migration"))
        pgkeep("point", "before_migration")
    with stage.step(f"{MORE_ORDERS:,} more orders"):
        sell(cluster, MORE_ORDERS)
    before, target = books(cluster), clock(cluster)
    with stage.step("the accident: DROP TABLE orders") as details:
        cluster.sql("DROP TABLE orders")
        dropped = clock(cluster)
        details.append(f"at {dropped:%H:%M:%S.%f} UTC; {before.orders:,} orders are gone")
        _archive(cluster)
    restored, arguments = folder / "restored", f"{target:%Y-%m-%d %H:%M:%S.%f}+00"
    with stage.step("everything back to just before it") as details:
        details.append(typed("restore", "--target-dir", "…/restored", "--to", arguments, "--start"))
        after = _restore(pgkeep, cluster, restored, arguments)
        details.append(f"{after.orders:,} orders over {after.euros}: " + _verdict(before, after))
    undone = _undo(stage, pgkeep, cluster, before)
    _drill(stage, pgkeep)
    marks = [
        Mark("●", "backup"),
        Mark("─", f"{MORE_ORDERS:,} orders"),
        Mark("◆", "point"),
        Mark("─", f"{MORE_ORDERS:,} orders"),
        Mark("✗", "DROP TABLE"),
    ]
    say("\n" + "\n".join(f"  {line}" for line in timeline(marks, back_to=4).splitlines()))
    for books_then in (after, undone):
        if before != books_then:
            raise DemoFailed("comparing the books", _verdict(before, books_then))
    total = format_duration(sum(step.seconds for step in stage.steps))
    say(f"\n  {total} in all")
    return Story(tuple(stage.steps), before, after, undone, dropped, arguments, str(folder))


def _archive(cluster: ScratchCluster) -> None:
    """Let the server archive what it has; archive_timeout would do it on a real one."""
    segment = cluster.switch_wal()
    archived = "SELECT coalesce(last_archived_wal, '') >= %s FROM pg_stat_archiver"
    if not wait_until(lambda: bool(cluster.value(archived, segment)), 30):
        raise DemoFailed("archiving", f"WAL segment {segment} was not archived in 30 s")


def _restore(pgkeep: _Pgkeep, shop: ScratchCluster, directory: Path, target: str) -> Books:
    """Restore beside the running server, read the books of the copy, and stop it."""
    port = str(shop.port + 1)
    try:
        pgkeep("restore", "--target-dir", str(directory), "--to", target, "--start", "--port", port)
        return books(shop, port=port)
    finally:
        copy = ServerProcess.attach(directory, log_file=f"{directory}.log")
        if copy is not None:
            copy.stop("immediate")


def _undo(stage: _Stage, pgkeep: _Pgkeep, cluster: ScratchCluster, before: Books) -> Books:
    """Find the accident in WAL, and bring the table back into the running shop."""
    with stage.step("who did it? WAL knows") as details:
        details.append(typed("undo", "find"))
        events = pgkeep("undo", "find")["events"]
        details += [f"{e['kind']} of {e['relation']}, transaction {e['xid']}" for e in events]
    if len(events) != 1:
        raise DemoFailed(stage.steps[-1].title, f"{len(events)} events were found, not one")
    undo = ("undo", "table", events[0]["relation"], "--event", "1", "--into-place", "--yes")
    with stage.step("and the table comes back into the running shop") as details:
        details.append(typed(*undo))
        pgkeep(*undo)
        undone = books(cluster)
        details.append(f"{undone.orders:,} orders over {undone.euros}: " + _verdict(before, undone))
        _archive(cluster)  # else a restore to the newest moment has no such table
    return undone


def _drill(stage: _Stage, pgkeep: _Pgkeep) -> None:
    """Prove the newest backup by a restore."""
    with stage.step("proof that the backup is one: a restore test") as details:
        details.append(typed("drill"))
        report = pgkeep("drill")
        passed = [check["kind"] for check in report["checks"] if check["status"] == "passed"]
        details.append(f"{report['status']}: {', '.join(passed)}")


def _verdict(before: Books, after: Books) -> str:
    if before == after:
        return "each of them as it was"
    return f"NOT what it was: {before.orders:,} orders over {before.euros}"
