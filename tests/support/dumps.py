"""A cluster and a repository for dumps, driven by the command as users do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from pgkeep.server.scratch import ScratchCluster
from support.command import Result, run_pgkeep, write_config


@dataclass(frozen=True)
class DumpScene:
    """One running cluster, `main` in the repository."""

    cluster: ScratchCluster
    config: Path
    repository: Path

    @classmethod
    def make(cls, cluster: ScratchCluster, directory: Path, conninfo: str = "") -> "DumpScene":
        """Make the repository; `conninfo` may name another role."""
        repository = directory / "repository"
        config = write_config(
            directory / "pgkeep.toml", repository, {"main": conninfo or cluster.conninfo}
        )
        run_pgkeep("init", "--dumps-only", config=config).ok()
        return cls(cluster, config, repository)

    def run(self, *arguments: str | Path, **more: Any) -> Result:
        return run_pgkeep(*arguments, config=self.config, **more)

    def create(self, *arguments: str, **more: Any) -> Any:
        """Return the report of a dump that must succeed."""
        return self.run("dump", "create", "--json", *arguments, **more).ok().json

    def dumps(self) -> list[Any]:
        found: list[Any] = self.run("dump", "list", "--json").ok().json["dumps"]
        return found

    @property
    def folder(self) -> ClusterFolder:
        return Repository.open(open_store(str(self.repository)), None).cluster("main")

    def is_clean(self) -> bool:
        """Tell whether the server has no session of ours, and the repository no lock."""
        rows = self.cluster.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        locks = list((self.repository / "clusters/main/locks").glob("*"))
        return rows[0][0] == 0 and not locks
