"""Records what commands do to a folder, by strace; see support.crash_image for what for."""

import os
import re
import shutil
import subprocess
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
    """An operation and its place among those of all processes.

    Names and content count from the beginning of a call, for others may see them before its end; a
    promise counts from its end.
    """

    at: float
    operation: Operation


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False).returncode == 0


def trace_words(log: Path | str) -> list[str]:
    """Return the words that run a command and record its calls."""
    options = ["-f", "-ttt", "-T", "-y", "-xx", "-s", "8388608", "--seccomp-bpf", "-q"]
    return ["strace", *options, "-e", "abbrev=none", "-e", f"trace={_CALLS}", "-o", str(log)]


def read_trace(log: Path, root: Path) -> list[Timed]:
    """Return what was done within `root`."""
    found = []
    for begun, ended, call, words, result in _calls(log):
        operation = _operation(call, words, result, os.fspath(root))
        if operation is not None:
            at = ended if operation.kind is Kind.SYNC else begun
            found.append(Timed(at, operation))
    return found


def read_end(log: Path) -> tuple[float, int]:
    """Return when the traced command ended, and its status."""
    ends = re.findall(r"^\d+ +(\d+\.\d+) \+\+\+ exited with (\d+) ", log.read_text(), re.MULTILINE)
    return float(ends[-1][0]), int(ends[-1][1])


def _calls(log: Path) -> Iterator[tuple[float, float, str, str, int]]:
    """Yield every call that succeeded, with its beginning and end."""
    begun: dict[str, tuple[float, str]] = {}
    with log.open() as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, stamp, text = match[1], float(match[2]), match[3]
            if text.endswith("<unfinished ...>"):
                begun[thread] = stamp, text.removesuffix("<unfinished ...>").rstrip()
                continue
            first, ended = stamp, stamp
            if resumed := text.startswith("<... "):
                first, head = begun.pop(thread)
                text = head + text.partition(" resumed>")[2]
            done = _DONE.match(text)
            if done is None or done[3].startswith("-"):
                continue
            if not resumed:
                ended = first + float(done[5])
            yield first, ended, done[1], done[2], int(done[3])


def _operation(call: str, words: str, result: int, root: str) -> Operation | None:
    """Return what a call did within the root; None for all that changes nothing there."""
    paths = [_within(_text(part), root) for part in _HEX.findall(words)[:2]]
    opened = _OPEN.match(words)
    by_handle = _within(_text(opened[1]), root) if opened else None
    if call in ("mkdir", "unlink", "link", "rename", "rmdir", "truncate"):
        # Relative to what is not recorded.
        assert all(_text(part).startswith("/") for part in _HEX.findall(words)), words
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
