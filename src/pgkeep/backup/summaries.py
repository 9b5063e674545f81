"""What the server's WAL summaries say has changed since a backup (PostgreSQL 17 and later).

They are read as files, not by pg_wal_summary_contents(): 33,600 changed blocks take 1 ms so, and no
row for each of them.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from pgkeep.backup.source import NoSummaries, Started
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.postgres.wal_summary.changed import ChangedBlocks
from pgkeep.postgres.wal_summary.choose import SummaryGap, choose_summaries, summary_files
from pgkeep.postgres.wal_summary.content import BadSummary, read_summary
from pgkeep.server.session import QueryFailed, Session

_FOLDER: Final = "pg_wal/summaries"
_PATIENCE_S: Final = 30.0  # without progress; the summarizer sleeps for up to 30 s when idle
_PAUSE_S: Final = 0.02


def read_changes(
    session: Session, root: str, since: Lsn, started: Started, history: History
) -> ChangedBlocks:
    """Return what changed from `since` to the backup's start. Raise NoSummaries."""
    _wait(session, started)
    folder = os.path.join(root, _FOLDER)
    try:
        chosen = choose_summaries(summary_files(os.listdir(folder)), history, since, started.lsn)
        changed = ChangedBlocks()
        for summary in chosen:
            path = os.path.join(folder, summary.name)
            with open(path, "rb") as file:
                changed.add(read_summary(file.read(), path))
    except SummaryGap as gap:
        raise NoSummaries(gap.why) from gap
    except BadSummary as bad:
        raise NoSummaries(str(bad)) from bad
    except OSError as error:
        why = f"{error.filename or folder} cannot be read: {error.strerror}"
        raise NoSummaries(why) from error
    return changed


def _wait(session: Session, started: Started, clock: Callable[[], float] = time.monotonic) -> None:
    """Return when WAL is summarized up to the backup's start. Raise NoSummaries."""
    best: tuple[int, Lsn] = (0, Lsn(0))
    progressed = clock()
    while True:
        try:
            state = session.summarizer_state()
        except QueryFailed as error:
            raise NoSummaries(str(error)) from error
        reached = (state.timeline, state.summarized_lsn)
        if reached >= (started.timeline, started.lsn):
            return
        if not state.running:
            raise NoSummaries("the WAL summarizer is not running")
        if reached > best:
            best, progressed = reached, clock()
        if clock() - progressed > _PATIENCE_S:
            raise NoSummaries(f"WAL is summarized to {best[1]} only, not to {started.lsn}")
        time.sleep(_PAUSE_S)
