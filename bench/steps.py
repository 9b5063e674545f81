"""Steps of commands on a large manifest, each to be run in a process of its own.

python -m bench.steps STEP FOLDER    writes FOLDER/result.json: seconds, and the peak of memory
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.large import GENERATION, ID, LISTED_NS
from pgkeep.backup.copying.tasks import Tasks
from pgkeep.backup.incremental.base import DEFAULT_CLEANING, Base, Search
from pgkeep.backup.incremental.changes import ChangedBlocks, Fate
from pgkeep.backup.incremental.parent import Now
from pgkeep.backup.source import Listing, NoSummaries, Started
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.postgres.layout import RelationFile
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository import catalog
from pgkeep.repository.manifest.builder import Attributes, ChunkLog
from pgkeep.repository.manifest.tables import Array
from pgkeep.repository.pack import Placed, StoredPack
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.restore.writing.layout import Layout, Owners
from pgkeep.restore.writing.tasks import TaskPlan
from pgkeep.units import GIB

_LATER: Final = 86400_000000000
_NOW: Final = Lsn.parse("41/100028")
_SHARE: Final = 100  # one of so many pages has changed
_JOBS: Final = 2


@dataclass(frozen=True)
class _Changed:
    recreated: bool
    limit: int | None
    blocks: Array


class _Summaries:
    """Says that a hundredth of the pages of every file has changed."""

    def __init__(self, pages: int) -> None:
        self._pages = pages

    def of(self, relation: RelationFile, segment_blocks: int) -> _Changed:  # noqa: ARG002
        return _Changed(False, None, changed_blocks(relation.segment, self._pages))


class _Source:
    """Of a source, what looking for a parent needs."""

    def __init__(self, summaries: ChangedBlocks | None) -> None:
        self._summaries = summaries

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:  # noqa: ARG002
        if self._summaries is None:
            raise NoSummaries("none here")
        return self._summaries


def changed_blocks(seed: int, pages: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.unique(rng.integers(0, pages, pages // _SHARE, np.uint32))


def _listing(folder: Path, *, changed: bool) -> Listing:
    """Return the cluster's files; where they have `changed`, the large ones were written to."""
    listing = Listing()
    columns = np.load(folder / "listing.npz")
    rows = zip(*(columns[name].tolist() for name in columns.files), strict=True)
    directories = {b"base", b"global", b"pg_xact"}
    with (folder / "paths").open("rb") as paths:
        for path, (size, mtime, ctime, inode) in zip(paths, rows, strict=True):
            name = path.rstrip(b"\n").decode()
            directories.add(name.rpartition("/")[0].encode())
            late = _LATER if changed and size == GIB else 0
            attributes = Attributes(0o600, 0, 0, mtime + late, ctime + late, inode)
            listing.add_file(name, size, attributes, 0)
    for directory in sorted(directories - {b""}):
        listing.builder.add_directory(directory.decode(), Attributes(0o700, 0, 0, 1))
    return listing


def _based(
    cluster: ClusterFolder, folder: Path, *, changed: bool, summaries: bool
) -> tuple[Listing, Base]:
    """Do what a backup does before it copies."""
    listing = _listing(folder, changed=changed)
    known = catalog.backups(cluster)
    stored = {
        bytes.fromhex(blob.name.rpartition("/")[2]): blob.size
        for blob in cluster.store.list(f"clusters/{cluster.name}/packs/")
    }
    names = _Summaries(GIB // PAGE_SIZE) if summaries else None
    search = Search(cluster, _Source(names), DEFAULT_CLEANING, stored)  # type: ignore[arg-type]
    started = Started(_NOW, 1, datetime.fromtimestamp(LISTED_NS // 10**9 + 86400, UTC))
    now = Now(GENERATION, True, History(1), _NOW, archiving=True, running_since=None)
    base = search.find(known, now, started, listing)
    assert base is not None, search.notes
    works = Tasks(listing, base, int(_NOW))
    plan = works.plan(_JOBS)
    for _ in works.works(plan):
        pass
    return listing, base


def _unchanged(cluster: ClusterFolder, folder: Path) -> None:
    _, base = _based(cluster, folder, changed=False, summaries=False)
    assert (base.changes.fate == Fate.KEPT).all(), str(base.changes)


def _by_summaries(cluster: ClusterFolder, folder: Path) -> None:
    _, base = _based(cluster, folder, changed=True, summaries=True)
    assert (base.changes.fate == Fate.PAGES).any(), str(base.changes)


def _by_lsn(cluster: ClusterFolder, folder: Path) -> None:
    _, base = _based(cluster, folder, changed=True, summaries=False)
    assert (base.changes.fate == Fate.SCAN).any(), str(base.changes)


def _write(cluster: ClusterFolder, folder: Path) -> None:
    """Plan, then do what a backup does after it has copied a hundredth of the pages."""
    listing, base = _based(cluster, folder, changed=True, summaries=True)
    sizes = listing.files().size
    listing.builder.take_over(base.taken_over(sizes))
    fates = zip(np.flatnonzero(base.changes.fate == Fate.PAGES).tolist(), _pack_ids(), strict=False)
    for entry, pack_id in fates:
        log, blocks = ChunkLog(), base.changes.blocks[entry]
        for place in range(0, len(blocks), 128):
            part = blocks[place : place + 128]
            placed = Placed(pack_id, 0, place * 4096, 4096 * len(part))
            log.add_pages(entry, part, placed, len(part) * PAGE_SIZE)
        listing.builder.add_chunks(log.finish([StoredPack(pack_id, 32 << 20)]))
    facts = catalog.read_facts(cluster, ID)
    later = {"id": "20261102T000000Z-0000", "listed_ns": LISTED_NS + _LATER}
    changed = type(facts)(**{**{f: getattr(facts, f) for f in facts.__struct_fields__}, **later})
    manifest = listing.builder.build(changed, base.tables)
    catalog.write_manifest(cluster, manifest)


def _pack_ids() -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    while True:
        yield rng.bytes(16)


def _restore(cluster: ClusterFolder, folder: Path) -> None:  # noqa: ARG001
    manifest = catalog.read_manifest(cluster, ID)
    layout = Layout(manifest.tables, "/nowhere", (), Owners({}, {}))
    for _ in layout.directories():
        pass
    layout.sizes()
    total = 0
    for task in TaskPlan(layout, _JOBS):
        total += task.size
    assert total > manifest.facts.size * 0.9


def _read_packs(cluster: ClusterFolder, folder: Path) -> None:  # noqa: ARG001
    assert len(catalog.read_packs(cluster, ID))


def _read(cluster: ClusterFolder, folder: Path) -> None:  # noqa: ARG001
    catalog.read_manifest(cluster, ID)


STEPS: Final[dict[str, Callable[[ClusterFolder, Path], Any]]] = {
    "read and check a manifest": _read,
    "read its packs alone": _read_packs,
    "plan: unchanged": _unchanged,
    "plan: 1 % by summaries": _by_summaries,
    "plan: 1 % by LSN": _by_lsn,
    "plan; build and write the next": _write,
    "restore planning": _restore,
}


def _peak() -> int:
    """Return the most memory that this program has held; ru_maxrss would count its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def main() -> int:
    name, folder = sys.argv[1], Path(sys.argv[2])
    cluster = Repository.open(make_store(str(folder / "repository")), None).cluster("big")
    wall, cpu = time.monotonic(), time.process_time()
    STEPS[name](cluster, folder)
    result = {
        "wall": time.monotonic() - wall,
        "cpu": time.process_time() - cpu,
        "memory": _peak(),
    }
    (folder / "result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
