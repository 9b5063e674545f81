"""A store in a local directory: durable at every return, private from the first instant.

A blob is written into `.tmp` at the root, synced, and only then given its name; so whatever dies
half-way leaves a file in `.tmp` and nothing else. sweep_temp() removes such remains.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from pgkeep.light_typing import Final
from pgkeep.repository.store import durable
from pgkeep.repository.store.base import (
    Beginning,
    BlobExists,
    BlobMissing,
    BlobStat,
    ShortRead,
    StoreFailed,
    TempFile,
)
from pgkeep.repository.store.blob_names import check_name, check_prefix, is_part
from pgkeep.repository.store.os_errors import root_missing, translate

_TEMP: Final = ".tmp"  # no blob's name begins with a dot
_DEPTH: Final = 16  # folders within folders; a ring of symlinks ends here
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would block


class LocalStore:
    """Blobs as files under one directory, which must be there already. See base.Store."""

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)

    @property
    def url(self) -> str:
        return self._root

    @property
    def address(self) -> str:
        return self._root

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 1

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        path = self._path(name)
        with self._translated(f"write {name}"), self._temp_file(parts) as temp:
            self._into_folder(name, lambda: os.rename(temp, path))

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        path = self._path(name)
        with self._translated(f"create {name}"), self._temp_file(parts) as temp:
            try:
                # link(2) refuses a taken name, so of two racing writers exactly one wins.
                self._into_folder(name, lambda: os.link(temp, path))
            except FileExistsError:
                # NFS says so too when it had to send our own request twice.
                ours = os.path.samefile(temp, path)
                # The winner may not have come to its own fsync yet, and "exists" must be durable
                # too: PostgreSQL recycles a WAL segment that is said to be there already.
                durable.sync_folder(os.path.dirname(path))
                if not ours:
                    raise BlobExists(self.url, name) from None

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        def end_of(size: int) -> int:
            end = size if length is None else start + length
            if max(start, end) > size:
                raise ShortRead(self.url, name, max(start, end), size)
            return end

        return self._read(name, start, end_of).content

    def beginning(self, name: str, most: int) -> Beginning:
        return self._read(name, 0, lambda size: min(most, size))

    def stat(self, name: str) -> BlobStat:
        path = self._path(name)
        with self._translated(f"read {name}", name):
            found = self._regular(os.lstat(path), name)
        return BlobStat(name, found.st_size, found.st_mtime)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        with self._translated(f"list {prefix or 'everything'}"):
            self._demand_root(f"list {prefix or 'everything'}")
            yield from self._walk(f"{folder}/" if folder else "", prefix, _DEPTH)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._translated(f"delete {name}"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                self._demand_root(f"delete {name}")
                return
            # What refers to a blob is deleted before it: that order must survive a power cut too.
            durable.sync_folder(os.path.dirname(path))

    def secure(self, prefix: str) -> None:
        check_prefix(prefix)
        with self._translated(f"sync {prefix}"):
            self._demand_root(f"sync {prefix}")
            path = self._root
            # From the top, like new folders: who made one may have died before he synced it.
            for part in prefix.split("/")[:-1]:
                durable.sync_folder(path)
                path = os.path.join(path, part)
                if not os.path.isdir(path):
                    return
            self._secure(path, _DEPTH)

    def free_space(self) -> int | None:
        with self._translated("measure the free space"):
            room = os.statvfs(self._root)
            return room.f_bavail * room.f_frsize

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        """Remove and return what writers left that died more than `older_than` seconds ago."""
        swept = []
        with self._translated(f"clean {_TEMP}"):
            for entry in _entries(os.path.join(self._root, _TEMP)):
                found = _lstat(entry.path)
                if found is None or now - found.st_mtime < older_than:
                    continue
                if durable.writer_is_alive(entry.name):
                    continue
                os.unlink(entry.path)
                swept.append(TempFile(f"{_TEMP}/{entry.name}", found.st_size))
        return sorted(swept)

    @contextmanager
    def _temp_file(self, parts: Sequence[bytes | memoryview]) -> Iterator[str]:
        """Give the path of a synced temporary file with this content; it is gone afterwards."""
        temp = os.path.join(self._root, _TEMP, durable.temp_name())
        try:
            if not os.path.isdir(os.path.dirname(temp)):
                self._demand_root("write")
                durable.make_folder(os.path.dirname(temp))
            durable.write_temp(temp, parts)
            yield temp
        finally:
            with suppress(OSError):  # renamed; or what stays is garbage that sweep_temp() finds
                os.unlink(temp)

    def _into_folder(self, name: str, give_name: Callable[[], None]) -> None:
        """Give a temporary file its name; make the folders for it if they are not there."""
        folder = os.path.dirname(name)
        try:
            give_name()
        except FileNotFoundError:
            self._demand_root(f"write {name}")
            path = self._root
            for part in folder.split("/"):  # from the top: each is durable before it is used
                path = os.path.join(path, part)
                durable.make_folder(path)
            give_name()
        # Until now a power cut could take the name back.
        durable.sync_folder(os.path.join(self._root, folder))

    def _read(self, name: str, start: int, end_of: Callable[[int], int]) -> Beginning:
        """Return what a blob has from `start` on to where `end_of` its size is."""
        path = self._path(name)
        with self._translated(f"read {name}", name):
            fd = os.open(path, _READ)
            try:
                size = self._regular(os.fstat(fd), name).st_size
                end = end_of(size)
                content = durable.read_range(fd, start, end)
            finally:
                os.close(fd)
        if len(content) != end - start:
            raise ShortRead(self.url, name, end, start + len(content))
        return Beginning(content, size)

    def _secure(self, path: str, depth: int) -> None:
        durable.sync_folder(path)
        for entry in _entries(path) if depth else ():
            if is_part(entry.name) and entry.is_dir():
                self._secure(entry.path, depth - 1)

    def _path(self, name: str) -> str:
        check_name(name)
        return os.path.join(self._root, name)

    def _walk(self, folder: str, prefix: str, depth: int) -> Iterator[BlobStat]:
        """Yield in the order of whole names: 'a.b' comes before 'a/b', as the bytes say."""
        if depth == 0:
            raise StoreFailed(self.url, f"list {folder}", "its folders lead in a circle")
        found = {_listed(folder, entry): entry for entry in _entries(self._root + "/" + folder)}
        for name in sorted(found):
            if name.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk(name, prefix, depth - 1)
            elif name and name.startswith(prefix):
                facts = _lstat(found[name].path)
                if facts is not None and stat.S_ISREG(facts.st_mode):
                    yield BlobStat(name, facts.st_size, facts.st_mtime)

    def _regular(self, found: os.stat_result, name: str) -> os.stat_result:
        if not stat.S_ISREG(found.st_mode):
            raise StoreFailed(self.url, f"read {name}", "it is not a plain file")
        return found

    @contextmanager
    def _translated(self, action: str, name: str | None = None) -> Iterator[None]:
        """Turn the system's errors into the store's. With `name`, absence is BlobMissing."""
        try:
            yield
        except FileNotFoundError as error:
            self._demand_root(action)
            if name is None:
                raise translate(error, self._root, action) from error
            self._demand_no_broken_link(name, action)
            raise BlobMissing(self.url, name) from None
        except OSError as error:
            raise translate(error, self._root, action) from error

    def _demand_root(self, action: str) -> None:
        """Raise StoreFailed when the whole repository is away: nothing is known to be missing."""
        try:
            os.stat(self._root)
        except FileNotFoundError as error:
            raise root_missing(self._root, action) from error
        except OSError as error:
            raise translate(error, self._root, action) from error

    def _demand_no_broken_link(self, name: str, action: str) -> None:
        """Raise StoreFailed when a part of the repository is elsewhere, and that place is away."""
        path = self._root
        for part in name.split("/")[:-1]:
            path = os.path.join(path, part)
            if os.path.islink(path) and not os.path.exists(path):
                why = f"{path} is a symbolic link to {os.readlink(path)}, which is not there"
                raise StoreFailed(self.url, action, why, "mount what it leads to")


def _entries(folder: str) -> Sequence["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []  # never made, or deleted while we looked


def _listed(folder: str, entry: "os.DirEntry[str]") -> str:
    """Return an entry's name, with a slash if it is a folder; '' for what is not a repository's."""
    if not is_part(entry.name):
        return ""
    return f"{folder}{entry.name}/" if entry.is_dir() else f"{folder}{entry.name}"


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
