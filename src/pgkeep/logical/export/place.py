"""Where an export goes: a file or directory that has its name only when it is whole; or a stream.

What is cut off, whether by an error, a signal or a power cut, is at most left behind under a name
that ends in '.partial'.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from pgkeep.logical.export.formats import STDOUT
from pgkeep.logical.export.plan import CannotExport, ExportRequest
from pgkeep.repository.manifest.dump_facts import TOC
from pgkeep.repository.store.durable import sync_folder

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE: Final = 0o600  # globals.sql holds password hashes, and every dump the data
_FOLDER: Final = 0o700
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
ADVICE: Final = {
    errno.ENOSPC: "nothing of it was left there: make room, or pipe '-o -' to where there is some",
    errno.EDQUOT: "nothing of it was left there: your quota is used up",
    errno.EROFS: "the file system is read-only: name another place with -o",
    errno.ENOENT: "make the directory that it should be in, or name another place with -o",
    errno.EACCES: "name a place with -o that you may write to",
    errno.EBUSY: "name a directory inside it: a mount point cannot be replaced",
    errno.EFBIG: "the file system or a limit (ulimit -f) does not allow files of this size",
}


@contextmanager
def told(request: ExportRequest) -> Iterator[None]:
    """Turn what the system refuses into CannotExport; that nobody reads any more stays as it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, str(error.errno))
        why = f"{(error.strerror or str(error)).lower()} ({code})"
        advice = ADVICE.get(error.errno or 0, "")
        raise CannotExport(request.dump, request.output, why, advice) from error


@contextmanager
def new_file(request: ExportRequest) -> Iterator[BinaryIO]:
    """Give the file to write to. Unless the block ends well there is nothing afterwards."""
    # Looked at as it was given: what /dev/fd/63 leads to has no path.
    if request.output == STDOUT or _is_stream(request.output):
        with _stream(request.output) as sink:
            yield sink
        return
    path = _real_path(request.output)
    _refuse_existing(request, path, taken=os.path.lexists(path))
    partial = _partial(path)
    with open(os.open(partial, _NEW, _FILE), "w+b") as sink:
        try:
            os.fchmod(sink.fileno(), _FILE)  # whatever the umask took away
            yield sink
            sink.flush()
            # Content before name: the name must never lead to less than the whole.
            os.fsync(sink.fileno())
            _name_file(request, partial, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
    sync_folder(os.path.dirname(path))


@contextmanager
def new_directory(request: ExportRequest) -> Iterator[str]:
    """Give the directory to write to, whose files the block makes durable."""
    path = _real_path(request.output)
    taken = os.path.lexists(path) and not _is_empty(path)
    _refuse_existing(request, path, taken=taken)
    if taken and not os.path.isfile(os.path.join(path, TOC)):
        why = "what is there is not the directory of a dump, and pgkeep does not remove it"
        raise CannotExport(request.dump, request.output, why, "name another place with -o")
    partial = _partial(path)
    os.mkdir(partial, _FOLDER)
    try:
        os.chmod(partial, _FOLDER)
        yield partial
        sync_folder(partial)
        if taken:
            _replace_directory(partial, path)
        else:
            os.rename(partial, path)  # an empty directory gives way to it
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path))


def _real_path(output: str) -> str:
    return os.path.realpath(output)  # a link to the place of exports leads there


def _is_stream(path: str) -> bool:
    """Tell whether a path is a pipe or a device: /dev/null, a shell's >(...)."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def _stream(output: str) -> Iterator[BinaryIO]:
    descriptor = os.dup(1) if output == STDOUT else os.open(output, os.O_WRONLY | os.O_CLOEXEC)
    # Closed without a last flush when something failed: what is wrong is known then.
    with open(descriptor, "wb", buffering=0) as raw:
        sink = _Whole(raw)
        yield sink  # type: ignore[misc]


class _Whole:
    """An unbuffered stream all of whose writes are complete: others write to it as well."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def write(self, content: bytes | memoryview) -> int:
        rest = memoryview(content)
        while rest:
            rest = rest[self._raw.write(rest) :]
        return len(content)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self._raw.fileno()

    def seekable(self) -> bool:
        return False


def _refuse_existing(request: ExportRequest, path: str, *, taken: bool) -> None:
    if os.path.isdir(path) and request.format != "directory":
        why = "there is a directory of that name"
        raise CannotExport(request.dump, request.output, why, "name a file in it with -o")
    if taken and not request.force:
        advice = "name another place with -o, or replace it with --force"
        raise CannotExport(request.dump, request.output, "it exists", advice)


def _is_empty(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


def _partial(path: str) -> str:
    """Return a name beside `path`, so that a rename does it, and short, so that it always fits."""
    return os.path.join(os.path.dirname(path), f"pgkeep-export-{os.urandom(6).hex()}.partial")


def _name_file(request: ExportRequest, partial: str, path: str) -> None:
    if request.force:
        os.replace(partial, path)
        return
    try:
        # Unlike rename, link never replaces what somebody put there meanwhile.
        os.link(partial, path)
    except FileExistsError:
        _refuse_existing(request, path, taken=True)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(partial, path)
    else:
        os.unlink(partial)


def _replace_directory(partial: str, path: str) -> None:
    old = _partial(path)
    os.rename(path, old)
    try:
        # A power cut here leaves both, whole, under names that end in '.partial'.
        os.rename(partial, path)
    except BaseException:
        os.rename(old, path)
        raise
    sync_folder(os.path.dirname(path))
    shutil.rmtree(old, ignore_errors=True)
