"""Sets restore points, and sees to it that they are archived soon."""

from dataclasses import replace

from pgkeep.model.segment import Segment
from pgkeep.points.plan import (
    Point,
    Server,
    check_name,
    check_server,
    segments_before,
    used_before,
)
from pgkeep.postgres.wal_header import NotWal, WrongSegment
from pgkeep.postgres.wal_records import scan_segment
from pgkeep.progress import Progress
from pgkeep.repository.catalog import shelf
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import ShortRead, StoreFailed
from pgkeep.repository.wal_archive import WalArchive, WalMissing
from pgkeep.server import privileges
from pgkeep.server.facts import ServerFacts
from pgkeep.server.processes import wait_until
from pgkeep.server.session import Session
from pgkeep.units import format_duration


def set_point(cluster: ClusterFolder, session: Session, name: str) -> Point:
    """Set a restore point and end its WAL segment, so that it is archived without delay.

    Raise CannotSetPoint, MissingPrivilege or QueryFailed.
    """
    check_name(name)
    facts = session.facts()
    check_server(name, _server(facts), cluster.generation_ids())
    for privilege in (privileges.RESTORE_POINT, privileges.SWITCH_WAL):
        if not session.query("SELECT " + privilege.test)[0][0]:
            raise privilege.missing(session.role, session.database)
    size, generation = facts.generation.segment_size, facts.generation.id
    here = Segment.containing(session.insert_lsn(), facts.timeline, size)
    searched = _search(cluster.wal(generation), here, name)
    lsn = session.create_restore_point(name)
    time = session.clock()
    # Of the whole segment only what is before the switch was written: it is small in the archive.
    session.switch_wal()
    return Point(
        name,
        lsn,
        time,
        Segment.ending(lsn, facts.timeline, size),
        searched,
        restorable=any(True for _ in shelf(cluster).ids()),
    )


def wait_for_archive(
    point: Point,
    cluster: ClusterFolder,
    session: Session,
    patience: float,
    progress: Progress,
) -> Point:
    """Return the point with the answer whether it reached the repository within `patience` seconds.

    A store that fails is no answer yet.
    """
    progress.phase(f"waiting for {point.segment} in the repository")
    archive = cluster.wal(session.facts().generation.id)
    failed: list[str] = []

    def arrived() -> bool:
        try:
            return archive.has(point.segment.name)
        except StoreFailed as error:
            failed[:] = [str(error)]
            return False

    if wait_until(arrived, patience):
        return replace(point, archived=True)
    why = f"it did not arrive within {format_duration(patience)}"
    stats = session.archiver_stats()
    if failed:
        why += f": {failed[0]}"
    elif stats.failed_at is not None:
        why += f": archiving {stats.last_failed_wal} failed at {stats.failed_at:%H:%M:%S} UTC"
    return replace(point, archived=False, why=why)


def _server(facts: ServerFacts) -> Server:
    settings = facts.settings
    return Server(
        facts.in_recovery, settings["wal_level"], settings["archive_mode"], facts.generation.id
    )


def _search(archive: WalArchive, here: Segment, name: str) -> int:
    """Raise CannotSetPoint when the archive's newest segments hold a point of that name."""
    searched = 0
    for segment in segments_before(here):
        try:
            content = b"".join(archive.fetch(segment.name))
            events = scan_segment(content, segment)
        except (WalMissing, Damaged, ShortRead, NotWal, WrongSegment):
            continue  # not archived yet, or not any more: nothing is to be learnt of it
        for point in events.restore_points:
            if point.name == name:
                raise used_before(name, point.lsn)
        searched += 1
    return searched
