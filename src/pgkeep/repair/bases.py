"""The damaged pages as backups have them: from the newest one that holds each intact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np

from pgkeep.model.backup import Backup
from pgkeep.postgres.pages import PAGE_SIZE, PageChecker
from pgkeep.repair.plan import BadPage, Base, is_intact
from pgkeep.repository import catalog
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.packs.chunks import ChunkReader, PackMissing
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead

_UNREADABLE: Final = (BadManifest, Damaged, FormatTooNew, PackMissing, ShortRead, WrongKey)


@dataclass
class Bases:
    """What backups have of some pages."""

    found: dict[BadPage, Base] = field(default_factory=dict)
    why_not: dict[BadPage, str] = field(default_factory=dict)
    databases: dict[int, str] = field(default_factory=dict)  # names, as the newest backup has them


def find_bases(
    cluster: ClusterFolder, backups: Sequence[Backup], pages: Sequence[BadPage]
) -> Bases:
    """Look the pages up in `backups`, the newest first. A failing store is raised."""
    bases, checker = Bases(), PageChecker()
    left = [page for page in pages if not page.derived and not page.unlogged]
    for page in left:
        bases.why_not[page] = "no backup of this cluster can be used"
    for backup in backups:
        if not left:
            break
        try:
            manifest = catalog.read_manifest(cluster, backup.id)
        except (*_UNREADABLE, catalog.UnknownBackup) as error:
            _blame(bases, left, f"backup {backup.id} cannot be read: {error}")
            continue
        for database in manifest.facts.databases:
            bases.databases.setdefault(database.oid, database.name)
        for path, group in groupby(left, key=lambda page: page.path):
            opened = _Opened(cluster, backup, manifest)
            _from_file(opened, path, list(group), bases, checker)
        left = [page for page in left if page not in bases.found]
    return bases


def _blame(bases: Bases, pages: Sequence[BadPage], why: str) -> None:
    """Remember why the newest backup had no such page; what older ones say matters less."""
    for page in pages:
        if not bases.why_not[page].startswith("backup "):
            bases.why_not[page] = why


class _Opened(NamedTuple):
    """A backup whose files can be read."""

    cluster: ClusterFolder
    backup: Backup
    manifest: Manifest


def _from_file(
    opened: _Opened, path: str, pages: list[BadPage], bases: Bases, checker: PageChecker
) -> None:
    backup, manifest = opened.backup, opened.manifest
    number = manifest.tables.find(path)
    if number is None:
        return _blame(bases, pages, f"backup {backup.id} does not have the file: it is newer")
    size = int(manifest.tables.file.size[number])
    inside = [page for page in pages if page.position + PAGE_SIZE <= size]
    outside = [page for page in pages if page.position + PAGE_SIZE > size]
    _blame(bases, outside, f"backup {backup.id} does not have the page: the file was shorter")
    try:
        for page, content in _pages(opened, number, inside):
            if is_intact(content, page.block, checker):
                bases.found[page] = Base(backup.id, backup.start_lsn, content)
            else:
                _blame(bases, [page], f"backup {backup.id} has the page damaged as well")
    except _UNREADABLE as error:
        left = [page for page in inside if page not in bases.found]
        _blame(bases, left, f"backup {backup.id} cannot be read: {error}")
    return None


def _pages(
    opened: _Opened, number: int, pages: Sequence[BadPage]
) -> Iterator[tuple[BadPage, bytes]]:
    """Read some pages of one file."""
    if not pages:
        return
    tables = opened.manifest.tables
    placed = tables.placements(np.array([number]), PAGE_SIZE)
    begin, end = placed.position, placed.position + placed.length
    pieces = {
        page: np.flatnonzero((begin < page.position + PAGE_SIZE) & (end > page.position))
        for page in pages
    }
    rows = np.unique(np.concatenate([placed.row[chosen] for chosen in pieces.values()]))
    sealer = opened.cluster.repository.sealer()
    reader = ChunkReader(opened.cluster, sealer, tables.pack, backup=opened.backup.id)
    path = pages[0].path
    parts: dict[BadPage, bytearray] = {page: bytearray(PAGE_SIZE) for page in pages}
    for index, plain in reader.read(tables.chunk.take(rows), lambda _: path):
        for page, chosen in pieces.items():
            for piece in chosen[placed.row[chosen] == rows[index]].tolist():
                shift = int(placed.start[piece]) - int(placed.position[piece])
                first = max(page.position, int(begin[piece]))
                last = min(page.position + PAGE_SIZE, int(end[piece]))
                at = first - page.position
                parts[page][at : at + last - first] = plain[first + shift : last + shift]
    for page, content in parts.items():
        yield page, bytes(content)
