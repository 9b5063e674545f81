"""Relations as columns, a block at a time. On disk: docs/formats/census.md."""

import math
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

import numpy as np

from pgkeep.model.census import Relation
from pgkeep.repository.manifest.tables import Heap

ROWS: Final = 16_384  # of a block at most: 0.5 to 1 MiB as a rule
TEXT: Final = 4 << 20  # bytes of names after which a block is full, far below what it may hold

_LENGTHS: Final = Struct("<IIII")  # rows; bytes of the heaps of schemas, names and keys
_COLUMNS: Final = (
    ("size", "<u8"),
    ("rows", "<f8"),
    ("oid", "<u4"),
    ("filenode", "<u4"),
    ("tablespace", "<u4"),
    ("parent", "<u4"),
    ("toast", "<u4"),
    ("keys", "<u2"),  # how many columns the primary key has
    ("kind", "|u1"),
    ("persistence", "|u1"),
)
_WIDTH: Final = sum(np.dtype(dtype).itemsize for _, dtype in _COLUMNS)
_PRINTABLE: Final = range(0x21, 0x7F)


class BadRows(ValueError):
    """What is wrong with a block, to follow 'its relations'; the object's reader says where."""


def text_size(relation: Relation) -> int:
    """Return the bytes of a relation's names, roughly."""
    key = sum(map(len, relation.key))
    return len(relation.schema) + len(relation.name) + key + len(relation.key) + 2


def encode_rows(relations: Sequence[Relation]) -> bytes:
    """Return a block of up to ROWS relations. Bytes that are no UTF-8 are surrogates in names.

    Raise BadRows for numbers that have no room.
    """
    heaps = [
        _heap([relation.schema for relation in relations]),
        _heap([relation.name for relation in relations]),
        _heap([column for relation in relations for column in relation.key]),
    ]
    columns = [_column(name, dtype, relations) for name, dtype in _COLUMNS]
    lengths = _LENGTHS.pack(len(relations), *map(len, heaps))
    return b"".join([lengths, *columns, *heaps])


def decode_rows(content: bytes) -> list[Relation]:
    """Undo encode_rows(). Raise BadRows, never anything else."""
    if len(content) < _LENGTHS.size:
        raise BadRows("end before they begin")
    count, *sizes = _LENGTHS.unpack_from(content)
    start = _LENGTHS.size
    if count > ROWS or start + count * _WIDTH + sum(sizes) != len(content):
        raise BadRows("have not the length that they say")
    found: dict[str, list[Any]] = {}
    for name, dtype in _COLUMNS:
        column = np.frombuffer(content, dtype, count, start)
        found[name] = column.tolist()
        start += column.nbytes
    schemas = _texts(content[start : start + sizes[0]], count)
    start += sizes[0]
    names = _texts(content[start : start + sizes[1]], count)
    keys = _texts(content[start + sizes[1] :], sum(found["keys"]))
    _check(found)
    return list(_relations(found, schemas, names, keys))


def _relations(
    found: dict[str, list[Any]], schemas: list[str], names: list[str], keys: list[str]
) -> Any:
    known: dict[tuple[str, ...], tuple[str, ...]] = {}  # most keys are ('id',)
    at = 0
    for row, name in enumerate(names):
        key = tuple(keys[at : at + found["keys"][row]])
        at += len(key)
        yield Relation(
            found["oid"][row],
            schemas[row],
            name,
            chr(found["kind"][row]),
            found["filenode"][row],
            found["tablespace"][row],
            found["size"][row],
            found["rows"][row],
            known.setdefault(key, key),
            found["parent"][row],
            found["toast"][row],
            chr(found["persistence"][row]),
        )


def _check(found: dict[str, list[Any]]) -> None:
    if not all(map(math.isfinite, found["rows"])):
        raise BadRows("hold an estimate that is no number")
    if max(found["size"], default=0) >= 1 << 63:
        raise BadRows("hold a size that no file can have")
    if not all(code in _PRINTABLE for code in {*found["kind"], *found["persistence"]}):
        raise BadRows("hold a kind that PostgreSQL never writes")


def _column(name: str, dtype: str, relations: Sequence[Relation]) -> bytes:
    if name == "keys":
        values: list[Any] = [len(relation.key) for relation in relations]
    elif name in ("kind", "persistence"):
        values = [ord(getattr(relation, name)) for relation in relations]
    else:
        values = [getattr(relation, name) for relation in relations]
    try:
        return np.array(values, dtype).tobytes()
    except OverflowError as error:
        raise BadRows(f"hold a number that has no room: {error}") from error


def _heap(texts: Sequence[str]) -> bytes:
    # A NUL in a name would make two of it; PostgreSQL's names cannot hold one.
    return Heap.join([text.encode("utf-8", "surrogateescape") for text in texts]).content


def _texts(heap: bytes, count: int) -> list[str]:
    if heap.count(b"\0") != count or heap[-1:] not in (b"", b"\0"):
        raise BadRows("have not the names that they say")
    known: dict[bytes, str] = {}  # schemas and keys are few
    texts = []
    for item in heap.split(b"\0")[:-1]:
        text = known.get(item)
        if text is None:
            text = known[item] = item.decode("utf-8", "surrogateescape")
        texts.append(text)
    return texts
