"""Calls that do not wait for each other: of a distant store, each costs a journey there and back.

A store that is near is asked one after the other, in the caller's own thread and order.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from pgkeep.repository.store.base import Store

Answer = TypeVar("Answer")


class Calls:
    """Calls under way together: for a `with` block, at whose end all have been made.

    What one raised is raised by its future's result(), and if nobody asked at the end of the block;
    where the store is near, at once. Calls that wait when the block raises are not made.
    """

    def __init__(self, store: Store) -> None:
        most = store.calls_at_once
        self._pool = ThreadPoolExecutor(most, "pgkeep-at-once") if most > 1 else None
        self._begun: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=error is not None)
        if error is None:
            for future in self._begun:
                future.result()

    def begin(self, call: Callable[[], Answer]) -> Future[Answer]:
        """Make a call, which waits for no other one of these."""
        if self._pool is not None:
            future = self._pool.submit(call)
            self._begun.append(future)
            return future
        done: Future[Answer] = Future()
        done.set_result(call())
        return done


def at_once(store: Store, calls: Iterable[Callable[[], Answer]]) -> Sequence[Answer]:
    """Return what each call gives, in their order. Raise what the first that failed raised."""
    with Calls(store) as under_way:
        asked = [under_way.begin(call) for call in calls]
        return [future.result() for future in asked]
