"""The cluster that is backed up: pgbench tables, stubborn text, ten thousand small tables."""

import os
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from psycopg.conninfo import make_conninfo

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.pages import page_lsns
from pgkeep.server.binaries import find_binaries
from pgkeep.server.processes import wait_until
from pgkeep.server.scratch import ScratchCluster
from pgkeep.units import MIB

SMALL_TABLES = 10_000
LARGE_TABLES = 3
SETTINGS: dict[str, str | int] = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "wal_keep_size": "1GB",
    "archive_mode": "on",
    "archive_command": "true",
    "maintenance_work_mem": "256MB",
    "max_locks_per_transaction": 256,
    "autovacuum": "off",
}


class Dataset:
    """A running cluster with known contents."""

    def __init__(self, cluster: ScratchCluster) -> None:
        self._cluster = cluster
        self.directory = cluster.data_directory
        self.bin = Path(sys.executable).parent

    @classmethod
    @contextmanager
    def build(
        cls,
        directory: Path,
        major: int,
        gigabytes: float,
        settings: Mapping[str, str | int] | None = None,
    ) -> Iterator["Dataset"]:
        """Make the cluster in a few minutes, or take the copy kept from an earlier run."""
        kept = directory.with_name(f"{directory.name}-kept-{gigabytes:g}")
        binaries = find_binaries(major)
        template = kept if kept.is_dir() else None
        shutil.rmtree(directory, ignore_errors=True)
        wanted = {**SETTINGS, **(settings or {})}
        with ScratchCluster(binaries, directory, settings=wanted, template=template) as cluster:
            data = cls(cluster)
            if template is None:
                data._fill(gigabytes)
                cluster.stop()
                shutil.copytree(cluster.data_directory, kept, symlinks=True)
                cluster.start()
            yield data

    def _fill(self, gigabytes: float) -> None:
        print("building the data set", file=sys.stderr, flush=True)
        random.seed(42)
        self._cluster.fill(scale=int(gigabytes * 40))  # 15 MB a step: six tenths of the whole
        rows = int(gigabytes * 0.35 * (1 << 30) / 750 / LARGE_TABLES)
        for number in range(LARGE_TABLES):
            # md5 text is twice as long as what it says: compressible, but not much
            words = "SELECT string_agg(md5(random()::text || id || g), ' ')"
            body = f"{words} FROM generate_series(1, 20) AS g"
            self._cluster.sql(
                f"CREATE TABLE letters_{number} AS SELECT id, now() + id * interval '1 s' sent, "
                f"({body}) AS body FROM generate_series(1, {rows}) AS id"
            )
            self._cluster.sql(f"CREATE INDEX ON letters_{number} (sent)")
        with self._cluster.connect() as connection:
            for first in range(0, SMALL_TABLES, 1000):
                script = "; ".join(
                    f"CREATE TABLE small_{n} (id int PRIMARY KEY, note text); INSERT INTO "
                    f"small_{n} SELECT g, md5(g::text) FROM generate_series(1, {n % 50}) g"
                    for n in range(first, first + 1000)
                )
                connection.execute(script.encode())
        self._cluster.work(transactions=20_000, clients=2)
        self._cluster.sql("CHECKPOINT")

    @property
    def conninfo(self) -> str:
        return self._cluster.conninfo

    @property
    def socket_directory(self) -> Path:
        return self._cluster.socket_directory

    @property
    def port(self) -> int:
        return self._cluster.port

    def describe(self) -> str:
        """Return one line that says what is measured."""
        sizes = [
            os.lstat(os.path.join(root, name)).st_size
            for root, _, names in os.walk(self.directory)
            if "pg_wal" not in root
            for name in names
        ]
        version = self._cluster.binaries.version
        return f"PostgreSQL {version}, {len(sizes):,} files, {sum(sizes) / (1 << 30):.2f} GiB"

    def archive_with(self, command: str) -> None:
        """Let the server archive with `command` from now on, with no backlog from before."""
        folder = self.directory / "pg_wal" / "archive_status"
        if not wait_until(lambda: not any(folder.glob("*.ready")), 120):
            raise TimeoutError("the server has not archived its backlog")
        self._cluster.sql(f"ALTER SYSTEM SET archive_command = '{command}'")
        self._cluster.sql("SELECT pg_reload_conf()")

    def checkpoint(self) -> None:
        self._cluster.sql("CHECKPOINT")

    def switch(self, setting: str, value: str) -> None:
        """Change a setting of the running server."""
        self._cluster.sql(f"ALTER SYSTEM SET {setting} = '{value}'")
        self._cluster.sql("SELECT pg_reload_conf()")

    def transactions(self, count: int) -> None:
        """Run so many of pgbench's, then a checkpoint."""
        self._cluster.work(transactions=count // 2, clients=2)
        for name in ("accounts", "branches", "tellers", "history"):
            self._look_at(f"pgbench_{name}")
        self.checkpoint()

    def update_at_random(self, share: float, seed: int) -> None:
        """Update rows all over the large tables, each in another page, then make a checkpoint.

        So many rows as are `share` of the tables' pages. Each row's new version goes to a page
        with room, and to a page of an index: twice as many pages change as rows do.
        """
        tables = ["pgbench_accounts", *(f"letters_{n}" for n in range(LARGE_TABLES))]
        for name in tables:
            self._cluster.sql(f"ANALYZE {name}")
            pages, rows = self._cluster.sql(
                "SELECT pg_relation_size(oid) / 8192, greatest(reltuples, 1) FROM pg_class"
                f" WHERE relname = '{name}'"
            )[0]
            column = "abalance = abalance + 1" if name.startswith("pgbench") else "id = id"
            self._cluster.sql(
                f"UPDATE {name} SET {column} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name} "
                f"TABLESAMPLE BERNOULLI ({100 * share * pages / rows}) REPEATABLE ({seed})))"
            )
            self._look_at(name)
        self.checkpoint()

    def change_stretches(self, share: float, seed: int) -> None:
        """Update so many of the rows of each large table, all in one stretch of it."""
        for name, key in self._large_tables():
            low, high = self._cluster.sql(f"SELECT min({key}), max({key}) FROM {name}")[0]
            length = int((high - low + 1) * share)
            begin = low + random.Random(seed).randrange(high - low - length)
            self._change(name, f"{key} BETWEEN {begin} AND {begin + length - 1}")

    def change_rows(self, share: float, seed: int) -> None:
        """Update so many of the rows of each large table, all over it."""
        for name, key in self._large_tables():
            self._change(name, f"({key} * 2654435761 + {seed}) % {round(1 / share)} = 0")

    def _change(self, name: str, where: str) -> None:
        changed = "abalance = abalance + 1" if name.startswith("pgbench") else "sent = now()"
        self._cluster.sql(f"UPDATE {name} SET {changed} WHERE {where}")
        self._look_at(name)

    def _large_tables(self) -> Iterator[tuple[str, str]]:
        yield "pgbench_accounts", "aid"
        for number in range(LARGE_TABLES):
            yield f"letters_{number}", "id::bigint"

    def conninfo_to(self, database: str) -> str:
        return make_conninfo(self._cluster.conninfo, dbname=database)

    def create_database(self, name: str) -> None:
        self._cluster.sql(f"CREATE DATABASE {name} TEMPLATE template0")

    def drop_database(self, name: str) -> None:
        self._cluster.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _look_at(self, table: str) -> None:
        """Have hint bits set now, or they would change the same pages again in the next round."""
        self._cluster.sql(f"SELECT count(*) FROM {table}")

    def lsn(self) -> int:
        return int(Lsn.parse(self._cluster.value("SELECT pg_current_wal_lsn()::text")))

    def pages_since(self, lsn: int) -> tuple[int, int]:
        """Return how many pages changed since an LSN, and how many there are."""
        changed = total = 0
        for path in self.directory.glob("base/*/*"):
            if path.name.split(".")[0].isdigit() and path.stat().st_size:
                for part in _parts(path):
                    lsns = page_lsns(part)
                    changed += int(np.count_nonzero(lsns >= np.uint64(lsn)))
                    total += len(lsns)
        return changed, total

    def segments(self, count: int) -> list[Path]:
        """Return whole WAL segments that lie in pg_wal, oldest first."""
        current = self._cluster.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        names = sorted(
            name
            for name in os.listdir(self.directory / "pg_wal")
            if len(name) == 24 and name < current
        )
        return [self.directory / "pg_wal" / name for name in names[-count:]]


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(4 * MIB):
            yield part
