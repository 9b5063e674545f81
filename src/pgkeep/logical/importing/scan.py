"""What is in a plain SQL script of pg_dump or pg_dumpall, found while it passes line by line. Pure.

Cheap on purpose: pg_dump writes a comment above each object, and COPY data ends with a mark of its
own. Nothing of it is needed to restore: a script is run as it is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
from blake3 import blake3

from pgkeep.logical.encodings import readable
from pgkeep.logical.importing.quoting import Quoting
from pgkeep.logical.inventory import Item
from pgkeep.repository.manifest.dump_facts import SCRIPT
from pgkeep.units import MIB

_LONG: Final = MIB  # bytes of a line that are looked at together
_HEADER: Final = re.compile(
    rb"-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: (.*?)"
    rb"(?:; Tablespace: .*)?"
)
_IDENT: Final = rb'((?:"(?:[^"]|"")+"|[^\s".(),;]+))'
_COPY: Final = re.compile(
    rb"COPY " + _IDENT + rb"(?:\." + _IDENT + rb")? *(?:\(.*\) )? *FROM stdin;", re.IGNORECASE
)
_FIRST_MARK: Final = re.compile(rb"\\\.\r?\n")
_MARK: Final = re.compile(rb"\n\\\.\r?\n")
_CREATE: Final = re.compile(rb"CREATE DATABASE " + _IDENT)
_CONNECT: Final = re.compile(rb"\\c(?:onnect)? (?:-reuse-previous=on )?(.+)")
_DBNAME: Final = re.compile(rb"dbname='((?:[^'\\]|\\.)*)'")
_ENCODING: Final = re.compile(rb"SET client_encoding (?:=|TO) '([A-Za-z0-9_]+)'")
_VALUE: Final = re.compile(rb"setval\(.*, (-?\d+), (true|false)\)")
_SERVER: Final = b"-- Dumped from database version "
_PROGRAM: Final = b"-- Dumped by pg_dump version "
_STARTED: Final = b"-- Started on "
_ALL: Final = b"-- PostgreSQL database cluster dump"
_END: Final = b"-- PostgreSQL database dump complete"
_END_OF_ALL: Final = b"-- PostgreSQL database cluster dump complete"
_RESTRICT: Final = b"\\restrict "
_UNRESTRICT: Final = b"\\unrestrict "
_TABLES: Final = ("TABLE", "FOREIGN TABLE")


@dataclass(slots=True)
class Found:
    """What a script holds."""

    server_version: str = ""
    dump_version: str = ""
    started: str = ""  # '2026-01-15 16:47:21 CET', where pg_dump --verbose told it
    encoding: str = ""
    cluster: bool = False  # it is of pg_dumpall
    creates: dict[str, None] = field(default_factory=dict)  # databases
    connects: dict[str, None] = field(default_factory=dict)  # databases
    objects: int = 0
    schemas: int = 0
    tables: int = 0
    rows: int = 0
    data_bytes: int = 0
    sequences: int = 0
    large_objects: int = 0


@dataclass(slots=True)
class _Current:
    """The object whose comment came last."""

    item: Item
    hashed: blake3 | None = None  # of its SQL
    value: str = ""
    rows: int | None = None
    bytes: int = 0

    def complete(self) -> Item:
        is_data = self.rows is not None
        return msgspec.structs.replace(
            self.item,
            definition=self.hashed.hexdigest(8) if self.hashed and not is_data else "",
            file=SCRIPT if is_data else "",
            rows=self.rows,
            bytes=self.bytes if is_data else None,
            value=self.value,
        )


class Scan:
    """Takes a script piece by piece; `items` yields the objects that were complete by then."""

    def __init__(self) -> None:
        self.found = Found()
        self._rest = b""  # a line that is not complete
        self._within = False  # its beginning was looked at already
        self._quoting = Quoting()
        self._current: _Current | None = None
        self._done: list[Item] = []
        self._copying = False
        self._mark = b""  # of an end, if nothing but comments came after it
        self._restricted = b""  # the key that ends it
        self._tables = 0  # with rows, in scripts without comments

    def take(self, piece: bytes) -> None:
        """Look at the next piece."""
        content, position = self._rest + piece, 0
        while True:
            look = self._rows if self._copying else self._line
            end = look(content, position)
            if end == position:
                break
            position = end
        self._rest = content[position:]

    def finish(self) -> str:
        """Return what is missing at the end of the script; '' if it is whole."""
        if self._rest:
            self.take(b"\n")
        if self._copying:
            return "it ends within the rows of a table"
        self._close()
        self.found.tables = self.found.tables or self._tables
        if self._quoting.inside:
            return f"it ends within {self._quoting.words}"
        if self._mark != _END_OF_ALL and (self.found.cluster or self._mark != _END):
            mark = _END_OF_ALL if self.found.cluster else _END
            return f"it does not end with '{mark.decode()}'"
        if self._restricted:
            return "it does not end with the \\unrestrict that belongs to its \\restrict"
        return ""

    def items(self) -> Iterator[Item]:
        """Yield what was found since the last call."""
        done, self._done = self._done, []
        yield from done

    def _rows(self, content: bytes, start: int) -> int:
        """Go on towards the mark that ends COPY data; return how far that went."""
        first = None if self._within else _FIRST_MARK.match(content, start)
        match = first or _MARK.search(content, start)
        if match is not None:
            self._count(content[start : match.start() if first else match.start() + 1])
            self._copying = self._within = False
            self._close()
            return match.end()
        end = content.rfind(b"\n", start) + 1
        if end > start:
            self._within = False
        elif len(content) - start >= _LONG:
            end, self._within = len(content) - 1, True
        else:
            return start
        self._count(content[start:end])
        return end

    def _count(self, data: bytes) -> None:
        rows, current = data.count(b"\n"), self._current
        assert current is not None
        current.rows = (current.rows or 0) + rows
        current.bytes += len(data)
        self.found.rows += rows
        self.found.data_bytes += len(data)

    def _line(self, content: bytes, start: int) -> int:
        """Look at one line; return where it ends."""
        end = content.find(b"\n", start)
        if end < 0 and len(content) - start < _LONG:
            return start
        if end < 0:  # such a line is a statement with a giant value
            end = content.rfind(b" ", start) + 1 or len(content)
            end = len(content) if end <= start else end
            self._sql(content[start:end])
            self._within = True
            return end
        line = content[start:end].removesuffix(b"\r")
        if self._within or self._quoting.inside:
            self._sql(line)
        elif line.startswith(b"--"):
            self._comment(line)
        elif line.startswith(b"\\"):
            self._meta(line)
        elif line and not line.isspace():
            self._statement(line)
        self._within = False
        return end + 1

    def _sql(self, line: bytes) -> None:
        self._mark = b""
        self._quoting.line(line)
        current = self._current
        if current is not None and not line.startswith(b"SET "):  # those belong to what follows
            current.hashed = current.hashed or blake3()
            current.hashed.update(line + b"\n")

    def _comment(self, line: bytes) -> None:
        if line.startswith((_END, _END_OF_ALL)):
            self._mark = line if line in (_END, _END_OF_ALL) else self._mark
            return
        found = self.found
        if match := _HEADER.fullmatch(line):
            self._header(*match.groups())
        elif line == _ALL:
            found.cluster = True
        elif line.startswith(_SERVER):
            found.server_version = found.server_version or _word(line.removeprefix(_SERVER))
        elif line.startswith(_PROGRAM):
            found.dump_version = found.dump_version or _word(line.removeprefix(_PROGRAM))
        elif line.startswith(_STARTED):
            found.started = found.started or line.removeprefix(_STARTED).decode(errors="replace")

    def _header(self, name: bytes, kind: bytes, schema: bytes, owner: bytes) -> None:
        self._close()
        found, word = self.found, kind.decode()
        found.objects += 1
        found.tables += word in _TABLES
        found.schemas += word == "SCHEMA"
        found.sequences += word == "SEQUENCE"
        place = "" if schema == b"-" else self._text(schema)
        item = Item(word, schema=place, name=self._text(name), owner=self._text(owner))
        self._current = _Current(item)

    def _meta(self, line: bytes) -> None:
        if line.startswith(_RESTRICT):
            self._restricted = line.removeprefix(_RESTRICT)
        elif line == _UNRESTRICT + self._restricted:
            self._restricted = b""
        elif match := _CONNECT.fullmatch(line):
            self._mark = b""
            self.found.connects[self._text(_database(match[1].strip()))] = None

    def _statement(self, line: bytes) -> None:
        if match := _COPY.fullmatch(line):
            self._mark = b""
            self._begin_rows(match[1], match[2])
            return
        found, current = self.found, self._current
        if match := _CREATE.match(line):
            found.creates[self._text(_unquoted(match[1]))] = None
        elif not found.encoding and (match := _ENCODING.match(line)):
            found.encoding = match[1].decode()
        elif line.startswith(b"SELECT pg_catalog.lo_open("):
            found.large_objects += 1
        elif current is not None and current.item.type == "SEQUENCE SET":
            value = _VALUE.search(line)
            current.value = f"{value[1].decode()},{value[2].decode()}" if value else ""
        self._sql(line)

    def _begin_rows(self, first: bytes, second: bytes | None) -> None:
        current = self._current
        if current is None or current.item.type != "TABLE DATA" or current.rows is not None:
            self._close()
            schema, name = (first, second) if second is not None else (b"", first)
            place, table = (self._text(_unquoted(part)) for part in (schema, name))
            current = self._current = _Current(Item("TABLE DATA", schema=place, name=table))
        current.rows = 0
        self._tables += 1
        self._copying = True

    def _close(self) -> None:
        if self._current is not None:
            self._done.append(self._current.complete())
            self._current = None

    def _text(self, name: bytes) -> str:
        return readable(name.decode("utf-8", "surrogateescape"), self.found.encoding)


def _word(line: bytes) -> str:
    """Return a version without what Debian adds to it."""
    return line.decode(errors="replace").split(" ")[0]


def _database(argument: bytes) -> bytes:
    """Return the database that \\connect goes to (string_utils.c: appendPsqlMetaConnect)."""
    found = _unquoted(argument)
    match = _DBNAME.fullmatch(found)
    return re.sub(rb"\\(.)", rb"\1", match[1]) if match else found


def _unquoted(name: bytes) -> bytes:
    return name[1:-1].replace(b'""', b'"') if name[:1] == b'"' else name
