"""How long to go on with a server that fails, and when to try again. Pure."""

from typing import Final, NamedTuple

_FIRST_S: Final = 0.1
_LONGEST_S: Final = 5.0


class Patience(NamedTuple):
    """What is left of it."""

    budget: float  # seconds from the first failure on
    tried: int = 0

    def wait(self, spent: float, chance: float) -> float | None:
        """Return the seconds to wait before the next try, or None when it is time to give up.

        Twice as long each time; `chance` (0 to 1) spreads clients that failed in one moment.
        """
        longest: float = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self.tried, 16))
        seconds = longest * (0.5 + chance / 2)
        return seconds if spent + seconds <= self.budget else None

    def after(self) -> "Patience":
        return self._replace(tried=self.tried + 1)
