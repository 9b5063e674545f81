"""A large object in memory that shrinks while it is read from front to back."""

from collections.abc import Iterable
from typing import Final

from pgkeep.repository.seal import Plain


class Pieces:
    """The bytes of one object, in pieces of any lengths."""

    def __init__(self, pieces: Iterable[Plain]) -> None:
        self._pieces = list(pieces)
        self._starts: Final = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + len(piece))

    @property
    def size(self) -> int:
        return self._starts[-1]

    def read(self, start: int, length: int) -> Plain:
        """Return a range, copied only where it lies in more than one piece."""
        end, parts = start + length, []
        for begin, piece in zip(self._starts, self._pieces, strict=False):
            low, high = max(start - begin, 0), min(end - begin, len(piece))
            if low < high:
                parts.append(memoryview(piece)[low:high])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def let_go(self, before: int) -> None:
        """Forget the pieces that lie wholly before a position: they are not read again."""
        for number, end in enumerate(self._starts[1:]):
            if end > before:
                break
            self._pieces[number] = b""
