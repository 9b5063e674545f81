"""Foreign keys that cannot hold, because what they refer to does not come. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pgkeep.logical.encodings import readable
from pgkeep.postgres.archive.entries import ATTACHED, FOREIGN_KEY, TABLES, foreign_key
from pgkeep.postgres.archive.sql import ForeignKey, Name
from pgkeep.postgres.archive.toc import TocEntry

_PARTITIONED = "\nPARTITION BY "  # ends the definition of a table that has no rows of its own


def broken_keys(
    definitions: Sequence[TocEntry], data: Sequence[TocEntry], encoding: str
) -> tuple[frozenset[int], list[str]]:
    """Return the entries of keys that rows which come would break, and words for people.

    So it is where rows were left out of a dump or of its restore, or a table that is referred to
    was never dumped. A key without rows at its own end holds whatever is missing.
    """
    keys = [entry for entry in definitions if entry.desc == FOREIGN_KEY]
    if not keys:
        return frozenset(), []
    tables = _Tables.of(definitions)
    loaded = {_name(entry) for entry in data}
    broken, said = set[int](), []
    for entry in keys:
        why = tables.gap(foreign_key(entry), loaded)
        if why is None:
            continue
        broken.add(entry.dump_id)
        there = ".".join(readable(part, encoding) for part in why.table)
        tag = readable(entry.tag or "", encoding)
        said.append(f"foreign key {tag}: {why.words.format(there)}")
    about = {e.dump_id for e in definitions if e.desc in ATTACHED and broken & set(needs(e))}
    return frozenset(broken | about), said


@dataclass(frozen=True, slots=True)
class _Gap:
    table: Name
    words: str


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables that are made, and the partitions of each."""

    entries: Mapping[Name, TocEntry]
    parts: Mapping[Name, Sequence[Name]]
    all: bool  # no extension brings tables that the archive does not list

    @classmethod
    def of(cls, definitions: Sequence[TocEntry]) -> Self:
        by_id = {entry.dump_id: entry for entry in definitions if entry.desc in TABLES}
        parts: dict[Name, list[Name]] = {}
        for entry in definitions:
            if entry.desc != "TABLE ATTACH":
                continue
            ends = [_name(by_id[one]) for one in needs(entry) if one in by_id]
            # Parent first: the entry bears the partition's name.
            for child in (end for end in ends[1:] if end.name == (entry.tag or "")):
                parts.setdefault(ends[0], []).append(child)
        extended = any(entry.desc == "EXTENSION" for entry in definitions)
        return cls({_name(entry): entry for entry in by_id.values()}, parts, not extended)

    def gap(self, key: ForeignKey, loaded: Collection[Name]) -> _Gap | None:
        """Return which table, or whose rows, a key lacks."""
        if key.referenced not in self.entries:
            return _Gap(key.referenced, "table {} is not in the dump") if self.all else None
        checked = not key.options.endswith("NOT VALID")
        if not checked or not any(leaf in loaded for leaf in self._leaves(key.table)):
            return None
        leaves = self._leaves(key.referenced)
        empty = (leaf for leaf in leaves if self._lacks_rows(leaf, loaded))
        found = next(empty, None)
        return None if found is None else _Gap(found, "the rows of table {} do not come")

    def _leaves(self, table: Name) -> list[Name]:
        """Return a table, and its partitions at every level."""
        found = [table]
        for one in found:  # grows
            found += self.parts.get(one, ())
        return found

    def _lacks_rows(self, table: Name, loaded: Collection[Name]) -> bool:
        entry = self.entries[table]
        return table not in loaded and _PARTITIONED not in (entry.definition or "")


def _name(entry: TocEntry) -> Name:
    return Name(entry.namespace or "", entry.tag or "")


def needs(entry: TocEntry) -> list[int]:
    """Return the entries that one depends on."""
    return [int(number) for number in entry.dependencies if number.isdecimal()]
