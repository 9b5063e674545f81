"""A small repository that holds one of everything, to be kept for the versions to come.

Run by hand when a format has got a new version, never to replace what is committed:

    PYTHONPATH=src:tests python -m support.golden_repository tests/golden/repositories/v2
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from blake3 import blake3

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.report import BackupReport
from pgkeep.backup.source import ClusterFacts, Started, Stopped
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.repository import catalog
from pgkeep.repository.manifest.builder import Attributes
from pgkeep.repository.manifest.tables import EntryKind
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from pgkeep.retention.pins import add_pin
from pgkeep.units import MIB
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.verify import Clock
from pgkeep.verify.verify import run as verify
from support.backups import PLAIN_FILE, contents, inline, new_folder
from support.dying_store import DyingStore, Killed, forget_locks
from support.page_model import ModelFile, ModelSource, PageModel
from support.small_repository import GENERATION, control, label

SECRET: Final = "correct horse battery"
KINDS: Final = {"plain": "none", "encrypted": "passphrase"}  # folder: encryption
FIRST: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
# What the attempt that died has stored, and nobody needs yet.
LEFT: Final = ("pg_xact/0001", b"left behind by an attempt that died" * 2000)
HISTORY: Final = ("00000002.history", b"1\t0/6000000\tno recovery target specified\n")


@dataclass
class GoldenSource(ModelSource):
    """The model on a server that does not archive, at a time of its own."""

    at: datetime = FIRST

    def facts(self) -> ClusterFacts:
        return super().facts()._replace(generation=GENERATION)

    def control_file(self) -> tuple[bytes, Attributes]:
        return control(redo=self.started), PLAIN_FILE

    def start(self, label: str) -> Started:
        # Each backup begins in a segment of its own.
        self.model.lsn = (self.model.lsn // MIB + 1) * MIB + 40
        return super().start(label)._replace(at=self.at)

    def stop(self) -> Stopped:
        started = Lsn(self.started)
        at = self.at + timedelta(minutes=1)
        return super().stop()._replace(at=at, backup_label=label(started))

    def wal_segment(self, segment: Segment) -> bytes | None:
        return segment_content(segment.name)


def segment_content(name: str) -> bytes:
    return (name.encode() * MIB)[:MIB]


def back_up(
    cluster: ClusterFolder, model: PageModel, at: datetime, kind: Kind = Kind.AUTO
) -> BackupReport:
    source = GoldenSource({}, model=model, at=at)
    options = BackupOptions(kind=kind, jobs=1)
    return run(source, cluster, options, make_workers=inline(cluster), now=lambda: at)


def model_of(cluster: ClusterFolder, backup_id: str) -> PageModel:
    """Return the cluster as it was when a backup was made: same pages, inodes and file times."""
    manifest, model = catalog.read_manifest(cluster, backup_id), PageModel()
    model.lsn = int(manifest.facts.backup().stop_lsn)
    table, files = manifest.tables.file, contents(cluster, backup_id)
    for entry in manifest.tables.entries():
        if entry.kind is EntryKind.FILE and entry.path != "global/pg_control":
            row = entry.number
            model.files[entry.path] = ModelFile(
                bytearray(files[entry.path]),
                int(table.inode[row]),
                entry.mtime_ns,
                int(table.ctime_ns[row]),
            )
    return model


def open_golden(folder: Path) -> ClusterFolder:
    """Open a golden repository, or a copy of one; the folder's name tells whether it is open."""
    secret = None if KINDS[folder.name] == "none" else SECRET
    return Repository.open(open_store(str(folder)), secret).cluster("main")


@dataclass
class Story:
    """Makes one repository; what must be found in it is in `told`."""

    cluster: ClusterFolder
    days: Iterator[datetime]
    model: PageModel = field(default_factory=PageModel)
    told: dict[str, Any] = field(default_factory=dict)

    def tell(self) -> dict[str, Any]:
        self._begin()
        reports = [self._back_up()]
        self._change(11)
        reports.append(self._back_up())
        pinned = reports[-1].backup.id
        add_pin(self.cluster, pinned, "the audit of January", None, next(self.days))
        self._change(22)
        reports.append(self._back_up())
        reports.append(self._back_up(Kind.FULL))
        self._change(33)
        reports.append(self._back_up())
        self._archive(reports[-1])
        moment = next(self.days)
        verify(self.cluster, VerifyOptions(Level.BYTES), clock=Clock(now=lambda: moment))
        attempt = self._die()
        self.told = {
            "backups": [self._describe(report) for report in reports],
            "pinned": pinned,
            "attempt": attempt,
            "wal": self._wal(),
        }
        return self.told

    def _begin(self) -> None:
        self.model._born_ns = int((FIRST - timedelta(days=30)).timestamp()) * 1_000_000_000
        for number in range(3):
            path = f"base/5/{1000 + number}"
            self.model.create(path)
            for block in range(8):
                self.model.write(path, block, fill=number * 30 + block + 1)
        self.model.create("base/5/2000", 9)
        self.model.replace("base/5/2000_fsm", bytes(8192))
        self.model.replace("PG_VERSION", b"18\n")
        self.model.replace("postgresql.conf", b"shared_buffers = '128MB'\n" * 3)
        self.model.replace("pg_xact/0000", bytes(range(256)) * 32)

    def _back_up(self, kind: Kind = Kind.AUTO) -> BackupReport:
        return back_up(self.cluster, self.model, next(self.days), kind)

    def _change(self, fill: int) -> None:
        for number, blocks in enumerate([range(3), range(2, 8, 3), range(5, 6)]):
            for block in blocks:
                self.model.write(f"base/5/{1000 + number}", block, fill)
        self.model.write("base/5/1002", self.model.files["base/5/1002"].pages, fill)
        self.model.change_unlogged("base/5/2000_fsm", 0, fill)

    def _archive(self, report: BackupReport) -> None:
        """Archive WAL after the last backup, and the history of another timeline."""
        archive = self.cluster.wal(report.backup.generation.id)
        last = report.backup.last_segment
        for number in (last.number + 1, last.number + 2):
            name = last._replace(number=number).name
            archive.push(name, segment_content(name), now=next(self.days))
        archive.push(HISTORY[0], HISTORY[1], now=next(self.days))

    def _die(self) -> str:
        """Begin a backup that dies when its packs are stored; return its id."""
        self.model.replace(*LEFT)
        store, at = self.cluster.store, next(self.days)
        dying = DyingStore(store, 10**9, after=False, error=Killed)
        create = dying.create

        def die_at_manifest(name: str, parts: Any) -> None:
            if "/backups/" in name:
                raise Killed
            create(name, parts)

        dying.create = die_at_manifest  # type: ignore[method-assign]
        repository = Repository(dying, self.cluster.repository.id, self.cluster.repository.key)
        try:
            back_up(repository.cluster("main"), self.model, at)
        except Killed:
            forget_locks(store)
        (attempt,) = store.list("clusters/main/attempts/")
        return attempt.name.rpartition("/")[2].removesuffix(".json")

    def _describe(self, report: BackupReport) -> dict[str, Any]:
        files = contents(self.cluster, report.id)
        return {
            "id": report.id,
            "type": str(report.backup.type),
            "parent": report.backup.parent or None,
            "overlays": report.reuse is not None and report.reuse.changed_pages > 0,
            "files": {path: blake3(files[path]).hexdigest(16) for path in sorted(files)},
        }

    def _wal(self) -> dict[str, str]:
        (generation,) = self.cluster.generation_ids()
        archive = self.cluster.wal(generation)
        listing = archive.list(MIB)
        found = {}
        for name in sorted(listing.stats):
            found[name] = blake3(b"".join(archive.fetch(name))).hexdigest(16)
        return found


def build(place: Path) -> None:
    """Make a plain and an encrypted repository, and write down what is in them."""
    expected = {}
    for name, encryption in KINDS.items():
        cluster = new_folder(place / name, encryption=encryption)
        days = (FIRST + timedelta(days=day) for day in range(100))
        expected[name] = Story(cluster, days).tell()
        cleared(place / name)
    (place / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def cleared(repository: Path) -> None:
    """Remove folders in which nothing is: git would not keep them."""
    for folder in sorted(repository.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def read_expected(folder: Path) -> dict[str, Any]:
    """Return what was written down of one golden repository."""
    everything = json.loads((folder.parent / "expected.json").read_text())
    return cast(dict[str, Any], everything[folder.name])


if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute()
    if target.exists():
        sys.exit(f"{target} is there already: a golden repository is never made anew")
    build(target)
