"""Storing one object so that the service confirms what it got.

Small objects go in one request, on condition that the name is free where that matters. S3 and
obstore offer no such condition for objects in parts: those are uploaded under a name in `.tmp` and
copied within the service, which does know the condition.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final

from pgkeep.repository.store import durable
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.connection import Connection, look_at
from pgkeep.repository.store.bucket.errors import NotConfirmed
from pgkeep.repository.store.bucket.reading import read_answer
from pgkeep.units import KIB, MIB

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.opening import Client

Parts = Sequence[bytes | memoryview]

TEMP: Final = ".tmp"  # no blob's name begins with a dot
_AT_ONCE: Final = 4  # parts: what goes in one request, and what is under way of larger objects
_CHEAP: Final = 128 * KIB  # bytes; cheaper storage classes count smaller objects as this large
_READ_BACK: Final = 8 * MIB  # bytes of one request


class Fingerprint:
    """What identifies content: computed while it is sent, compared with what is stored.

    MD5, because that is what services answer with. It is here to find accidents; that content is
    what it was when it was sealed is shown by the hashes inside of it.
    """

    def __init__(self, part_size: int) -> None:
        self.size = 0
        self._part_size = part_size  # 0: the object goes in one piece
        self._whole = md5(usedforsecurity=False)
        self._part = md5(usedforsecurity=False)
        self._parts: list[bytes] = []
        self._filled = 0

    def add(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece).cast("B")
        self.size += len(view)
        self._whole.update(view)
        while self._part_size and len(view):
            taken = view[: self._part_size - self._filled]
            self._part.update(taken)
            self._filled += len(taken)
            view = view[len(taken) :]
            if self._filled == self._part_size:
                self._end_part()

    def is_tag(self, tag: str | None) -> bool:
        """Tell whether a service that gives MD5s as tags has just this content.

        That of an object in parts is the MD5 of its parts' MD5s, and their number.
        """
        if self._filled:
            self._end_part()
        joined = md5(b"".join(self._parts), usedforsecurity=False).hexdigest()
        copied = md5(self._whole.digest(), usedforsecurity=False).hexdigest()
        known = (self._whole.hexdigest(), f"{joined}-{len(self._parts)}", f"{copied}-1")
        return (tag or "").strip('"').lower() in known

    def same(self, other: "Fingerprint") -> bool:
        return (self.size, self._whole.digest()) == (other.size, other._whole.digest())

    def _end_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part = md5(usedforsecurity=False)
        self._filled = 0


class Uploads:
    """Puts objects into one bucket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options
        self._part_size = connection.options.part_size

    def put(self, name: str, parts: Parts) -> None:
        """Store an object, replacing what was there."""
        small = self._small(parts)
        if small is None:
            self._in_parts(name, parts, f"write {name}")
        else:
            self._whole(name, small, f"write {name}", "overwrite")

    def create(self, name: str, parts: Parts) -> None:
        """Store an object if its name is free. Raise Taken."""
        small = self._small(parts)
        if small is not None:
            self._whole(name, small, f"create {name}", "create")
            return
        temp = f"{TEMP}/{durable.temp_name()}"
        try:
            sent = self._in_parts(temp, parts, f"create {name}")
            self._copy(temp, name, sent)
        finally:
            self._forget(temp)

    def _small(self, parts: Parts) -> bytes | None:
        """Return content that goes in one request, joined; None if it is more."""
        held: list[bytes | memoryview] = []
        size = 0
        for part in parts:
            held.append(part)
            size += memoryview(part).nbytes
            if size > _AT_ONCE * self._part_size:
                return None
        return held[0] if len(held) == 1 and type(held[0]) is bytes else b"".join(held)

    def _whole(self, name: str, content: bytes, action: str, mode: Any) -> None:
        sent = Fingerprint(0)
        sent.add(content)

        def store(client: "Client") -> str | None:
            import obstore

            attributes = self._attributes(sent.size)
            stored = obstore.put(
                client, name, content, mode=mode, use_multipart=False, attributes=attributes
            )
            return stored["e_tag"]

        self._settle(name, sent, action, store, sent.size)

    def _in_parts(self, name: str, parts: Parts, action: str) -> Fingerprint:
        def request(client: "Client", number: int) -> Fingerprint:  # noqa: ARG001
            import obstore

            sent = Fingerprint(self._part_size)
            stored = obstore.put(
                client,
                name,
                _told(parts, sent),
                use_multipart=True,
                chunk_size=self._part_size,
                max_concurrency=_AT_ONCE,
                attributes=self._attributes(self._part_size),
            )
            if not self._is_confirmed(client, name, stored["e_tag"], sent):
                raise self._not_confirmed(action)
            return sent

        return self._connection.ask(action, request, self._part_size)

    def _copy(self, temp: str, name: str, sent: Fingerprint) -> None:
        def store(client: "Client") -> None:
            import obstore

            obstore.copy(client, temp, name, overwrite=False)

        self._settle(name, sent, f"create {name}", store)

    def _settle(
        self,
        name: str,
        sent: Fingerprint,
        action: str,
        store: "Callable[[Client], str | None]",
        size: int = 0,
    ) -> None:
        """Have an object stored, by `store`, which may know its tag then, until it is confirmed."""
        doubtful = False  # whether an attempt may have been carried out that failed all the same

        def request(client: "Client", number: int) -> None:  # noqa: ARG001
            nonlocal doubtful
            import obstore

            try:
                tag = store(client)
            except obstore.exceptions.AlreadyExistsError:
                if doubtful and self._is_there(client, name, sent):
                    return
                raise
            except obstore.exceptions.BaseError as error:
                doubtful = doubtful or read_answer(error).ambiguous
                raise
            doubtful = True  # it is stored, and whether as it was sent is asked by requests, too
            tag = tag or look_at(client, name)["e_tag"]
            if not self._is_confirmed(client, name, tag, sent):
                if action.startswith("create "):
                    obstore.delete(client, name)  # it is ours, and damaged
                raise self._not_confirmed(action)

        self._connection.ask(action, request, size)

    def _forget(self, temp: str) -> None:
        """Remove an upload that was copied or came to nothing; else sweep_temp() finds it."""
        import obstore

        try:
            self._connection.ask(f"delete {temp}", lambda client, _: obstore.delete(client, temp))
        except (StoreFailed, LookupError):
            return

    def _is_confirmed(
        self, client: "Client", name: str, tag: str | None, sent: Fingerprint
    ) -> bool:
        """Tell whether the service has what was sent: by its tag if that tells, else by reading."""
        return sent.is_tag(tag) or self._read_back(client, name, sent)

    def _is_there(self, client: "Client", name: str, sent: Fingerprint) -> bool:

        found = look_at(client, name)
        if found["size"] != sent.size:
            return False
        return self._is_confirmed(client, name, found["e_tag"], sent)

    def _read_back(self, client: "Client", name: str, sent: Fingerprint) -> bool:
        import obstore

        found = Fingerprint(0)
        for piece in obstore.get(client, name).stream(min_chunk_size=_READ_BACK):
            found.add(memoryview(piece))
        return found.same(sent)

    def _attributes(self, size: int) -> Any:
        kind = self._options.storage_class
        return {"Storage-Class": kind} if kind and size >= _CHEAP else None

    def _not_confirmed(self, action: str) -> StoreFailed:
        why = "what it stored is not what was sent"
        advice = "something on the way changes bytes: look at proxies and at the store's own log"
        return NotConfirmed(self._options.url, action, why, advice)


def _told(parts: Parts, sent: Fingerprint) -> Iterator[memoryview]:
    for part in parts:
        view = memoryview(part).cast("B")
        sent.add(view)
        if len(view):
            yield view
