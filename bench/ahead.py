"""WAL pushed and fetched ahead: what a segment costs PostgreSQL, and what it costs in all.

python -m bench.ahead FOLDER [--segments 200] [--rounds 3]

A server of PostgreSQL 15 writes real segments. Then, with the server stopped, each tool gets the
whole backlog by its archive_command, one file after the other as PostgreSQL's archiver does it; and
a base backup is recovered from a folder of plain copies and from each repository, to the end.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backports.zstd import ZstdCompressor

from bench.measure import Cost, measure
from bench.peers import PgBackRest
from bench.table import median, table
from pgkeep.postgres.control import read_control
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.repository.wal_archive import BLOCK
from pgkeep.server.binaries import find_binaries, give_to_server_user
from pgkeep.server.processes import wait_until
from pgkeep.server.scratch import ScratchCluster
from pgkeep.wal.commands import archive_command, restore_command

MAJOR = 15
PUSH, REPLAY, ACKNOWLEDGED = "push the backlog", "replay it", "an acknowledged segment"
ROWS = (
    "INSERT INTO t SELECT g, md5(random()::text) || md5(g::text) FROM generate_series(1, 100000) g"
)
WAL_SETTINGS: dict[str, str | int | None] = {
    "archive_mode": "on",
    "max_wal_size": "2GB",
    "shared_buffers": "256MB",
    "autovacuum": "off",
    "fsync": "off",
}
# As the archiver: the same file until it is archived, then the next; the shell is its $PPID.
LOOP = """\
cd {data} && for f in $(ls pg_wal/archive_status | grep ready | sed s/.ready//); do
  until sh -c "$(sed s,%p,pg_wal/$f,g\\;s,%f,$f,g {command})" 2>>{log}; do :; done
  mv pg_wal/archive_status/$f.ready pg_wal/archive_status/$f.done
done"""


class Bench:
    """The server, its segments as plain copies, and a repository for each tool."""

    def __init__(self, folder: Path, segments: int) -> None:
        self.folder = folder
        self.segments = segments
        self.plain = folder / "plain"
        self.base = folder / "base"
        folder.mkdir(parents=True)
        self.plain.mkdir()
        give_to_server_user(folder)
        give_to_server_user(self.plain)
        command = f"cp %p {self.plain}/%f"
        self.pg = ScratchCluster(
            find_binaries(MAJOR),
            folder / "server",
            settings={**WAL_SETTINGS, "archive_command": command},
        )
        self.pg.__enter__()

    def write_wal(self) -> None:
        self.pg.sql("CREATE TABLE t (id int, text text); CREATE INDEX ON t (text)")
        self.pg.tool("pg_basebackup", "-D", str(self.base), "-X", "none", "-c", "fast", "--no-sync")
        self.pg.sql("CHECKPOINT")
        while len(self.names()) < self.segments:
            self.pg.sql(ROWS)
        self.pg.switch_wal()
        status = self.pg.data_directory / "pg_wal/archive_status"
        wait_until(lambda: not list(status.glob("*.ready")), 60)
        self.pg.stop()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.plain.iterdir() if len(path.name) == 24)

    def pile_up(self) -> None:
        """Make all segments wait to be archived."""
        pg_wal = self.pg.data_directory / "pg_wal"
        for place in (pg_wal, pg_wal / "archive_status"):
            for path in place.iterdir():
                if path.is_file():
                    path.unlink()
        for path in pg_wal.glob("pgkeep-acks-*"):
            shutil.rmtree(path)
        for name in self.names():
            os.link(self.plain / name, pg_wal / name)
            (pg_wal / "archive_status" / f"{name}.ready").touch()

    def push(self, command: str) -> Cost:
        """Archive the backlog with `command`."""
        self.pile_up()
        text = self.folder / "command"
        text.write_text(command)
        loop = LOOP.format(data=self.pg.data_directory, command=text, log=self.folder / "log")
        return measure(["sh", "-c", loop])

    def replay(self, command: str) -> Cost:
        """Recover the base backup to the end of WAL; return the time that it took."""
        target = self.folder / "target"
        shutil.copytree(self.base, target)
        give_to_server_user(target)
        for root, folders, files in os.walk(target):
            for name in (*folders, *files):
                give_to_server_user(Path(root, name))
        (target / "recovery.signal").touch()
        settings = {**WAL_SETTINGS, "archive_mode": "off", "restore_command": command}
        server = ScratchCluster.over(self.pg.binaries, target, settings=settings)
        server.create()
        try:
            began = time.monotonic()
            server.start(wait=False)
            if not wait_until(lambda: "archive recovery complete" in server.log, 600):
                raise TimeoutError(server.log[-2000:])
            wall = time.monotonic() - began
            replayed = server.log.count("restored log file")
            if replayed < self.segments:
                raise ValueError(f"only {replayed} segments were replayed")
            return Cost(wall, 0.0, 0)
        finally:
            server.destroy()
            shutil.rmtree(target)
            (self.folder / "target.log").unlink(missing_ok=True)


class Pgkeep:
    """A repository of pgkeep's."""

    name = "pgkeep ahead"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._repository = bench.folder / "pgkeep"
        self._program = str(Path(sys.executable).parent / "pgkeep-wal")
        self.generation = read_control(str(bench.pg.data_directory)).generation

    def forget(self) -> None:
        shutil.rmtree(self._repository, ignore_errors=True)
        store = make_store(str(self._repository))
        Repository.create(store, "none", None).cluster("main").add_generation(self.generation)

    def archive_command(self, *, ahead: bool = True) -> str:
        repository = str(self._repository)
        return archive_command("main", repository=repository, program=self._program, ahead=ahead)

    def restore_command(self) -> str:
        return restore_command(
            "main", self.generation.id, repository=str(self._repository), program=self._program
        )


class Synchronous(Pgkeep):
    """The same without a pusher."""

    name = "pgkeep sync"

    def archive_command(self, *, ahead: bool = False) -> str:
        return super().archive_command(ahead=ahead)


class Asynchronous:
    """pgBackRest with archive-async."""

    name = "pgBackRest async"

    def __init__(self, bench: Bench) -> None:
        self._work = bench.folder / "pgbackrest"
        self._data = bench.pg.data_directory

    def forget(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        (self._work / "pgbackrest.conf").write_text(
            f"[global]\nrepo1-path={self._work}/repository\nlog-path={self._work}/log\n"
            f"lock-path={self._work}/lock\nspool-path={self._work}/spool\narchive-async=y\n"
            "process-max=4\ncompress-type=zst\ncompress-level=1\nlog-level-file=off\n"
            f"log-level-console=error\n[bench]\npg1-path={self._data}\n"
        )
        create = [*self._run(), "--no-online", "stanza-create"]
        subprocess.run(create, check=True, capture_output=True)

    def _run(self) -> list[str]:
        return ["pgbackrest", f"--config={self._work}/pgbackrest.conf", "--stanza=bench"]

    def archive_command(self) -> str:
        return " ".join([*self._run(), "archive-push", "%p"])


def compression(bench: Bench) -> float:
    """Return the CPU seconds that zstd takes for all segments, cut as they are sealed."""
    compressor = ZstdCompressor(1)
    used = 0.0
    for name in bench.names():
        content = memoryview((bench.plain / name).read_bytes())
        began = time.process_time()
        for start in range(0, len(content), BLOCK):
            compressor.compress(content[start : start + BLOCK], ZstdCompressor.FLUSH_FRAME)
        used += time.process_time() - began
    return used


def acknowledged(bench: Bench, peer: Pgkeep, times: int = 300) -> tuple[list[float], list[float]]:
    """Return the seconds of archive_command for a file that is acknowledged, and of `true`."""
    bench.pile_up()
    peer.forget()
    command, name = peer.archive_command(), bench.names()[0]
    folder = command.partition("pg_wal/")[2].partition("/")[0]
    place = bench.pg.data_directory / "pg_wal" / folder / str(os.getpid())
    place.mkdir(parents=True)
    os.link(bench.pg.data_directory / "pg_wal" / name, place / name)
    text = command.replace("%p", f"pg_wal/{name}").replace("%f", name)
    return _timed(bench, text, times), _timed(bench, "true", times)


def _timed(bench: Bench, command: str, times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(["/bin/sh", "-c", command], cwd=bench.pg.data_directory, check=True)
        found.append(time.perf_counter() - began)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options.folder, options.segments)
    try:
        bench.write_wal()
        _run(bench, options.rounds)
    finally:
        bench.pg.destroy()
        shutil.rmtree(options.folder)
    return 0


def _run(bench: Bench, rounds: int) -> None:
    ahead = Pgkeep(bench)
    pushers: list[Pgkeep | Asynchronous] = [ahead, Synchronous(bench)]
    if PgBackRest.knows(MAJOR):
        pushers.append(Asynchronous(bench))
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(rounds):
        for peer in pushers:
            peer.forget()
            costs.setdefault((peer.name, PUSH), []).append(bench.push(peer.archive_command()))
    print(table([peer.name for peer in pushers], [PUSH], costs))
    print(f"zstd alone, of the same blocks: {compression(bench):.2f} s of CPU")
    ahead.forget()
    bench.push(ahead.archive_command())
    ways: dict[str, Callable[[], str]] = {
        "plain copies": lambda: f'cp {bench.plain}/%f "%p"',
        "pgkeep": ahead.restore_command,
    }
    for _ in range(rounds):
        for name, command in ways.items():
            costs.setdefault((name, REPLAY), []).append(bench.replay(command()))
    for name in ways:
        wall = median(costs[name, REPLAY], "wall")
        print(f"replay of {len(bench.names())} segments from {name}: {wall:.2f} s")
    mine, nothing = acknowledged(bench, ahead)
    for name, found in ((ACKNOWLEDGED, mine), ("sh -c true", nothing)):
        print(f"{name}: {statistics.median(found) * 1000:.2f} ms")


if __name__ == "__main__":
    sys.exit(main())
