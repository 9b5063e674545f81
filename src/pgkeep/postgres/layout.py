"""What every name in a data directory means for a backup: copied, kept empty or left out, and why.

Pure. The rules are the server's own for BASE_BACKUP (basebackup.c: excludeDirContents,
excludeFiles; reinit.c for unlogged relations), plus leftovers that no restore wants.
"""

import re
from collections.abc import Iterable
from enum import Enum, StrEnum
from typing import Final, NamedTuple

DEFAULT_TABLESPACE: Final = 1663  # pg_default, in base/
GLOBAL_TABLESPACE: Final = 1664  # pg_global, in global/
CONTROL_FILE: Final = "global/pg_control"
VERSION_FILE: Final = "PG_VERSION"

_RELATION: Final = re.compile(r"([1-9][0-9]{0,9})(?:_(fsm|vm|init))?(?:\.([1-9][0-9]{0,9}))?")
_TEMPORARY: Final = re.compile(r"t[0-9]+_[0-9]+(?:_(?:fsm|vm|init))?(?:\.[0-9]+)?")
_CORE: Final = re.compile(r"core(?:\.[0-9]+)?")
_OID: Final = re.compile(r"[1-9][0-9]{0,9}")
_VERSION_FOLDER: Final = re.compile(r"PG_[0-9.]+_[0-9]+")
_UINT32: Final = 1 << 32


class Fork(StrEnum):
    """The parts of a relation; each has its own files."""

    MAIN = "main"
    FSM = "fsm"
    VM = "vm"
    INIT = "init"


class RelationFile(NamedTuple):
    """One file of a relation: 1 GiB of one fork, usually."""

    tablespace: int
    database: int  # 0 in global/
    number: int  # the filenode
    fork: Fork = Fork.MAIN
    segment: int = 0

    def first_block(self, segment_blocks: int) -> int:
        """Return the file's first block, counted over the whole fork, as checksums count it."""
        return self.segment * segment_blocks


class Place(Enum):
    """Where in a data directory a directory stands: what its entries mean."""

    ROOT = "PGDATA"
    GLOBAL = "global"
    BASE = "base"
    DATABASE = "a database's directory"
    VERSION_FOLDER = "a tablespace's PG_<major>_<catalog> directory"
    EMPTIED = "a directory whose contents stay behind"
    PLAIN = "any other directory"


class Rule(Enum):
    """Why something is not copied. Surprising ones are shown to the user."""

    SORT_SPACE = "temporary files of queries"
    RELATION_CACHE = "the relation cache, which the server builds again"
    RUNNING = "belongs to the running server only"
    OTHER_BACKUP = "left over from another backup or recovery"
    HALF_WRITTEN = "an unfinished temporary file"
    DESKTOP = "written by a desktop, not by PostgreSQL"
    CONTENTS = "the server begins with this directory empty"
    WAL = "WAL is kept by the archive"
    STATISTICS = "temporary statistics"
    LOG = "server log"
    TEMPORARY_RELATION = "a temporary table's file"
    UNLOGGED = "an unlogged table's file, which recovery empties"
    CORE = "a crash dump"
    LOST_FOUND = "belongs to the file system"
    NFS = "a deleted file that NFS still shows"
    TABLESPACE_INSIDE = "copied as tablespace"
    NOT_A_TABLESPACE = "not a tablespace, though in pg_tblspc"
    LINK = "a symbolic link: what it points to is not part of the data directory"
    SPECIAL = "not a regular file"
    VANISHED = "removed while the directory was read"

    @property
    def surprising(self) -> bool:
        return self in _SURPRISING


_SURPRISING: Final = frozenset({Rule.CORE, Rule.NOT_A_TABLESPACE, Rule.LINK, Rule.SPECIAL})

EMPTIED: Final = {
    "pg_dynshmem": Rule.CONTENTS,
    "pg_notify": Rule.CONTENTS,
    "pg_replslot": Rule.CONTENTS,
    "pg_serial": Rule.CONTENTS,
    "pg_snapshots": Rule.CONTENTS,
    "pg_stat_tmp": Rule.STATISTICS,
    "pg_subtrans": Rule.CONTENTS,
    "pg_wal": Rule.WAL,
}
_SKIPPED_IN_ROOT: Final = {
    "postmaster.pid": Rule.RUNNING,
    "postmaster.opts": Rule.RUNNING,
    "backup_label": Rule.OTHER_BACKUP,
    "backup_label.old": Rule.OTHER_BACKUP,
    "tablespace_map": Rule.OTHER_BACKUP,
    "tablespace_map.old": Rule.OTHER_BACKUP,
    "backup_manifest": Rule.OTHER_BACKUP,
    "backup_manifest.tmp": Rule.OTHER_BACKUP,
    "recovery.signal": Rule.OTHER_BACKUP,
    "standby.signal": Rule.OTHER_BACKUP,
    "recovery.conf": Rule.OTHER_BACKUP,
    "recovery.done": Rule.OTHER_BACKUP,
    "postgresql.auto.conf.tmp": Rule.HALF_WRITTEN,
    "current_logfiles.tmp": Rule.HALF_WRITTEN,
}
# The directories that initdb makes: a log_directory of this name does not make them logs.
OWN_DIRECTORIES: Final = frozenset(
    {"base", "global", "pg_commit_ts", "pg_logical", "pg_multixact", "pg_stat", "pg_tblspc"}
    | {"pg_twophase", "pg_xact"}
    | EMPTIED.keys()
)


_SKIPPED_INITIALS: Final = frozenset("pl.")  # of all names that skip_anywhere() knows


def skip_anywhere(name: str) -> Rule | None:
    """Return why an entry of this name stays behind wherever it is, or None."""
    if name[0] not in _SKIPPED_INITIALS:
        return None
    if name.startswith("pgsql_tmp"):
        return Rule.SORT_SPACE
    if name.startswith("pg_internal.init"):
        return Rule.RELATION_CACHE
    if name == "lost+found":
        return Rule.LOST_FOUND
    if name.startswith(".nfs"):
        return Rule.NFS
    if name == ".DS_Store":
        return Rule.DESKTOP
    return None


def skip_in_root(name: str) -> Rule | None:
    """Return why a file of this name directly in PGDATA stays behind, or None."""
    rule = _SKIPPED_IN_ROOT.get(name)
    return Rule.CORE if rule is None and _CORE.fullmatch(name) else rule


def skip_relation(name: str, unlogged: frozenset[str]) -> Rule | None:
    """Return why a file in a database's directory, or in global/, stays behind, or None."""
    if name.isdecimal():  # nearly all of them
        return Rule.UNLOGGED if name in unlogged else None
    if name[0] == "t" and _TEMPORARY.fullmatch(name):
        return Rule.TEMPORARY_RELATION
    if unlogged and (match := _RELATION.fullmatch(name)) is not None:
        return Rule.UNLOGGED if match[1] in unlogged and match[2] != "init" else None
    return None


def unlogged_in(names: Iterable[str]) -> frozenset[str]:
    """Return the filenodes of a directory's unlogged relations: those with an init fork."""
    return frozenset(
        match[1]
        for name in names
        if "_init" in name and (match := _RELATION.fullmatch(name)) is not None
    )


def relation_file(tablespace: int, database: int, name: str) -> RelationFile | None:
    """Read a file name of a database's directory, or of global/; None for all other files."""
    if name.isdecimal() and len(name) < 10 and name.isascii() and name[0] != "0":
        return RelationFile(tablespace, database, int(name))
    match = _RELATION.fullmatch(name)
    if match is None:
        return None
    number, fork, segment = match.groups()
    if int(number) >= _UINT32 or (segment is not None and int(segment) >= _UINT32):
        return None
    return RelationFile(
        tablespace, database, int(number), _FORKS[fork], 0 if segment is None else int(segment)
    )


_FORKS: Final = {None: Fork.MAIN, "fsm": Fork.FSM, "vm": Fork.VM, "init": Fork.INIT}


def relation_of_path(path: str) -> RelationFile | None:
    """Read a path relative to PGDATA, as in Entry.path; None for what is no relation's file."""
    match path.split("/"):
        case ["global", name]:
            return relation_file(GLOBAL_TABLESPACE, 0, name)
        case ["base", database, name] if is_oid(database):
            return relation_file(DEFAULT_TABLESPACE, int(database), name)
        case ["pg_tblspc", tablespace, folder, database, name] if (
            is_oid(tablespace) and is_oid(database) and _VERSION_FOLDER.fullmatch(folder)
        ):
            return relation_file(int(tablespace), int(database), name)
    return None


def is_oid(name: str) -> bool:
    """Tell whether a directory's name is an object id."""
    return _OID.fullmatch(name) is not None and int(name) < _UINT32


def log_folder(setting: str, data_directory: str) -> str | None:
    """Return log_directory (or stats_temp_directory) relative to PGDATA; None if not inside.

    A setting that names PGDATA itself or one of PostgreSQL's own directories is not believed:
    what else is in there must be backed up.
    """
    if not setting:
        return None
    inside = setting
    if setting.startswith("/"):
        root = _normal(data_directory)
        if root is None or not (_normal(setting) or "").startswith(root + "/"):
            return None
        inside = (_normal(setting) or "")[len(root) + 1 :]
    folder = _normal(inside)
    if not folder or folder.split("/")[0] in OWN_DIRECTORIES - {"pg_stat_tmp"}:
        return None
    return folder


def _normal(path: str) -> str | None:
    """Return a path without '.', '..' and doubled slashes; None if it climbs out."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return ("/" if path.startswith("/") else "") + "/".join(parts)
