"""Requests to one bucket: whose client, which credentials, and how often to try."""

import os
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.credentials import Credentials, find_credentials
from pgkeep.repository.store.bucket.errors import (
    CredentialsExpired,
    CredentialsRefused,
    ForeignObject,
    StoreForked,
)
from pgkeep.repository.store.bucket.opening import open_client
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.bucket.reading import Answer, read_answer, translate
from pgkeep.repository.store.bucket.retry import Patience, persist

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.opening import Client

Result = TypeVar("Result")

_RUNTIME_OF: Final[list[int]] = []  # the process whose threads obstore's runtime lives in
# The time that a request may take begins when it is sent, not when all of it has gone out.
_LARGE: Final = 4 << 20  # bytes
_LARGE_TAKES: Final = 4  # times as long: with 60 s, 32 MiB go out at 1.2 Mbit/s


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
        self._clients: dict[bool, Client] = {}  # by whether their requests are large
        self._credentials = Credentials({})

    def ask(self, action: str, request: "Callable[[Client, int], Result]", size: int = 0) -> Result:
        """Return what `request` does with the client and the attempt's number, tried patiently.

        `size` is how many bytes it sends: what takes long to go out may take longer in all.
        Raise Absent, Taken, BeyondEnd or the store's errors.
        """
        from obstore.exceptions import BaseError

        def attempt(number: int) -> Result:
            client = self._opened(action, large=size > _LARGE)
            try:
                return request(client, number)
            except (BaseError, FileNotFoundError) as error:
                if getattr(error, "errno", None) is not None:
                    raise  # a file of this host that was to be stored: obstore's have no number
                explained = self._explained(error, action)
                if isinstance(explained, CredentialsExpired | CredentialsRefused):
                    self._forget(client)  # there may be newer ones by now
                raise explained from error

        return persist(self._patience, attempt)

    def _opened(self, action: str, *, large: bool) -> "Client":
        """Return the client. Raise StoreForked rather than wait for ever."""
        pid = os.getpid()
        if _RUNTIME_OF and _RUNTIME_OF[0] != pid:
            raise StoreForked(self.options.url, action, "obstore does not survive a fork")
        with self._lock:
            if not self._clients or self._credentials.outdated():
                self._clients.clear()
                self._credentials = find_credentials(self.options)
            if large not in self._clients:
                _RUNTIME_OF[:] = [pid]
                patient = self.options.timeout * (_LARGE_TAKES if large else 1)
                options = self.options._replace(timeout=patient)
                self._clients[large] = open_client(options, self._credentials.settings)
            return self._clients[large]

    def _forget(self, client: "Client") -> None:
        """Have the next attempt read the credentials anew, unless another thread has already."""
        with self._lock:
            if client in self._clients.values():
                self._clients.clear()

    def _explained(self, error: BaseException, action: str) -> Exception:
        from obstore.exceptions import AlreadyExistsError, InvalidPathError, PreconditionError

        answer = read_answer(error)
        taken = isinstance(error, AlreadyExistsError | PreconditionError)
        if taken and action.startswith("create ") and not _conflict(answer):
            return Taken()
        if isinstance(error, InvalidPathError):
            name = answer.text.partition('Path "')[2].partition('"')[0]
            why = f"an object there has a name that no path has: {name!r}"
            return ForeignObject(self.options.url, action, why, "move it away: pgkeep wrote none")
        if answer.beyond_end:
            return BeyondEnd()
        failed = translate(answer, action, self.options)
        missing = isinstance(error, FileNotFoundError) or answer.status == 404
        if missing and (answer.key_missing or (not answer.code and type(failed) is StoreFailed)):
            return Absent(sure=answer.key_missing)
        return failed


def look_at(client: "Client", name: str) -> Any:
    """Ask for what the service says of an object; when that is refused, raise what tells why.

    Answers to HEAD have no body, so they can't tell a wrong key from a missing permission, nor the
    right region from any other. An answer to GET has one.
    """
    import obstore
    from obstore.exceptions import BaseError

    try:
        return obstore.head(client, name)
    except BaseError as refused:
        if not read_answer(refused).unexplained:
            raise
        try:
            obstore.get(client, name, options={"range": (0, 1)})
        except (BaseError, FileNotFoundError) as reason:
            if read_answer(reason).explains:
                raise
        raise


def _conflict(answer: Answer) -> bool:
    """Tell whether another request for the same name is under way: neither stored nor refused."""
    return answer.code in ("ConditionalRequestConflict", "OperationAborted")
