"""What is there: one listing of a cluster's part of the repository, and its manifests decoded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pgkeep.errors import PgkeepError
from pgkeep.postgres.backup_label import (
    BadBackupLabel,
    parse_backup_label,
    parse_tablespace_map,
)
from pgkeep.postgres.layout import CONTROL_FILE, VERSION_FILE
from pgkeep.repository import names
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import Array, ChunkTable, Tables
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import ID_SIZE
from pgkeep.repository.store.base import BlobMissing, BlobStat

_SHOWN: Final = 1000  # unexplained objects that are named; all are counted
_PACK: Final = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})")
_CENSUS: Final = re.compile(r"census/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
# What pgkeep puts into a cluster's part beside these; the WAL archive itself tells of wal/.
_EXPLAINED: Final = re.compile(
    r"generations/[^/]+(?:\.writer/[^/]+)?\.json|lost/[^/]+/[^/]+\.json|backups/[^/]+/manifest|locks/[^/]+\.json"
    r"|(?:proofs|drills|acts)/[^/]+\.json|pins/[^/]+/[^/]+\.json|dumps/[^/]+/manifest|attempts/[^/]+\.json|wal/([^/]+)/.+"
)
_BATCH: Final = 1 << 17  # chunks of a manifest that are looked at together
_ROW: Final = np.dtype(
    [
        ("pack", "<u4"),
        ("offset", "<u4"),
        ("sealed", "<u4"),
        ("plain", "<u4"),
        ("high", "<u8"),  # of the id
        ("low", "<u8"),
    ]
)


@dataclass
class Listed:
    """What a listing tells, packs, censuses and strangers; WAL is listed by its archive."""

    packs: dict[str, int] = field(default_factory=dict)  # object names and sizes
    censuses: list[str] = field(default_factory=list)  # ids
    unexplained: list[str] = field(default_factory=list)  # the first of them
    unexplained_count: int = 0

    def add_unexplained(self, name: str) -> None:
        self.unexplained_count += 1
        if len(self.unexplained) < _SHOWN:
            self.unexplained.append(name)


def list_objects(cluster: ClusterFolder, generations: set[str]) -> Listed:
    """Go through the names of everything in the cluster's part; `generations` are known ones."""
    prefix, found = names.cluster_prefix(cluster.name), Listed()
    for blob in cluster.store.list(prefix):
        name = blob.name.removeprefix(prefix)
        if _PACK.fullmatch(name):
            found.packs[blob.name] = blob.size
            continue
        if _CENSUS.fullmatch(name):
            found.censuses.append(name.rpartition("/")[2])
            continue
        match = _EXPLAINED.fullmatch(name)
        if match is None or (match[1] is not None and match[1] not in generations):
            found.add_unexplained(blob.name)
    return found


def look_again(cluster: ClusterFolder, name: str) -> BlobStat | None:
    """Return an object that a listing did not show; None when the store says it is not there."""
    try:
        return cluster.store.stat(name)
    except BlobMissing:
        return None


class Needed:
    """The chunks that backups and dumps need of the packs that are to be read, each once.

    Memory: 32 bytes a chunk, and three times that while the first of a manifest's are added.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}  # of packs, by id
        self._rows: Array = np.zeros(0, _ROW)
        self._bounds: Array | None = None  # of each pack's rows; None: to be computed

    def add(self, tables: Tables, wanted: set[int]) -> None:
        """Add the chunks of one backup that lie in the `wanted` rows of its pack table."""
        numbers = np.full(len(tables.pack), -1, np.int64)
        for index in wanted:
            pack_id = tables.pack.name(index)
            numbers[index] = self._numbers.setdefault(pack_id, len(self._numbers))
        self._bounds = None
        keys, fresh = _keys(self._rows), []
        for first in range(0, len(tables.chunk), _BATCH):
            rows = _distinct(_rows(tables.chunk, numbers, slice(first, first + _BATCH)))
            fresh.append(self._unknown(rows, keys))
        if any(map(len, fresh)):
            rows = np.concatenate([self._rows, *fresh])
            del fresh
            self._rows = np.zeros(0, _ROW)  # its memory is needed while the new ones are sorted
            self._rows = _distinct(rows)

    def rows_of(self, pack_id: bytes) -> Array:
        """Return what backups need of a pack: offset, sealed and plain length, id; by offset."""
        number = self._numbers.get(pack_id)
        if number is None:
            return self._rows[:0]
        if self._bounds is None:
            packs = np.ascontiguousarray(self._rows["pack"])
            numbers = np.arange(len(self._numbers) + 1, dtype=packs.dtype)
            self._bounds = np.searchsorted(packs, numbers)
        return self._rows[self._bounds[number] : self._bounds[number + 1]]

    def _unknown(self, rows: Array, keys: Array) -> Array:
        if not len(keys):
            return rows
        places = np.searchsorted(keys, _keys(rows))
        same = self._rows[np.minimum(places, len(keys) - 1)] == rows
        unknown: Array = rows[~same]
        return unknown


def _rows(chunk: ChunkTable, numbers: Array, part: slice) -> Array:
    """Return those of a part of a manifest's chunks whose packs have a number."""
    pack = numbers[chunk.pack[part]]
    kept = np.flatnonzero(pack >= 0)
    rows = np.empty(len(kept), _ROW)
    ids = np.ascontiguousarray(chunk.id[part][kept]).view("<u8").reshape(-1, 2)
    rows["pack"], rows["offset"] = pack[kept], chunk.offset[part][kept]
    rows["sealed"], rows["plain"] = chunk.sealed[part][kept], chunk.plain[part][kept]
    rows["high"], rows["low"] = ids[:, 0], ids[:, 1]
    return rows


def _distinct(rows: Array) -> Array:
    """Sort by pack and offset, and keep each row once."""
    keys = _keys(rows)
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    again = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    again = again[rows[again] == rows[again - 1]]
    if not len(again):
        return rows
    kept = np.ones(len(rows), bool)
    kept[again] = False
    result: Array = rows[kept]
    return result


def _keys(rows: Array) -> Array:
    keys: Array = rows["pack"].astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= rows["offset"]
    return keys


def chunks(rows: Array) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield id, offset, sealed and plain length of rows of `Needed`."""
    halves = np.empty((len(rows), 2), "<u8")
    halves[:, 0], halves[:, 1] = rows["high"], rows["low"]
    ids = halves.tobytes()
    columns = (rows[name].tolist() for name in ("offset", "sealed", "plain"))
    for at, row in enumerate(zip(*columns, strict=True)):
        yield ids[ID_SIZE * at : ID_SIZE * (at + 1)], *row


def check_manifest(manifest: Manifest) -> list[str]:
    """Return what a restore would refuse although everything in the manifest fits together."""
    facts, tables = manifest.facts, manifest.tables
    wrong = [
        f"it holds no {name}" for name in (CONTROL_FILE, VERSION_FILE) if not _has(tables, name)
    ]
    try:
        _check_label(facts)
    except PgkeepError as error:
        wrong.append(str(error))
    return wrong


def _has(tables: Tables, path: str) -> bool:
    number = tables.find(path)
    return number is not None and bool(tables.file.size[number])


def _check_label(facts: Facts) -> None:
    label = parse_backup_label(facts.backup_label)
    if str(label.start) != facts.start_lsn or label.timeline != facts.timeline:
        why = f"it begins at {label.start}, timeline {label.timeline}, and the backup elsewhere"
        raise BadBackupLabel("backup_label", why)
    linked = {space.oid: space.path for space in facts.tablespaces if space.path.startswith("/")}
    if parse_tablespace_map(facts.tablespace_map) != linked:
        raise BadBackupLabel("tablespace_map", "it does not name the tablespaces of the backup")
