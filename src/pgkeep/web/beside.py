"""Reads repositories beside the event loop, in threads that keep nobody waiting at the end.

The framework has a pool that all pages share and that is as small as the host: one repository that
does not answer fills it within a few clicks, and a process waits for such threads when it ends.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread
from typing import Final, TypeVar

from pgkeep.api.errors import TooBusy
from pgkeep.errors import PgkeepError
from pgkeep.service.errors import ServiceFailed

_PATIENCE_S: Final = 1.0  # until one of the readers must be free

Found = TypeVar("Found")


async def beside(readers: BoundedSemaphore, read: Callable[[], Found]) -> Found:
    """Return what `read` returns in a thread of its own, as one of the few `readers`.

    Raise its PgkeepError; TooBusy when too many wait for repositories already; ServiceFailed for a
    bug, which the log tells in full.
    """
    answer: Future[Found] = Future()
    # From here on nobody can cancel it: a page that is closed leaves the thread to its end.
    answer.set_running_or_notify_cancel()
    Thread(target=_read, args=(answer, readers, read), name="page reads", daemon=True).start()
    return await asyncio.wrap_future(answer)


def _read(answer: Future[Found], readers: BoundedSemaphore, read: Callable[[], Found]) -> None:
    if not readers.acquire(timeout=_PATIENCE_S):
        why = "too many pages and requests wait for the repositories already"
        advice = "the overview tells which one is away"
        answer.set_exception(TooBusy("read the repository", why, advice))
        return
    try:
        found = read()
    except PgkeepError as error:
        answer.set_exception(error)
    except Exception as error:  # it must reach the page, which would wait for it for ever
        logging.getLogger("pgkeep.page").exception("a page could not be read")
        why = f"a bug: {type(error).__name__}: {error}"
        answer.set_exception(ServiceFailed("read this", why, "the service's log has it in full"))
    else:
        answer.set_result(found)
    finally:
        readers.release()
