"""Copies of small repositories, in memory or in directories."""

from dataclasses import dataclass, field

from pgkeep.replicate.copy import CopyOptions, run
from pgkeep.replicate.report import CopyReport
from pgkeep.repository.census.shelf import write_census
from pgkeep.repository.copies.make import make_copy
from pgkeep.repository.proofs import Level, Verdict
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import run as verify
from support.censuses import some_census
from support.dump_shelf import store_dump
from support.small_repository import Small

KEY = Key(bytes(range(32)))
SECRET = "another battery staple"


def full_source(store: Store | None = None, key: Key | None = None) -> Small:
    """Return a repository with backups that share nothing, WAL around them, a dump, a census."""
    small = Small(store or MemoryStore("source"), key).begin()
    small.archive()
    small.backup({"base/5/16384": b"one" * 9000}, packs=2)
    small.archive(2)
    small.backup({"base/5/16384": b"two" * 9000})
    store_dump(small)
    write_census(small.folder, some_census())
    small.archive(2)
    return small


@dataclass
class Pair:
    """A repository and a copy of it."""

    source: Small = field(default_factory=full_source)
    store: Store = field(default_factory=lambda: MemoryStore("target"))

    @property
    def repository(self) -> Repository:
        """The copy, which is made the first time."""
        origin = self.source.folder.repository
        return make_copy(origin, self.store, SECRET if origin.key else None).repository

    @property
    def target(self) -> ClusterFolder:
        return self.repository.cluster("main")

    def copy(self, **options: object) -> CopyReport:
        return run(self.source.folder, self.target, CopyOptions(**options))  # type: ignore[arg-type]

    def verify(self) -> VerifyReport:
        return verify(self.target, VerifyOptions(Level.BYTES))

    def there(self) -> set[str]:
        return {blob.name for blob in self.store.list("clusters/")}


def common(store: Store) -> dict[str, bytes]:
    """Return all objects that copies have in common, by name."""
    own = ("/locks/", "/proofs/", "/attempts/")
    blobs = (blob.name for blob in store.list("clusters/"))
    return {name: store.get(name) for name in blobs if not any(part in name for part in own)}


def demand_clean(report: VerifyReport) -> None:
    """Fail the test unless all that is listed is whole."""
    assert report.damaged == ()
    assert [found.id for found in report.found if found.verdict is not Verdict.GOOD] == []
