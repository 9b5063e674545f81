"""What goes on record: what workers bring home, judged at the end, and the facts around it."""

import grp
import pwd
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

import pgkeep
from pgkeep.backup.copying.copy import CopierSetup
from pgkeep.backup.copying.page_check import BadPage
from pgkeep.backup.copying.work import Copied
from pgkeep.backup.source import BackupAborted, ClusterFacts, Listing, Started, Stopped
from pgkeep.model.backup import BackupType
from pgkeep.model.lsn import Lsn
from pgkeep.repository import seal
from pgkeep.repository.manifest.builder import Attributes, ChunkLog
from pgkeep.repository.manifest.facts import CorruptPage, Facts, Reuse
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.packs.pack_ids import pack_id
from pgkeep.repository.repository import ClusterFolder

CONTROL_FILE: Final = "global/pg_control"
_NEEDED: Final = frozenset({"PG_VERSION"})  # may never vanish; pg_control is read by itself
_LISTED: Final = 1000  # damaged pages that are named in the manifest
_CHECKPOINT: Final = re.compile(r"^CHECKPOINT LOCATION: (\S+)", re.MULTILINE)
_NOTED: Final = 10  # odd pages that are named in the report


@dataclass(frozen=True, slots=True)
class Corruption:
    """The damaged pages of a backup."""

    count: int
    pages: tuple[CorruptPage, ...]  # the first ones


class CopiedFiles:
    """Everything that has been copied so far."""

    def __init__(self, listing: Listing, checksums: bool) -> None:
        self._listing = listing
        self._checksums = checksums
        self._bad: list[BadPage] = []
        self.notes: list[str] = []
        self.read = 0  # bytes of the cluster
        self.stored = 0  # bytes added to the repository
        self.known = self.resumed = 0  # bytes that were stored already, and by whom
        self.pages = self.moved = 0  # changed pages, and stored bytes carried into new packs

    def add(self, result: Copied) -> None:
        """Take a worker's result. Raise BackupAborted if a file is gone that never may be."""
        if result.moved is None:
            self._listing.builder.add_chunks(result.stored)
        else:
            self._listing.builder.add_moved(result.moved, result.stored)
            self.moved += int(result.stored.column("sealed").sum())
        for entry in result.gone:
            if self._listing.paths[entry] in _NEEDED:
                raise BackupAborted(
                    f"{self._listing.paths[entry]} vanished from the data directory",
                    "find out what removed it: the cluster cannot start without it",
                )
            self._listing.builder.leave_out(entry)
        self._bad += result.bad_pages
        self.notes += result.notes
        self.read += result.read
        self.known += result.known
        self.resumed += result.resumed
        self.pages += int(result.stored.column("pages").sum())
        self.stored += sum(pack.size for pack in result.stored.new_packs)

    def add_control(
        self, content: bytes, attributes: Attributes, cluster: ClusterFolder, setup: CopierSetup
    ) -> None:
        """Store pg_control, durably."""
        number = self._listing.add_file(CONTROL_FILE, len(content), attributes)
        sealer = cluster.repository.sealer(setup.level)
        packs = PackWriter(cluster, sealer, new_id=lambda _: pack_id(setup.tag))
        log = ChunkLog()
        log.add(number, 0, packs.add(sealer.seal(seal.CHUNK, content)), len(content))
        stored = log.finish(packs.finish())
        self._listing.builder.add_chunks(stored)
        self.read += len(content)
        self.stored += sum(pack.size for pack in stored.packs)

    def counts(self, reuse: Reuse | None) -> dict[str, Any]:
        """Return what goes on record of the amounts."""
        if reuse is not None:
            reuse = msgspec.structs.replace(
                reuse,
                changed_pages=self.pages,
                known_bytes=self.known,
                moved_bytes=self.moved,
            )
        return {
            "type": BackupType.FULL if reuse is None else BackupType.INCREMENTAL,
            "read": self.read,
            "stored": self.stored,
            "resumed_bytes": self.resumed,
            "reuse": reuse,
        }

    def verdict(
        self, start: Lsn, stop: Lsn, relation_name: Callable[[str], str]
    ) -> tuple[Corruption, Sequence[str]]:
        """Return the damaged pages, and what else is worth a word.

        A page with an LSN between start and stop was being written while it was read: WAL has the
        whole of it. No page can have an LSN beyond the stop. Without checksums only the page
        headers can be judged: what looks odd there is worth a word, but proves nothing.
        """
        bad = sorted(page for page in self._bad if page.lsn < start or page.lsn > stop)
        pages = tuple(self._describe(page, relation_name) for page in bad[:_LISTED])
        if self._checksums:
            return Corruption(len(bad), pages), []
        notes = [
            f"{page.relation or 'a page'} looks odd: block {page.block} of {page.path} has an "
            "impossible header (the cluster has no checksums to prove it)"
            for page in pages[:_NOTED]
        ]
        if len(bad) > _NOTED:
            notes.append(f"{len(bad) - _NOTED} more pages have an impossible header")
        return Corruption(0, ()), notes

    def _describe(self, page: BadPage, relation_name: Callable[[str], str]) -> CorruptPage:
        path = self._listing.paths[page.entry]
        return CorruptPage(path, page.block, relation_name(path))


def describe(
    cluster_facts: ClusterFacts,
    started: Started,
    stopped: Stopped,
    *,
    corrupt: Corruption,
    owners: Iterable[tuple[int, int]],
    **more: Any,
) -> Facts:
    """Return the facts; `more` are those that are stored as they come."""
    checkpoint = _CHECKPOINT.search(stopped.backup_label)
    owners = list(owners)
    return Facts(
        generation=cluster_facts.generation,
        server_version=cluster_facts.server_version,
        timeline=started.timeline,
        start_lsn=str(started.lsn),
        stop_lsn=str(stopped.lsn),
        checkpoint_lsn=checkpoint[1] if checkpoint else "",
        started_at=started.at,
        stopped_at=stopped.at,
        backup_label=stopped.backup_label,
        tablespace_map=stopped.tablespace_map,
        settings=cluster_facts.settings,
        databases=tuple(cluster_facts.databases),
        extensions=tuple(cluster_facts.extensions),
        config_files=tuple(cluster_facts.config_files),
        users=_names({uid for uid, _ in owners}, lambda uid: pwd.getpwuid(uid).pw_name),
        groups=_names({gid for _, gid in owners}, lambda gid: grp.getgrgid(gid).gr_name),
        checksums=cluster_facts.checksums,
        corrupt=corrupt.pages,
        corrupt_pages=corrupt.count,
        source_host=socket.gethostname(),
        data_directory=cluster_facts.data_directory,
        data_directory_mode=cluster_facts.data_directory_mode,
        pgkeep_version=pgkeep.__version__,
        **more,
    )


def _names(ids: set[int], name_of: Callable[[int], str]) -> dict[str, int]:
    """Return the names of users or groups; numbers without a name are left out."""
    found = {}
    for number in sorted(ids):
        try:
            found[name_of(number)] = number
        except KeyError:
            continue
    return found
