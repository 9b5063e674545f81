"""A disk of its own for the repository, which can be full or read-only for a while."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "6g"  # of memory, at most: a run of a quarter of an hour needs less than half of it


class Disk:
    """A tmpfs, where this user may mount one; else a plain directory without those faults."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        options = f"size={SIZE},mode=755"
        self.mounted = os.geteuid() == 0 and _runs(
            "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)
        )

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no more than a few pages of room."""
        assert any(self._shrink() for _ in range(20))
        try:
            yield
        finally:
            assert self._remount(f"size={SIZE}")

    def _shrink(self) -> bool:
        facts = os.statvfs(self.place)
        used = facts.f_blocks - facts.f_bfree
        return self._remount(f"size={(used + 16) * facts.f_frsize}")

    @contextmanager
    def read_only(self) -> Iterator[bool]:
        """Refuse every write; yield False when something was being written all the time."""
        remounted = any(self._remount("ro") for _ in range(20))
        try:
            yield remounted
        finally:
            if remounted:
                assert self._remount("rw")

    def _remount(self, how: str) -> bool:
        done = _runs("mount", "-o", f"remount,{how}", str(self.place))
        if not done:
            time.sleep(0.05)
        return done

    def keep(self, place: Path) -> None:
        """Copy what is on it to where it will survive."""
        if self.mounted:
            shutil.copytree(self.place, place)

    def remove(self) -> None:
        if self.mounted:
            _runs("umount", "--lazy", str(self.place))


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
