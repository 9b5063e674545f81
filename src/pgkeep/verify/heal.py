"""Mends what a verify finds damaged or missing, from other copies of the repository.

An object is only ever replaced by one that was read to its last byte, holds all that manifests need
of it, and is not what is there already; and then it is read back. The damaged bytes are not kept:
the store puts the one in the place of the other at once, and the new one holds all that was meant
to be in the old one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pgkeep.progress import Progress, Silent
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.copies.held import Held
from pgkeep.repository.copies.identity import demand_copies, demand_two_places
from pgkeep.repository.copies.intact import NOT_INTACT, check
from pgkeep.repository.copies.object_names import ObjectKind, ObjectName
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobMissing, StoreFailed
from pgkeep.repository.wal_archive import WalMissing
from pgkeep.verify.archives import check_dump
from pgkeep.verify.content import Checker, PackCheck
from pgkeep.verify.inventory import BAD_MANIFEST, VerifyOptions
from pgkeep.verify.objects import Needed, check_manifest
from pgkeep.verify.plan import MissingWal, in_need
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import REAL_TIME, Clock, run

_UNFIT: Final = (*NOT_INTACT, *BAD_MANIFEST, BlobMissing, WalMissing)


@dataclass(frozen=True, slots=True)
class Healed:
    """An object that is whole again."""

    name: str
    source: str  # the copy that it came from
    size: int


@dataclass(frozen=True, slots=True)
class Unhealed:
    """An object that no copy has intact."""

    name: str
    why: str  # of each copy


@dataclass(frozen=True, slots=True)
class HealReport:
    """What was mended, and what a verify says after it."""

    verified: VerifyReport  # the last one: of what is there now
    found: int  # faults of the first one
    healed: tuple[Healed, ...]
    unhealed: tuple[Unhealed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return {
            **self.verified.to_dict(),
            "repair": {
                "found": self.found,
                "healed": [{"name": h.name, "from": h.source, "size": h.size} for h in self.healed],
                "unhealed": [{"name": u.name, "why": u.why} for u in self.unhealed],
            },
        }


def heal(
    cluster: ClusterFolder,
    options: VerifyOptions,
    others: Sequence[Repository],
    progress: Progress | None = None,
    clock: Clock = REAL_TIME,
) -> HealReport:
    """Verify, mend, and verify again what was mended; each verify leaves its proof.

    Raise AnotherRepository, LockTaken, or what the cluster's own store raises. A copy whose store
    fails is passed over.
    """
    progress = progress or Silent()
    for other in others:
        demand_two_places(other.store, cluster.store)
        demand_copies(other, cluster.repository)
    # Held from before the first verify: what it finds missing must not be what an expire deletes.
    with locks.hold(
        cluster, "verify", "pgkeep verify --repair", {"expire"}, waiting=progress.note
    ) as lock:
        report = run(cluster, options, progress, clock)
        found = len(report.damaged)
        mender = _Mender(cluster, others, lock, progress)
        while mender.mend(report):
            # What stands as damaged is read again at every level. A manifest that came back may
            # need packs that nobody has looked at.
            level = options.level if mender.manifests else Level.OBJECTS
            again = replace(options, level=level, sample=None)
            report = run(cluster, again, progress, clock)
    return HealReport(report, found, tuple(mender.healed), tuple(mender.unhealed.values()))


class _Mender:
    """Brings objects back, each once."""

    def __init__(
        self, cluster: ClusterFolder, others: Sequence[Repository], lock: Lock, progress: Progress
    ) -> None:
        self._cluster = cluster
        self._others = others
        self._lock = lock
        self._progress = progress
        self.healed: list[Healed] = []
        self.unhealed: dict[str, Unhealed] = {}
        self._tried: set[str] = set()
        self.manifests = False  # whether the last round brought one back

    def mend(self, report: VerifyReport) -> bool:
        """Try everything that is damaged and was not tried yet; tell whether anything changed."""
        wanted = [one for one in self._in_need(report) if one.name not in self._tried]
        self._tried |= {one.name for one in wanted}
        self.manifests = False
        if not wanted:
            return False
        needs = self._needs([one for one in wanted if one.kind is ObjectKind.PACK])
        self._progress.phase("bringing objects back", len(wanted), "objects")
        before = len(self.healed)
        for done, name in enumerate(wanted, 1):
            self._lock.beat()
            self._mend(name, needs)
            self._progress.advance(done)
        return len(self.healed) > before

    def _in_need(self, report: VerifyReport) -> list[ObjectName]:
        """Return the objects to bring back; what is missing of WAL the copies have to tell."""
        missing = [MissingWal(w.generation, w.first, w.last) for w in report.wal if w.missing]
        there: set[str] = set()
        for prefix in {names.wal_prefix(self._cluster.name, hole.generation) for hole in missing}:
            for other in self._others:
                try:
                    there |= {blob.name for blob in other.store.list(prefix)}
                except StoreFailed as error:
                    self._progress.note(f"passed over: {error}")
        return in_need([damaged.name for damaged in report.damaged], missing, there)

    def _needs(self, packs: Sequence[ObjectName]) -> "_Needs":
        """Read what manifests need of these packs."""
        wanted = {bytes.fromhex(pack.of) for pack in packs}
        needed, sizes = Needed(), dict[bytes, set[int]]()
        ids = catalog.backups(self._cluster).ids() | dumps.dumps(self._cluster).ids()
        for id in sorted(ids) if wanted else ():
            self._lock.beat()
            try:
                table = dumps.read_packs(self._cluster, id)
                rows = {row for row in range(len(table)) if table.name(row) in wanted}
                if not rows:
                    continue
                shelf = dumps.read_manifest if dumps.is_dump_id(id) else catalog.read_manifest
                tables = shelf(self._cluster, id).tables
            except BAD_MANIFEST:
                continue  # it is damaged itself, and needs nothing until it is back
            needed.add(tables, rows)
            for row in rows:
                sizes.setdefault(table.name(row), set()).add(int(table.size[row]))
        return _Needs(needed, sizes)

    def _mend(self, name: ObjectName, needs: "_Needs") -> None:
        whys = []
        store = self._cluster.store
        for other in self._others:
            try:
                held = Held(other.store, name.name)
                self._demand_whole(held, other, name, needs)
            except _UNFIT as error:
                missing = isinstance(error, BlobMissing | WalMissing)
                whys.append(f"{other.store.url}: {'it is not there' if missing else error}")
                continue
            except StoreFailed as error:
                whys.append(str(error))
                continue
            if held.is_in(store):
                whys.append(f"{other.store.url}: it has the same")
                continue
            self._lock.check()
            store.put(name.name, held.parts)
            if not held.is_in(store):
                raise StoreFailed(
                    store.url, f"mend {name.name}", "it reads otherwise than it was written"
                )
            self.manifests = self.manifests or name.kind is ObjectKind.MANIFEST
            self.healed.append(Healed(name.name, other.store.url, held.size))
            self.unhealed.pop(name.name, None)
            return
        self.unhealed[name.name] = Unhealed(name.name, "; ".join(whys))

    def _demand_whole(
        self, held: Held, other: Repository, name: ObjectName, needs: "_Needs"
    ) -> None:
        """Raise one of _UNFIT unless an object of another copy is all that it must be."""
        check(held, other, name)
        view = Repository(held, other.id, other.key).cluster(name.cluster)
        if name.kind is ObjectKind.MANIFEST:
            wrong = (
                check_dump(dumps.read_manifest(view, name.of))
                if dumps.is_dump_id(name.of)
                else check_manifest(catalog.read_manifest(view, name.of))
            )
            if wrong:
                raise Damaged(name.name, "; ".join(wrong))
        if name.kind is ObjectKind.PACK:
            pack_id = bytes.fromhex(name.of)
            rows = needs.needed.rows_of(pack_id)
            found = Checker(view, lambda _: None).pack(PackCheck(name.name, pack_id, rows))
            if found.parts:
                raise Damaged(name.name, found.parts[0].why)
            if needs.sizes.get(pack_id, {held.size}) != {held.size}:
                raise Damaged(name.name, "it has another size than manifests say")


@dataclass(frozen=True)
class _Needs:
    """What manifests need of packs."""

    needed: Needed
    sizes: dict[bytes, set[int]]  # by pack
