"""What changed from one dump to another: objects, their definitions, rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pgkeep.logical import inventory
from pgkeep.logical.inventory import Item
from pgkeep.postgres.versions import major_of
from pgkeep.repository import dumps
from pgkeep.repository.manifest.dump_facts import INVENTORY, DumpFacts
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder

_DATA: Final = frozenset({"TABLE DATA", "SEQUENCE SET", "BLOBS", "BLOB DATA", "STATISTICS DATA"})


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object that came, went, or is defined otherwise."""

    database: str
    change: str  # 'added', 'removed', 'changed', 'owner'
    type: str
    schema: str
    name: str
    was: str = ""
    now: str = ""


@dataclass(frozen=True, slots=True)
class CountChange:
    """A table with other rows, or a sequence at another value."""

    database: str
    type: str
    schema: str
    name: str
    was: int | None  # None: it was not there
    now: int | None
    was_bytes: int = 0
    now_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs."""

    older: str
    newer: str
    databases_added: tuple[str, ...]
    databases_removed: tuple[str, ...]
    objects: tuple[ObjectChange, ...]
    counts: tuple[CountChange, ...]
    selections: tuple[str, str]  # what each holds: where that differs, so does much else
    comparable: bool  # both by the same pg_dump: definitions are compared word for word

    @property
    def differs(self) -> bool:
        return bool(self.databases_added or self.databases_removed or self.objects or self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return {name: getattr(self, name) for name in self.__slots__} | {"differs": self.differs}


def compare_dumps(cluster: ClusterFolder, older: str, newer: str) -> Difference:
    """Compare two dumps by their inventories. Raise BadInventory, UnknownDump, Damaged, ..."""
    before, after = _Opened(cluster, older), _Opened(cluster, newer)
    were, are = before.names, after.names
    objects: list[ObjectChange] = []
    counts: list[CountChange] = []
    comparable = True
    for name in sorted(were & are):
        same_tool = before.tool(name) == after.tool(name)
        comparable &= same_tool
        one, other = before.items(name), after.items(name)
        objects += compare_objects(name, one, other, definitions=same_tool)
        counts += compare_counts(name, one, other)
    return Difference(
        older,
        newer,
        tuple(sorted(are - were)),
        tuple(sorted(were - are)),
        tuple(objects),
        tuple(counts),
        (before.facts.selection.words, after.facts.selection.words),
        comparable,
    )


class _Opened:
    """A dump of which inventories are read."""

    def __init__(self, cluster: ClusterFolder, id: str) -> None:
        manifest = dumps.read_manifest(cluster, id)
        self.facts: DumpFacts = manifest.facts
        self._streams = FileStreams(cluster, manifest.tables, of=id)

    @property
    def names(self) -> set[str]:
        return {database.name for database in self.facts.databases}

    def tool(self, name: str) -> str:
        found = self.facts.database(name)
        return str(major_of(found.dump_version)) if found else ""

    def items(self, name: str) -> Mapping[tuple[str, str, str, int], Item]:
        """Return the inventory by key; equal keys are told apart by their order."""
        found = self.facts.database(name)
        assert found is not None
        try:
            pieces = self._streams.read(f"{found.folder}/{INVENTORY}")
        except KeyError:
            raise inventory.BadInventory(self.facts.id, "it is not there") from None
        return keyed(inventory.decode(pieces, self.facts.id))


def keyed(items: Iterable[Item]) -> dict[tuple[str, str, str, int], Item]:
    """Return items by type, schema, name and a number that tells namesakes apart."""
    found: dict[tuple[str, str, str, int], Item] = {}
    for item in items:
        number = 0
        while (*item.key, number) in found:
            number += 1
        found[(*item.key, number)] = item
    return found


Keyed = Mapping[tuple[str, str, str, int], Item]


def compare_objects(
    database: str, before: Keyed, after: Keyed, *, definitions: bool
) -> Iterator[ObjectChange]:
    """Yield the objects that came, went, changed hands or are defined otherwise."""
    for key in sorted(before.keys() | after.keys()):
        if key[0] in _DATA:
            continue
        one, other = before.get(key), after.get(key)
        if one is None or other is None:
            yield ObjectChange(database, "added" if one is None else "removed", *key[:3])
            continue
        if definitions and one.definition != other.definition:
            yield ObjectChange(database, "changed", *key[:3])
        if one.owner != other.owner:
            yield ObjectChange(database, "owner", *key[:3], one.owner, other.owner)


def compare_counts(database: str, before: Keyed, after: Keyed) -> Iterator[CountChange]:
    """Yield the tables whose number of rows, or whose bytes, differ."""
    for key in sorted(before.keys() | after.keys()):
        if key[0] != "TABLE DATA":
            continue
        one, other = before.get(key), after.get(key)
        was, now = one.rows if one else None, other.rows if other else None
        was_bytes = (one.bytes or 0) if one else 0
        now_bytes = (other.bytes or 0) if other else 0
        if (was, was_bytes) != (now, now_bytes):
            yield CountChange(
                database, "TABLE DATA", key[1], key[2], was, now, was_bytes, now_bytes
            )
