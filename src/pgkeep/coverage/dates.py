"""Puts times to the ends of coverage, from the transactions in the archived WAL itself.

Only transactions' ends carry a time in WAL, so the newest restorable moment is that of the last
one on record. An idle server writes none: the search gives up after some segments.
"""

from datetime import datetime
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.coverage import segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import History
from pgkeep.postgres.wal_records import scan_segment
from pgkeep.repository.wal_archive import WalArchive

_PATIENCE: Final = 8  # segments without a single transaction, looked at before giving up


def newest_change(
    archive: WalArchive, history: History, end: Lsn, after: Lsn, size: int
) -> datetime | None:
    """Return the time of the last transaction before `end` along `history`.

    None when there is none since `after`, or none in the last segments; then whoever asks shows
    the LSN alone. Damaged segments are passed over: verifying is not this function's work.
    """
    first = int(after) // size
    last = (int(end) - 1) // size
    for number in range(last, max(first, last - _PATIENCE + 1) - 1, -1):
        found = _last_time(archive, segment_on(history, number, size))
        if found is not None:
            return found
    return None


def _last_time(archive: WalArchive, segment: Segment) -> datetime | None:
    try:
        events = scan_segment(b"".join(archive.fetch(segment.name)), segment)
    except PgkeepError:
        return None
    transactions = events.transactions
    return transactions[len(transactions) - 1].time if len(transactions) else None
