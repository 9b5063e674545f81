"""What a copy sends, in which order, and why. Pure.

The copy is to be of use as early as it can be, and never to list what is not whole, nor to have a
hole in its WAL that the source has not:

1. what describes the cluster: generations, their writers and timeline histories;
2. WAL that carries on what the copy can restore already, oldest first: each segment moves its
   newest restorable moment, and needs no new backup for that;
3. where it can restore nothing yet, the newest backup: packs, WAL that makes it consistent, its
   manifest; then WAL behind it, oldest first, up to the newest moment there is;
4. older backups, and dumps by their age among them, the newest first. WAL between a backup and the
   next newer one goes before it, from the end backwards, so that it joins what is there already;
   with its manifest the copy reaches that much further into the past, without a hole;
5. WAL from before the oldest backup, which restores nothing by itself; then censuses and reports of
   drills, which no restore needs.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from pgkeep.model.dump import noun_of
from pgkeep.repository.copies.object_names import ObjectKind


class Blob(NamedTuple):
    """An object at the source."""

    name: str
    size: int


class WalBlob(NamedTuple):
    """A WAL file at the source: a segment, or what was archived beside one."""

    name: str
    size: int
    generation: str
    file: str
    timeline: int
    number: int  # of its segment


@dataclass(frozen=True, slots=True)
class Start:
    """Where WAL begins to be of use to a backup."""

    generation: str
    first: int  # segment number
    needed: tuple[str, ...] = ()  # objects of the WAL that makes it consistent


@dataclass(frozen=True, slots=True)
class Thing:
    """A backup or dump at the source."""

    id: str
    moment: datetime
    manifest: Blob
    start: Start | None = None  # None: a dump
    packs: tuple[Blob, ...] = ()  # () where the target has its manifest
    pins: tuple[Blob, ...] = ()

    @property
    def words(self) -> str:
        return f"{noun_of(self.id)} {self.id}"


@dataclass(frozen=True, slots=True)
class Ends:
    """What there is at the source, and what of it is at the target, by name and size."""

    things: tuple[Thing, ...] = ()
    # Generations, their writers, timeline histories, censuses, and reports of drills.
    documents: Mapping[ObjectKind, Sequence[Blob]] = field(default_factory=dict)
    wal: tuple[WalBlob, ...] = ()
    there: Mapping[str, int] = field(default_factory=dict)
    same: frozenset[str] = frozenset()  # WAL of another length there, and yet of the same content

    def lacks(self, blob: Blob | WalBlob) -> str:
        """Return why an object is to be sent; '' when the target has it."""
        size = self.there.get(blob.name)
        if size is None:
            return "missing"
        if size == blob.size or blob.name in self.same:
            return ""
        return f"it has {size} bytes there instead of {blob.size}"


class Choice(Protocol):
    """What the target is to have: its own retention, judged elsewhere."""

    def why_not(self, id: str) -> str:
        """Return why a backup or dump is not wanted; '' when it is."""
        ...

    def wants_wal(self, name: str) -> bool:
        """Tell whether a WAL file is wanted, by the object's name."""
        ...

    def wants_census(self, name: str) -> bool:
        """Tell whether a census is wanted, by the object's name."""
        ...


class Everything:
    """The choice of a target that keeps all that the source has."""

    def why_not(self, id: str) -> str:  # noqa: ARG002 - as every choice
        return ""

    def wants_wal(self, name: str) -> bool:  # noqa: ARG002 - as every choice
        return True

    def wants_census(self, name: str) -> bool:  # noqa: ARG002 - as every choice
        return True


EVERYTHING = Everything()

_DESCRIBING = (
    ObjectKind.GENERATION,
    ObjectKind.WRITER,
    ObjectKind.LOST,
    ObjectKind.HISTORY,
)


class Only:
    """The choice of one backup or dump with the WAL that it needs, and the census taken with it."""

    def __init__(self, id: str, census: str = "") -> None:
        self.id = id
        self._census = census

    def why_not(self, id: str) -> str:
        return "" if id == self.id else "only one is wanted"

    def wants_wal(self, name: str) -> bool:  # noqa: ARG002 - as every choice
        return False

    def wants_census(self, name: str) -> bool:
        return name.rpartition("/")[2] == self._census


class Send(NamedTuple):
    """One object to send."""

    name: str
    size: int
    kind: ObjectKind
    why: str  # 'missing', or what is there instead

    @property
    def replaces(self) -> bool:
        """Tell whether something else has its name at the target."""
        return self.why != "missing"


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects that may be sent in any order, and those that may only follow when all are there."""

    title: str
    first: tuple[Send, ...]
    then: tuple[Send, ...] = ()  # one after the other: a manifest, then pins
    thing: str = ""  # the backup or dump that is listed by it
    needs: tuple[str, ...] = ()  # WAL without which it is none, here or in an earlier batch

    @property
    def size(self) -> int:
        return sum(send.size for send in (*self.first, *self.then))


class Skipped(NamedTuple):
    """A backup or dump that is not sent, and why."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Everything that is to be sent, in this order."""

    batches: tuple[Batch, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    there: int = 0  # backups and dumps that the target has already

    def sends(self) -> Iterator[Send]:
        for batch in self.batches:
            yield from batch.first
            yield from batch.then

    @property
    def size(self) -> int:
        return sum(batch.size for batch in self.batches)


def plan_copy(ends: Ends, choice: Choice = EVERYTHING) -> CopyPlan:
    """Decide what to send. A backup of which anything is sent is sent whole."""
    wal = {blob.name for blob in ends.wal}
    skipped = [
        Skipped(thing.id, why)
        for thing in ends.things
        if ends.lacks(thing.manifest)
        and (why := choice.why_not(thing.id) or _stranded(thing, ends, wal))
    ]
    out = {one.id for one in skipped}
    wanted = [thing for thing in ends.things if thing.id not in out]
    wanted.sort(key=lambda thing: (thing.moment, thing.id), reverse=True)
    batches = [batch for batch in _Planner(ends, choice).batches(wanted) if batch.size]
    there = sum(not ends.lacks(thing.manifest) for thing in ends.things)
    return CopyPlan(tuple(batches), tuple(skipped), there)


def _stranded(thing: Thing, ends: Ends, wal: Set[str]) -> str:
    """Return why a backup is none at the source either; '' when it is one."""
    needed = thing.start.needed if thing.start is not None else ()
    lost = [name for name in needed if name not in wal and name not in ends.there]
    return f"not restorable: {lost[0]} is missing" if lost else ""


class _Planner:
    """Goes through what is wanted, and plans each object once."""

    def __init__(self, ends: Ends, choice: Choice) -> None:
        self._ends = ends
        self._choice = choice
        self._planned: set[str] = set()
        self._wal: dict[str, list[WalBlob]] = {}  # what is lacking, by generation, oldest first
        for wal in sorted(ends.wal, key=lambda w: (w.number, w.timeline, w.name)):
            if ends.lacks(wal):
                self._wal.setdefault(wal.generation, []).append(wal)
        self._named = {w.name: w for files in self._wal.values() for w in files}
        self._from: dict[str, int] = {}  # of each generation: WAL from here on is planned

    def batches(self, newest_first: list[Thing]) -> Iterator[Batch]:
        described: list[Send] = []
        for kind in _DESCRIBING:
            described += self._sends(self._ends.documents.get(kind, ()), kind)
        yield Batch("what describes the cluster", tuple(described))
        present = [thing for thing in newest_first if not self._ends.lacks(thing.manifest)]
        pins = tuple(send for thing in present for send in self._pins(thing))
        yield Batch("pins of what is there", pins)
        seen: set[str] = set()
        for thing in present:
            if thing.start is not None and thing.start.generation not in seen:
                seen.add(thing.start.generation)
                yield self._wal_from(thing.start, f"WAL that carries on {thing.words}")
        for thing in newest_first:
            start, follows = thing.start, f"WAL that follows {thing.words}"
            older = start is not None and start.generation in self._from
            if start is not None and older:
                yield self._wal_from(start, follows)
            if self._ends.lacks(thing.manifest):
                yield self._whole(thing)
            if start is not None and not older:
                yield self._wal_from(start, follows)
        older_wal = (w for files in self._wal.values() for w in reversed(files))
        yield Batch("WAL from before the oldest backup", self._left(older_wal))
        yield Batch("censuses", self._censuses())
        drills = self._ends.documents.get(ObjectKind.DRILL, ())
        yield Batch("reports of drills", self._sends(drills, ObjectKind.DRILL))
        acts = self._ends.documents.get(ObjectKind.ACT, ())
        yield Batch("acts", self._sends(acts, ObjectKind.ACT))

    def _whole(self, thing: Thing) -> Batch:
        packs = self._sends(thing.packs, ObjectKind.PACK)
        needs = thing.start.needed if thing.start is not None else ()
        # Whatever the choice says: without them the backup is none.
        wal = self._sends((self._named[n] for n in needs if n in self._named), ObjectKind.WAL)
        manifest = self._sends([thing.manifest], ObjectKind.MANIFEST)
        then = (*manifest, *self._pins(thing))
        return Batch(thing.words, (*packs, *wal), then, thing.id, needs)

    def _wal_from(self, start: Start, title: str) -> Batch:
        """Return WAL from a backup on, up to what is planned already: to that it is joined."""
        files = self._wal.get(start.generation, [])
        end = self._from.get(start.generation)
        low = bisect_left(files, start.first, key=lambda w: w.number)
        if end is None:
            self._from[start.generation] = start.first
            return Batch(title, self._left(files[low:]))
        self._from[start.generation] = min(start.first, end)
        high = bisect_left(files, end, key=lambda w: w.number)
        return Batch(title, self._left(reversed(files[low:high])))

    def _left(self, wal: Iterable[WalBlob]) -> tuple[Send, ...]:
        return self._sends((w for w in wal if self._choice.wants_wal(w.name)), ObjectKind.WAL)

    def _censuses(self) -> tuple[Send, ...]:
        newest_first = reversed(self._ends.documents.get(ObjectKind.CENSUS, ()))
        wanted = (blob for blob in newest_first if self._choice.wants_census(blob.name))
        return self._sends(wanted, ObjectKind.CENSUS)

    def _pins(self, thing: Thing) -> tuple[Send, ...]:
        return self._sends(thing.pins, ObjectKind.PIN)

    def _sends(self, blobs: Iterable[Blob | WalBlob], kind: ObjectKind) -> tuple[Send, ...]:
        """Return those that the target lacks and that are not planned yet."""
        found = []
        for blob in blobs:
            why = self._ends.lacks(blob)
            if why and blob.name not in self._planned:
                self._planned.add(blob.name)
                found.append(Send(blob.name, blob.size, kind, why))
        return tuple(found)
