"""Directory dumps put into a repository file by file, and loaded from it."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgkeep.logical.load.load import LoadRequest, LoadResult, load_tables
from pgkeep.logical.load.tables import TableData
from pgkeep.postgres.archive.toc import read_toc
from pgkeep.progress import Progress, Silent
from pgkeep.repository.manifest.builder import Attributes, ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK
from pgkeep.repository.store.open import open_store
from pgkeep.server.scratch import ScratchCluster
from support.manifests import some_facts

DUMP = "D20261127T160500Z-7f3a"
_CHUNK = 128 << 10
_LIMIT = 1 << 20
_ATTRIBUTES = Attributes(mode=0o600, uid=0, gid=0, mtime_ns=1)


@dataclass
class StoredDump:
    """One database's dump in a repository, without a manifest."""

    cluster: ClusterFolder
    tables: Tables
    data: list[TableData] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)  # their tables of contents

    def request(self, conninfo: str, encoding: str = "UTF8", **changes: Any) -> LoadRequest:
        facts: dict[str, Any] = {
            "cluster": self.cluster,
            "dump_id": DUMP,
            "files": self.tables,
            "tables": self.data,
            "conninfo": conninfo,
            "encoding": encoding,
            "jobs": 2,
        }
        return LoadRequest(**facts | changes)

    def load(
        self,
        conninfo: str,
        encoding: str = "UTF8",
        progress: Progress | None = None,
        **changes: Any,
    ) -> LoadResult:
        return load_tables(self.request(conninfo, encoding, **changes), progress or Silent())

    def file(self, name: str) -> TableData:
        """Return the data of a table."""
        return next(table for table in self.data if table.name == name)


def dump_directory(pg: ScratchCluster, database: str, to: Path, *options: str) -> Path:
    """Run pg_dump as pgkeep does."""
    plain = "none" if pg.binaries.major >= 16 else "0"
    words = ["--format=directory", f"--compress={plain}", "--quote-all-identifiers"]
    pg.tool("pg_dump", *words, f"--file={to}", *options, f"--dbname={_dbname(database)}")
    return to


def restore_section(pg: ScratchCluster, dump: Path, database: str, section: str) -> None:
    where = f"--dbname={_dbname(database)}"
    pg.tool("pg_restore", f"--section={section}", "--exit-on-error", where, str(dump))


def restore_objects(pg: ScratchCluster, dump: Path, database: str) -> None:
    """Restore what the data section has beside rows: sequences, from 17 on empty large objects."""
    listed = pg.tool("pg_restore", "--list", "--section=data", str(dump)).stdout.splitlines()
    rows = re.compile(r";|\d+; \d+ \d+ (TABLE DATA|BLOBS) ")
    chosen = [line for line in listed if not rows.match(line)]
    if chosen:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(chosen))
            file.flush()
            pg.tool(
                "pg_restore", f"--use-list={file.name}", f"--dbname={_dbname(database)}", str(dump)
            )


def store(dump: Path, repository: Path, *, limit: int = _CHUNK) -> StoredDump:
    """Store the files of a dump as database 1, in chunks of about `limit` bytes."""
    if not repository.exists():
        repository.mkdir()
        Repository.create(open_store(str(repository)), "none", None)
    cluster = Repository.open(open_store(str(repository)), None).cluster("main")
    sealer = cluster.repository.sealer()
    writer, log, builder = PackWriter(cluster, sealer), ChunkLog(), ManifestBuilder()
    builder.add_directory("1", _ATTRIBUTES)
    for number, path in enumerate(sorted(dump.iterdir())):
        builder.add_file(number, f"1/{path.name}", _ATTRIBUTES)
        position = 0
        for chunk in chunks(path, limit):
            known = writer.find(sealer.chunk_id(chunk))
            placed = known or writer.add(sealer.seal(CHUNK, chunk))
            log.add(number, position, placed, len(chunk))
            position += len(chunk)
    builder.add_chunks(log.finish(writer.finish()))
    tables: Tables = builder.build(some_facts()).tables
    stored = StoredDump(cluster, tables)
    stored.data = list(table_data(dump))
    stored.blobs = sorted(f"1/{path.name}" for path in dump.glob("blobs*.toc"))
    return stored


def chunks(path: Path, limit: int) -> Iterator[bytes]:
    """Cut a file at row ends, or at 1 MiB where a row is longer."""
    with path.open("rb") as file:
        while piece := file.read(limit):
            rest = file.readline(_LIMIT - len(piece)) if piece[-1:] != b"\n" else b""
            yield piece + rest


def table_data(dump: Path) -> Iterator[TableData]:
    """Yield what the table of contents says of rows."""
    with (dump / "toc.dat").open("rb") as file:
        for entry in read_toc(file)[1]:
            if entry.desc == "TABLE DATA":
                name = f"1/{entry.file_name}"
                size = (dump / str(entry.file_name)).stat().st_size
                schema, table, copy = entry.namespace, entry.tag, entry.copy_statement
                yield TableData(
                    entry.dump_id, schema or "", table or "", copy or "", name, None, size
                )


def to(pg: ScratchCluster, database: str) -> str:
    """Return the connection string of a database."""
    return pg.conninfo.replace("dbname=postgres", f"dbname={_quoted(database)}")


def _dbname(database: str) -> str:
    return f"dbname={_quoted(database)}"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
