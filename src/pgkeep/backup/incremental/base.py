"""Opens the parent of an incremental backup: the first that can be used, and what it means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from pgkeep.backup.incremental.changes import Changes, Fate, Parent, Rules, WentBack, find_changes
from pgkeep.backup.incremental.cleaning import chunks_to_move, live_chunks
from pgkeep.backup.incremental.parent import NO_PARENT, Now, candidates, may_have_gone_back
from pgkeep.backup.source import Listing, NoSummaries, Source, Started
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.repository import catalog
from pgkeep.repository.manifest.builder import TakenOver
from pgkeep.repository.manifest.checks import BadManifest, UnsafePath
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Reuse
from pgkeep.repository.manifest.tables import Array, Tables
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead

_SECOND: Final = 16  # letters of a backup's id that tell when it began
_TRIES: Final = 3  # manifests that are read whole before a full backup is the quicker way

SUMMARIES: Final = "summaries"
LSN: Final = "lsn"


class NoParent(PgkeepError):
    """An incremental backup was asked for, and there is nothing that it could build on."""

    code = "no-parent"
    exit_status = 68

    why: str

    def __str__(self) -> str:
        return f"no backup was made: an incremental one is not possible: {self.why}"

    @property
    def hint(self) -> str:
        return "leave --type out: then a full backup is made where an incremental one cannot be"


class Cleaning(NamedTuple):
    """When a backup stores anew what it could take over; percent."""

    overlays: int = 50  # of a file
    live: int = 50  # of a pack


DEFAULT_CLEANING: Final = Cleaning()


@dataclass(frozen=True, slots=True)
class Base:
    """The parent of an incremental backup, and the fate of every file of the listing."""

    parent: Backup
    tables: Tables
    changes: Changes
    method: str
    reason: str  # why not by summaries, where the server could have them
    lost: frozenset[int]  # rows of packs that are gone
    moving: Array  # rows of the chunks to be carried into new packs

    def taken_over(self, sizes: Array) -> TakenOver:
        """Return what the builder must know of files that begin with the parent's layers."""
        number = self.changes.taken_over()
        base_only = np.zeros(len(sizes), bool)
        base_only[list(self.changes.base_only)] = True
        return TakenOver(number, self.changes.row[number], sizes[number], base_only[number])

    def reuse(self, sizes: Array) -> Reuse:
        """Return what goes on record; the rest is known when everything is copied."""
        fate = self.changes.fate
        kept, whole = fate == Fate.KEPT, fate == Fate.WHOLE
        paged = (fate == Fate.PAGES) | (fate == Fate.SCAN)
        return Reuse(
            parent=self.parent.id,
            parent_lsn=str(self.parent.start_lsn),
            method=self.method,
            reason=self.reason,
            unchanged_files=int(kept.sum()),
            unchanged_bytes=int(sizes[kept].sum()),
            paged_files=int(paged.sum()),
            paged_bytes=int(sizes[paged].sum()),
            whole_files=int(whole.sum()),
            whole_bytes=int(sizes[whole].sum()),
            whole_reasons=self.changes.reasons,
            maps_left_out=len(self.changes.left_out()),
        )


@dataclass(slots=True)
class Search:
    """Looks for a parent. What stood in the way of one is in `notes`."""

    cluster: ClusterFolder
    source: Source
    cleaning: Cleaning
    packs: Mapping[bytes, int]  # all that are in the repository, with their sizes
    damaged: frozenset[bytes] = frozenset()  # packs that a verify found to be
    notes: list[str] = field(default_factory=list)

    def find(
        self, known: catalog.Catalog, now: Now, started: Started, listing: Listing
    ) -> Base | None:
        """Return the best parent with the fate of every file; None when there is none."""
        fit, passed_over = candidates(known.backups, now)
        self.notes += map(str, passed_over)
        self.notes += [
            f"{unreadable.id} {NO_PARENT}: {unreadable.why}"
            for unreadable in known.unreadable
            if not fit or unreadable.id[:_SECOND] >= fit[0].id[:_SECOND]
        ]
        for backup in fit[:_TRIES]:
            try:
                manifest = catalog.read_manifest(self.cluster, backup.id)
                return self._open(backup, manifest, now, started, listing)
            except catalog.UnknownBackup:
                continue  # deleted since it was listed
            except (
                BadManifest, Damaged, FormatTooNew, ShortRead, UnsafePath, WrongKey, WentBack,
            ) as error:  # fmt: skip
                self.notes.append(f"{backup.id} {NO_PARENT}: {error}")
        return None

    def _open(
        self, backup: Backup, manifest: Manifest, now: Now, started: Started, listing: Listing
    ) -> Base:
        tables, facts = manifest.tables, manifest.facts
        if facts.corrupt_pages > len(facts.corrupt):
            raise WentBack(f"{facts.corrupt_pages} of its pages are damaged, too many to name")
        lost = self._lost(tables)
        if lost:
            self.notes.append(
                f"{len(lost)} packs that {backup.id} needs are gone or damaged, so it cannot be "
                "restored whole; this backup reads their files again"
            )
        summaries, method, reason = None, LSN, ""
        try:
            summaries = self.source.changed_blocks(backup.start_lsn, started, now.history)
            method = SUMMARIES
        except NoSummaries as error:
            reason = str(error)
        parent = Parent(
            tables,
            facts.listed_ns,
            frozenset(page.path for page in facts.corrupt),
            lost,
            lacks_maps=facts.reuse is not None and facts.reuse.maps_left_out > 0,
        )
        doubtful = may_have_gone_back(backup, now)
        blocks = now.generation.segment_blocks
        rules = Rules(blocks, summaries, self.cleaning.overlays, facts.checksums, doubtful)
        found = find_changes(listing.files(), parent, rules)
        return Base(backup, tables, found, method, reason, lost, self._moving(tables, found, lost))

    def _lost(self, tables: Tables) -> frozenset[int]:
        """Return the rows of packs that are missing, cut off, or known to be damaged."""
        sizes = tables.pack.size.tolist()
        ids = [tables.pack.name(row) for row in range(len(sizes))]
        return frozenset(
            row
            for row, (pack, size) in enumerate(zip(ids, sizes, strict=True))
            if self.packs.get(pack) != size or pack in self.damaged
        )

    def _moving(self, tables: Tables, found: Changes, lost: frozenset[int]) -> Array:
        numbers = found.taken_over()
        base_only = np.isin(numbers, list(found.base_only))
        live = live_chunks(tables, found.row[numbers], base_only)
        return chunks_to_move(tables, live, self.cleaning.live, lost)
