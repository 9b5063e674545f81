"""What is at both ends of a copy, as sketches: a backup or a pack is a letter, WAL a number."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pgkeep.replicate.plan import Blob, Ends, Start, Thing, WalBlob

AnyBlob = Blob | WalBlob
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PREFIX = "clusters/main/"


def wal(number: int, generation: str = "g") -> WalBlob:
    file = f"00000001{number:016X}"
    return WalBlob(f"{PREFIX}wal/{generation}/{file}", 10, generation, file, 1, number)


def backup(letter: str, first: int, packs: str) -> Thing:
    """Return a backup that needs one segment, and packs of one letter each."""
    blobs = tuple(Blob(f"{PREFIX}packs/{pack}", 100) for pack in packs)
    start = Start("g", first, (wal(first).name,))
    moment = FIRST + timedelta(days=first)
    return Thing(letter, moment, Blob(f"{PREFIX}backups/{letter}", 7), start, blobs)


def dump(day: int) -> Thing:
    id = f"D{day}"
    packs = (Blob(f"{PREFIX}packs/{id}", 100),)
    return Thing(id, FIRST + timedelta(days=day), Blob(f"{PREFIX}dumps/{id}", 7), None, packs)


def ends(
    things: Sequence[Thing], segments: range = range(1, 9), there: Sequence[AnyBlob] = ()
) -> Ends:
    files = tuple(wal(number) for number in segments)
    return Ends(tuple(things), {}, files, {blob.name: blob.size for blob in there})


def short(name: str) -> str:
    """Return the last part of a name; of a segment its number."""
    last = name.rpartition("/")[2]
    return str(int(last[8:], 16)) if len(last) == 24 else last


class Chosen:
    """A choice by letters and numbers."""

    def __init__(self, refused: str = "", segments: range = range(100)) -> None:
        self._refused = refused
        self._segments = segments

    def why_not(self, id: str) -> str:
        return "older than the window" if id in self._refused else ""

    def wants_census(self, name: str) -> bool:
        return True

    def wants_wal(self, name: str) -> bool:
        return int(short(name)) in self._segments
