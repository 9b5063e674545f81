"""The sandbox that an undo looks into, even if the accident was a moment ago."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import Segment
from pgkeep.progress import Progress
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.databases import UnknownDatabase
from pgkeep.restore.target.unreachable import TargetNotFound, TargetTooLate
from pgkeep.sandbox.request import SandboxRequest
from pgkeep.sandbox.sandbox import Sandbox, open_sandbox
from pgkeep.server.processes import wait_until
from pgkeep.server.session import Session

PURPOSE: Final = "pgkeep undo"


@contextmanager
def open_recovered(
    cluster: ClusterFolder,
    request: SandboxRequest,
    connect: Callable[[], Session] | None,
    patience: float,
    progress: Progress,
) -> Iterator[Sandbox]:
    """Open a sandbox; where the newest WAL is not archived yet, have the live server do it.

    `connect` reaches the live server; `patience` is how many seconds WAL may take. A database that
    is younger than the backup comes with all others. Raise what open_sandbox() raises.
    """
    with ExitStack() as stack:
        yield _opened(stack, cluster, request, connect, (patience, progress))


def _opened(
    stack: ExitStack,
    cluster: ClusterFolder,
    request: SandboxRequest,
    connect: Callable[[], Session] | None,
    waiting: tuple[float, Progress],
) -> Sandbox:
    progress = waiting[1]
    try:
        return stack.enter_context(open_sandbox(cluster, request, progress))
    except (TargetTooLate, TargetNotFound):
        if connect is None or not archive_newest(cluster, connect, *waiting):
            raise
        return _opened(stack, cluster, request, None, waiting)
    except UnknownDatabase as unknown:
        progress.note(
            f"database {unknown.name} is not in backup {unknown.backup}: if it was made later, it "
            "is in WAL, which takes the whole cluster"
        )
        return _opened(stack, cluster, replace(request, databases=()), connect, waiting)


def archive_newest(
    cluster: ClusterFolder,
    connect: Callable[[], Session],
    patience: float,
    progress: Progress,
) -> bool:
    """End the live server's WAL segment and wait for it in the archive; tell whether it came.

    Whatever stands against that is no answer: the target is out of reach for a reason known before.
    """
    try:
        with connect() as session:
            facts = session.facts()
            generation = facts.generation
            if facts.in_recovery or generation.id not in cluster.generation_ids():
                return False
            progress.note("the newest WAL is not archived yet: the server is asked to do it")
            lsn = session.insert_lsn()
            session.switch_wal()
            segment = Segment.ending(lsn, facts.timeline, generation.segment_size)
        progress.phase(f"waiting for {segment} in the repository")
        archive = cluster.wal(generation.id)
        return wait_until(lambda: archive.has(segment.name), patience)
    except PgkeepError as error:
        progress.note(f"the newest WAL cannot be archived now: {error}")
        return False
