"""The simulated cluster as a backup sees it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.simulation.cluster import SimulatedCluster, folders
from pgkeep.backup.copying.file_reader import FileReader
from pgkeep.backup.incremental.changes import ChangedBlocks
from pgkeep.backup.source import ClusterFacts, Listing, NoSummaries, Started, Stopped
from pgkeep.backup.wait_wal import Archiver
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import History
from pgkeep.postgres.layout import relation_of_path
from pgkeep.repository.manifest.builder import Attributes
from pgkeep.repository.manifest.facts import Tablespace
from pgkeep.units import KIB, MIB

GENERATION = Generation(7710983248089545577, 18, MIB)


@dataclass
class SimulatedSource:
    """A source whose server archives nothing and has no WAL summaries: pages tell by their LSNs."""

    cluster: SimulatedCluster

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.cluster.now_ns // 1_000_000_000, UTC)

    def facts(self) -> ClusterFacts:
        return ClusterFacts(
            generation=GENERATION,
            server_version="18.6",
            checksums=True,
            data_directory=str(self.cluster.root),
            data_directory_mode=0o700,
            archiving=False,
            settings={"wal_level": "replica"},
            databases=[],
            extensions=[],
            config_files=[],
        )

    def start(self, label: str) -> Started:  # noqa: ARG002
        return Started(Lsn(self.cluster.lsn), 1, self.now)

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:  # noqa: ARG002
        raise NoSummaries("the server is simulated")

    def listing(self) -> Listing:
        listing, cluster = Listing(), self.cluster
        owner = {"uid": os.getuid(), "gid": os.getgid()}
        for folder in folders([*cluster.times_ns, "global/x"]):
            listing.builder.add_directory(folder, Attributes(mode=0o700, mtime_ns=1, **owner))
        for path, changed in sorted(cluster.times_ns.items()):
            facts = (cluster.root / path).stat()
            relation = relation_of_path(path)
            attributes = Attributes(
                mode=0o600, mtime_ns=changed, ctime_ns=changed, inode=facts.st_ino, **owner
            )
            first = None if relation is None else relation.first_block(GENERATION.segment_blocks)
            listing.add_file(path, facts.st_size, attributes, first)
        return listing

    def reader(self) -> FileReader:
        return FileReader(str(self.cluster.root))

    def control_file(self) -> tuple[bytes, Attributes]:
        content = (b"control" + str(self.cluster.day).encode()).ljust(8 * KIB, b"\0")
        return content, Attributes(mode=0o600, uid=os.getuid(), gid=os.getgid(), mtime_ns=1)

    def ping(self) -> None: ...

    def stop(self) -> Stopped:
        label = f"START WAL LOCATION: {Lsn(self.cluster.lsn)}\n"
        return Stopped(Lsn(self.cluster.lsn + 256), 1, self.now + timedelta(minutes=1), label, "")

    def tablespaces(self) -> Sequence[Tablespace]:
        return []

    def relation_name(self, path: str) -> str:
        return path

    def history(self, timeline: int) -> bytes | None:  # noqa: ARG002
        return None

    def archiver(self) -> Archiver | None:
        return None

    def written(self) -> Lsn:
        return Lsn(self.cluster.lsn)

    def switch_wal(self) -> None: ...

    def wal_segment(self, segment: Segment) -> bytes | None:
        return segment.name.encode() * 100
