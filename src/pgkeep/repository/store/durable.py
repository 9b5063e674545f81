"""Effects on a local file system that a power cut cannot take back."""

import errno
import os
from collections.abc import Iterable, Iterator

from pgkeep.light_typing import Final

_BATCH: Final = 256  # buffers per writev; IOV_MAX of limits.h is 1024
_BATCH_BYTES: Final = 1 << 20
_TEMP: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def write_temp(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a new file and sync it. Not yet durable by name: that is for link or rename to do.

    `parts` is gone through once, so they may be made as they are asked for.
    """
    fd = os.open(path, _TEMP, 0o600)
    try:
        os.fchmod(fd, 0o600)  # whatever the umask took away
        _hand_over(fd, path)
        written = 0
        for batch in _batches(parts):
            size = sum(map(len, batch))
            _write_all(fd, batch)
            if size >= _BATCH_BYTES:
                # Starts to write this out while the next is made, so that fsync finds less to do:
                # 18 instead of 27 ms for a WAL segment that is fetched. No promise is needed.
                os.posix_fadvise(fd, written, size, os.POSIX_FADV_DONTNEED)
            written += size
        # Content before name: no name may ever lead to less than the whole blob. A failed fsync is
        # final: the kernel may have dropped the pages, and would report success the next time.
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(path: str) -> None:
    """Make a folder for nobody else's eyes, durably. It may be there already."""
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # a umask may have taken away our own right to enter it
        _hand_over(path, path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    # Also when another writer made it a moment ago: it may not have come to its own fsync yet.
    sync_folder(os.path.dirname(path))


def _hand_over(made: str | int, path: str) -> None:
    """As root, give what was made to the owner of the folder it is in.

    A backup or restore that root runs must not shut out the server's user, who archives there.
    """
    if os.geteuid() == 0:
        folder = os.stat(os.path.dirname(path) or ".")
        if folder.st_uid != 0:
            os.chown(made, folder.st_uid, folder.st_gid)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems know no fsync of a directory (fd.c: fsync_fname_ext does the
        # same); there a rename is durable as soon as the server has answered.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def replace_file(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Put a file in place of the one of this name, if any; readers see all of either.

    Durable once it returns. For one writer at a time. Raise OSError: then the old one is there.
    """
    temp = f"{path}.new"
    _remove(temp)  # of a process that died
    try:
        write_temp(temp, parts)
        os.replace(temp, path)
    except BaseException:
        _remove(temp)
        raise
    sync_folder(os.path.dirname(path))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # it is not there, or whatever is wrong with it shows where it is used


def temp_name() -> str:
    """Return a name that no other writer has, and that tells who wrote it."""
    return f"{os.uname().nodename}.{os.getpid()}.{os.urandom(6).hex()}"


def writer_is_alive(name: str) -> bool:
    """Tell whether the process that a temp name tells of still runs on this host."""
    host, _, rest = name.rpartition(".")[0].rpartition(".")
    if host != os.uname().nodename or not rest.isdecimal():
        return False
    return process_is_alive(int(rest))


def process_is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True


def read_range(fd: int, start: int, end: int) -> bytes:
    """Read up to `end`, or to the end of the file. Usually one call: pread(2) gives up to 2 GiB."""
    first = os.pread(fd, end - start, start)
    if len(first) == end - start:
        return first
    pieces = [first]
    while pieces[-1] and (read := sum(map(len, pieces))) < end - start:
        pieces.append(os.pread(fd, end - start - read, start + read))
    return b"".join(pieces)


def _batches(parts: Iterable[bytes | memoryview]) -> Iterator[list[memoryview]]:
    batch: list[memoryview] = []
    size = 0
    for part in parts:
        view = memoryview(part).cast("B")
        batch.append(view)
        size += len(view)
        if size >= _BATCH_BYTES or len(batch) == _BATCH:
            yield batch
            batch, size = [], 0
    yield batch


def _write_all(fd: int, batch: list[memoryview]) -> None:
    """Write every byte: writev(2) may stop anywhere, as on a disk that fills up."""
    while batch := [view for view in batch if len(view)]:
        written = os.writev(fd, batch)
        if written == 0:
            raise OSError(errno.EIO, "the file system took no bytes and gave no reason")
        for index, view in enumerate(batch):
            batch[index] = view[written:]
            written -= min(written, len(view))
