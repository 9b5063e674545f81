"""A restored copy whose server runs: what all checks are given."""

from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pgkeep.progress import Progress
from pgkeep.server.binaries import Binaries


@dataclass(frozen=True, slots=True)
class Copy:
    """Where it is, and with what it is looked at."""

    conninfo: str  # as a superuser
    data_directory: Path
    binaries: Binaries
    databases: tuple[str, ...]  # those that let a session in
    size: int  # bytes of all databases
    jobs: int
    progress: Progress

    def to(self, database: str) -> str:
        return make_conninfo(self.conninfo, dbname=database)
