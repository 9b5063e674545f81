"""Requests to one bucket: whose client, which credentials, and how often to try."""

import os
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.credentials import Credentials, find_credentials
from pgkeep.repository.store.bucket.errors import ForeignObject, StoreForked
from pgkeep.repository.store.bucket.opening import open_client
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.bucket.reading import Answer, read_answer, translate
from pgkeep.repository.store.bucket.retry import Patience, persist

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.opening import Client

Result = TypeVar("Result")

_RUNTIME_OF: Final[list[int]] = []  # the process whose threads obstore's runtime lives in


class Absent(Exception):
    """The service answered 404: of the object, or of something else unless `sure`."""

    def __init__(self, *, sure: bool) -> None:
        super().__init__(sure)
        self.sure = sure


class Taken(Exception):
    """The service did not store an object, because its name is taken."""


class BeyondEnd(Exception):
    """A range begins behind the end of an object."""


class Connection:
    """One bucket's client, made when it is first needed. May be used by several threads."""

    def __init__(self, options: BucketOptions, patience: Patience | None = None) -> None:
        self.options = options
        self._patience = patience or Patience(options.retry_for)
        self._lock = Lock()
        self._client: Client | None = None
        self._credentials = Credentials({})

    def ask(self, action: str, request: "Callable[[Client, int], Result]") -> Result:
        """Return what `request` does with the client and the attempt's number, tried patiently.

        Raise Absent, Taken, BeyondEnd or the store's errors.
        """
        from obstore.exceptions import BaseError

        def attempt(number: int) -> Result:
            client = self._opened(action)
            try:
                return request(client, number)
            except (BaseError, FileNotFoundError) as error:
                if getattr(error, "errno", None) is not None:
                    raise  # a file of this host that was to be stored: obstore's have no number
                raise self._explained(error, action) from error

        return persist(self._patience, attempt)

    def _opened(self, action: str) -> "Client":
        """Return the client. Raise StoreForked rather than wait for ever."""
        pid = os.getpid()
        if _RUNTIME_OF and _RUNTIME_OF[0] != pid:
            raise StoreForked(self.options.url, action, "obstore does not survive a fork")
        with self._lock:
            if self._client is None or self._credentials.outdated():
                _RUNTIME_OF[:] = [pid]
                self._credentials = find_credentials(self.options)
                self._client = open_client(self.options, self._credentials.settings)
            return self._client

    def _explained(self, error: BaseException, action: str) -> Exception:
        from obstore.exceptions import AlreadyExistsError, InvalidPathError, PreconditionError

        answer = read_answer(error)
        if isinstance(error, AlreadyExistsError | PreconditionError) and not _conflict(answer):
            return Taken()
        if isinstance(error, InvalidPathError):
            name = answer.text.partition('Path "')[2].partition('":')[0]
            why = f"an object there has a name that no path has: {name!r}"
            return ForeignObject(self.options.url, action, why, "move it away: pgkeep wrote none")
        if answer.beyond_end:
            return BeyondEnd()
        failed = translate(answer, action, self.options)
        missing = isinstance(error, FileNotFoundError) or answer.status == 404
        if missing and type(failed) is StoreFailed:
            return Absent(sure=answer.key_missing)
        return failed


def _conflict(answer: Answer) -> bool:
    """Tell whether another request for the same name is under way: neither stored nor refused."""
    return answer.code in ("ConditionalRequestConflict", "OperationAborted")
