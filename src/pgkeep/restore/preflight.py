"""What must be true of this machine before a restore writes its first byte."""

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.restore.tablespaces import BadTablespace, TablespaceMove, is_within
from pgkeep.restore.writing.layout import Owners
from pgkeep.server.instance import running_server
from pgkeep.traces import MARKER, OVER, describe_marker
from pgkeep.units import MIB, format_size

_SPARE: Final = 64 * MIB  # for what a server writes at once when it starts


class TargetNotEmpty(PgkeepError):
    """The directory to restore into holds something already."""

    code = "target-not-empty"
    exit_status = 87

    directory: str
    what: str
    ours: bool = False  # it is of the cluster to restore

    def __str__(self) -> str:
        return f"cannot restore into {self.directory}: {self.what}; nothing was written"

    @property
    def hint(self) -> str:
        if self.what.endswith(OVER):
            return "finish it with --delta; its pg_wal may hold changes that are nowhere else"
        if "half-restored" in self.what:
            delta = ", or finish it with --delta" if self.ours else ""
            return f"remove it (rm -r {self.directory}) and run the restore again{delta}"
        delta = "to write over it what differs, add --delta; else " if self.ours else ""
        return (
            f"{delta}name an empty or a new directory; "
            f"pgkeep inspect {self.directory} tells what it is"
        )


class TargetUnsafe(PgkeepError):
    """The directory to restore into must not, or cannot, be written to."""

    code = "target-unsafe"
    exit_status = 88

    directory: str
    why: str
    advice: str = "name another --target-dir"

    def __str__(self) -> str:
        return f"cannot restore into {self.directory}: {self.why}; nothing was written"

    @property
    def hint(self) -> str:
        return self.advice


class NoRoom(PgkeepError):
    """The restored cluster would not fit."""

    code = "no-room"
    exit_status = 90

    directory: str
    needed: int
    free: int
    parts: list[str]  # what is to go there, for the user

    def __str__(self) -> str:
        return (
            f"cannot restore into {self.directory}: {format_size(self.needed)} are needed "
            f"({', '.join(self.parts)}) and {format_size(self.free)} are free; nothing was written"
        )

    @property
    def hint(self) -> str:
        return "free space there, or choose another --target-dir or --tablespace OLD=NEW"


@dataclass(frozen=True, slots=True)
class Need:
    """How many bytes a restore puts into a directory, and what they are."""

    directory: str
    size: int
    what: str


def check_target(directory: str, repository: str | None, *, over: bool = False) -> None:
    """Raise unless `directory` is free to be written: absent or empty, nobody's, and ours to make.

    `repository` is the path of a repository on this machine, or None. `over` allows content.
    """
    _refuse_repository(directory, repository)
    refuse_running(directory)
    if not over:
        _refuse_content(directory)
    why = unwritable(directory)
    if why:
        raise TargetUnsafe(directory, why, "run as the server's user or as root, or choose another")


def refuse_running(directory: str) -> None:
    """Raise TargetUnsafe when a server uses a directory, or may be using it."""
    occupant = running_server(directory)
    if occupant is not None:
        who = f"process {occupant.pid}" if occupant.pid else "a server"
        word = "is using it" if occupant.certain else "may be using it"
        advice = "stop that server first, or name another --target-dir"
        raise TargetUnsafe(directory, f"{who} {word}: {occupant.why}", advice)


def check_tablespaces(moves: Sequence[TablespaceMove], repository: str | None) -> None:
    """Raise unless each tablespace's new location is absent or empty, and writable."""
    for move in moves:
        advice = f"say where it shall go: --tablespace {_escaped(move.old)}=/new/location"
        if repository and _overlap(move.new, repository):
            raise BadTablespace(move.new, "it overlaps the repository", advice)
        try:
            names = os.listdir(move.new)
        except FileNotFoundError:
            names = []
        except NotADirectoryError:
            raise BadTablespace(move.new, "there is a file of that name", advice) from None
        except OSError as error:
            raise BadTablespace(move.new, f"it cannot be read: {error.strerror}", advice) from error
        if names:
            raise BadTablespace(move.new, "the directory is in use (it is not empty)", advice)
        why = unwritable(move.new)
        if why:
            raise BadTablespace(move.new, why, advice)


def check_room(needs: Sequence[Need]) -> None:
    """Raise NoRoom unless every file system has room for all that goes there together."""
    by_device: dict[int, list[Need]] = {}
    for need in needs:
        by_device.setdefault(os.stat(_nearest(need.directory)).st_dev, []).append(need)
    for group in by_device.values():
        needed = sum(need.size for need in group) + _SPARE
        place = group[0].directory
        free = shutil.disk_usage(_nearest(place)).free
        if needed > free:
            parts = [f"{need.what} {format_size(need.size)}" for need in group]
            raise NoRoom(place, needed, free, parts)


def owners_here(users: Mapping[str, int], groups: Mapping[str, int]) -> Owners:
    """Return the source's owners as they are numbered here; a stranger keeps its number."""
    return Owners(dict(_numbers(users, _user_number)), dict(_numbers(groups, _group_number)))


def ownership_warnings(users: Mapping[str, int], *, as_root: bool, uid: int) -> tuple[str, ...]:
    """Say what becomes of owners that cannot be had."""
    others = sorted(name for name, number in users.items() if number != uid)
    if as_root or not others or set(users.values()) == {uid}:
        return ()
    return (
        f"the source's files belonged to {', '.join(others)}; here all will belong to you, and the "
        "server must run as you",
    )


def settings_warnings(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield what the restored server will want of this machine."""
    libraries = settings.get("shared_preload_libraries", "").strip()
    if libraries:
        yield f"the server will only start where these libraries are installed: {libraries}"


def _numbers(names: Mapping[str, int], look_up: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    for name, number in names.items():
        try:
            yield number, look_up(name)
        except KeyError:
            continue


def _user_number(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group_number(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _refuse_repository(directory: str, repository: str | None) -> None:
    if repository and _overlap(directory, repository):
        why = f"it and the repository {repository} lie one inside the other"
        raise TargetUnsafe(directory, why)


def _overlap(one: str, other: str) -> bool:
    one, other = os.path.realpath(one), os.path.realpath(other)
    return is_within(one, other) or is_within(other, one)


def _refuse_content(directory: str) -> None:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        if Path(directory).is_symlink():
            raise TargetUnsafe(directory, "it is a symbolic link to nowhere") from None
        return
    except NotADirectoryError:
        raise TargetUnsafe(directory, "it is not a directory") from None
    except OSError as error:
        raise TargetUnsafe(directory, f"it cannot be read: {error.strerror}") from error
    if not names:
        return
    if MARKER in names:
        words = describe_marker(directory)
        safe = "" if words.endswith(OVER) else ", safe to delete"
        raise TargetNotEmpty(directory, f"it was {words}{safe}")
    if "PG_VERSION" in names:
        raise TargetNotEmpty(directory, "there is a PostgreSQL data directory in it")
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    raise TargetNotEmpty(directory, f"it is not empty ({shown})")


def unwritable(directory: str) -> str:
    """Return why `directory` cannot be made or written to; '' when it can."""
    place = _nearest(directory)
    if not stat.S_ISDIR(os.stat(place).st_mode):
        return f"{place} is not a directory"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} cannot be written to by this user"
    foreign = os.path.lexists(directory) and os.stat(directory).st_uid != os.geteuid()
    if foreign and os.geteuid() != 0:
        return "it belongs to another user, and a server insists on owning its directory"
    return ""


def _nearest(path: str) -> str:
    """Return the path itself, or the nearest directory above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path) or "."
    return path


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace("=", "\\=")
