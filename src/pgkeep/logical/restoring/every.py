"""Restores every database of a dump: all are looked at before the first one is made."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pgkeep.logical import inventory
from pgkeep.logical.inventory import Item
from pgkeep.logical.patterns import parse_pattern
from pgkeep.logical.restoring.place import DatabaseThere, Place
from pgkeep.logical.restoring.preflight import WhichDatabase
from pgkeep.logical.restoring.report import RestoreReport, RestoreRequest
from pgkeep.logical.restoring.restore import restore
from pgkeep.postgres.archive.entries import OF_THE_DATABASE, SETTINGS
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import INVENTORY, DumpedDatabase
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder

_OF_EVERY_SERVER: Final = frozenset({"postgres", "template1"})  # initdb makes them
_OF_EVERY_DATABASE: Final = frozenset(
    {"SCHEMA public", 'SCHEMA "public"', "EXTENSION plpgsql", 'EXTENSION "plpgsql"'}
)


class DatabasesThere(DatabaseThere):
    """Databases of the wanted names exist, where every one of a dump was to be restored."""

    code = "databases-there"

    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = ", ".join((self.database, *self.others))
        return f"nothing was restored: the server has these databases already: {names}"

    @property
    def hint(self) -> str:
        return (
            "leave them out with --exclude-database, or --replace: that restores beside each, "
            "swaps the names in the end and keeps the old one"
        )


class RestoredDatabases(NamedTuple):
    """What came of a dump of several databases."""

    reports: Sequence[RestoreReport]
    left_alone: Sequence[str]  # every server has them, and the dump has nothing in them


def restore_every(
    cluster: ClusterFolder,
    request: RestoreRequest,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> RestoredDatabases:
    """Restore each database of a dump under its own name, but those that patterns exclude.

    What would stop any of them is raised before the first is made. One that fails later ends it:
    those before it stay, and a note names them.
    """
    progress = progress or Silent()
    manifest = dumps.read_manifest(cluster, request.dump)
    patterns = [parse_pattern(text) for text in exclude]
    chosen = [
        database
        for database in manifest.facts.databases
        if not any(pattern.matches("", database.name) for pattern in patterns)
    ]
    if not chosen:
        raise WhichDatabase(request.dump, "", tuple(d.name for d in manifest.facts.databases))
    there = [one for one in chosen if Place(request.into, one.name, request.dump).exists()]
    left_alone = [one.name for one in there if _is_bare(cluster, manifest, one)]
    in_the_way = [one.name for one in there if one.name not in left_alone]
    if in_the_way and not request.replace:
        raise DatabasesThere(in_the_way[0], others=tuple(in_the_way[1:]))
    wanted = [one.name for one in chosen if one.name not in left_alone]
    looked = [
        restore(cluster, replace(request, database=name, dry_run=True), progress) for name in wanted
    ]
    if request.dry_run:
        return RestoredDatabases(looked, left_alone)
    done: list[RestoreReport] = []
    for name in wanted:
        try:
            done.append(restore(cluster, replace(request, database=name), progress))
        except BaseException:
            if done:
                names = ", ".join(report.name for report in done)
                progress.note(f"restored before that, and left there: {names}")
            raise
    return RestoredDatabases(done, left_alone)


def _is_bare(cluster: ClusterFolder, manifest: DumpManifest, database: DumpedDatabase) -> bool:
    """Tell whether a database is as initdb makes it: then the server's own is as good."""
    if database.name not in _OF_EVERY_SERVER or database.script or database.settings:
        return False
    streams = FileStreams(cluster, manifest.tables, of=manifest.facts.id)
    pieces = streams.read(f"{database.folder}/{INVENTORY}")
    return all(map(_is_standard, inventory.decode(pieces, manifest.facts.id)))


def _is_standard(item: Item) -> bool:
    if item.type in SETTINGS or item.type in OF_THE_DATABASE:
        return True
    if item.type in ("COMMENT", "ACL"):
        return item.name in _OF_EVERY_DATABASE or item.name.startswith("DATABASE ")
    return f"{item.type} {item.name}" in _OF_EVERY_DATABASE
