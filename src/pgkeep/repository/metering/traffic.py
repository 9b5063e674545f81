"""How often a store was asked for what, and how many bytes went which way. Pure."""

from typing import NamedTuple


class Traffic(NamedTuple):
    """Requests as stores send them if nothing fails; attempts after the first are not counted."""

    puts: int = 0  # blobs stored, each part of a large one
    gets: int = 0
    lists: int = 0  # pages of a listing
    stats: int = 0
    deletes: int = 0
    sent: int = 0  # bytes
    received: int = 0  # bytes

    @property
    def requests(self) -> int:
        return self.puts + self.gets + self.lists + self.stats + self.deletes

    def plus(self, other: "Traffic") -> "Traffic":
        return Traffic(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: "Traffic") -> "Traffic":
        return Traffic(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))
