"""What an object of a cluster is, by its name: what copies of a repository have in common. Pure.

Locks, attempts and proofs are not: they tell of one store, and stay where they are.
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from pgkeep.model.wal_file import kind_of
from pgkeep.repository import names

_ACT: Final = re.compile(r"(?:clusters/(?P<cluster>[^/]+)/)?acts/(?P<act>[^/]+)\.json")
_NAME: Final = re.compile(
    r"clusters/(?P<cluster>[^/]+)/(?:"
    r"packs/([0-9a-f]{2})/(?P<pack>\2[0-9a-f]{30})"
    r"|(?P<shelf>backups|dumps)/(?P<id>[^/]+)/manifest"
    r"|generations/(?P<generation>[^/]+)\.json"
    r"|generations/(?P<written>[^/]+)\.writer/[^/]+\.json"
    r"|lost/(?P<lost>[^/]+)/[^/]+\.json"
    r"|census/(?P<census>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4})"
    r"|drills/(?P<drill>[^/]+)\.json"
    r"|pins/(?P<pinned>[^/]+)/[^/]+\.json"
    r"|wal/(?P<archive>[^/]+)/(?:[^/]+/)*(?P<file>[^/]+)"
    r")"
)


class ObjectKind(StrEnum):
    """What objects there are, the ones that others need first."""

    GENERATION = "generation"
    WRITER = "writer"
    LOST = "lost"
    HISTORY = "history"
    PACK = "pack"
    WAL = "wal"
    MANIFEST = "manifest"
    PIN = "pin"
    CENSUS = "census"
    DRILL = "drill"
    ACT = "act"


class ObjectName(NamedTuple):
    """A name, taken apart."""

    name: str
    kind: ObjectKind
    cluster: str  # '': it is of the whole repository
    of: str  # generation of WAL, else the id of a backup, dump, pack, generation, census or act
    file: str = ""  # of WAL


def parse_name(name: str) -> ObjectName | None:
    """Return what an object is; None for what does not belong to every copy."""
    found = _NAME.fullmatch(name)
    if found is None:
        act = _ACT.fullmatch(name)
        return act and ObjectName(name, ObjectKind.ACT, act["cluster"] or "", act["act"])
    cluster, file = found["cluster"], found["file"]
    if found["pack"]:
        return ObjectName(name, ObjectKind.PACK, cluster, found["pack"])
    if found["id"]:
        return ObjectName(name, ObjectKind.MANIFEST, cluster, found["id"])
    if found["generation"]:
        return ObjectName(name, ObjectKind.GENERATION, cluster, found["generation"])
    if found["written"]:
        return ObjectName(name, ObjectKind.WRITER, cluster, found["written"])
    if found["lost"]:
        return ObjectName(name, ObjectKind.LOST, cluster, found["lost"])
    if found["census"]:
        return ObjectName(name, ObjectKind.CENSUS, cluster, found["census"])
    if found["pinned"]:
        return ObjectName(name, ObjectKind.PIN, cluster, found["pinned"])
    if found["drill"]:
        return ObjectName(name, ObjectKind.DRILL, cluster, found["drill"])
    kind = kind_of(file)
    if not kind or names.wal(cluster, found["archive"], file) != name:
        return None
    history = kind == "history"
    which = ObjectKind.HISTORY if history else ObjectKind.WAL
    return ObjectName(name, which, cluster, found["archive"], file)
