"""Two or three plans for what somebody wants, each with its arithmetic. Pure.

A tighter wish never brings a looser plan: every choice here is a monotone function of the wishes.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from pgkeep.advise import facts
from pgkeep.advise.costs import Cost, Storage, cost_of, storage_of
from pgkeep.advise.wishes import DAY, Hosting, Provider, Wishes
from pgkeep.units import format_duration, format_size

_HOUR: Final = 3600.0
_LEAST_TIMEOUT: Final = 10.0  # seconds: below it segments are mostly padding
_MOST_TIMEOUT: Final = 300.0
_DUMPS: Final = ((DAY, "daily 02:00"), (6 * _HOUR, "every 6h"), (_HOUR, "every 1h"))
_LARGE: Final = 500 * 1024**3  # bytes: beyond it dumps of everything take a day to load


@dataclass(frozen=True, slots=True)
class Answer:
    """How a plan meets one wish."""

    wish: str
    met: bool
    says: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to do it, with what it brings and what it leaves open."""

    name: str  # for --plan and files: 'dumps', 'recovery', 'recovery-fast', 'managed'
    title: str
    methods: tuple[str, ...]
    schedule: dict[str, str]  # options of [clusters.NAME.schedule]
    archive_timeout: int  # seconds; 0: no WAL is archived
    rpo: float
    rto: float
    arithmetic: tuple[str, ...]
    storage: Storage
    cost: Cost
    risks: tuple[str, ...]
    rules: tuple[Answer, ...]  # 3-2-1
    answers: tuple[Answer, ...]  # to the wishes
    recommended: bool = False
    why: str = ""
    copies: int = field(default=1)  # repositories besides the first

    @property
    def fits(self) -> bool:
        return all(answer.met for answer in self.answers)


def advise(wishes: Wishes) -> list[Plan]:
    """Return plans, the recommended one first."""
    if wishes.hosting is Hosting.MANAGED:
        plans = [_managed(wishes), _dumps(wishes)]
    else:
        plans = [_recovery(wishes, fast=False), _recovery(wishes, fast=True), _dumps(wishes)]
    # The first that fits, in the order of effort; if none does, the one that misses least.
    by_effort = sorted(plans, key=lambda plan: (plan.cost.month, plan.name))
    best = next((plan for plan in by_effort if plan.fits), None)
    chosen = best or min(plans, key=lambda plan: (sum(not a.met for a in plan.answers), plan.rpo))
    others = [plan for plan in plans if plan is not chosen]
    return [_recommend(chosen, fits=best is not None), *others]


def _recommend(plan: Plan, *, fits: bool) -> Plan:
    if fits:
        why = "the least that meets every wish"
    else:
        missed = ", ".join(answer.wish for answer in plan.answers if not answer.met)
        why = f"no plan meets every wish; this one misses only: {missed}"
    return replace(plan, recommended=True, why=why)


def _recovery(wishes: Wishes, *, fast: bool) -> Plan:
    """Physical backups and WAL: daily, or several a day with everything that makes it quick."""
    every = 6 * _HOUR if fast else DAY
    most = _MOST_TIMEOUT / 5 if fast else _MOST_TIMEOUT
    timeout = max(_LEAST_TIMEOUT, min(most, wishes.rpo / 2))
    rpo = timeout + facts.PUSH
    wal = wishes.wal_per_day * every / DAY
    copy, replay = wishes.size / facts.RESTORE, wal / facts.REPLAY
    rto = facts.START + copy + replay
    copies = int(wishes.offsite) + int(fast and wishes.offsite)
    dumps = wishes.table_level and (fast or wishes.size < _LARGE)
    schedule = {
        "backup": "every 6h" if fast else "daily 02:00",
        "verify": "weekly sun 05:00",
        "drill": "weekly sat 06:00" if fast else "monthly 1 06:00",
        "expire": "daily 07:00",
        "census": "every 1h",
    }
    schedule |= {"dump": "weekly sun 01:00"} if dumps else {}
    schedule |= {"copy": "every 1h" if fast else "every 6h"} if copies else {}
    storage = storage_of(wishes, every, wal=True, dumps=1 if dumps else 0, copies=copies)
    title = "Any second, quickly back" if fast else "Any second, one backup a day"
    arithmetic = (
        f"may lose: archive_timeout {format_duration(timeout)} + {facts.PUSH:.0f} s for a segment "
        f"on its way = {format_duration(rpo)}",
        f"restore: {format_size(int(wishes.size))} at {facts.RESTORE / 1e6:.0f} MB/s = "
        f"{format_duration(copy)}",
        f"replay: WAL of up to {format_duration(every)}, {format_size(int(wal))} at "
        f"{facts.REPLAY / 1e6:.0f} MB/s = {format_duration(replay)}",
        f"back after {format_duration(rto)} at the worst, with {facts.START:.0f} s to begin",
        *storage.arithmetic,
    )
    methods = ["physical backups, incremental forever", "WAL archiving, ahead of PostgreSQL"]
    methods += ["dumps, weekly"] if dumps else []
    methods += [f"{copies} more {'copies' if copies > 1 else 'copy'} elsewhere"] if copies else []
    return _plan(
        wishes,
        "recovery-fast" if fast else "recovery",
        title,
        tuple(methods),
        _Shape(schedule, round(timeout), rpo, rto, arithmetic, storage, copies, fast),
    )


def _dumps(wishes: Wishes) -> Plan:
    """Logical backups alone: the plainest, for what is small or changes little."""
    took = wishes.size / facts.DUMP
    possible = [(every, words) for every, words in _DUMPS if every + took <= wishes.rpo]
    every, words = possible[0] if possible else _DUMPS[-1]
    if every < 2 * took:  # one dump must end before the next
        every, words = _DUMPS[0]
    rpo, rto = every + took, facts.START + wishes.size / facts.LOAD
    copies = int(wishes.offsite)
    storage = storage_of(wishes, every, wal=False, dumps=DAY / every * 7, copies=copies)
    arithmetic = (
        f"may lose: {format_duration(every)} between dumps + {format_duration(took)} that one "
        f"takes = {format_duration(rpo)}",
        f"restore: {format_size(int(wishes.size))} loaded at {facts.LOAD / 1e6:.0f} MB/s = "
        f"{format_duration(rto)}",
        *storage.arithmetic,
    )
    schedule = {"dump": words, "drill": "monthly 1 06:00", "expire": "daily 07:00"}
    schedule |= {"copy": "every 6h"} if copies else {}
    methods = ("dumps of every database, roles included", *(["a copy elsewhere"] * copies))
    shape = _Shape(schedule, 0, rpo, rto, arithmetic, storage, copies, False)
    return _plan(wishes, "dumps", "Dumps alone", methods, shape)


def _managed(wishes: Wishes) -> Plan:
    """The provider's own recovery, and dumps to where the provider's account does not reach."""
    dump = wishes.size / facts.DUMP
    rto = facts.START + wishes.size / facts.MANAGED_RESTORE
    storage = storage_of(wishes, DAY, wal=False, dumps=7, copies=int(wishes.offsite))
    arithmetic = (
        f"may lose: {format_duration(facts.MANAGED_RPO)}, says the provider",
        f"restore: a new instance of {format_size(int(wishes.size))} at about "
        f"{facts.MANAGED_RESTORE / 1e6:.0f} MB/s = {format_duration(rto)}; only a test tells",
        f"a dump takes {format_duration(dump)}: what is lost with the account is a day",
        *storage.arithmetic,
    )
    schedule = {"dump": "daily 02:00", "drill": "monthly 1 06:00", "expire": "daily 07:00"}
    methods = (
        "the service's own point-in-time recovery: better than anything from outside can be",
        "pgkeep dumps, daily, into another account",
    )
    shape = _Shape(
        schedule, 0, facts.MANAGED_RPO, rto, arithmetic, storage, int(wishes.offsite), False
    )
    return _plan(wishes, "managed", "The service's own recovery, and dumps", methods, shape)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a plan comes to, before it is compared with the wishes."""

    schedule: dict[str, str]
    timeout: int
    rpo: float
    rto: float
    arithmetic: tuple[str, ...]
    storage: Storage
    copies: int
    fast: bool


def _plan(wishes: Wishes, name: str, title: str, methods: tuple[str, ...], shape: _Shape) -> Plan:
    cost = cost_of(wishes, shape.storage, managed=name == "managed")
    return Plan(
        name,
        title,
        methods,
        shape.schedule,
        shape.timeout,
        shape.rpo,
        shape.rto,
        shape.arithmetic,
        shape.storage,
        cost,
        tuple(_risks(wishes, name, shape)),
        tuple(_rules(wishes, name, shape.copies)),
        tuple(_answers(wishes, name, shape, cost)),
        copies=shape.copies,
    )


def _answers(wishes: Wishes, name: str, shape: _Shape, cost: Cost) -> list[Answer]:
    window_met = name in ("recovery", "recovery-fast") or (
        name == "managed" and wishes.window <= facts.MANAGED_WINDOW
    )
    window = "any second of it" if window_met else "only the moments of its dumps"
    if name == "managed" and not window_met:
        window = f"any second of {format_duration(facts.MANAGED_WINDOW)}, then daily dumps"
    tables = name in ("dumps", "managed") or "dump" in shape.schedule
    found = [
        Answer("rpo", shape.rpo <= wishes.rpo, format_duration(shape.rpo)),
        Answer("rto", shape.rto <= wishes.rto, format_duration(shape.rto)),
        Answer("retention", window_met or not wishes.window, window),
    ]
    if wishes.table_level:
        says = "by dumps" if tables else "by undo, from a restore aside: no other version"
        found.append(Answer("table level", tables or wishes.hosting is not Hosting.MANAGED, says))
    if wishes.offsite:
        found.append(Answer("offsite", shape.copies > 0, f"{shape.copies} elsewhere"))
    if wishes.budget is not None:
        met = cost.month <= wishes.budget
        found.append(Answer("budget", met, f"{cost.month:.2f} a month in a year"))
    return found


def _risks(wishes: Wishes, name: str, shape: _Shape) -> list[str]:
    found = []
    if wishes.rpo < _LEAST_TIMEOUT + facts.PUSH and name != "dumps":
        found.append(
            "to lose less than some seconds takes a synchronous replica; no backup can promise it"
        )
    if name.startswith("recovery") and "dump" not in shape.schedule:
        found.append("a new major version, or damage that nobody saw, finds no dump to go back to")
    if name == "dumps":
        found.append("what happened between two dumps is lost, and no accident can be undone")
        found.append("a dump reads everything: the server feels it")
    if name == "managed":
        found.append("who can delete the instance can delete its backups: keep the dumps elsewhere")
        found.append("how long a restore takes is not in your hands: try it")
    if not shape.copies:
        found.append(
            "one fire, one account, one mistake away from nothing: there is no second place"
        )
    elif wishes.provider is not Provider.NONE:
        found.append("who has the key of the bucket can delete it: lock objects, docs/immutable.md")
    if shape.rto > wishes.rto / 2:
        found.append(
            "the time to restore is an estimate: pgkeep drill measures it on your machines"
        )
    return found


def _rules(wishes: Wishes, name: str, copies: int) -> list[Answer]:
    places = 2 + copies if name != "managed" else 3 + copies
    return [
        Answer("3 copies", places >= 3, f"{places}, the database itself among them"),
        Answer("2 kinds of media", copies > 0 or name == "managed", "another store"),
        Answer("1 elsewhere", copies > 0, "yes" if copies else "no: add a second repository"),
        Answer(
            "1 that nobody can delete",
            wishes.provider in (Provider.AWS, Provider.OTHER) and copies > 0,
            "with lock on the bucket: docs/immutable.md" if copies else "no",
        ),
        Answer("0 unproven", True, f"drill {'weekly' if name == 'recovery-fast' else 'monthly'}"),
    ]
