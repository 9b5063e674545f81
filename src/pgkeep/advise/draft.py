"""A plan, before and after it is judged by what is wanted. Pure."""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from pgkeep.advise.costs import Cost, Made, Storage
from pgkeep.advise.repositories import Spot


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a plan does something, and what would if it does not."""

    wish: str
    met: bool
    says: str
    takes: str = ""  # what meeting it would take; '' where it is met


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second, and whose word that is."""

    restore: float
    replay: float
    source: str


@dataclass(frozen=True, slots=True)
class Draft:
    """One way to do it, and what it comes to. Times in seconds."""

    name: str  # for --plan and JSON: 'dumps', 'recovery', 'recovery-fast', 'managed'
    title: str
    methods: tuple[str, ...]
    schedule: dict[str, str]  # options of [clusters.NAME.schedule]
    places: tuple[Spot, ...]
    write_all: bool  # whether everything goes to all places at once
    made: Made
    archive_timeout: int  # 0: no WAL is archived
    rpo: float  # the most that is lost when the server dies
    site_rpo: float  # and when its site or account is gone; inf: everything
    rto: float
    rto_year: float  # with the cluster's size in a year
    rates: Rates
    storage: Storage
    arithmetic: tuple[str, ...]
    window: float  # how far back any second can be restored; inf: as far as is wanted


@dataclass(frozen=True, slots=True)
class Plan(Draft):
    """One way to do it, with what it brings, costs and leaves open."""

    cost: Cost
    answers: tuple[Answer, ...]  # to the wishes
    rules: tuple[Answer, ...]  # 3-2-1
    checklist: tuple[Answer, ...]  # the rows of `pgkeep checklist`, by their keys
    risks: tuple[str, ...]
    recommended: bool = False
    why: str = ""

    @property
    def fits(self) -> bool:
        return all(answer.met for answer in self.answers)

    @property
    def copies(self) -> int:
        """Return how many repositories there are besides the first."""
        return len(self.places) - 1

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json, which knows no infinity."""
        return {
            **asdict(self),
            "places": [place._asdict() for place in self.places],
            "site_rpo": None if self.site_rpo == inf else self.site_rpo,
            "window": None if self.window == inf else self.window,
            "fits": self.fits,
            "cost_per_month": self.cost.month,
            "stored_in_a_year": self.storage.everywhere,
        }

    @property
    def unmet(self) -> tuple[Answer, ...]:
        return tuple(answer for answer in self.answers if not answer.met)
