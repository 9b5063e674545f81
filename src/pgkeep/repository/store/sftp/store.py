"""A store on another machine, through SFTP: as durable as a local one where OpenSSH serves it.

A blob is written into `.tmp` at the root, synced, and only then given its name; so whatever dies
half-way leaves a file in `.tmp` and nothing else. docs/sftp.md says what each server promises.
"""

import random
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeAlias, TypeVar

from pgkeep.repository.store import durable
from pgkeep.repository.store.base import (
    Beginning,
    BlobExists,
    BlobMissing,
    BlobStat,
    ShortRead,
    StoreFailed,
    TempFile,
)
from pgkeep.repository.store.blob_names import check_name, check_prefix
from pgkeep.repository.store.sftp import failures, files, protocol
from pgkeep.repository.store.sftp.address import SftpAddress
from pgkeep.repository.store.sftp.connections import Connections
from pgkeep.repository.store.sftp.failures import SftpLost
from pgkeep.repository.store.sftp.patience import Patience
from pgkeep.repository.store.sftp.protocol import Attributes, text
from pgkeep.repository.store.sftp.session import (
    Lost,
    NoSuchFile,
    Refused,
    Session,
    attributes_of,
)
from pgkeep.repository.store.sftp.walk import Walk

_TEMP: Final = ".tmp"  # no blob's name begins with a dot

LeftBehind: TypeAlias = list[str]  # paths of temporary files that may still be there
Result = TypeVar("Result")


class _Temp:
    """A temporary file there, until it is removed."""

    def __init__(self, session: Session, path: str) -> None:
        self.path = path
        self.digest = b""
        self._session = session
        self._removing = 0  # number of the request

    def remove(self) -> int:
        """Ask for its end, once; return the request's number."""
        self._removing = self._removing or self._session.send(
            protocol.REMOVE, text(self.path.encode())
        )
        return self._removing


class SftpStore:
    """Blobs as files under one directory elsewhere, which must be there already. See base.Store."""

    def __init__(self, place: SftpAddress) -> None:
        self._place = place
        self._connections = Connections(place)

    @property
    def url(self) -> str:
        return self._place.url

    @property
    def address(self) -> str:
        return self._place.address

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 4

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        path, action = self._path(name), f"write {name}"
        left: LeftBehind = []

        def attempt(session: Session) -> None:
            with self._temp_file(session, parts, action, left) as temp:
                if not session.offers(protocol.POSIX_RENAME):
                    raise failures.cannot_replace(self._place, action)
                give_name = partial(files.replace, session, temp.path, path)
                self._into_folder(session, name, action, give_name)

        self._persistently(action, attempt)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        path, action = self._path(name), f"create {name}"
        left: LeftBehind = []
        unanswered: set[bytes] = set()  # digests of what may have got the name already

        def attempt(session: Session) -> None:
            def give_name() -> None:
                files.take_name(session, temp.path, path)
                temp.remove()  # while the folder is synced

            with self._temp_file(session, parts, action, left) as temp:
                earlier = frozenset(unanswered)
                unanswered.add(temp.digest)
                try:
                    self._into_folder(session, name, action, give_name)
                except Refused:
                    if self._look(session, path) is None:
                        raise
                    # "Exists" must be durable too: the winner may not have come to its own sync.
                    files.sync_folder(session, path.rpartition("/")[0])
                    if not (earlier and files.digest_of(session, path) in earlier):
                        raise BlobExists(self.url, name) from None

        self._persistently(action, attempt)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(name)
        content, size = self._persistently(
            f"read {name}", lambda session: files.read_range(session, path, start, length), name
        )
        end = size if length is None else start + length
        if max(start, end) > size:
            raise ShortRead(self.url, name, max(start, end), size)
        if len(content) != end - start:
            raise ShortRead(self.url, name, end, start + len(content))
        return content

    def beginning(self, name: str, most: int) -> Beginning:
        path = self._path(name)
        content, size = self._persistently(
            f"read {name}", lambda session: files.read_range(session, path, 0, most), name
        )
        if len(content) != min(most, size):
            raise ShortRead(self.url, name, min(most, size), len(content))
        return Beginning(content, size)

    def stat(self, name: str) -> BlobStat:
        path = self._path(name)
        found = self._persistently(
            f"read {name}", lambda session: files.demand_plain(attributes_of(session, path)), name
        )
        return BlobStat(name, found.size or 0, float(found.modified or 0))

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        check_prefix(prefix)
        action = f"list {prefix or 'everything'}"
        walk = Walk(self._place, prefix, lambda look: self._persistently(action, look))
        nothing = True
        for blob in walk.blobs():
            nothing = False
            yield blob
        if nothing:  # then it must be known that this is what the repository says
            self._persistently(action, lambda session: self._demand_root(session, action))

    def delete(self, name: str) -> None:
        path, action = self._path(name), f"delete {name}"

        def attempt(session: Session) -> None:
            # What refers to a blob is deleted before it: that order must survive a power cut too.
            gone = partial(files.remove, session, path)
            try:
                files.sync_folders(session, [path.rpartition("/")[0]], gone)
            except NoSuchFile:
                self._demand_root(session, action)

        self._persistently(action, attempt)

    def secure(self, prefix: str) -> None:
        check_prefix(prefix)
        action = f"sync {prefix}"
        path = self._place.path

        def attempt(session: Session) -> None:
            self._demand_root(session, action)
            folder = path
            # From the top, like new folders: who made one may have died before he synced it.
            for part in prefix.split("/")[:-1]:
                files.sync_folder(session, folder)
                folder = f"{folder}/{part}"
                if not files.is_folder(session, folder):
                    return
            files.sync_folder(session, folder)
            for below in Walk(self._place, prefix, lambda look: look(session)).folders():
                with suppress(NoSuchFile):  # deleted while we looked
                    files.sync_folder(session, below)

        self._persistently(action, attempt)

    def free_space(self) -> int | None:
        root = self._place.path
        room = self._persistently("measure the free space", lambda session: session.room(root))
        return None if room is None else room.free

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        """Remove and return what writers left that died more than `older_than` seconds ago."""
        folder = f"{self._place.path}/{_TEMP}"

        def attempt(session: Session) -> Sequence[TempFile]:
            swept = []
            self._demand_root(session, f"clean {_TEMP}")
            for entry in files.list_folders(session, [folder])[0]:
                name, found = entry.name.decode(errors="surrogateescape"), entry.attributes
                if found.mode is None or not stat.S_ISREG(found.mode) or not name.isprintable():
                    continue
                fresh = found.modified is None or now - found.modified < older_than
                if fresh or durable.writer_is_alive(name):
                    continue
                with suppress(NoSuchFile):  # another sweeper's
                    files.remove(session, f"{folder}/{name}")
                    swept.append(TempFile(f"{_TEMP}/{name}", found.size or 0))
            return sorted(swept)

        return self._persistently(f"clean {_TEMP}", attempt)

    def make_root(self) -> None:
        """Make the repository's directory, and those above it, if it is not there."""
        action = "make the directory"

        def attempt(session: Session) -> None:
            path, missing = self._place.path, []
            while path and not (found := files.is_folder(session, path)):
                if found is False:
                    raise failures.not_a_folder(self._place, action, path)
                missing.append(path)
                path = path.rpartition("/")[0]
            for folder in reversed(missing):
                files.make_folder(session, folder)

        self._persistently(action, attempt)

    @contextmanager
    def _temp_file(
        self,
        session: Session,
        parts: Sequence[bytes | memoryview],
        action: str,
        left: LeftBehind,
    ) -> Iterator["_Temp"]:
        """Give a synced temporary file; it is gone afterwards.

        `left` has what earlier attempts may have left: it goes first, so that none of their
        requests that is still on its way finds anything to give a name to.
        """
        for path in left:
            with suppress(NoSuchFile):
                files.remove(session, path)
        temp = _Temp(session, f"{self._place.path}/{_TEMP}/{durable.temp_name()}")
        left.append(temp.path)
        try:
            temp.digest = self._write_temp(session, temp.path, parts, action)
            yield temp
        except Refused as error:
            # What the disk has left is asked for before the temporary file gives it back.
            raise self._refused(session, action, error) from error
        finally:
            if not session.is_lost:
                with suppress(Refused):  # renamed; or what stays is garbage for sweep_temp()
                    session.answer(temp.remove(), protocol.Status)

    def _write_temp(
        self, session: Session, temp: str, parts: Sequence[bytes | memoryview], action: str
    ) -> bytes:
        try:
            return files.write_new(session, temp, parts)
        except NoSuchFile:
            self._demand_root(session, action)
            files.make_folder(session, temp.rpartition("/")[0])
            return files.write_new(session, temp, parts)

    def _into_folder(
        self, session: Session, name: str, action: str, give_name: Callable[[], None]
    ) -> None:
        """Give a temporary file its name; make the folders for it if they are not there."""
        folder = f"{self._place.path}/{name}".rpartition("/")[0]
        try:
            # Until the folder is synced a power cut could take the name back.
            files.sync_folders(session, [folder], give_name)
        except NoSuchFile:
            self._make_way(session, name, action)
            files.sync_folders(session, [folder], give_name)

    def _make_way(self, session: Session, name: str, action: str) -> None:
        """Make the folders for a blob that are not there. Raise StoreFailed, NotPlain."""
        parts = name.split("/")[:-1]
        way = [self._place.path]
        for part in parts:
            way.append(f"{way[-1]}/{part}")
        found = files.are_folders(session, way)
        if not found[0]:
            self._demand_root(session, action)
            found[0] = True  # it came back
        if False in found:
            raise files.NotPlain
        there = found.index(None) if None in found else len(way)
        files.make_way(session, way[:there], way[there:])

    def _persistently(
        self, action: str, attempt: Callable[[Session], Result], name: str | None = None
    ) -> Result:
        """Return what `attempt` does, again on a new connection while connections are lost."""
        patience = Patience(self._place.retry_for)
        began: float | None = None
        while True:
            try:
                return self._once(action, attempt, name)
            except SftpLost:
                began = time.monotonic() if began is None else began
                # Jitter, no secret.
                wait = patience.wait(time.monotonic() - began, random.random())  # noqa: S311
                if wait is None:
                    raise
                time.sleep(wait)
                patience = patience.after()

    def _once(self, action: str, attempt: Callable[[Session], Result], name: str | None) -> Result:
        """Turn a session's errors into the store's. With `name`, absence is BlobMissing."""
        try:
            with self._connections.session(action) as session:
                try:
                    return attempt(session)
                except NoSuchFile as error:
                    self._demand_root(session, action)
                    if name is None:
                        raise self._refused(session, action, error) from error
                    self._demand_way(session, name, action)
                    raise BlobMissing(self.url, name) from None
                except Refused as error:
                    raise self._refused(session, action, error) from error
        except Lost as error:
            advice = f"is {self._place.host} up, and the network? what was stored is safe"
            raise SftpLost(self.url, action, str(error), advice) from error
        except files.NotPlain as error:
            why = "there is something else than a plain file, or than a directory, in its place"
            raise failures.SftpRefused(self.url, action, why, "move it away") from error

    def _refused(self, session: Session, action: str, error: Refused) -> StoreFailed:
        room = None
        if error.code == protocol.FAILURE:
            with suppress(Refused):
                room = session.room(self._place.path)
        return failures.refused(self._place, action, error.code, error.words, room)

    def _look(self, session: Session, path: str) -> Attributes | None:
        try:
            return attributes_of(session, path)
        except NoSuchFile:
            return None

    def _demand_root(self, session: Session, action: str) -> None:
        """Raise StoreFailed when the whole repository is away: nothing is known to be missing."""
        found = files.is_folder(session, self._place.path)
        if found is None:
            raise failures.root_missing(self._place, action)
        if not found:
            raise failures.not_a_folder(self._place, action, self._place.path)

    def _demand_way(self, session: Session, name: str, action: str) -> None:
        """Raise StoreFailed when a part of the way to a blob is there, and yet leads nowhere."""
        path = self._place.path
        for part in name.split("/")[:-1]:
            path = f"{path}/{part}"
            if self._look(session, path) is None:
                return
            if (found := files.is_folder(session, path)) is None:
                why = f"{path} is a symbolic link to something that is not there"
                raise StoreFailed(self.url, action, why, "mount what it leads to")
            if not found:
                raise failures.not_a_folder(self._place, action, path)

    def _path(self, name: str) -> str:
        check_name(name)
        return f"{self._place.path}/{name}"
