"""Write repaired pages, each after a copy of the damaged one is safe on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pgkeep.postgres.pages import PAGE_SIZE, PageChecker
from pgkeep.repair.plan import BadPage, Verdict, is_intact
from pgkeep.repair.refused import RepairFailed


class PageWriter:
    """Overwrites damaged pages of one cluster."""

    def __init__(self, root: str, kept_in: str) -> None:
        """`kept_in` is the directory that is made for the copies, or what its name begins with."""
        self._root: Final = root
        self._kept_in = kept_in
        self._checker: Final = PageChecker()

    def begin(self) -> str:
        """Make the directory for the copies and return its name. Raise RepairFailed."""
        wanted, count = self._kept_in, 1
        while os.path.lexists(self._kept_in):  # of another run within this second
            count += 1
            self._kept_in = f"{wanted}-{count}"
        with _told("make", self._kept_in):
            os.mkdir(self._kept_in, 0o700)
            self._give(os.open(self._kept_in, os.O_RDONLY | os.O_DIRECTORY))
        _sync_directory(os.path.dirname(self._kept_in))
        return self._kept_in

    def write(self, verdict: Verdict) -> None:
        """Put the page in its place, durably, and read it again. Raise RepairFailed."""
        page = verdict.page
        path = os.path.join(self._root, page.path)
        if not is_intact(verdict.content, page.block, self._checker):
            raise RepairFailed(path, "write", f"the new block {page.block} is not intact either")
        with _told("write", path):
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags)
            try:
                old = os.pread(descriptor, PAGE_SIZE, page.position)
                if is_intact(old, page.block, self._checker):
                    return  # somebody repaired it meanwhile
                # First the copy: what is overwritten is gone.
                self._keep(page, old)
                _put(descriptor, verdict.content, page.position)
                os.fsync(descriptor)
                new = os.pread(descriptor, PAGE_SIZE, page.position)
            finally:
                os.close(descriptor)
        if new != verdict.content:
            raise RepairFailed(path, "read back", f"block {page.block} is not what was written")

    def _give(self, descriptor: int) -> None:
        """Give a new file or directory to whom the cluster belongs, and close it."""
        try:
            if os.geteuid() == 0:
                owner = os.stat(self._root)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)

    def _keep(self, page: BadPage, content: bytes) -> None:
        name = f"{page.path.replace('/', '_')}.block-{page.block}"
        path = os.path.join(self._kept_in, name)
        with _told("keep", path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            try:
                _put(descriptor, content, 0)
                os.fsync(descriptor)
            finally:
                self._give(descriptor)
        _sync_directory(self._kept_in)


def _put(descriptor: int, content: bytes, position: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, position)
        left, position = left[written:], position + written


def _sync_directory(path: str) -> None:
    with _told("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _told(action: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RepairFailed(path, action, (error.strerror or str(error)).lower()) from error
