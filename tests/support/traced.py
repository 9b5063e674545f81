"""Records what commands do to a folder, by strace; see support.crash_image for what for."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from support.crash_image import Kind, Operation

_CALLS: Final = (
    "openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
_LINE: Final = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_DONE: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*?)<([\d.]+)>$", re.DOTALL)
_HEX: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OPEN: Final = re.compile(r"^(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)(?:\(deleted\))?>")


class Timed(NamedTuple):
    """An operation, and when it had come to its end."""

    at: float
    operation: Operation


def trace_words(log: Path | str) -> list[str]:
    """Return the words that run a command and record its calls."""
    options = ["-f", "-ttt", "-T", "-y", "-xx", "-s", "8388608", "--seccomp-bpf", "-qq"]
    return ["strace", *options, "-e", "abbrev=none", "-e", f"trace={_CALLS}", "-o", str(log)]


def read_trace(log: Path, root: Path) -> list[Timed]:
    """Return what was done within `root`, in the order in which it was done."""
    found = []
    for at, call, words, result in _calls(log):
        operation = _operation(call, words, result, os.fspath(root))
        if operation is not None:
            found.append(Timed(at, operation))
    return found


def _calls(log: Path) -> Iterator[tuple[float, str, str, int]]:
    """Yield every call that succeeded, when it ended."""
    begun: dict[str, str] = {}
    with log.open() as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, stamp, text = match.groups()
            if text.endswith("<unfinished ...>"):
                begun[thread] = text.removesuffix("<unfinished ...>").rstrip()
                continue
            resumed = text.startswith("<... ")
            if resumed:
                text = begun.pop(thread) + text.partition(" resumed>")[2]
            done = _DONE.match(text)
            if done is None or done[3].startswith("-"):
                continue
            yield float(stamp) + (0 if resumed else float(done[5])), done[1], done[2], int(done[3])


def _operation(call: str, words: str, result: int, root: str) -> Operation | None:
    """Return what a call did within the root; None for all that changes nothing there."""
    paths = [_within(_text(part), root) for part in _HEX.findall(words)[:2]]
    opened = _OPEN.match(words)
    by_handle = _within(_text(opened[1]), root) if opened else None
    match call:
        case "openat" if "O_CREAT" in words:
            assert "O_EXCL" in words or paths[0] is None, words
            return _on(Kind.CREATE, paths[0])
        case "fsync" | "fdatasync":
            return _on(Kind.SYNC, by_handle)
        case "write" | "writev":
            if by_handle is None:
                return None
            content = b"".join(bytes.fromhex(p.replace("\\x", "")) for p in _HEX.findall(words))
            return Operation(Kind.WRITE, by_handle, content=content[:result])
        case "mkdir":
            return _on(Kind.MAKE_FOLDER, paths[0])
        case "unlink":
            return _on(Kind.UNLINK, paths[0])
        case "link" | "rename" if paths[0] is not None:
            assert paths[1] is not None, words
            return Operation(Kind.LINK if call == "link" else Kind.RENAME, paths[0], paths[1])
    # What is not known here must not be overlooked.
    assert call == "openat" or {*paths, by_handle} == {None} or not paths, f"{call}({words[:99]})"
    return None


def _on(kind: Kind, path: str | None) -> Operation | None:
    return None if path is None else Operation(kind, path)


def _text(escaped: str) -> str:
    return os.fsdecode(bytes.fromhex(escaped.replace("\\x", "")))


def _within(path: str, root: str) -> str | None:
    if path == root:
        return ""
    return path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else None
