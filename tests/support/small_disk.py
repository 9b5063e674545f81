"""A file system that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgkeep.server.binaries import give_to_server_user
from pgkeep.server.scratch import ScratchCluster


@contextmanager
def small_disk(place: Path, size: str, server: ScratchCluster | None = None) -> Iterator[Path]:
    """Yield a directory of the server's user on a file system of its own; skip where none can be.

    The server is stopped before it goes away, if something of the server's is still on it.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "pgkeep-test", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: this machine allows no mounts")
    try:
        give_to_server_user(place)
        yield place
    finally:
        if subprocess.run(["umount", str(place)], check=server is None).returncode != 0:
            assert server is not None
            server.kill9()
            subprocess.run(["umount", str(place)], check=True)
