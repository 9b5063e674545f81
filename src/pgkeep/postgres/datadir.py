"""List a data directory for a backup: every file and directory to keep, and what stays behind.

What the names mean is in layout.py. Files come and go while a server runs: vanished ones are
normal, because replaying WAL repairs them; only PG_VERSION and pg_control must be there.
"""

import errno
import grp
import os
import pwd
import stat
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.postgres.layout import (
    CONTROL_FILE,
    DEFAULT_TABLESPACE,
    EMPTIED,
    GLOBAL_TABLESPACE,
    VERSION_FILE,
    Place,
    RelationFile,
    Rule,
    is_oid,
    relation_file,
    skip_anywhere,
    skip_in_root,
    skip_relation,
    unlogged_in,
)

_VANISHING_TRIES: Final = 10  # DROP TABLESPACE removes the folder, and right after it the link
_VANISHING_WAIT: Final = 0.02  # seconds


class NotADataDirectory(PgkeepError):
    """A directory that is no PostgreSQL data directory, or no longer a whole one."""

    code = "not-a-data-directory"
    exit_status = 49

    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot back up {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "the server tells its data directory: psql -c 'SHOW data_directory'"


class MissingTablespace(PgkeepError):
    """A tablespace whose files are not where its link points to."""

    code = "missing-tablespace"
    exit_status = 50

    oid: int
    target: str
    folder: str

    def __str__(self) -> str:
        return f"cannot back up tablespace {self.oid}: there is no {self.folder} in {self.target}"

    @property
    def hint(self) -> str:
        return (
            "mount what belongs there; if the tablespace is gone for good, "
            f"drop it, or remove the link pg_tblspc/{self.oid}"
        )


class Unreadable(PgkeepError):
    """A file or directory of the cluster that we may not read."""

    code = "unreadable-file"
    exit_status = 51

    path: str
    user: str  # whom we run as
    owner: str
    mode: str
    why: str

    def __str__(self) -> str:
        return (
            f"cannot back up {self.path}: {self.why} as user {self.user} "
            f"(it belongs to {self.owner}, mode {self.mode})"
        )

    @property
    def hint(self) -> str:
        return (
            f"run pgkeep as {self.owner.partition(':')[0]}, or give {self.user} that group and "
            "the cluster group access (initdb --allow-group-access)"
        )


class Kind(StrEnum):
    """What an entry is to be in the backup."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"  # pg_tblspc/<oid> only


class Entry(NamedTuple):
    """Something to back up, as it was when listed. Names that are no UTF-8 carry surrogates."""

    path: str  # relative to PGDATA; tablespaces as pg_tblspc/<oid>/PG_18_202506291/...
    kind: Kind
    size: int
    mode: int  # permission bits only
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    relation: RelationFile | None = None
    target: str = ""  # where a link points to, as written in the link


class Skipped(NamedTuple):
    """Something that stays behind, and why. `detail` is a link's target, when it is one."""

    path: str
    rule: Rule
    detail: str = ""


class Tablespace(NamedTuple):
    """A tablespace outside base/. `target` is empty for one in place (a plain directory)."""

    oid: int
    target: str


def walk(
    data_directory: str,
    version_folder: str,
    *,
    summaries: bool = False,
    emptied: frozenset[str] = frozenset(),
) -> Iterator[Entry | Skipped]:
    """List `data_directory`, parents before children, global/pg_control last of all.

    `version_folder` is this cluster's directory in each tablespace ('PG_18_202506291');
    `summaries` asks for an empty pg_wal/summaries (17 on); `emptied` names more directories,
    relative to PGDATA, whose contents stay behind (layout.log_folder).
    Raise NotADataDirectory, MissingTablespace or Unreadable.
    """
    return _Walk(data_directory, version_folder, summaries, emptied).run()


def tablespaces(data_directory: str) -> list[Tablespace]:
    """List the tablespaces in pg_tblspc, by object id."""
    found = []
    folder = os.path.join(data_directory, "pg_tblspc")
    for name in _scan(folder):
        if is_oid(name):
            path = os.path.join(folder, name)
            target = os.readlink(path) if os.path.islink(path) else ""
            found.append(Tablespace(int(name), target))
    return sorted(found)


def open_file(path: str) -> int | None:
    """Open a regular file for reading; None if it vanished. Raise Unreadable for anything else.

    Neither follows a link nor waits for a FIFO's writer: types may change after the listing.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise unreadable(path, "it is no longer a regular file")
    return descriptor


def unreadable(path: str, why: str) -> Unreadable:
    """Return the error that names the file, ourselves, its owner and its mode."""
    uid = os.geteuid()
    try:
        facts = os.stat(path, follow_symlinks=False)
    except OSError:
        return Unreadable(path, _user(uid), "unknown", "unknown", why.lower())
    owner = f"{_user(facts.st_uid)}:{_group(facts.st_gid)}"
    mode = f"{stat.S_IMODE(facts.st_mode):04o}"
    return Unreadable(path, _user(uid), owner, mode, why.lower())


class _Walk:
    """One listing of one data directory."""

    def __init__(
        self, root: str, version_folder: str, summaries: bool, emptied: frozenset[str]
    ) -> None:
        self.root = root
        self.version_folder = version_folder
        self.summaries = summaries
        self.emptied = {**EMPTIED, **dict.fromkeys(emptied, Rule.LOG)}
        self.inside: set[tuple[int, int]] = set()  # tablespace directories, by device and inode
        self.uid = os.geteuid()
        self.groups = frozenset({os.getegid(), *os.getgroups()})

    def run(self) -> Iterator[Entry | Skipped]:
        listed = self.tablespaces()
        control: Entry | None = None
        seen_version = False
        for found in self.directory("", Place.ROOT):
            if found.path == CONTROL_FILE and isinstance(found, Entry):
                control = found
                continue
            seen_version |= found.path == VERSION_FILE and isinstance(found, Entry)
            yield found
        yield from self.all_tablespaces(listed)
        if not seen_version or control is None:
            missing = CONTROL_FILE if seen_version else VERSION_FILE
            raise NotADataDirectory(self.root, f"it has no {missing}")
        # Last, because on a standby it says from where on the copy is consistent.
        yield control

    def tablespaces(self) -> list[Tablespace]:
        """List the tablespaces, and remember where they are in case that is inside PGDATA."""
        if not os.path.lexists(self.absolute(VERSION_FILE)):
            why = f"it has no {VERSION_FILE}" if os.path.isdir(self.root) else "no such directory"
            if not os.path.isdir(self.root) or os.access(self.root, os.X_OK):
                raise NotADataDirectory(self.root, why)
            raise unreadable(self.root, "permission denied")
        found = tablespaces(self.root)
        for space in found:
            if space.target:
                facts = _stat(self.absolute(f"pg_tblspc/{space.oid}"), follow=True)
                if facts is not None:
                    self.inside.add((facts.st_dev, facts.st_ino))
        return found

    def all_tablespaces(self, listed: list[Tablespace]) -> Iterator[Entry | Skipped]:
        for space in listed:
            path = f"pg_tblspc/{space.oid}"
            facts = _stat(self.absolute(path), follow=False)
            if facts is None:
                yield Skipped(path, Rule.VANISHED)
            elif not space.target and not stat.S_ISDIR(facts.st_mode):
                yield Skipped(path, Rule.NOT_A_TABLESPACE)
            else:
                kind = Kind.LINK if space.target else Kind.DIRECTORY
                yield _entry(path, kind, facts)._replace(target=space.target)
                yield from self.version_directory(path, space)

    def version_directory(self, path: str, space: Tablespace) -> Iterator[Entry | Skipped]:
        """List this cluster's part of a tablespace; other clusters may live beside it."""
        inside = f"{path}/{self.version_folder}"
        for _ in range(_VANISHING_TRIES):
            facts = _stat(self.absolute(inside), follow=False)
            if facts is not None:
                yield _entry(inside, Kind.DIRECTORY, facts)
                yield from self.directory(inside, Place.VERSION_FOLDER, space.oid)
                return
            if not os.path.lexists(self.absolute(path)):
                yield Skipped(path, Rule.VANISHED)
                return
            time.sleep(_VANISHING_WAIT)
        raise MissingTablespace(space.oid, space.target or self.absolute(path), self.version_folder)

    def directory(self, path: str, place: Place, *oids: int) -> Iterator[Entry | Skipped]:
        """List the contents of one directory; `oids` are its tablespace and database."""
        names = _scan(self.absolute(path))
        if place is Place.DATABASE or place is Place.GLOBAL:
            yield from self.relations(path, names, *oids)
            return
        prefix = f"{path}/" if path else ""
        for name in names:
            inside = prefix + name
            rule = skip_anywhere(name) or (skip_in_root(name) if place is Place.ROOT else None)
            if rule is not None:
                yield Skipped(inside, rule)
            elif inside in self.emptied:
                yield from self.empty(inside, self.emptied[inside])
            else:
                yield from self.other(inside, place, *oids)

    def relations(
        self, path: str, names: list[str], tablespace: int, database: int
    ) -> Iterator[Entry | Skipped]:
        """List a database's directory: the one place with many thousands of files."""
        unlogged = unlogged_in(names)
        folder = self.absolute(path)
        for name in names:
            inside = f"{path}/{name}"
            rule = skip_anywhere(name) or skip_relation(name, unlogged)
            if rule is not None:
                yield Skipped(inside, rule)
                continue
            facts = _facts(f"{folder}/{name}")
            if facts is not None and stat.S_ISREG(facts.st_mode):
                self.check_readable(f"{folder}/{name}", facts)
                relation = relation_file(tablespace, database, name)
                yield _entry(inside, Kind.FILE, facts, relation)
            else:
                yield from self.other(inside, Place.PLAIN)

    def other(self, path: str, place: Place, *oids: int) -> Iterator[Entry | Skipped]:
        """List one file, or one directory with all that is in it."""
        full = self.absolute(path)
        facts = _facts(full)
        if facts is None:
            yield Skipped(path, Rule.VANISHED)
        elif stat.S_ISREG(facts.st_mode):
            self.check_readable(full, facts)
            yield _entry(path, Kind.FILE, facts)
        elif stat.S_ISDIR(facts.st_mode):
            yield _entry(path, Kind.DIRECTORY, facts)
            yield from self.below(path, facts, place, *oids)
        elif stat.S_ISLNK(facts.st_mode):
            yield Skipped(path, Rule.LINK, _link_target(full))
        else:
            yield Skipped(path, Rule.SPECIAL)

    def below(
        self, path: str, facts: os.stat_result, place: Place, *oids: int
    ) -> Iterator[Entry | Skipped]:
        """List what is in a subdirectory, by what it is."""
        name = path.rpartition("/")[2]
        if (facts.st_dev, facts.st_ino) in self.inside:
            yield Skipped(path + "/", Rule.TABLESPACE_INSIDE)
        elif path == "pg_tblspc":
            yield from self.strangers_in_tablespaces()
        elif path == "global":
            yield from self.directory(path, Place.GLOBAL, GLOBAL_TABLESPACE, 0)
        elif path == "base":
            yield from self.directory(path, Place.BASE, DEFAULT_TABLESPACE)
        elif place in {Place.BASE, Place.VERSION_FOLDER} and is_oid(name):
            yield from self.directory(path, Place.DATABASE, oids[0], int(name))
        else:
            yield from self.directory(path, Place.PLAIN)

    def empty(self, path: str, rule: Rule) -> Iterator[Entry | Skipped]:
        """Keep a directory, or a link to one, as an empty directory."""
        facts = _stat(self.absolute(path), follow=True) or _stat(self.absolute(path), follow=False)
        if facts is None:
            yield Skipped(path, Rule.VANISHED)
            return
        if stat.S_ISLNK(facts.st_mode):  # dangling: only its permission bits are wrong
            facts = os.stat(self.root)
        elif not stat.S_ISDIR(facts.st_mode):
            yield Skipped(path, Rule.SPECIAL)
            return
        yield _entry(path, Kind.DIRECTORY, facts)
        yield Skipped(path + "/", rule)
        if path == "pg_wal":
            for name in ("archive_status", "summaries") if self.summaries else ("archive_status",):
                inside = _stat(self.absolute(f"{path}/{name}"), follow=True) or facts
                yield _entry(f"{path}/{name}", Kind.DIRECTORY, inside)

    def strangers_in_tablespaces(self) -> Iterator[Skipped]:
        for name in _scan(self.absolute("pg_tblspc")):
            if not is_oid(name):
                yield Skipped(f"pg_tblspc/{name}", Rule.NOT_A_TABLESPACE)

    def check_readable(self, path: str, facts: os.stat_result) -> None:
        """Raise Unreadable now rather than in the middle of the copy."""
        if self.uid == 0:
            return
        if facts.st_uid == self.uid:
            allowed = facts.st_mode & stat.S_IRUSR
        elif facts.st_gid in self.groups:
            allowed = facts.st_mode & stat.S_IRGRP
        else:
            allowed = facts.st_mode & stat.S_IROTH
        # Access lists and capabilities may still allow it: the kernel has the last word.
        if allowed or os.access(path, os.R_OK, effective_ids=True) or not os.path.lexists(path):
            return
        raise unreadable(path, "permission denied")

    def absolute(self, path: str) -> str:
        return os.path.join(self.root, path) if path else self.root


def _entry(
    path: str, kind: Kind, facts: os.stat_result, relation: RelationFile | None = None
) -> Entry:
    return Entry(
        path,
        kind,
        facts.st_size if kind is Kind.FILE else 0,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        facts.st_ino,
        relation,
    )


def _scan(path: str) -> list[str]:
    """List a directory's names, sorted; nothing if it vanished. There may be a million."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _facts(path: str) -> os.stat_result | None:
    """Return what a name stands for, itself if it is a link; None when it is gone."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _stat(path: str, *, follow: bool) -> os.stat_result | None:
    """Return a path's facts; None if there is nothing, or nothing at a link's end."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # ELOOP: a circle of links leads nowhere
            return None
        raise unreadable(path, error.strerror or str(error)) from error


def _link_target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
