"""The last dump of the same kind, read for a comparison: a dump that shrank must not go unseen."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Self

from pgkeep.errors import PgkeepError
from pgkeep.logical import inventory
from pgkeep.logical.create.checks import Before, larger_tables, suspicions
from pgkeep.logical.inventory import Item
from pgkeep.model.dump import Dump
from pgkeep.repository import dumps
from pgkeep.repository.manifest.dump_facts import INVENTORY, DumpFacts
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder

_MOST: Final = 200_000  # tables that are compared one by one: some 40 MB


@dataclass
class Comparison:
    """Watches the inventory of a new dump pass by."""

    before: Before | None = None
    emptied: list[str] = field(default_factory=list)
    why_not: str = ""  # the last dump cannot be read

    @classmethod
    def with_last(cls, cluster: ClusterFolder, last: Dump | None) -> Self:
        """Read what is compared. A dump that cannot be read is no reason not to make a new one."""
        if last is None:
            return cls()
        try:
            manifest = dumps.read_manifest(cluster, last.id)
            streams = FileStreams(cluster, manifest.tables, of=last.id)
            rows: dict[tuple[str, str, str], int] = {}
            for database in manifest.facts.databases:
                pieces = streams.read(f"{database.folder}/{INVENTORY}")
                items = inventory.decode(pieces, last.id)
                room = _MOST - len(rows)
                rows.update(islice(larger_tables(database.name, items), max(room, 0)))
        except (PgkeepError, KeyError) as error:
            return cls(why_not=f"this dump was not compared with {last.id}: {error}")
        databases = {database.name: database for database in manifest.facts.databases}
        return cls(Before(last.id, databases, rows))

    def data_bytes(self, database: str) -> int:
        """Return the bytes of table data that the last dump had of a database; 0: unknown."""
        found = self.before.databases.get(database) if self.before else None
        return found.data_bytes if found else 0

    def watch(self, database: str, items: Iterator[Item]) -> Iterator[Item]:
        """Pass the items through, noting tables that are empty and were not."""
        before = self.before
        for item in items:
            yield item
            if before is None or item.rows != 0 or item.type != "TABLE DATA":
                continue
            had = before.rows.get((database, item.schema, item.name))
            if had:
                self.emptied.append(f"{item.schema}.{item.name} ({had:,} rows)")

    def verdict(self, facts: DumpFacts) -> list[str]:
        """Return what looks wrong with the new dump."""
        if self.before is None:
            return []
        return suspicions(facts.databases, self.emptied, self.before)
