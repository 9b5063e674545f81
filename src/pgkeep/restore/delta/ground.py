"""Checks the place of a delta restore and decides what stays there. Nothing is changed here."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pgkeep.model.target import RecoveryTarget
from pgkeep.postgres.versions import version
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.delta.clean import Ground
from pgkeep.restore.delta.existing import Existing, OtherCluster, local_wal, others_with
from pgkeep.restore.delta.plan import WalChoice, choose_wal
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.preflight import Need, check_tablespaces, unwritable
from pgkeep.restore.tablespaces import BadTablespace, TablespaceMove, is_within


@dataclass(frozen=True, slots=True)
class DeltaPlan:
    """What is decided about the old directory before anything is changed in it."""

    ground: Ground
    wal: WalChoice
    warnings: tuple[str, ...]


def find_wal(
    cluster: ClusterFolder,
    existing: Existing,
    plan: RestorePlan,
    recovery: RecoveryTarget,
    *,
    discard: bool,
) -> WalChoice:
    """Decide which WAL of the old directory stays. Raise OtherCluster or LocalWalAtRisk."""
    expected = plan.backup.generation
    if existing.generation != expected.id:
        raise OtherCluster(existing.directory, existing.generation, expected.id, cluster.name)
    pg_wal = os.path.join(existing.directory, "pg_wal")
    local = list(local_wal(pg_wal, expected, cluster.wal(expected.id)))
    return choose_wal(local, plan, recovery, pg_wal, discard=discard)


def plan_ground(existing: Existing, plan: RestorePlan, facts: Facts, wal: WalChoice) -> DeltaPlan:
    """Decide what of the old directory stays."""
    kept = {f"pg_wal/{segment}" for segment in wal.kept}
    # The archiver of a server that archives on goes by these.
    kept |= {f"pg_wal/archive_status/{segment}.ready" for segment in wal.kept}
    folder = version(plan.backup.generation.major, f"backup {facts.id}").tablespace_folder
    leftovers, shared = _leftovers(existing, plan.tablespaces, facts, folder)
    ground = Ground(frozenset(kept), existing.logs, leftovers)
    return DeltaPlan(ground, wal, (*wal.words(), *shared))


def check_spaces(
    existing: Existing, moves: Sequence[TablespaceMove], facts: Facts, repository: str | None
) -> None:
    """Raise BadTablespace unless each place is this cluster's own already, or free.

    It is when the directory's own link leads there, or when the cluster is restored where it was
    backed up, the tablespace included. One that another data directory uses too never is.
    """
    in_place = os.path.realpath(facts.data_directory) == os.path.realpath(existing.directory)
    for move in moves:
        other = others_with(move.new, existing.directory, facts.data_directory)
        if other:
            raise BadTablespace(
                move.new,
                f"the data directory {other} has its tablespace there",
                f"give this one a place of its own: --tablespace {move.old}=/new/location",
            )
        linked = existing.links.get(move.oid)
        ours = linked is not None and os.path.realpath(linked) == os.path.realpath(move.new)
        if ours or (in_place and move.old == move.new):
            if repository and (is_within(move.new, repository) or is_within(repository, move.new)):
                raise BadTablespace(move.new, "it overlaps the repository")
            why = unwritable(move.new)
            if why:
                raise BadTablespace(move.new, why, "run as the server's user or as root")
            continue
        check_tablespaces([move], repository)


def missing_room(needs: Sequence[Need]) -> list[Need]:
    """Return the needs without what is there already and will be written over."""
    return [replace(need, size=max(0, need.size - _used(need.directory))) for need in needs]


def _leftovers(
    existing: Existing, moves: Sequence[TablespaceMove], facts: Facts, folder: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return this cluster's directories in tablespaces that go, and words on those that must stay.

    Such a tablespace was made, or moved, after the backup.
    """
    found, words = [], []
    places = {os.path.realpath(move.new) for move in moves}
    for oid, link in sorted(existing.links.items()):
        place = os.path.realpath(link)
        if place in places or is_within(place, os.path.realpath(existing.directory)):
            continue
        other = others_with(link, existing.directory, facts.data_directory)
        if other:
            words.append(f"tablespace {oid} in {link} stays as it is: {other} uses it too")
        else:
            found.append(os.path.join(place, folder))
    return tuple(found), tuple(words)


def _used(directory: str) -> int:
    """Return the bytes on disk in a directory, links not followed."""
    return sum(status.st_blocks * 512 for status in _walk(directory))


def _walk(directory: str) -> Iterator[os.stat_result]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            yield entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
        except OSError:
            continue
