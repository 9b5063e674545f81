"""How soon a password may be tried again: slower with each wrong one.

What is wrong slows down the address it comes from, and the user it is for. But nobody can keep a
user out: who has logged in from an address before, or sits at this host, is not slowed down by what
others try elsewhere.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from pgkeep.api.errors import TooManyLogIns

FREE: Final = 3  # wrong ones in a row that cost nothing: typing errors
LONGEST_S: Final = 60.0
_FORGOTTEN_S: Final = 3600.0  # without a wrong one
_MOST: Final = 10_000  # of each kind that are remembered
_HERE: Final = ("127.0.0.1", "::1", "")


@dataclass(frozen=True, slots=True)
class _Wrong:
    count: int
    last: float

    def free_at(self) -> float:
        over = self.count - FREE
        return self.last + min(LONGEST_S, 2.0 ** min(over, 10)) if over >= 0 else self.last


class Attempts:
    """What was tried, and how often it was wrong. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._wrong: dict[tuple[str, str], _Wrong] = {}
        self._trusted: dict[tuple[str, str], float] = {}  # (user, address) that were right

    def check(self, user: str, address: str) -> None:
        """Raise TooManyLogIns when it is too early for another try; that try does not count."""
        with self._lock:
            now = self._clock()
            wrong = [self._wrong[key] for key in self._keys(user, address) if key in self._wrong]
            wait = max((one.free_at() - now for one in wrong), default=0.0)
        if wait > 0:
            seconds = int(wait) + 1
            why = "wrong passwords came too often"
            raise TooManyLogIns("log in", why, f"try again in {seconds} s", after_s=seconds)

    def failed(self, user: str, address: str) -> int:
        """Count a wrong password, and return how many there were in a row."""
        with self._lock:
            now, most = self._clock(), 0
            for key in self._keys(user, address):
                before = self._wrong.pop(key, None)
                stale = before is None or now - before.last > _FORGOTTEN_S
                count = 1 if stale or before is None else before.count + 1
                self._wrong[key] = _Wrong(count, now)  # at the end: the oldest goes first
                most = max(most, count)
            _shorten(self._wrong)
            return most

    def succeeded(self, user: str, address: str) -> None:
        """Forget what was wrong before."""
        with self._lock:
            for key in self._keys(user, address):
                self._wrong.pop(key, None)
            self._trusted[user, _network(address)] = self._clock()
            _shorten(self._trusted)

    def _keys(self, user: str, address: str) -> list[tuple[str, str]]:
        address = _network(address)
        known = address in _HERE or (user, address) in self._trusted
        everywhere = [] if known else [(user, "")]
        # One who has a right password must not free an address for guessing at others'.
        return [(user, address or "here"), ("", address or "here"), *everywhere]


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6, whoever has one has its 2**64 neighbours."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address  # '', or what a proxy calls it
    if found.version == 4 or found.is_loopback:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed, 64), strict=False))


def _shorten(kept: dict[tuple[str, str], Any]) -> None:
    while len(kept) > _MOST:
        del kept[next(iter(kept))]
