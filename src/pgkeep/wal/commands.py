"""The texts for archive_command and restore_command, safe for any path.

As text for people and postgresql.conf see docs/wal-archiving.md; a value still needs
postgres.conf.quote_value when it is written into a file.
"""

import os
import shutil
import sys
import zlib
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.postgres.conf import recovery_command, shell_command

PROGRAM: Final = "pgkeep-wal"
ACKS: Final = "pgkeep-acks-"  # folders in pg_wal, whose content no backup tool takes


class ProgramMissing(PgkeepError):
    """The program that PostgreSQL is to run for its WAL cannot be found."""

    code = "wal-program-missing"
    exit_status = 72

    looked: tuple[str, ...]

    def __str__(self) -> str:
        return f"cannot find {PROGRAM}: it is neither in {' nor in '.join(self.looked)}"

    @property
    def hint(self) -> str:
        return "install pgkeep again; pip puts pgkeep and pgkeep-wal into the same folder"


def find_program() -> str:
    """Return pgkeep-wal's absolute path: beside pgkeep, beside this Python, or on the PATH.

    PostgreSQL runs its commands with a short PATH of its own, so a bare name would not do.
    """
    folders = tuple(
        os.path.dirname(os.path.abspath(place)) for place in (sys.argv[0], sys.executable)
    )
    for folder in folders:
        path = os.path.join(folder, PROGRAM)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(PROGRAM)
    if found is None:
        raise ProgramMissing((*folders, "the PATH"))
    return os.path.abspath(found)


def archive_command(
    cluster: str,
    *,
    config: str | None = None,
    repository: str | None = None,
    program: str = "",
    ahead: bool = False,
) -> str:
    """Return the archive_command; at least one of `config` and `repository` must be given.

    One that has WAL pushed `ahead` first asks in the shell, which costs a millisecond, whether
    this very file is acknowledged already (wal/ahead/acks.py). The folder's name has a check of
    the whole command: what was acknowledged for another one says nothing.
    """
    origin = _origin(cluster, config, repository, program)
    if not ahead:
        return shell_command([*origin, "push", "%p"])
    folder = f"{ACKS}{zlib.crc32(repr(origin).encode()):08x}"
    command = shell_command([*origin, "--acks"])
    # $PPID is the archiver process, to which acknowledgements are given.
    return f'[ "pg_wal/{folder}/$PPID/%f" -ef "%p" ] || {command} "{folder}/$PPID" push "%p"'


def restore_command(
    cluster: str,
    generation: str,
    *,
    config: str | None = None,
    repository: str | None = None,
    program: str = "",
) -> str:
    """Return the restore_command for a data directory of `generation`."""
    origin = _origin(cluster, config, repository, program)
    return recovery_command([*origin, "fetch"], generation)


def _origin(cluster: str, config: str | None, repository: str | None, program: str) -> list[str]:
    if config is None and repository is None:
        raise ValueError("a WAL command needs a config or a repository")
    words = [program or find_program()]
    for option, value in (("--config", config), ("--repository", repository)):
        words += [option, value] if value is not None else []
    return [*words, "--cluster", cluster]
