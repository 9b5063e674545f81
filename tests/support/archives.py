"""Clusters that archive their WAL with pgkeep-wal, and servers that recover from it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgkeep.postgres.conf import SPOOL_REMOVAL
from pgkeep.postgres.control import read_control
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.repository.wal_archive import WalArchive, WalListing
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from pgkeep.wal.commands import archive_command, restore_command
from pgkeep.wal.status import WalStatus
from pgkeep.wal.survey import survey
from support.clusters import NewCluster
from support.command import Result, run_pgkeep_wal, write_config
from support.wait import wait_for


@dataclass(frozen=True)
class Archived:
    """A running cluster, its repository, and the config that leads to it."""

    pg: ScratchCluster
    config: Path
    repository: Path
    cluster: ClusterFolder
    generation: str

    @property
    def wal(self) -> WalArchive:
        return self.cluster.wal(self.generation)

    @property
    def pg_wal(self) -> Path:
        return self.pg.data_directory / "pg_wal"

    def push(self, path: Path | str, **more: Any) -> Result:
        where: dict[str, Any] = {"cwd": self.pg.data_directory, **more}
        return run_pgkeep_wal("push", path, config=self.config, **where)

    def fetch(self, name: str, destination: Path | str, **more: Any) -> Result:
        where: dict[str, Any] = {"cwd": self.pg.data_directory, **more}
        return run_pgkeep_wal("fetch", name, destination, config=self.config, **where)

    def object(self, file: str) -> Path:
        """Return where the repository keeps a WAL file."""
        found = list(self.repository.rglob(file))
        assert len(found) == 1, found
        return found[0]

    def listing(self) -> WalListing:
        size = self.cluster.generation(self.generation).segment_size
        return self.wal.list(size)

    def files(self) -> set[str]:
        """Return the names of all archived segments, .partial and .backup files."""
        return set(self.listing().stats)

    def switch(self) -> str:
        """End the current segment and wait until it is archived; return its name."""
        name = self.pg.switch_wal()
        wait_for(lambda: self.wal.has(name), what=f"{name} in the archive")
        return name

    def status(self) -> WalStatus:
        with Session.connect(self.pg.conninfo) as session:
            return survey(self.cluster, session, str(self.pg.data_directory))

    def failed(self) -> int:
        return int(self.pg.value("SELECT failed_count FROM pg_stat_archiver"))

    def restore_command(self, config: Path | None = None) -> str:
        return restore_command("main", self.generation, config=str(config or self.config))

    def base_backup(self, directory: Path) -> Path:
        """Copy the cluster as pg_basebackup does, without WAL."""
        self.pg.tool(
            "pg_basebackup",
            *("-D", str(directory), "-X", "none", "-c", "fast", "--no-sync"),
        )
        return directory


def archive(
    new_cluster: NewCluster,
    directory: Path,
    *,
    name: str = "main",
    fresh_identity: bool = False,
    more_config: str = "",
    passphrase: str | None = None,
    ahead: bool = False,
    **settings: str | int | None,
) -> Archived:
    """Start a cluster that archives into a repository of its own in `directory`."""
    repository = directory / "repository"
    store = make_store(str(repository))
    encryption: Any = "none" if passphrase is None else "passphrase"
    cluster = Repository.create(store, encryption, passphrase).cluster("main")
    config = directory / "pgkeep.toml"
    write_config(config, repository, {"main": "host=/nowhere"}, more_config)
    pg = new_cluster(name, fresh_identity=fresh_identity, start=False)
    generation = read_control(str(pg.data_directory)).generation
    cluster.add_generation(generation)
    command = archive_command("main", config=str(config), ahead=ahead)
    pg.configure(archive_mode="on", archive_command=command, **settings)
    pg.start()
    return Archived(pg, config, repository, cluster, generation.id)


@contextmanager
def recovering(
    archived: Archived, directory: Path, command: str, **settings: str | int | None
) -> Iterator[ScratchCluster]:
    """Start a server over a base backup, recovering with `command`; don't wait for anything."""
    (directory / "recovery.signal").touch()
    own = {"restore_command": command, "recovery_end_command": SPOOL_REMOVAL}
    server = ScratchCluster.over(
        archived.pg.binaries,
        directory,
        settings={"archive_mode": "off", **own, **settings},
    )
    server.create()
    try:
        yield server
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)
