"""What goes on record of a database: its inventory, and the counts that say whether it is whole."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from blake3 import blake3

from pgkeep.logical.create.checks import Counts, DataFile, IncompleteDump, check_data
from pgkeep.logical.encodings import readable
from pgkeep.logical.inventory import Item
from pgkeep.postgres.archive.toc import TocEntry, TocHeader, read_toc

_SET_VALUE: Final = re.compile(r"setval\(.*, (-?\d+), (true|false)\)")
_TABLES: Final = frozenset({"TABLE", "FOREIGN TABLE"})
_LARGE_OBJECT: Final = re.compile(r"blob_(\d+)\.dat")
_OBJECT_LISTS: Final = re.compile(r"blobs(_\d+)?\.toc")


@dataclass
class Contents:
    """Reads a table of contents once, and hands out the inventory while it counts."""

    database: str
    encoding: str
    files: Mapping[str, DataFile]  # by name, as captured; toc.dat is none of them
    counts: Counts = field(default_factory=Counts)
    header: TocHeader | None = None

    def items(self, toc: BinaryIO) -> Iterator[Item]:
        """Yield every entry. Raise IncompleteDump for one whose data is not there or not whole."""
        self.counts.unlisted = {
            name
            for name in self.files
            if not _LARGE_OBJECT.fullmatch(name) and not _OBJECT_LISTS.fullmatch(name)
        }
        self.header, entries = read_toc(toc)
        for entry in entries:
            yield self._item(entry)

    @property
    def large_objects(self) -> tuple[int, int]:
        """Return how many there are, and their bytes."""
        sizes = [file.size for name, file in self.files.items() if _LARGE_OBJECT.fullmatch(name)]
        return len(sizes), sum(sizes)

    def _item(self, entry: TocEntry) -> Item:
        counts = self.counts
        counts.objects += 1
        counts.tables += entry.desc in _TABLES
        counts.schemas += entry.desc == "SCHEMA"
        counts.sequences += entry.desc == "SEQUENCE"
        file, value = self._data(entry), ""
        if entry.desc == "SEQUENCE SET" and (found := _SET_VALUE.search(entry.definition or "")):
            value = f"{found[1]},{found[2]}"
        return Item(
            type=readable(entry.desc, self.encoding),
            schema=readable(entry.namespace or "", self.encoding),
            name=readable(entry.tag or "", self.encoding),
            owner=readable(entry.owner or "", self.encoding),
            definition=_fingerprint(entry.definition),
            file=readable(entry.file_name or "", self.encoding),
            rows=file.rows if file is not None and _has_rows(entry) else None,
            bytes=file.size if file is not None else None,
            value=value,
        )

    def _data(self, entry: TocEntry) -> DataFile | None:
        if not entry.file_name:
            return None
        file = self.files.get(entry.file_name)
        if file is None:
            raise IncompleteDump(
                self.database, f"{entry.file_name} of {entry.desc} {entry.tag} is missing"
            )
        self.counts.unlisted.discard(entry.file_name)
        if _has_rows(entry):
            check_data(self.database, file)
            self.counts.rows += file.rows
        if entry.desc == "TABLE DATA":
            self.counts.data_bytes += file.size
        return file


def _has_rows(entry: TocEntry) -> bool:
    """Tell whether data is COPY's: what pg_dump --inserts made is SQL, and comes by import only."""
    return entry.desc == "TABLE DATA" and bool(entry.copy_statement)


def _fingerprint(definition: str | None) -> str:
    """Return what tells one definition from another; the same for pg_dump of the same version."""
    if not definition:
        return ""
    return blake3(definition.encode("utf-8", "surrogateescape")).hexdigest(8)
