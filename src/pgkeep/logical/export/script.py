"""Streams a plain SQL script that was imported, as it was: for export and for restore."""

from collections.abc import Iterator

from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import SCRIPT, DumpedDatabase
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder


def open_script(
    cluster: ClusterFolder, manifest: DumpManifest, database: DumpedDatabase
) -> tuple[int, Iterator[bytes]]:
    """Return a script's size and its content in pieces. Raise PackMissing, Damaged, ..."""
    streams = FileStreams(cluster, manifest.tables, of=manifest.facts.id)
    path = f"{database.folder}/{SCRIPT}"
    return streams.size(path), streams.read(path)
