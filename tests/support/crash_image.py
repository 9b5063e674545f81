"""What a power cut leaves of a folder: pure, from the operations on it in their order.

Nothing is promised but what POSIX says: content is durable after an fsync of its file, and a name
is there, or gone, for good after an fsync of its folder. Until then each may be on the disk or not,
names of one folder independently of each other. The strict image has nothing but what is promised;
images with dice have some of the rest as well.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NamedTuple


class Kind(StrEnum):
    CREATE = "create"  # a new file
    WRITE = "write"  # append `content`
    SYNC = "sync"  # a file or a folder
    MAKE_FOLDER = "make folder"
    LINK = "link"  # give the file the name `other` as well
    RENAME = "rename"  # to `other`, which is replaced
    UNLINK = "unlink"
    TOLD = "told"  # somebody was told that `path` is safe


class Operation(NamedTuple):
    """One thing that was done. Paths are relative to the folder; '' is the folder itself."""

    kind: Kind
    path: str
    other: str = ""
    content: bytes = b""

    def __str__(self) -> str:
        more = f" -> {self.other}" if self.other else ""
        return f"{self.kind} {self.path}{more}" + (f" {len(self.content)}" if self.content else "")


@dataclass(eq=False)
class File:
    """A file's content as it was written, piece by piece."""

    pieces: list[bytes] = field(default_factory=list)
    synced: int = 0  # so many pieces

    @property
    def safe(self) -> bool:
        return self.synced == len(self.pieces)

    def content(self) -> bytes:
        """Return all of it; of one that is safe, always the same object."""
        whole = b"".join(self.pieces)
        if self.safe and len(self.pieces) != 1:
            self.pieces, self.synced = [whole], 1
        return self.pieces[0] if self.safe else whole


@dataclass(eq=False)
class Folder:
    """What is in a folder by now, what was when it was synced, and what was done since."""

    now: dict[str, "Node"] = field(default_factory=dict)
    durable: dict[str, "Node"] = field(default_factory=dict)
    pending: list[tuple[str, "Node | None"]] = field(default_factory=list)

    def put(self, name: str, node: "Node | None") -> None:
        if node is None:
            del self.now[name]
        else:
            self.now[name] = node
        self.pending.append((name, node))

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.pending.clear()

    def after_crash(self, dice: Random | None) -> dict[str, "Node"]:
        found = dict(self.durable)
        if dice is None:
            return found
        changes: dict[str, list[Node | None]] = {}
        for name, node in self.pending:
            changes.setdefault(name, []).append(node)
        for name, nodes in changes.items():
            reached = dice.randint(0, len(nodes))  # so many of them, in their order
            if reached and (node := nodes[reached - 1]) is not None:
                found[name] = node
            elif reached:
                found.pop(name, None)
        return found


Node = File | Folder


@dataclass
class Disk:
    """A folder, and all that may be left of it."""

    root: Folder = field(default_factory=Folder)
    told: list[str] = field(default_factory=list)

    def apply(self, operation: Operation) -> None:
        kind, path, other, content = operation
        match kind:
            case Kind.CREATE:
                self._put(path, File())
            case Kind.WRITE:
                self._file(path).pieces.append(content)
            case Kind.SYNC:
                node = self._find(path)
                if isinstance(node, Folder):
                    node.sync()
                else:
                    node.synced = len(node.pieces)
            case Kind.MAKE_FOLDER:
                self._put(path, Folder())
            case Kind.LINK:
                self._put(other, self._file(path))
            case Kind.RENAME:
                self._put(other, self._file(path))
                self._put(path, None)
            case Kind.UNLINK:
                self._put(path, None)
            case Kind.TOLD:
                self.told.append(path)

    def image(self, dice: Random | None = None) -> dict[str, bytes]:
        """Return the files that are left, with their content."""
        return dict(_left(self.root, "", dice))

    def contents(self) -> dict[str, bytes]:
        """Return the files as they are now, as long as the power is on."""
        return dict(_there(self.root, ""))

    def contents_of(self, path: str) -> bytes:
        return self._file(path).content()

    def _put(self, path: str, node: Node | None) -> None:
        above, _, name = path.rpartition("/")
        folder = self._find(above)
        assert isinstance(folder, Folder), path
        folder.put(name, node)

    def _find(self, path: str) -> Node:
        node: Node = self.root
        for part in filter(None, path.split("/")):
            assert isinstance(node, Folder), path
            node = node.now[part]
        return node

    def _file(self, path: str) -> File:
        node = self._find(path)
        assert isinstance(node, File), path
        return node


def replay(operations: Iterable[Operation]) -> Disk:
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    return disk


def _left(folder: Folder, prefix: str, dice: Random | None) -> Iterator[tuple[str, bytes]]:
    for name, node in folder.after_crash(dice).items():
        if isinstance(node, Folder):
            yield from _left(node, f"{prefix}{name}/", dice)
        else:
            yield prefix + name, _surviving(node, dice)


def _surviving(file: File, dice: Random | None) -> bytes:
    """Return what is left of a content: what was synced, and maybe some more, or zeros for it."""
    if file.safe:
        return file.content()
    kept = b"".join(file.pieces[: file.synced])
    if dice is None:
        return kept
    rest = b"".join(file.pieces[file.synced :])
    cut = dice.randint(0, len(rest))
    return kept + rest[:cut] + bytes(dice.choice([0, len(rest) - cut]))


def _there(folder: Folder, prefix: str) -> Iterator[tuple[str, bytes]]:
    for name, node in folder.now.items():
        if isinstance(node, Folder):
            yield from _there(node, f"{prefix}{name}/")
        else:
            yield prefix + name, node.content()
