"""Fills large objects, which the restored schema has made already, empty as they are.

In a directory dump each is a file, and tables of contents say which: lines of an oid and a file's
name. Source: pg_backup_directory.c, _LoadLOs.
"""

import os
import re
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from pgkeep.logical.load.copying import refusal
from pgkeep.logical.load.tables import CannotLoad
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.repository.manifest.tables import Array, ChunkTable, Tables
from pgkeep.units import MIB

WHAT: Final = "large objects"
_TASK: Final = 4 * MIB  # bytes of many objects that one task fills, and one transaction
_TOGETHER: Final = 2000  # objects in a task, at most
_PIECE: Final = MIB  # bytes that one statement carries, about
_PAGE: Final = 2048  # pg_largeobject.h: LOBLKSIZE; a page that is written twice leaves a dead row
_LINE: Final = re.compile(rb"(\d+) ([^/\0]+)")
_LARGEST_OID: Final = (1 << 32) - 1
_OID, _INT8, _BYTEA = 26, 20, 17  # pg_type.dat, and the arrays of them
_OIDS, _INT8S, _BYTEAS = 1028, 1016, 1001
_PUT: Final = b"""
SELECT pg_catalog.count(pg_catalog.lo_put(o, p, d)) FROM ROWS FROM (
    pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int8[]), pg_catalog.unnest($3::bytea[])
) AS t(o, p, d)
"""


class Objects(NamedTuple):
    """The objects of a dump, a million of them in 12 MB."""

    oid: Array
    file: Array  # numbers in the file table


class ObjectsTask(NamedTuple):
    """Large objects that are filled together."""

    oids: tuple[int, ...]
    counts: tuple[int, ...]  # of chunks, for each
    chunks: ChunkTable

    def words(self, _encoding: str) -> str:
        return WHAT


class Filled(NamedTuple):
    """What became of a task."""

    objects: int
    bytes: int


class Part(NamedTuple):
    oid: int
    position: int
    content: bytes | memoryview


def find_objects(files: Tables, contents: str, pieces: Iterable[bytes]) -> Objects:
    """Return what one table of contents, 'blobs.toc', names. Raise CannotLoad."""
    folder = contents.rpartition("/")[0]
    oids, numbers = array("I"), array("q")
    for line in _lines(pieces):
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) > _LARGEST_OID:
            raise CannotLoad(WHAT, f"{contents} of the dump holds no file's name: {line[:80]!r}")
        path = f"{folder}/{os.fsdecode(match[2])}"
        number = files.find(path)
        if number is None:
            raise CannotLoad(f"large object {int(match[1])}", f"the dump has no file {path}")
        oids.append(int(match[1]))
        numbers.append(number)
    return Objects(np.array(oids, np.uint32), np.array(numbers, np.int64))


def plan_objects(files: Tables, objects: Objects) -> Iterator[ObjectsTask]:
    """Yield tasks in the objects' order. Empty objects are as they must be."""
    filled = np.flatnonzero(files.file.size[objects.file])
    size = files.file.size[objects.file[filled]].astype(np.int64)
    first, held = 0, 0
    for index, length in enumerate(size.tolist()):
        if index > first and (held + length > _TASK or index - first == _TOGETHER):
            yield _task(files, objects, filled[first:index])
            first, held = index, 0
        held += length
    if held:
        yield _task(files, objects, filled[first:])


def fill(
    wire: Wire, task: ObjectsTask, chunks: Iterator[bytes], sent: Callable[[int], None]
) -> Filled:
    """Fill the objects of a task, in one transaction. Raise CannotLoad, Stopped, ..."""
    total = 0
    try:
        wire.run(b"BEGIN")
        for batch in _batches(_parts(task, chunks)):
            oids = _array(_OID, [struct.pack("!I", part.oid) for part in batch])
            positions = _array(_INT8, [struct.pack("!q", part.position) for part in batch])
            contents = _array(_BYTEA, [part.content for part in batch])
            wire.ask(_PUT, [oids, positions, contents], [_OIDS, _INT8S, _BYTEAS])
            size = sum(len(part.content) for part in batch)
            total += size
            sent(size)
        wire.run(b"COMMIT")
    except Refused as no:
        raise refusal(no, WHAT) from no
    return Filled(len(task.oids), total)


def _task(files: Tables, objects: Objects, chosen: Array) -> ObjectsTask:
    rows = [files.chunk_rows(number) for number in objects.file[chosen].tolist()]
    every = np.concatenate([np.arange(part.start, part.stop) for part in rows])
    oids = tuple(objects.oid[chosen].tolist())
    return ObjectsTask(oids, tuple(map(len, rows)), files.chunk.take(every))


def _parts(task: ObjectsTask, chunks: Iterator[bytes]) -> Iterator[Part]:
    """Yield pieces of about 1 MiB at most, which begin and end with pages."""
    for oid, count in zip(task.oids, task.counts, strict=True):
        position, rest = 0, b""
        for chunk in islice(chunks, count):
            content = rest + chunk if rest else chunk
            whole = len(content) // _PAGE * _PAGE
            if whole < _PIECE:
                rest = content
                continue
            yield Part(oid, position, memoryview(content)[:whole])
            position, rest = position + whole, content[whole:]
        if rest:
            yield Part(oid, position, rest)


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    batch, held = list[Part](), 0
    for part in parts:
        batch.append(part)
        held += len(part.content)
        if held >= _PIECE:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _array(kind: int, items: Sequence[bytes | memoryview]) -> bytes:
    """Return an array as the server takes it in binary form (arrayfuncs.c: array_recv)."""
    parts: list[bytes | memoryview] = [struct.pack("!iiIii", 1, 0, kind, len(items), 1)]
    for item in items:
        parts += (struct.pack("!i", len(item)), item)
    return b"".join(parts)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
