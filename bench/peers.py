"""The tools under comparison, each set up alike: zstd level 1, the same workers, checksums on."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.dataset import Dataset
from pgkeep.postgres.control import read_control
from pgkeep.wal.commands import restore_command

LEVEL = 1


class Peer(Protocol):
    """One tool: the commands a user would type, as argument lists."""

    name: str

    def set_up(self) -> None: ...

    def archive_command(self) -> str: ...

    def backup(self) -> list[str]:
        """A full one."""
        ...

    def incremental(self) -> list[str]: ...

    def restore(self, target: Path) -> list[str]:
        """Into an empty directory."""
        ...

    def delta(self, target: Path) -> list[str]:
        """Into what an earlier restore made."""
        ...

    def push(self, segment: Path) -> list[str]: ...

    def fetch(self, segment: str, destination: Path) -> list[str]: ...

    def restore_command(self) -> str: ...

    def forget(self) -> None:
        """Empty the repository, so that each backup starts from nothing."""
        ...

    def stored(self) -> int:
        """Return the bytes in the repository."""
        ...

    def backups_stored(self) -> int:
        """Return the bytes in it that are no WAL."""
        ...


def tree_size(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(root, name)).st_size
        for root, _, names in os.walk(folder)
        for name in names
    )


@dataclass
class Pgkeep:
    data: Dataset
    work: Path
    jobs: int
    name: str = "pgkeep"

    def _run(self, *arguments: str) -> list[str]:
        return [
            str(self.data.bin / "pgkeep"),
            "--config",
            str(self.work / "pgkeep.toml"),
            *arguments,
        ]

    def _wal(self, *arguments: str) -> list[str]:
        return [
            str(self.data.bin / "pgkeep-wal"), "--repository", str(self.work / "repository"),
            "--cluster", "bench", *arguments,
        ]  # fmt: skip

    def set_up(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "pgkeep.toml").write_text(
            f'[repository]\nurl = "{self.work}/repository"\ncompression_level = {LEVEL}\n'
            f'[clusters.bench]\nconninfo = "{self.data.conninfo}"\n'
        )
        subprocess.run(self._run("init"), check=True, capture_output=True)

    def archive_command(self) -> str:
        return " ".join(self._wal("push", "%p"))

    def backup(self) -> list[str]:
        return self._run("backup", "--type", "full", "--jobs", str(self.jobs))

    def incremental(self) -> list[str]:
        return self._run("backup", "--type", "incremental", "--jobs", str(self.jobs))

    def restore(self, target: Path) -> list[str]:
        return self._run(
            "restore", "--target-dir", str(target), "--to", "immediate", "--jobs", str(self.jobs)
        )

    def delta(self, target: Path) -> list[str]:
        return [*self.restore(target), "--delta"]

    def dump(self) -> list[str]:
        """A logical backup of the database that holds the data set."""
        return self._run("dump", "create", "-d", "postgres", "--jobs", str(self.jobs))

    def dump_restore(self, database: str) -> list[str]:
        """The last dump, into a new database."""
        return self._run(
            "dump", "restore", "latest", "--into", self.data.conninfo, "-d", database,
            "--jobs", str(self.jobs),
        )  # fmt: skip

    def push(self, segment: Path) -> list[str]:
        return self._wal("push", str(segment))

    def fetch(self, segment: str, destination: Path) -> list[str]:
        return self._wal("fetch", segment, str(destination))

    def restore_command(self) -> str:
        return restore_command(
            "bench",
            read_control(str(self.data.directory)).generation.id,
            repository=str(self.work / "repository"),
            program=str(self.data.bin / "pgkeep-wal"),
        )

    def forget(self) -> None:
        shutil.rmtree(self.work / "repository", ignore_errors=True)
        self.set_up()

    def stored(self) -> int:
        return tree_size(self.work / "repository")

    def backups_stored(self) -> int:
        cluster = self.work / "repository" / "clusters" / "bench"
        return tree_size(cluster / "packs") + tree_size(cluster / "backups")


@dataclass
class PgBackRest:
    data: Dataset
    work: Path
    jobs: int
    name: str = "pgbackrest"
    blocks: bool = False  # incremental backups of blocks, where it has them

    @staticmethod
    def version() -> tuple[int, ...]:
        """Return its version; () when it is not installed."""
        program = shutil.which("pgbackrest")
        if program is None:
            return ()
        said = subprocess.run([program, "version"], check=True, capture_output=True, text=True)
        return tuple(map(int, said.stdout.split()[-1].split(".")))

    @classmethod
    def knows(cls, major: int) -> bool:
        """Tell whether it is installed and supports this PostgreSQL."""
        version = cls.version()
        newest = 15 if version < (2, 48) else 17 if version < (2, 57) else 18
        return bool(version) and major <= newest

    @classmethod
    def kind(cls) -> str:
        """Return what incremental backups it has."""
        version = cls.version()
        if version < (2, 45):
            return "whole files"
        return "blocks, a beta feature" if version < (2, 46) else "blocks"

    def _run(self, *arguments: str) -> list[str]:
        program = shutil.which("pgbackrest") or "pgbackrest"
        return [program, f"--config={self.work}/pgbackrest.conf", "--stanza=bench", *arguments]

    def set_up(self) -> None:
        for folder in ("repository", "log", "lock", "spool"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        (self.work / "pgbackrest.conf").write_text(
            f"[global]\nrepo1-path={self.work}/repository\nrepo1-bundle=y\nlog-path={self.work}/log\n"
            f"lock-path={self.work}/lock\n{self._blocks()}spool-path={self.work}/spool\nprocess-max={self.jobs}\n"
            f"compress-type=zst\ncompress-level={LEVEL}\nstart-fast=y\nlog-level-file=off\n"
            f"log-level-console=error\n[bench]\npg1-path={self.data.directory}\n"
            f"pg1-socket-path={self.data.socket_directory}\npg1-port={self.data.port}\n"
            "pg1-user=postgres\n"
        )
        subprocess.run(self._run("stanza-create"), check=True, capture_output=True)

    def archive_command(self) -> str:
        return " ".join(self._run("archive-push", "%p"))

    def _blocks(self) -> str:
        if not self.blocks or self.kind() == "whole files":
            return ""
        return "repo1-block=y\n" + ("beta=y\n" if self.version() < (2, 46) else "")

    def backup(self) -> list[str]:
        return self._run("--type=full", "backup")

    def incremental(self) -> list[str]:
        return self._run("--type=incr", "backup")

    def restore(self, target: Path) -> list[str]:
        return self._run(f"--pg1-path={target}", "--type=immediate", "restore")

    def delta(self, target: Path) -> list[str]:
        return [*self.restore(target), "--delta"]

    def push(self, segment: Path) -> list[str]:
        return self._run("archive-push", str(segment))

    def fetch(self, segment: str, destination: Path) -> list[str]:
        return self._run("archive-get", segment, str(destination))

    def restore_command(self) -> str:
        return " ".join(self._run("archive-get", "%f", '"%p"'))

    def forget(self) -> None:
        shutil.rmtree(self.work / "repository", ignore_errors=True)
        self.set_up()

    def stored(self) -> int:
        return tree_size(self.work / "repository")

    def backups_stored(self) -> int:
        return tree_size(self.work / "repository" / "backup")
