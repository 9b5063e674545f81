"""A data directory whose files are archived one by one, as PostgreSQL's archiver does it."""

import os
import signal
import subprocess
from pathlib import Path

from pgkeep.model.segment import Segment
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.wal.ahead.acks import Acks
from pgkeep.wal.commands import archive_command
from support.command import PGKEEP_WAL, write_config
from support.segments import GENERATION, SIZE, segment_content
from support.wait import wait_for


class Archiver:
    """Asks for one file after the other; the files are held by their ids and contents."""

    def __init__(self, folder: Path, count: int = 12, cluster_options: str = "") -> None:
        self.repository = folder / "repository"
        store = make_store(str(self.repository))
        self.cluster: ClusterFolder = Repository.create(store, "none", None).cluster("main")
        self.cluster.add_generation(GENERATION)
        self.archive = self.cluster.wal(GENERATION.id)
        self.config = folder / "pgkeep.toml"
        write_config(self.config, self.repository)
        self.options(cluster_options)
        self.data = folder / "data"
        self.pg_wal = self.data / "pg_wal"
        self.status = self.pg_wal / "archive_status"
        self.status.mkdir(parents=True)
        self.contents: dict[str, bytes] = {}
        self.names = [self.finish(number) for number in range(7, 7 + count)]
        self.command = archive_command(
            "main", config=str(self.config), program=str(PGKEEP_WAL), ahead=True
        )
        self.place = f"{self.command.partition('pg_wal/')[2].partition('/')[0]}/{os.getpid()}"
        self.acks = Acks(str(self.pg_wal), self.place)
        self.said = ""

    def options(self, text: str) -> None:
        """Write the config anew with these options of the cluster."""
        lines = f'[repository]\nurl = "{self.repository}"\n[clusters.main]\n{text}\n'
        new = self.config.with_suffix(".new")
        new.write_text(lines)
        new.rename(self.config)

    def finish(self, number: int, seed: int | None = None) -> str:
        """Finish a segment, as a server that wrote it; return its name."""
        segment = Segment(1, number, SIZE)
        content = segment_content(number if seed is None else seed, segment)
        self.write(segment.name, content)
        return segment.name

    def write(self, name: str, content: bytes) -> None:
        (self.pg_wal / name).unlink(missing_ok=True)
        (self.pg_wal / name).write_bytes(content)
        self.contents[name] = content
        (self.status / f"{name}.ready").touch()

    def ask(
        self,
        name: str,
        cwd: Path | None = None,
        trace: tuple[str, ...] = (),
        *,
        unarchived: bool = False,
    ) -> int:
        """Run archive_command once; if it succeeds, the file must be in the repository.

        Unless it may be `unarchived`.
        """
        text = self.command.replace("%f", name).replace("%p", f"pg_wal/{name}")
        said = self.config.with_suffix(".said")
        with said.open("w") as log:  # no pipe: a tracer would keep it open as long as the pusher
            done = subprocess.run(
                [*trace, "/bin/sh", "-c", text], cwd=cwd or self.data, check=False, stderr=log
            )
        self.said = said.read_text()
        if done.returncode == 0 and cwd is None:
            assert unarchived or self.archived(name) == self.contents[name], name
            (self.status / f"{name}.ready").rename(self.status / f"{name}.done")
        return done.returncode

    def archived(self, name: str) -> bytes | None:
        return b"".join(self.archive.fetch(name)) if self.archive.has(name) else None

    def stored(self) -> int:
        return sum(self.archive.has(name) for name in self.contents)

    def acknowledged(self) -> list[str]:
        return [name for name in self.names if self.acks.has(name)]

    def pushers(self) -> list[int]:
        """Return the processes that push for this data directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"push-ahead" in words and str(self.pg_wal).encode() in words:
                found.append(int(path.parent.name))
        return found

    def is_working(self) -> bool:
        """Tell whether somebody holds the lock."""
        try:
            lock = self.acks.lock()
        except OSError:
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    def kill(self) -> None:
        """Kill what pushes, and wait until it is gone."""
        for pid in self.pushers():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.is_working(), what="the end of the pusher")
