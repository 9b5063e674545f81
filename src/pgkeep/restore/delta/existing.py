"""What is in the directory that a delta restore shall write over. Reads only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import Generation
from pgkeep.model.segment import BadSegmentName, Segment
from pgkeep.postgres.conf import parse_conf
from pgkeep.postgres.control import BadControlFile, read_control
from pgkeep.postgres.layout import is_oid, log_folder
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.postgres.wal_header import (
    HEADER_SIZE,
    NotWal,
    WalHeader,
    WrongSegment,
    WrongWalSize,
    check_segment,
)
from pgkeep.postgres.wal_records import Carry, scan_segment
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import ShortRead
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.restore.delta.plan import LocalSegment
from pgkeep.restore.preflight import TargetUnsafe
from pgkeep.server import processes
from pgkeep.traces import MARKER, generation_of_marker

_EMPTY_IT: Final = "name another --target-dir, or empty this one and restore without --delta"


class OtherCluster(PgkeepError):
    """A delta restore was to go over the data directory of another cluster."""

    code = "other-cluster"
    exit_status = 241

    directory: str
    found: str  # generation ids: major version and system identifier
    expected: str
    cluster: str

    def __str__(self) -> str:
        found, expected = (text.partition("-") for text in (self.found, self.expected))
        return (
            f"cannot restore over {self.directory}: it holds another cluster, PostgreSQL "
            f"{found[0]} with system identifier {found[2]}, and the backup of {self.cluster} is of "
            f"PostgreSQL {expected[0]} with {expected[2]}; nothing was changed"
        )

    @property
    def hint(self) -> str:
        return _EMPTY_IT


@dataclass(frozen=True, slots=True)
class Existing:
    """A data directory, whole or half-restored."""

    directory: str
    generation: str  # its id
    links: dict[int, str]  # the tablespaces' oids, and where their links lead
    logs: str | None  # the server's own logs, relative to the directory


def look(directory: str) -> Existing | None:
    """Return what is there; None when the directory is absent or empty. Raise TargetUnsafe."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise TargetUnsafe(directory, f"it cannot be read: {error.strerror}") from error
    if not names:
        return None
    generation = generation_in(directory)
    if not generation:
        why = _no_data_directory(directory, names)
        raise TargetUnsafe(directory, why, _EMPTY_IT)
    return Existing(directory, generation, _links(directory), _logs(directory))


def generation_in(directory: str) -> str:
    """Return the id of the generation that a directory belongs to; '' when nothing tells it."""
    try:
        return read_control(directory).generation.id
    except (BadControlFile, UnsupportedVersion):
        # While a restore is under way there is no pg_control, and its marker tells.
        return generation_of_marker(directory)


def _no_data_directory(directory: str, names: list[str]) -> str:
    if MARKER in names:
        return "it is half-restored, and nothing in it tells of which cluster"
    try:
        read_control(directory)
    except (BadControlFile, UnsupportedVersion) as error:
        if "PG_VERSION" in names:
            return f"nothing tells which cluster it belongs to: {error}"
    return "it is no data directory"


def _links(directory: str) -> dict[int, str]:
    folder, found = os.path.join(directory, "pg_tblspc"), {}
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    for name in names:
        path = os.path.join(folder, name)
        if is_oid(name) and os.path.islink(path):
            found[int(name)] = os.path.normpath(os.path.join(folder, os.readlink(path)))
    return found


def _logs(directory: str) -> str | None:
    values: dict[str, str] = {}
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        try:
            text = Path(directory, name).read_text(errors="surrogateescape")
        except OSError:
            continue
        values |= parse_conf(text).values()
    return log_folder(values.get("log_directory", "log"), directory)


def others_with(location: str, target: str, source: str) -> str:
    """Return another data directory on this machine that has its tablespace there; or ''.

    Looked at are those of running servers, and `source`, where the cluster was backed up.
    """
    place, here = os.path.realpath(location), os.path.realpath(target)
    for directory in {*_running(), source} - {""}:
        if os.path.realpath(directory) == here:
            continue
        if any(os.path.realpath(link) == place for link in _links(directory).values()):
            return directory
    return ""


def _running() -> Iterator[str]:
    for pid in filter(processes.is_postgres, processes.all_pids()):
        working_in = processes.working_directory(pid)
        if working_in is not None:
            yield working_in


def local_wal(
    directory: str, generation: Generation, archive: WalArchive
) -> Iterator[LocalSegment]:
    """Yield the segments of a pg_wal directory that hold what their names say, in order."""
    carry: Carry | None = None
    before: Segment | None = None
    for segment, path, header in _true_segments(directory, generation):
        ready = os.path.exists(os.path.join(directory, "archive_status", f"{segment}.ready"))
        if archive.has(segment.name) and not (ready and _differs(archive, segment, path)):
            yield LocalSegment(segment, True, False)
            continue
        if before is None or before._replace(number=before.number + 1) != segment:
            carry = None
        begins_inside = header.continued > 0 and carry is None
        events = scan_segment(Path(path).read_bytes(), segment, carry)
        carry, before = events.carry, segment
        ends = any(transaction.kind.ends for transaction in events.transactions)
        changes = ends or bool(events.restore_points) or begins_inside
        yield LocalSegment(segment, False, changes)


def _true_segments(
    directory: str, generation: Generation
) -> Iterator[tuple[Segment, str, WalHeader]]:
    """Skip what the server recycled or made in advance: names without content."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        try:
            segment = Segment.parse(name, generation.segment_size)
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                header = check_segment(name, file.read(HEADER_SIZE), size)
        except (BadSegmentName, NotWal, WrongSegment, WrongWalSize, UnsupportedVersion, OSError):
            continue
        if header.system_identifier == generation.system_identifier:
            yield segment, path, header


def _differs(archive: WalArchive, segment: Segment, path: str) -> bool:
    """Tell whether the archived segment is another one than the server wants to archive."""
    try:
        return b"".join(archive.fetch(segment.name)) != Path(path).read_bytes()
    except (Damaged, ShortRead):
        return True
