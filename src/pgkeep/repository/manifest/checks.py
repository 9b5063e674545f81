"""What must hold of a manifest's tables before anything is done with them.

Every path, size and offset comes from a repository that others may have written: nothing behind
these checks needs to ask again. All of it is numpy over whole columns or searches over whole heaps,
so half a million files take a fraction of a second.
"""

import os
from itertools import pairwise
from typing import Final

import numpy as np

from pgkeep.errors import PgkeepError
from pgkeep.repository.manifest.tables import (
    CHUNK_LIMIT,
    COLUMNS,
    Array,
    EntryKind,
    FileTable,
    Heap,
    PackTable,
    Tables,
    starts,
)
from pgkeep.repository.seal import HEADER_SIZE, TAG_SIZE

_PATH_LIMIT: Final = 4096  # bytes: PATH_MAX of limits.h
_SEALED_LIMIT: Final = CHUNK_LIMIT + HEADER_SIZE + TAG_SIZE  # what cannot be compressed stays raw
_BATCH: Final = 1 << 20  # rows that are compared at a time
_TABLESPACES: Final = b"pg_tblspc/"  # <oid>: the only symlinks that entries may lie under


class BadManifest(PgkeepError):
    """A manifest that is damaged, or was not written by pgkeep."""

    code = "manifest-damaged"
    exit_status = 34

    where: str
    why: str

    def __str__(self) -> str:
        return f"cannot restore from {self.where}: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "other backups are not affected (pgkeep list); to save this one bring the object back "
            "from another copy of the repository"
        )


class UnsafePath(PgkeepError):
    """A manifest names a path that a restore must not write to."""

    code = "unsafe-path"
    exit_status = 33

    where: str
    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot restore from {self.where}: its path {self.path!r} {self.why}"

    @property
    def hint(self) -> str:
        return "pgkeep writes no such path: find out who else can write to the repository"


def check_tables(tables: Tables, block_size: int, where: str) -> None:
    """Raise BadManifest or UnsafePath unless a restore can trust every number and path."""
    try:
        _check_shapes(tables)
        _check_kinds(tables.file)
        _check_chunks(tables)
        _check_sizes(tables, block_size)
    except _Wrong as wrong:
        raise BadManifest(where, str(wrong)) from None
    check_paths(tables.file, where)


def check_packs(packs: PackTable, where: str) -> None:
    """Raise BadManifest unless a table of packs, read without the rest, holds together."""
    if len(packs.id) != len(packs.size):
        raise BadManifest(where, "the columns of its pack table differ in length")


def check_paths(files: FileTable, where: str) -> None:
    """Raise UnsafePath for a path that leads out, appears twice or runs through a symlink."""
    paths = files.path.items
    _check_parts(files.path, where)
    for former, path in pairwise(paths):
        if former >= path:
            why = "appears twice" if former == path else "is out of order"
            raise UnsafePath(where, os.fsdecode(path), why)
    _check_parents(files, where)


class _Wrong(Exception):
    """Why a manifest cannot be used; the caller knows where it is."""


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise _Wrong(why)


def _check_shapes(tables: Tables) -> None:
    for name, heap in (("path", tables.file.path), ("link", tables.file.link)):
        _require(heap.content[-1:] in (b"", b"\0"), f"its {name} heap does not end with a NUL")
    for name, wanted in COLUMNS.items():
        table = getattr(tables, name)
        lengths = {len(getattr(table, column)) for column in wanted if column != "link"}
        _require(len(lengths) == 1, f"the columns of its {name} table differ in length")
    symlinks = int(np.count_nonzero(tables.file.kind == EntryKind.SYMLINK))
    _require(len(tables.file.link) == symlinks, "it has not one target for each symlink")
    for counts, table, name in (
        (tables.file.layers, tables.layer, "layer"),
        (tables.layer.chunks, tables.chunk, "chunk"),
        (tables.layer.pages, tables.page, "page"),
    ):
        total = int(counts.sum(dtype=np.uint64))
        _require(total == len(table), f"its {name} table has {len(table)} rows instead of {total}")


def _check_kinds(files: FileTable) -> None:
    _require(bool((files.kind <= max(EntryKind)).all()), "it has an entry of an unknown kind")
    _require(bool((files.mode <= 0o7777).all()), "it has an entry with impossible permissions")
    others = files.kind != EntryKind.FILE
    empty = (files.size[others] == 0).all() and (files.layers[others] == 0).all()
    _require(bool(empty), "it has a directory or symlink with content")
    _require(all(files.link), "it has a symlink to nowhere")
    whole = (files.size == 0) == (files.layers == 0)
    _require(bool(whole.all()), "it has a file whose size and layers do not agree")


def _check_chunks(tables: Tables) -> None:
    chunks, packs = tables.chunk, tables.pack
    _require(bool((tables.layer.chunks > 0).all()), "it has a layer without chunks")
    if not len(chunks):
        return
    _require(int(chunks.pack.max()) < len(packs), "a chunk is in a pack that it does not name")
    fits = (chunks.plain > 0).all() and int(chunks.plain.max()) <= CHUNK_LIMIT
    _require(bool(fits), "a chunk's plain length is out of range")
    fits = (chunks.sealed > HEADER_SIZE).all() and int(chunks.sealed.max()) <= _SEALED_LIMIT
    _require(bool(fits), "a chunk's sealed length is out of range")
    end = chunks.offset.astype(np.int64) + chunks.sealed
    _require(
        bool((end <= packs.size[chunks.pack]).all()), "a chunk ends behind the end of its pack"
    )


def _check_sizes(tables: Tables, block_size: int) -> None:
    files, layers = tables.file, tables.layer
    chunk_start = starts(tables.chunk.plain)[layers.chunk_start]
    layer_bytes = np.diff(chunk_start)
    first = np.zeros(len(layers), bool)
    first[files.layer_start[:-1][files.layers > 0]] = True
    _require(bool(((layers.pages == 0) == first).all()), "a file begins not with a whole copy")
    simple = files.layers == 1
    held = layer_bytes[files.layer_start[:-1][simple]].astype(np.uint64)
    _require(bool((held == files.size[simple]).all()), "a file's chunks do not add up to its size")
    if not simple.all() and len(tables.page):
        _check_overlays(tables, layer_bytes, block_size)


def _check_overlays(tables: Tables, layer_bytes: Array, block_size: int) -> None:
    layers = tables.layer
    overlay = layers.pages > 0
    held = layers.pages[overlay].astype(np.int64) * block_size
    _require(bool((layer_bytes[overlay] == held).all()), "an overlay's chunks do not fit its pages")
    in_overlay = np.repeat(overlay, layers.chunks)
    cut = tables.chunk.plain[in_overlay] % block_size
    _require(not cut.any(), "an overlay's chunk ends within a page")
    borders = layers.page_start[:-1][overlay]  # where another overlay begins
    _require(_rises(tables.page.block, borders), "an overlay's pages are not in order")
    for index in tables.overlaid().tolist():
        _check_overlaid(tables, layer_bytes, block_size, index)


def _rises(blocks: Array, borders: Array) -> bool:
    """Tell whether each block is above the one before, but for those where an overlay begins.

    In batches: a large cluster has a hundred million of them.
    """
    for low in range(0, len(blocks) - 1, _BATCH):
        part = blocks[low : low + _BATCH + 1]
        falls = np.flatnonzero(part[1:] <= part[:-1]) + low + 1
        if not np.isin(falls, borders).all():
            return False
    return True


def _check_overlaid(tables: Tables, layer_bytes: Array, block_size: int, index: int) -> None:
    """Check that every page of a file was written by some layer, whatever size it claims."""
    files, layers = tables.file, tables.layer
    first, end = (int(layer) for layer in files.layer_start[index : index + 2])
    size, base = int(files.size[index]), int(layer_bytes[first])
    rows = slice(int(layers.chunk_start[first]), int(layers.chunk_start[first + 1]))
    whole_pages = not (tables.chunk.plain[rows] % block_size).any() and not size % block_size
    _require(whole_pages, "a file with overlays does not consist of whole pages")
    pages = tables.page.block[int(layers.page_start[first]) : int(layers.page_start[end])]
    beyond = np.unique(pages[(pages >= base // block_size) & (pages < size // block_size)])
    wanted = max(0, size - base) // block_size
    _require(len(beyond) == wanted, "a file has pages that no layer holds")


def _check_parts(paths: Heap, where: str) -> None:
    """Refuse '', '.' and '..' as a part, and so '/' at either end, with searches at C speed."""
    parts = b"\0" + paths.content.replace(b"/", b"\0")
    # Each pattern is one part between separators; 'a/b' has become two parts like any others.
    if any(part in parts for part in (b"\0\0", b"\0.\0", b"\0..\0")):
        for path in paths:
            if {b"", b".", b".."}.intersection(path.split(b"/")):
                raise UnsafePath(where, os.fsdecode(path), "could lead out of the target directory")
    if max(map(len, paths), default=0) > _PATH_LIMIT:
        longest = max(paths, key=len)
        raise UnsafePath(where, os.fsdecode(longest[:80]) + "...", "is too long")


def _check_parents(files: FileTable, where: str) -> None:
    """Demand that everything lies in a directory of the table: no write goes through a symlink."""
    paths, kinds = files.path.items, files.kind.tolist()
    entries = zip(paths, kinds, strict=True)
    allowed = {
        path for path, kind in entries if kind == EntryKind.DIRECTORY or _is_link(path, kind)
    }
    allowed.add(b"")
    for path in paths:
        if path.rpartition(b"/")[0] not in allowed:
            raise UnsafePath(where, os.fsdecode(path), "is in no directory of this backup")


def _is_link(path: bytes, kind: int) -> bool:
    """Tell whether this is a tablespace: the restore decides where its symlink leads."""
    oid = path.removeprefix(_TABLESPACES)
    return kind == EntryKind.SYMLINK and len(oid) < len(path) and oid.isdigit()
