"""The ways that are proposed, each a monotone function of what is wanted. Pure.

A tighter wish never brings a looser plan: what a choice depends on moves it in one direction only.
"""

from math import ceil, floor, inf
from typing import Final

from pgkeep.advise import facts
from pgkeep.advise.costs import Made, storage_of
from pgkeep.advise.draft import Draft, Rates
from pgkeep.advise.repositories import Spot, spots
from pgkeep.advise.wishes import DAY, Wishes
from pgkeep.units import format_duration, format_size

HOUR: Final = 3600.0
_WEEK: Final = 7 * DAY
_MONTH: Final = 365.25 / 12  # days
_MOST_TIMEOUT: Final = 300.0  # seconds; where more may be lost, a quiet server need not wait longer
# How often the whole is dumped, for what it takes alone: the words and the seconds between.
_DUMPS: Final = (
    (HOUR, "every 1h"), (2 * HOUR, "every 2h"), (3 * HOUR, "every 3h"), (6 * HOUR, "every 6h"),
    (12 * HOUR, "every 12h"), (DAY, "daily 02:00"), (_WEEK, "weekly sun 02:00"),
)  # fmt: skip
_LONGEST: Final = 365  # days
_EASY: Final = 24  # times as long as a dump takes: so rarely one is made beside physical backups
_DAILY: Final = {"expire": "daily 07:00", "checklist": "weekly mon 08:00"}


def recovery(wishes: Wishes, *, fast: bool) -> Draft:
    """Physical backups and WAL: daily, or several a day with everything that makes it quick."""
    every = 6 * HOUR if fast else DAY
    most = _MOST_TIMEOUT / 5 if fast else _MOST_TIMEOUT
    timeout = floor(max(facts.LEAST_TIMEOUT, min(most, wishes.rpo / 2)))
    rpo = timeout + facts.PUSH.value
    places = spots(wishes)
    copy_every = 0.0 if fast else HOUR
    dumps_every, dump_words = _beside(wishes)
    drills = _MONTH / 7 if fast else 1.0
    made = Made(every, timeout, dumps_every, drills)
    schedule = {
        "backup": "every 6h" if fast else "daily 02:00",
        **({"dump": dump_words} if dump_words else {}),
        "verify": "weekly sun 05:00",
        "drill": "weekly sat 06:00" if fast else "monthly 1 06:00",
        **_DAILY,
        "census": "every 1h",
        **_copying(places, "daily 04:00" if fast else "every 1h"),
    }
    storage = storage_of(wishes, made, len(places))
    rates, lines, rto, rto_year = _restoring(wishes, every)
    return Draft(
        name="recovery-fast" if fast else "recovery",
        title=(
            "Any second, backups every 6 hours, all places at once"
            if fast
            else "Any second, one backup a day"
        ),
        methods=_methods(places, dump_words, write_all=fast),
        schedule=schedule,
        places=places,
        write_all=fast and len(places) > 1,
        made=made,
        archive_timeout=timeout,
        rpo=rpo,
        site_rpo=_with_the_site(places, rpo, copy_every),
        rto=rto,
        rto_year=rto_year,
        rates=rates,
        storage=storage,
        arithmetic=(
            f"may lose: archive_timeout {timeout} s + {facts.PUSH.value:.0f} s for a segment on "
            f"its way = {format_duration(rpo)}",
            *_site_line(places, rpo, copy_every),
            *lines,
            *storage.arithmetic,
        ),
        window=inf,
    )


def dumps(wishes: Wishes) -> Draft:
    """Logical backups alone: the plainest, for what is small or changes little."""
    took = wishes.size / facts.DUMP.value
    # The least often that will do, else as often as can be; one ends long before the next begins.
    spacings = [max(every, 2 * took) for every, _ in _DUMPS]
    possible = [one for one in spacings if _rhythm(one)[0] + took <= wishes.rpo]
    spacing = possible[-1] if possible else spacings[0]
    every, words = _rhythm(spacing)
    rpo = max(every, took) + took
    load = wishes.size / facts.LOAD.value
    rto = facts.START.value + load
    places = spots(wishes)
    made = Made(dumps_every=spacing)
    copy_every = 0.0 if len(places) == 1 else HOUR
    storage = storage_of(wishes, made, len(places))
    schedule = {"dump": words, "drill": "monthly 1 06:00", **_DAILY}
    return Draft(
        name="dumps",
        title="Dumps alone",
        methods=("dumps of every database, roles included", *_elsewhere(places, write_all=False)),
        schedule={**schedule, **_copying(places, "every 1h")},
        places=places,
        write_all=False,
        made=made,
        archive_timeout=0,
        rpo=rpo,
        site_rpo=_with_the_site(places, rpo, copy_every),
        rto=rto,
        rto_year=facts.START.value + load * (1 + max(0.0, wishes.growth)),
        rates=Rates(facts.LOAD.value, 0.0, "assumed"),
        storage=storage,
        arithmetic=(
            f"may lose: {format_duration(every)} between two dumps + {format_duration(took)} that "
            f"one takes ({format_size(wishes.size)} at {_rate(facts.DUMP.value)}) = "
            f"{format_duration(rpo)}",
            *_site_line(places, rpo, copy_every),
            f"back: {format_size(wishes.size)} loaded at {_rate(facts.LOAD.value)} = "
            f"{format_duration(load)}, and {facts.START.value:.0f} s to begin",
            *storage.arithmetic,
        ),
        window=0.0,
    )


def managed(wishes: Wishes) -> Draft:
    """The provider's own recovery, and dumps to where the provider's account does not reach."""
    took = wishes.size / facts.DUMP.value
    spacing = max(DAY, 2 * took)
    every, words = _rhythm(spacing)
    copy = wishes.size / facts.MANAGED_RESTORE.value
    places = spots(wishes)
    made = Made(dumps_every=spacing, by_service=True)
    storage = storage_of(wishes, made, len(places))
    rpo = facts.MANAGED_RPO.value
    site = max(every, took) + took if any(place.elsewhere for place in places) else inf
    lost = "everything: no copy is elsewhere" if site == inf else format_duration(site)
    return Draft(
        name="managed",
        title="The service's own recovery, and dumps",
        methods=(
            "the service's own point-in-time recovery: nobody from outside can do better, for "
            "files and WAL are out of reach",
            f"pgkeep dumps, {words}" + (", into another account" if site != inf else ", beside it"),
        ),
        schedule={"dump": words, "drill": "monthly 1 06:00", **_DAILY},
        places=places,
        write_all=False,
        made=made,
        archive_timeout=0,
        rpo=rpo,
        site_rpo=site,
        rto=facts.START.value + copy,
        rto_year=facts.START.value + copy * (1 + max(0.0, wishes.growth)),
        rates=Rates(facts.MANAGED_RESTORE.value, 0.0, "assumed"),
        storage=storage,
        arithmetic=(
            f"may lose: {format_duration(rpo)}, says the provider",
            f"with the account: {format_duration(every)} between two dumps + "
            f"{format_duration(took)} that one takes = {lost}"
            if site != inf
            else f"with the account: {lost}",
            f"back: a new instance of {format_size(wishes.size)} at about "
            f"{_rate(facts.MANAGED_RESTORE.value)} = {format_duration(copy)}: only a test tells",
            *storage.arithmetic,
        ),
        window=facts.MANAGED_WINDOW.value,
    )


def _restoring(wishes: Wishes, every: float) -> tuple[Rates, tuple[str, ...], float, float]:
    """Return the rates, the lines, and how long a restore takes at the worst: now, in a year."""
    measured = wishes.restore_rate is not None
    rates = Rates(
        wishes.restore_rate or facts.RESTORE.value,
        wishes.replay_rate or facts.REPLAY.value,
        "measured by your drill" if measured else "a drill measures yours",
    )
    wal = wishes.wal_per_day * every / DAY
    copy, replay = wishes.size / rates.restore, wal / rates.replay
    start = facts.START.value
    rto = start + copy + replay
    rto_year = start + copy * (1 + max(0.0, wishes.growth)) + replay
    lines = (
        f"back: {format_size(wishes.size)} at {_rate(rates.restore)} = {format_duration(copy)} "
        f"({rates.source})",
        f"  + WAL of up to {format_duration(every)}: {format_size(wal)} at {_rate(rates.replay)} = "
        f"{format_duration(replay)}",
        f"  + {start:.0f} s to begin = {format_duration(rto)} at the worst; in a year, "
        f"{max(0.0, wishes.growth):.0%} larger: {format_duration(rto_year)}",
    )
    return rates, lines, rto, rto_year


def _beside(wishes: Wishes) -> tuple[float, str]:
    """Return how often dumps are made beside physical backups, and the words for it."""
    if not wishes.table_level:
        return 0.0, ""
    spacing = max(DAY, _EASY * wishes.size / facts.DUMP.value)
    return spacing, _rhythm(spacing)[1].replace("02:00", "00:30")


def _rhythm(spacing: float) -> tuple[float, str]:
    """Return the words for at least so many seconds between two dumps, and what they come to."""
    days = min(_LONGEST, ceil(spacing / DAY))
    if days not in (0, 1, 7):
        return days * DAY, f"every {days}d"
    return next(one for one in _DUMPS if one[0] >= min(spacing, days * DAY))


def _copying(places: tuple[Spot, ...], words: str) -> dict[str, str]:
    return {"copy": words} if len(places) > 1 else {}


def _with_the_site(places: tuple[Spot, ...], rpo: float, copy_every: float) -> float:
    """Return what is lost with the site: a place that is copied to lags behind."""
    if places[0].elsewhere:
        return rpo
    return rpo + copy_every if any(place.elsewhere for place in places) else inf


def _site_line(places: tuple[Spot, ...], rpo: float, copy_every: float) -> tuple[str, ...]:
    lost = _with_the_site(places, rpo, copy_every)
    if lost == inf:
        return ("with the site: everything, for no copy is elsewhere",)
    if lost == rpo:
        return (f"with the site: no more than that, {format_duration(lost)}",)
    return (
        f"with the site: {format_duration(rpo)} + {format_duration(copy_every)} between two copies "
        f"= {format_duration(lost)}, and the time that a copy takes",
    )


def _methods(places: tuple[Spot, ...], dump_words: str, *, write_all: bool) -> tuple[str, ...]:
    return (
        "physical backups, incremental forever",
        "WAL archiving, ahead of PostgreSQL",
        *([f"dumps, {dump_words}"] if dump_words else []),
        *_elsewhere(places, write_all=write_all),
    )


def _elsewhere(places: tuple[Spot, ...], *, write_all: bool) -> tuple[str, ...]:
    if len(places) == 1:
        return ()
    return ("all of it in a second place at once" if write_all else "a copy elsewhere, every hour",)


def _rate(value: float) -> str:
    return f"{value / facts.MEGABYTE:.0f} MB/s"
