"""The lock of a backup: refused beside another backup, patient beside an expire."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from pgkeep.progress import Progress
from pgkeep.repository import locks
from pgkeep.repository.locks import Lock, LockTaken
from pgkeep.repository.repository import ClusterFolder

_PATIENCE_S: Final = 600.0  # an expire deletes objects, which takes seconds to minutes
_PAUSE_S: Final = 1.0


@contextmanager
def take_lock(
    cluster: ClusterFolder,
    progress: Progress,
    *,
    patience: float = _PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lock]:
    """Hold the lock. Two backups of one cluster at once would only slow each other down.

    An expire in the night must not cost the night's backup: its end is waited for. Raise LockTaken.
    """
    deadline = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                wanted = locks.hold(cluster, "backup", "pgkeep backup", {"backup", "expire"})
                lock = stack.enter_context(wanted)
                break
            except LockTaken as taken:
                if taken.kind != "expire" or time.monotonic() >= deadline:
                    raise
                progress.phase(f"waiting for the end of {taken.command!r}")
                sleep(_PAUSE_S)
        yield lock
