"""What an installation of PostgreSQL has beside its programs: libraries to preload."""

import subprocess
from pathlib import Path

from pgkeep.server.binaries import Binaries, PgToolsMissing


def libraries(binaries: Binaries) -> frozenset[str]:
    """Return the names that shared_preload_libraries would find in an installation."""
    return frozenset(
        path.name.removesuffix(".so")
        for folder in _folders(binaries)
        for path in folder.glob("*.so")
    )


def _folders(binaries: Binaries) -> list[Path]:
    """Ask the installation where its libraries are; not every one brings pg_config."""
    home = binaries.directory.parent
    found = [home / "lib", home / "lib" / "postgresql", home / "lib64"]
    try:
        answer = subprocess.run(
            [binaries.tool("pg_config"), "--pkglibdir"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (PgToolsMissing, OSError, subprocess.TimeoutExpired):
        return found
    return [Path(answer.stdout.strip()), *found] if answer.stdout.strip() else found
