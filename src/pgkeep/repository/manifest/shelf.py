"""Manifests of one kind, of one cluster: listed, read, written. Backups have one, dumps another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from pgkeep.errors import PgkeepError
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.manifest.codec import (
    HEADER_SIZE,
    AnyFacts,
    Kind,
    ManifestOf,
    decode,
    decode_facts,
    decode_packs,
    encode,
    prove,
    read_manifest_header,
)
from pgkeep.repository.manifest.pieces import Pieces
from pgkeep.repository.manifest.tables import PackTable
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import BlobMissing, ShortRead, Store
from pgkeep.repository.store.distance.at_once import at_once
from pgkeep.units import KIB, MIB

# Why a manifest that is there cannot be used.
BAD_MANIFEST: Final = (BadManifest, Damaged, FormatTooNew, ShortRead, WrongKey)

_HEAD: Final = 64 * KIB  # header and facts of nearly every backup, in one request
_PIECE: Final = 16 * MIB  # of a large manifest, in one request
_AT_ONCE: Final = MIB  # most manifests are smaller: their packs take one request
_NAME: Final = "manifest"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Shelf(Generic[AnyFacts]):
    """The manifests of one kind: clusters/<cluster>/<kind>/<id>/manifest."""

    cluster: ClusterFolder
    kind: Kind[AnyFacts]
    prefix: str  # of the objects' names, with its slash
    missing: Callable[[str], PgkeepError]  # what to raise for an id that is not there

    def ids(self) -> Iterator[str]:
        """Yield the ids by names alone, in their order."""
        for blob in self.cluster.store.list(self.prefix):
            found = blob.name.removeprefix(self.prefix).partition("/")[0]
            if blob.name == self.name(found):
                yield found

    def name(self, id: str) -> str:
        return f"{self.prefix}{id}/{_NAME}"

    def facts(self, id: str) -> AnyFacts:
        """Read what it is, without its tables: one request of 64 KiB as a rule.

        Raise `missing`, BadManifest, Damaged, WrongKey or FormatTooNew.
        """
        return self._intact(id, self._facts)

    def _facts(self, store: Store, id: str) -> AnyFacts:
        name = self.name(id)
        head, size = store.beginning(name, _HEAD)
        header = read_manifest_header(head, size, name)
        needed = HEADER_SIZE + header.facts_length
        if needed > len(head):
            head += store.get(name, len(head), needed - len(head))
        sealer = self.cluster.repository.sealer()
        return self._checked(decode_facts(head, header, sealer, name, self.kind), id)

    def manifest(self, id: str) -> ManifestOf[AnyFacts]:
        """Read all of it, everything in it checked. Raises as `facts`, and UnsafePath."""
        return self._intact(id, self._manifest)

    def _manifest(self, store: Store, id: str) -> ManifestOf[AnyFacts]:
        name = self.name(id)
        # In pieces, so that what is inflated takes the room of what was sealed.
        found = decode(
            Pieces(_pieces(store, name)), self.cluster.repository.sealer(), name, self.kind
        )
        self._checked(found.facts, id)
        return found

    def packs(self, id: str) -> PackTable:
        """Read which packs it needs, and of the rest as little as proves it.

        For 2 million chunks that takes some MiB of memory. Raises as `facts`.
        """
        return self._intact(id, self._packs)

    def _packs(self, store: Store, id: str) -> PackTable:
        name = self.name(id)
        head, size = store.beginning(name, _AT_ONCE)

        def read(start: int, length: int) -> bytes:
            end = start + length
            return head[start:end] if end <= len(head) else store.get(name, start, length)

        sealer = self.cluster.repository.sealer()
        facts, packs = decode_packs(read, size, sealer, name, self.kind)
        self._checked(facts, id)
        return packs

    def write(
        self, manifest: ManifestOf[AnyFacts], at_last: Callable[[], None] = lambda: None
    ) -> int:
        """Make it real, and return the bytes of its manifest. Never replaces another one.

        Every pack it names must be durable by now: from here on it is offered for restores. It is
        stored after `at_last`, and not if that raises.
        """
        facts, sealer = manifest.facts, self.cluster.repository.sealer()
        name = self.name(facts.id)
        parts = encode(manifest, sealer)
        # What cannot be read back must not be stored: a restore would be the first to notice.
        self._checked(prove(parts, manifest, sealer, name, self.kind), facts.id)
        at_last()
        self.cluster.store.create(name, parts)
        return sum(map(len, parts))

    def _intact(self, id: str, read: Callable[[Store, str], Answer]) -> Answer:
        """Read from the store, or from whichever of several copies has it intact."""
        store = self.cluster.store
        try:
            if store.union is None:
                return read(store, id)
            return store.union.intact(lambda copy: read(copy, id), BAD_MANIFEST)
        except BlobMissing as error:
            raise self.missing(id) from error

    def _checked(self, facts: AnyFacts, id: str) -> AnyFacts:
        """Refuse a manifest that was stored, or put, in the place of another."""
        if (facts.cluster, facts.id) != (self.cluster.name, id):
            what = f"it describes {facts.id} of cluster {facts.cluster}"
            raise BadManifest(self.name(id), what)
        return facts


def _pieces(store: Store, name: str) -> Iterator[bytes]:
    """Yield a large object in pieces, without holding on to any."""
    first, size = store.beginning(name, _PIECE)
    yield first
    del first
    rest = range(_PIECE, size, _PIECE)
    yield from at_once(
        store, (partial(store.get, name, start, min(_PIECE, size - start)) for start in rest)
    )
