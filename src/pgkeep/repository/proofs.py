"""What each `pgkeep verify` looked at and found. On disk: docs/formats/proofs.md.

A proof is written once, when its verify has come to its end. A damaged object stands until a later
proof looked at it and did not find it damaged again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert, to_builtins
from msgspec.structs import replace

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.marker import (
    decode_document,
    encode_document,
    format_moment,
    read_whole,
)
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew
from pgkeep.repository.store.base import BlobMissing, ShortRead

_LIMIT: Final = 64 << 20  # bytes; a proof that names 100,000 damaged objects has a third of it

Moment = Annotated[datetime, Meta(tz=True)]


class Level(StrEnum):
    """How far a verify goes."""

    OBJECTS = "objects"  # everything is there, with its right size
    BYTES = "bytes"  # and was read, decrypted, decompressed and hashed


class Verdict(StrEnum):
    """What became of a backup."""

    GOOD = "good"
    DAMAGED = "damaged"
    NOT_RESTORABLE = "not-restorable"  # WAL that makes it consistent is missing or damaged


class BackupProof(Struct, frozen=True):
    """One backup that was looked at."""

    id: str
    verdict: Verdict
    why: str = ""


class DamagedObject(Struct, frozen=True):
    """An object that is missing, cut off or not what was written."""

    name: str
    why: str
    backups: tuple[str, ...] = ()  # those that lose something by it, of those looked at
    files: bool = False  # files of these backups, or a manifest; not WAL, not a table of contents


class WalRange(Struct, frozen=True):
    """Segments of one timeline without a gap that were looked at."""

    generation: str
    first: str
    last: str


class Proof(Struct, frozen=True, kw_only=True):
    """One verify, from its beginning to its end."""

    id: str
    cluster: str
    level: Level
    sample: str = ""  # '5%': of packs and WAL objects, chosen by the seed; '' for all
    seed: str = ""
    since: Moment | None = None
    everything: bool  # all backups and all WAL there was; False for chosen ones
    pgkeep_version: str
    started_at: Moment
    finished_at: Moment
    backups: tuple[BackupProof, ...]
    damaged: tuple[DamagedObject, ...] = ()
    wal: tuple[WalRange, ...] = ()
    wal_files: Annotated[int, Meta(ge=0)] = 0
    packs: Annotated[int, Meta(ge=0)] = 0
    read: Annotated[int, Meta(ge=0)] = 0  # bytes of objects whose content was read

    @property
    def words(self) -> str:
        """Say what was proven: 'objects', 'bytes', 'bytes, sample of 5 %'."""
        share = self.sample.removesuffix("%")
        return f"{self.level}, sample of {share} %" if share else str(self.level)

    @property
    def complete(self) -> bool:
        """Tell whether it read everything, so that older proofs add nothing to it."""
        return self.everything and self.level is Level.BYTES and not self.sample

    def of(self, backup_id: str) -> BackupProof | None:
        return next((backup for backup in self.backups if backup.id == backup_id), None)

    def looked_again(self, older: "Proof") -> bool:
        """Tell whether this proof read again what an older one had found damaged.

        Whatever its level and sample, a verify reads what stands as damaged when it begins.
        """
        read_all = self.level is Level.BYTES and not self.sample
        return read_all or self.started_at >= older.finished_at


@dataclass(frozen=True, slots=True)
class UnreadableProof:
    """A proof that proves nothing, and why."""

    name: str
    error: PgkeepError


@dataclass(frozen=True, slots=True)
class Proofs:
    """Proofs of a cluster, newest first, back to one that read everything."""

    found: tuple[Proof, ...] = ()
    unreadable: tuple[UnreadableProof, ...] = ()

    def standing(self) -> Iterator[tuple[Proof, DamagedObject]]:
        """Yield what was found damaged, newest first, for backups that no later proof looked at.

        A later proof that found the damage again tells of it itself.
        """
        for place, proof in enumerate(self.found):
            newer = [other for other in self.found[:place] if other.looked_again(proof)]
            if any(other.everything for other in newer):
                continue
            seen = {backup.id for other in newer for backup in other.backups}
            for damaged in proof.damaged:
                left = tuple(backup for backup in damaged.backups if backup not in seen)
                if left or not damaged.backups:
                    yield proof, replace(damaged, backups=left)

    def damaged_packs(self, cluster: str) -> set[bytes]:
        """Return the ids of packs in which chunks of backups are known to be lost."""
        prefix = names.packs_prefix(cluster)
        found = (d.name for _, d in self.standing() if d.files and d.name.startswith(prefix))
        return {bytes.fromhex(name.rpartition("/")[2]) for name in found}

    def damaged_backups(self) -> dict[str, str]:
        """Return the backups that are known to have lost something, and why."""
        lost: dict[str, str] = {}
        for proof, damaged in self.standing():
            for backup_id in damaged.backups:
                lost.setdefault(backup_id, _why(proof, backup_id) or damaged.why)
        return lost

    def of(self, backup_id: str) -> list[Proof]:
        """Return the proofs that say most of a backup, as `strongest` does."""
        return self.strongest(proof for proof in self.found if proof.of(backup_id))

    @staticmethod
    def strongest(proofs: Iterable[Proof]) -> list[Proof]:
        """Return, of proofs with the newest first, each that is stronger than all newer ones."""
        kept: list[Proof] = []
        for proof in proofs:
            if not kept or _strength(proof) > _strength(kept[-1]):
                kept.append(proof)
        return kept


NO_PROOFS: Final = Proofs()


def read_proofs(cluster: ClusterFolder) -> Proofs:
    """Read the proofs, newest first, as far back as they say anything that no later one settles.

    An unreadable one is noted; a failing store is raised.
    """
    found: list[Proof] = []
    unreadable: list[UnreadableProof] = []
    prefix = names.proofs_prefix(cluster.name)
    blobs = [blob.name for blob in cluster.store.list(prefix) if blob.name.endswith(".json")]
    for name in sorted(blobs, reverse=True):  # ids begin with the time
        try:
            found.append(_read(cluster, name))
        except BlobMissing:
            continue  # removed since it was listed
        except (Damaged, FormatTooNew, ShortRead) as error:
            unreadable.append(UnreadableProof(name, error))
            continue
        if found[-1].complete:
            break
    return Proofs(tuple(found), tuple(unreadable))


def damaged_packs(cluster: ClusterFolder) -> set[bytes]:
    """Return the ids of packs in which chunks of backups are known to be lost."""
    return read_proofs(cluster).damaged_packs(cluster.name)


def write_proof(cluster: ClusterFolder, proof: Proof) -> None:
    """Store a proof, once."""
    content = encode_document(_facts(proof))
    name = names.proof(cluster.name, proof.id)
    _decode(content, name)  # what cannot be read back must not be stored
    cluster.store.create(name, [content])


def _strength(proof: Proof) -> int:
    if proof.level is Level.OBJECTS:
        return 1
    return 2 if proof.sample else 3


def _why(proof: Proof, backup_id: str) -> str:
    found = proof.of(backup_id)
    return found.why if found else ""


def _facts(proof: Proof) -> dict[str, Any]:
    facts: dict[str, Any] = to_builtins(proof)
    for field in ("started_at", "finished_at", "since"):
        moment = getattr(proof, field)
        facts[field] = format_moment(moment) if moment else None
    return facts


def _read(cluster: ClusterFolder, name: str) -> Proof:
    where = f"{name} in {cluster.store.url}"
    proof = _decode(read_whole(cluster.store, name, _LIMIT), where)
    if names.proof(cluster.name, proof.id) != name or proof.cluster != cluster.name:
        raise Damaged(where, f"it holds proof {proof.id} of cluster {proof.cluster}")
    return proof


def _decode(content: bytes, where: str) -> Proof:
    facts = decode_document(content, where)
    try:
        return convert(facts, Proof)
    except ValidationError as error:
        raise Damaged(where, f"a fact is missing or wrong ({error})") from error
