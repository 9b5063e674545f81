"""A position in WAL: PostgreSQL's 64-bit log sequence number."""

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, Self

_DIGITS: Final = frozenset("0123456789ABCDEFabcdef")


class BadLsn(PgkeepError):
    """Text or a number that is no WAL position."""

    code = "bad-lsn"
    exit_status = 12

    text: str

    def __str__(self) -> str:
        return f"cannot read {self.text!r} as a WAL position"

    @property
    def hint(self) -> str:
        return "write it as PostgreSQL prints it, like 0/4A000028"


class Lsn(int):
    """Bytes since the beginning of WAL. `Lsn + int` is an Lsn, `Lsn - Lsn` is a count of bytes."""

    __slots__ = ()

    def __new__(cls, value: int) -> Self:
        if not 0 <= value < 1 << 64:
            raise BadLsn(str(value))
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> Self:
        halves = text.strip().split("/")
        if len(halves) != 2 or not all(map(_is_half, halves)):
            raise BadLsn(text)
        return cls(int(halves[0], 16) << 32 | int(halves[1], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{int(self) & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn.parse('{self}')"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __add__(self, other: int) -> "Lsn":
        return Lsn(int(self) + other)


def _is_half(text: str) -> bool:
    return 1 <= len(text) <= 8 and _DIGITS.issuperset(text)
