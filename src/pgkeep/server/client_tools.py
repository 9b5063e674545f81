"""PostgreSQL's client programs, of a version that can talk to a server and dump it.

pg_dump must be of the server's major version or newer (pg_dump.c: "aborting because of server
version mismatch"). A client package alone will do: no server need be installed here.
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.postgres.versions import major_of
from pgkeep.server.binaries import Binaries, PgToolsMissing, places_of_programs

_VERSION: Final = re.compile(r"\) (\d+(?:\.\d+)*(?:devel|beta\d+|rc\d+)?)")


class ToolsTooOld(PgkeepError):
    """No pg_dump here can read a server of this version."""

    code = "client-programs-too-old"
    exit_status = 239

    server: str  # 'the server at db1:5432'
    version: str
    found: tuple[str, ...]  # '15.18 in /usr/lib/postgresql/15/bin'

    def __str__(self) -> str:
        have = f"the newest here is {self.found[-1]}" if self.found else "there is none here"
        return (
            f"cannot dump or restore {self.server}: it is PostgreSQL {self.version}, "
            f"and pg_dump must be at least as new; {have}"
        )

    @property
    def hint(self) -> str:
        major = major_of(self.version)
        return (
            f"install the client programs of PostgreSQL {major} or newer (Debian: apt install "
            f"postgresql-client-{major}; Red Hat: dnf install postgresql{major}), or name their "
            "folder with pg_bin in pgkeep.toml"
        )


ClientTools = Binaries  # of an installation in which nothing but clients need be


def find_tools(
    server_version: str, server: str = "the server", explicit: str | None = None
) -> ClientTools:
    """Return the programs of the server's major version, else those of the next newer one.

    `explicit` is a folder the user named. Raise ToolsTooOld, naming what is here.
    """
    wanted = major_of(server_version)
    found = sorted(_candidates(explicit), key=lambda tools: tools.major)
    fitting = [tools for tools in found if tools.major >= wanted]
    if not fitting:
        raise ToolsTooOld(server, server_version, tuple(map(str, found)))
    return fitting[0]


def newest_tools(explicit: str | None = None) -> ClientTools:
    """Return the newest programs here: they read archives of every older version."""
    found = sorted(_candidates(explicit), key=lambda tools: tools.major)
    if not found:
        raise PgToolsMissing("any version", explicit, [])
    return found[-1]


def _candidates(explicit: str | None) -> list[ClientTools]:
    directories = dict.fromkeys([Path(explicit)] if explicit else _places())
    return [tools for tools in map(_inspect, directories) if tools is not None]


def _places() -> Iterator[Path]:
    for program in ("pg_dump", "pg_restore"):
        path = shutil.which(program)
        # Debian's is a wrapper that chooses a version by itself: the packaged folders have them.
        if path is not None and Path(path).resolve().name == program:
            yield Path(path).resolve().parent
    for directory in places_of_programs():
        yield directory.resolve()


@functools.cache
def _inspect(directory: Path) -> ClientTools | None:
    program = directory / "pg_dump"
    if not program.is_file() or not (directory / "pg_restore").is_file():
        return None
    try:
        answer = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return ClientTools(directory, match[1]) if match else None
