"""Reads a data directory, and changes nothing in it."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.inspect.judge import judge
from pgkeep.inspect.seen import InspectReport, LinkSeen, Seen
from pgkeep.model.segment import BadSegmentName, Segment
from pgkeep.postgres.backup_label import (
    BackupLabel,
    BadBackupLabel,
    parse_backup_label,
    parse_tablespace_map,
)
from pgkeep.postgres.conf import RECOVERY_SETTINGS, parse_conf
from pgkeep.postgres.control import BadControlFile, ControlFile, read_control
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.postgres.wal_header import HEADER_SIZE, check_segment
from pgkeep.server.binaries import Binaries, installed
from pgkeep.server.instance import PidFile, running_server
from pgkeep.traces import describe_marker, describe_settings

_NEEDED: Final = (  # each was removed, and the server refused: only those that stop a start
    "pg_wal",
    "pg_notify",
    "pg_replslot",
    "pg_twophase",
    "pg_tblspc",
    "base",
    "global",
    "pg_xact",
    "pg_multixact",
    "pg_subtrans",
)


class CannotLook(PgkeepError):
    """A directory that is not there or cannot be read."""

    code = "cannot-look"
    exit_status = 93

    directory: str
    why: str

    def __str__(self) -> str:
        return f"cannot look into {self.directory}: {self.why}"

    @property
    def hint(self) -> str:
        return "name a data directory; run as its owner or as root"


def inspect(directory: str, *, programs: Callable[[], list[Binaries]] = installed) -> InspectReport:
    """Say what `directory` is and what starting a server on it would do. Raise CannotLook."""
    return judge(look(directory, programs()))


def look(directory: str, programs: list[Binaries]) -> Seen:
    """Return what can be seen of a data directory. Raise CannotLook."""
    directory = os.path.abspath(directory)
    try:
        names = frozenset(os.listdir(directory))
        status = os.stat(directory)
        version = _text(directory, "PG_VERSION").strip()
    except OSError as error:
        raise CannotLook(directory, (error.strerror or str(error)).lower()) from error
    control, control_problem = _control(directory)
    label, label_problem = _label(directory, names)
    occupant = running_server(directory)
    pid_file = PidFile.read(directory) if occupant else None
    first, there, length, files = _wal(directory, control, label)
    is_cluster = bool(version) or control is not None
    return Seen(
        directory=directory,
        version=version,
        names=names,
        missing_directories=tuple(_missing(directory)) if is_cluster else (),
        control=control,
        control_problem=control_problem,
        label=label,
        label_problem=label_problem,
        settings=_settings(directory),
        wal_files=files,
        wal_first_needed=first,
        wal_first_there=there,
        wal_bytes=length,
        tablespaces=tuple(_tablespaces(directory, names)),
        mode=status.st_mode & 0o7777,
        owner=_user_name(status.st_uid),
        owner_uid=status.st_uid,
        marker=describe_marker(directory),
        restored_by=describe_settings(_text(directory, "postgresql.auto.conf")),
        running_pid=occupant.pid if occupant else None,
        running_why=occupant.why if occupant else "",
        running_certain=occupant.certain if occupant else False,
        running_status=pid_file.status if pid_file else "",
        programs=next((str(p) for p in programs if str(p.major) == version), ""),
        user_uid=os.geteuid(),
    )


def _text(directory: str, name: str) -> str:
    """Return a small file's text; '' when there is no such file."""
    try:
        return Path(directory, name).read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _settings(directory: str) -> dict[str, str]:
    """Return the recovery settings as they would apply; postgresql.auto.conf comes last and wins.

    Included files are not followed: what pgkeep and ALTER SYSTEM write stands in these two.
    """
    found: dict[str, str] = {}
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        found |= parse_conf(_text(directory, name)).values()
    return {name: value for name, value in found.items() if name in RECOVERY_SETTINGS}


def _control(directory: str) -> tuple[ControlFile | None, str]:
    if not os.path.lexists(os.path.join(directory, "global/pg_control")):
        return None, "global/pg_control is missing"
    try:
        return read_control(directory), ""
    except (BadControlFile, UnsupportedVersion) as error:
        return None, str(error)


def _label(directory: str, names: frozenset[str]) -> tuple[BackupLabel | None, str]:
    if "backup_label" not in names:
        return None, ""
    try:
        return parse_backup_label(_text(directory, "backup_label")), ""
    except BadBackupLabel as error:
        return None, str(error)


def _missing(directory: str) -> Iterator[str]:
    for name in _NEEDED:
        if not os.path.isdir(os.path.join(directory, name)):
            yield name


def _tablespaces(directory: str, names: frozenset[str]) -> Iterator[LinkSeen]:
    """Yield the tablespaces as the next start will see them: the map wins over the links."""
    targets: dict[str, str] = {}
    folder = os.path.join(directory, "pg_tblspc")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.islink(path):
            targets[name] = os.readlink(path)
    if "tablespace_map" in names and "backup_label" in names:
        try:
            found = parse_tablespace_map(_text(directory, "tablespace_map"))
        except BadBackupLabel:
            found = {}
        targets |= {str(oid): path for oid, path in found.items()}
    for oid, target in targets.items():
        yield LinkSeen(oid, target, os.path.isdir(os.path.join(folder, target)))


def _wal(
    directory: str, control: ControlFile | None, label: BackupLabel | None
) -> tuple[str, bool, int, int]:
    """Return the first segment replay needs, whether it is there, how many bytes follow, all files.

    A segment that was recycled for later use has an old position in its header: it ends the WAL.
    """
    folder = os.path.join(directory, "pg_wal")
    names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    if control is None:
        return "", False, 0, len(names)
    size = control.segment_size
    segments: dict[int, list[str]] = {}
    for name in names:
        try:
            segments.setdefault(Segment.parse(name, size).number, []).append(name)
        except BadSegmentName:
            continue
    redo = label.start if label else control.redo
    timeline = label.timeline if label else control.timeline
    first = Segment.containing(redo, timeline, size)
    number = first.number
    while any(_is_written(folder, name, size) for name in segments.get(number, ())):
        number += 1
    length = max(0, number * size - redo)
    return first.name, number > first.number, length, sum(map(len, segments.values()))


def _is_written(folder: str, name: str, size: int) -> bool:
    """Tell whether a file is the segment that its name says, by its first page."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            check_segment(name, file.read(HEADER_SIZE), size)
    except (OSError, PgkeepError):
        return False
    return True
