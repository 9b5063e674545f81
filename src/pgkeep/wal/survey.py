"""Gather what the WAL status is made of: from the archive, the server and its data directory."""

import os
from dataclasses import replace

from pgkeep.coverage.lost_wal import losses_on_record
from pgkeep.model.wal_file import kind_of
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.pg_wal import look_at_pg_wal
from pgkeep.server.session import Session
from pgkeep.wal.ahead.plan import in_order_of_need
from pgkeep.wal.status import Waiting, WalStatus, wal_status


def survey(
    cluster: ClusterFolder, session: Session | None = None, data_directory: str | None = None
) -> WalStatus:
    """Return the cluster's WAL status; without a session or directory, what the archive shows.

    Raise the store's errors, and QueryFailed.
    """
    listings = [
        (
            generation,
            cluster.wal(generation.id).list(generation.segment_size),
            losses_on_record(cluster, generation.id),
        )
        for generation in cluster.generations()
    ]
    stats = session.archiver_stats() if session is not None else None
    waiting = files_waiting(data_directory) if data_directory is not None else None
    if waiting is None and session is not None:
        count = session.ready_count()
        waiting = None if count is None else Waiting(count)
    found = wal_status(cluster.name, cluster.store.url, listings, stats, waiting)
    room = look_at_pg_wal(data_directory) if data_directory is not None else None
    return replace(found, room=room)


def files_waiting(data_directory: str) -> Waiting | None:
    """Return what the server still has to archive; None when we may not look."""
    try:
        entries = os.listdir(os.path.join(data_directory, "pg_wal", "archive_status"))
    except OSError:
        return None
    marked = (entry.removesuffix(".ready") for entry in entries if entry.endswith(".ready"))
    files = [file for file in marked if kind_of(file)]
    return Waiting(len(files), next(iter(in_order_of_need(files)), ""))
