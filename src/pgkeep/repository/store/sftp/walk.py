"""Go through a store's folders in the order of whole names, many of them asked for at once."""

import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from pgkeep.repository.store.base import BlobStat, StoreFailed
from pgkeep.repository.store.blob_names import is_part
from pgkeep.repository.store.sftp import files
from pgkeep.repository.store.sftp.address import SftpAddress
from pgkeep.repository.store.sftp.protocol import Attributes, Entry
from pgkeep.repository.store.sftp.session import Session

_DEPTH: Final = 16  # folders within folders; a ring of symlinks ends here
_AT_ONCE: Final = 32  # folders asked for together: a repository has 256 of packs

Found = Sequence[tuple[str, Attributes]]


class _Level(NamedTuple):
    """A folder's subfolders, read ahead in groups as the walk comes to them."""

    names: list[str]
    read: dict[str, Found]


class Walk:
    """What is below one prefix. `looking` runs a look with a session, and turns its errors."""

    def __init__(
        self,
        place: SftpAddress,
        prefix: str,
        looking: Callable[[Callable[[Session], list[Found]]], list[Found]],
    ) -> None:
        self._place = place
        self._prefix = prefix
        self._looking = looking

    def blobs(self) -> Iterator[BlobStat]:
        """Yield in the order of whole names: 'a.b' comes before 'a/b', as the bytes say."""
        for name, facts in self._everything():
            if not name.endswith("/") and name.startswith(self._prefix):
                yield BlobStat(name, facts.size or 0, float(facts.modified or 0))

    def folders(self) -> Iterator[str]:
        """Yield the paths of all folders below the prefix, which is one itself."""
        for name, _ in self._everything():
            if name.endswith("/"):
                yield f"{self._place.path}/{name[:-1]}"

    def _everything(self) -> Iterator[tuple[str, Attributes]]:
        folder = self._prefix[: self._prefix.rfind("/") + 1]
        (found,) = self._read([folder])
        yield from self._below(folder, found, _DEPTH)

    def _below(self, folder: str, found: Found, depth: int) -> Iterator[tuple[str, Attributes]]:
        if depth == 0:
            why = "its folders lead in a circle"
            raise StoreFailed(self._place.url, f"list {folder}", why)
        level = _Level([name for name, _ in found if name.endswith("/")], {})
        for name, facts in found:
            yield name, facts
            if name.endswith("/"):
                yield from self._below(name, self._next(level, name), depth - 1)

    def _next(self, level: _Level, name: str) -> Found:
        if name not in level.read:
            at = level.names.index(name)
            group = level.names[at : at + _AT_ONCE]
            level.read.update(zip(group, self._read(group), strict=True))
        return level.read.pop(name)

    def _read(self, folders: list[str]) -> list[Found]:
        paths = [f"{self._place.path}/{folder}".rstrip("/") for folder in folders]

        def look(session: Session) -> list[Found]:
            listed = files.list_folders(session, paths)
            return [
                self._sorted(session, folder, entries)
                for folder, entries in zip(folders, listed, strict=True)
            ]

        return self._looking(look)

    def _sorted(self, session: Session, folder: str, entries: list[Entry]) -> Found:
        """Return what is a repository's: plain files, and folders with a slash behind them."""
        found = []
        for entry in entries:
            part = entry.name.decode(errors="replace")
            if not is_part(part):
                continue
            mode = entry.attributes.mode or 0
            name = f"{folder}{part}"
            if stat.S_ISLNK(mode) and files.is_folder(session, f"{self._place.path}/{name}"):
                mode = stat.S_IFDIR
            if stat.S_ISDIR(mode):
                name += "/"
                if not (name.startswith(self._prefix) or self._prefix.startswith(name)):
                    continue
            elif not stat.S_ISREG(mode):
                continue
            found.append((name, entry.attributes))
        return sorted(found, key=lambda one: one[0])
