"""Sends one object: read and checked in full, stored, and seen to be there."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pgkeep.replicate.plan import Send
from pgkeep.repository.copies.held import Held
from pgkeep.repository.copies.identity import CopyRefused
from pgkeep.repository.copies.intact import NOT_INTACT, check
from pgkeep.repository.copies.object_names import ObjectKind, ObjectName, parse_name
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import BlobExists, BlobMissing
from pgkeep.repository.wal_archive import WalMissing


class Fate(StrEnum):
    """What became of an object."""

    SENT = "sent"
    REPLACED = "replaced"  # what was at the target was damaged
    THERE = "there"  # somebody else has put it there meanwhile
    MISSING = "missing"  # it is no longer at the source
    DAMAGED = "damaged"  # at the source: it was not sent
    DIFFERS = "differs"  # both ends are intact, and not the same: left alone


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one object."""

    send: Send
    fate: Fate
    why: str = ""

    @property
    def arrived(self) -> bool:
        return self.fate in (Fate.SENT, Fate.REPLACED, Fate.THERE)


class Unconfirmed(CopyRefused):
    """A store took an object, and gives back another one. It was removed again."""

    code = "copy-unconfirmed"

    @property
    def hint(self) -> str:
        return f"look at the disks of {self.target}; what was copied before is whole"


@dataclass(frozen=True)
class Sender:
    """Sends objects from one copy of a repository to another. For several threads."""

    source: Repository
    target: Repository
    take: Callable[[int], object] = lambda _: None  # returns when so many bytes may be read
    verify: bool = False  # read again at the target what was sent

    def send(self, send: Send) -> Sent:
        """Raise what the target's store raises, or the source's when it fails."""
        wanted = parse_name(send.name)
        assert wanted is not None  # nothing else is listed for a copy
        try:
            held = Held(self.source.store, send.name, self.take)
            check(held, self.source, wanted)
        except (BlobMissing, WalMissing):
            return Sent(send, Fate.MISSING, "it is no longer at the source")
        except NOT_INTACT as error:
            return Sent(send, Fate.DAMAGED, str(error))
        if wanted.kind is ObjectKind.PACK and held.size != send.size:
            # Intact by itself, and yet not the one that a manifest names.
            why = f"it has {held.size} bytes instead of the {send.size} that a manifest names"
            return Sent(send, Fate.DAMAGED, why)
        if send.replaces:
            return self._replace(send, held)
        return self._create(send, held)

    def _create(self, send: Send, held: Held) -> Sent:
        try:
            self.target.store.create(send.name, held.parts)
        except BlobExists:
            if self.target.store.stat(send.name).size != held.size:
                return self._replace(send, held)
            return Sent(send, Fate.THERE)
        self._confirm(held)
        return Sent(send, Fate.SENT)

    def _replace(self, send: Send, held: Held) -> Sent:
        """Put an object where another one is, if that one is damaged."""
        wanted = parse_name(send.name)
        assert wanted is not None
        try:
            check(Held(self.target.store, send.name), self.target, wanted)
        except (BlobMissing, WalMissing, *NOT_INTACT):
            self.target.store.put(send.name, held.parts)
            self._confirm(held)
            return Sent(send, Fate.REPLACED, send.why)
        if wanted.file and self._same_content(wanted):
            return Sent(send, Fate.THERE)
        why = "both ends have one that is intact, and they are not the same"
        return Sent(send, Fate.DIFFERS, why)

    def _same_content(self, wal: ObjectName) -> bool:
        """Tell whether WAL was pushed to both ends: sealed twice, so its bytes differ."""
        archives = (end.cluster(wal.cluster).wal(wal.of) for end in (self.source, self.target))
        ours, theirs = (archive.describe(wal.file) for archive in archives)
        return ours.is_same_as(theirs)

    def _confirm(self, held: Held) -> None:
        """Demand what the target says, or gives back, of what it has just taken."""
        store = self.target.store
        size = store.stat(held.name).size
        why = "" if size == held.size else f"it has {size} bytes instead of {held.size}"
        if not why and self.verify and not held.is_in(store):
            why = "it reads otherwise than it was written"
        if why:
            # The next copy would take it for whole by its name and size.
            store.delete(held.name)
            raise Unconfirmed(self.source.store.url, store.url, f"{held.name}: {why}")
