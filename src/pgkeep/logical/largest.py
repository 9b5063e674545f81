"""The largest tables of a dump, for people who look at it."""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from pgkeep.logical import inventory
from pgkeep.repository import dumps
from pgkeep.repository.manifest.dump_facts import INVENTORY
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder


class CountedTable(NamedTuple):
    """A table with rows, as the inventory counts them."""

    database: str
    schema: str
    name: str
    rows: int
    bytes: int


def largest_tables(cluster: ClusterFolder, dump_id: str, count: int) -> list[CountedTable]:
    """Return so many of a dump's tables, the largest first. Raise BadInventory, Damaged, ..."""

    def size(table: CountedTable) -> tuple[int, str, str, str]:
        return (-table.bytes, table.database, table.schema, table.name)

    # A dump may have a million.
    return heapq.nsmallest(count, _tables(cluster, dump_id), key=size)


def _tables(cluster: ClusterFolder, dump_id: str) -> Iterator[CountedTable]:
    manifest = dumps.read_manifest(cluster, dump_id)
    streams = FileStreams(cluster, manifest.tables, of=dump_id)
    for database in manifest.facts.databases:
        try:
            pieces = streams.read(f"{database.folder}/{INVENTORY}")
        except KeyError:
            raise inventory.BadInventory(dump_id, "it is not there") from None
        for item in inventory.decode(pieces, dump_id):
            if item.type == "TABLE DATA":
                rows, size = item.rows or 0, item.bytes or 0
                yield CountedTable(database.name, item.schema, item.name, rows, size)
