"""The adviser's questions as steps of sliders, and plans in words. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from pgkeep.advise.draft import Plan
from pgkeep.advise.wishes import DAY, GIB, Hosting, Provider, Wishes
from pgkeep.units import format_duration, format_size

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_MIB: Final = GIB / 1024


class Scale(NamedTuple):
    """A question that is answered by a slider."""

    name: str  # of the field of Wishes
    asks: str
    steps: tuple[float, ...]
    is_size: bool = False

    def words(self, place: int) -> str:
        """Return a step in words."""
        value = self.steps[place]
        if self.is_size:
            return format_size(value)
        return format_duration(value) if value else "none"

    def nearest(self, value: float) -> int:
        """Return the first step that is not less than a value, or the last."""
        return min(bisect_left(self.steps, value), len(self.steps) - 1)


_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1024, 2048, 5120, 10240, 20480, 51200, 102400)
SCALES: Final = (
    Scale(
        "rpo",
        "The most that may be lost",
        (*(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)), *(n * _HOUR for n in (1, 2, 6, 12, 24))),
    ),
    Scale(
        "rto",
        "The longest until it is back",
        (
            *(n * _MINUTE for n in (5, 15, 30)),
            *(n * _HOUR for n in (1, 2, 4, 8, 12, 24)),
            *(n * DAY for n in (2, 3, 7)),
        ),
    ),
    Scale("size", "Size of the cluster", tuple(n * GIB for n in _SIZES), is_size=True),
    Scale(
        "wal_per_day",
        "WAL that it writes a day",
        tuple(n * _MIB for n in (100, 512, *(size * 1024 for size in _SIZES[:14]))),
        is_size=True,
    ),
    Scale(
        "window",
        "Back to any second of the last",
        tuple(n * DAY for n in (0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 180, 365)),
    ),
)
COUNTS: Final = (("daily", "Days"), ("weekly", "Weeks"), ("monthly", "Months"))
HOSTING: Final = {
    Hosting.SELF: "a machine of my own",
    Hosting.CLOUD_VM: "a virtual machine in a cloud",
    Hosting.KUBERNETES: "Kubernetes",
    Hosting.MANAGED: "a managed service",
}
PROVIDERS: Final = {
    Provider.NONE: "none: own disks and hosts",
    Provider.AWS: "AWS",
    Provider.GOOGLE: "Google",
    Provider.AZURE: "Azure",
    Provider.OTHER: "another",
}


class Measured(NamedTuple):
    """What is known of a cluster before anybody answers; None: nothing."""

    size: float | None = None
    wal_per_day: float | None = None
    rpo: float | None = None
    rto: float | None = None


def places_at_first(known: Measured) -> dict[str, int]:
    """Return where each slider stands at first: at what was measured, else at what is usual."""
    usual = Wishes()
    return {
        scale.name: scale.nearest(getattr(known, scale.name, None) or getattr(usual, scale.name))
        for scale in SCALES
    }


class Choices(NamedTuple):
    """What is chosen beside the sliders."""

    hosting: Hosting = Hosting.SELF
    provider: Provider = Provider.NONE
    offsite: bool = True
    table_level: bool = True
    budget: float | None = None
    growth: float = 0.3
    counts: tuple[int, int, int] = (7, 4, 12)  # of COUNTS


def wishes_of(places: dict[str, int], choices: Choices) -> Wishes:
    """Return what is wished. Raise ValueError for what cannot be."""
    numbers = {scale.name: scale.steps[places[scale.name]] for scale in SCALES}
    daily, weekly, monthly = choices.counts
    provider = choices.provider
    if choices.hosting is Hosting.MANAGED and provider is Provider.NONE:
        provider = Provider.OTHER
    return Wishes(
        hosting=choices.hosting,
        provider=provider,
        offsite=choices.offsite,
        table_level=choices.table_level,
        budget=choices.budget,
        growth=choices.growth,
        daily=daily,
        weekly=weekly,
        monthly=monthly,
        rpo=numbers["rpo"],
        rto=numbers["rto"],
        size=numbers["size"],
        wal_per_day=numbers["wal_per_day"],
        window=numbers["window"],
    )


def command_of(wishes: Wishes, plan: Plan) -> tuple[str, ...]:
    """Return what one types for the same plans."""
    words = ["advise", "--plan", plan.name]
    words += ["--rpo", f"{wishes.rpo:.0f}s", "--rto", f"{wishes.rto:.0f}s"]
    words += ["--size", f"{wishes.size / (1 << 20):.0f}MiB"]
    words += ["--wal-rate", f"{wishes.wal_per_day / (1 << 20):.0f}MiB"]
    words += ["--growth", f"{wishes.growth * 100:g}", "--retention", f"{wishes.window:.0f}s"]
    words += ["--daily", str(wishes.daily), "--weekly", str(wishes.weekly)]
    words += ["--monthly", str(wishes.monthly)]
    words += ["--hosting", wishes.hosting.value, "--provider", wishes.provider.value]
    words.append("--table-level" if wishes.table_level else "--no-table-level")
    words.append("--offsite" if wishes.offsite else "--no-offsite")
    return (*words, *(() if wishes.budget is None else ("--budget", f"{wishes.budget:g}")))


@dataclass(frozen=True, slots=True)
class Card:
    """One plan in words."""

    name: str
    title: str
    recommended: str  # why; '' for the others
    facts: tuple[tuple[str, str], ...]
    unmet: tuple[str, ...]  # wishes, and what they would take
    risks: tuple[str, ...]


def card_of(plan: Plan, wishes: Wishes) -> Card:
    """Put a plan into words."""
    reach = min(plan.window, wishes.window)
    window = format_duration(reach) if reach else "none: only the moments of its backups"
    site = "everything" if plan.site_rpo == inf else f"the last {format_duration(plan.site_rpo)}"
    facts = (
        ("Lost at most", format_duration(plan.rpo)),
        ("Lost with the whole site", site),
        ("Back within", f"{format_duration(plan.rto)}, in a year {format_duration(plan.rto_year)}"),
        ("Any second of", window),
        ("Stored", f"{format_size(plan.storage.everywhere)} in all places, in a year"),
        ("Costs a month", f"{plan.cost.month:,.2f} by list prices, in a year"),
        ("Where", ", ".join(f"{place.name} ({place.kind})" for place in plan.places)),
    )
    unmet = tuple(f"{one.wish}: {one.says}. It takes {one.takes}." for one in plan.unmet)
    why = plan.why if plan.recommended else ""
    return Card(plan.name, plan.title, why, facts, unmet, plan.risks)


def arithmetic_of(plan: Plan) -> tuple[str, ...]:
    """Return how a plan's numbers come about."""
    rates = f"rates: {plan.rates.source}"
    return (*plan.arithmetic, *plan.storage.arithmetic, *plan.cost.arithmetic, rates)


def chosen(plans: Sequence[Plan], name: str) -> Plan:
    """Return the plan of a name; without one that is there, the recommended one."""
    return next((plan for plan in plans if plan.name == name), plans[0])
