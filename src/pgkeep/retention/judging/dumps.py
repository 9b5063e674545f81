"""Which dumps a policy lets go, series by series, and why each of the rest stays. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from pgkeep.model.dump import Dump, Origin
from pgkeep.retention.plan import NO_POLICY, Marks, Reasons, why_dropped
from pgkeep.retention.policy import KeepPolicy, age, chosen

NONE_WHOLE: Final = "no dump of its series is whole: none of it goes until one is"
IMPORTED: Final = "imported: it goes by pgkeep delete only"


@dataclass(frozen=True, slots=True)
class DumpVerdict:
    """Whether a dump stays, and why."""

    dump: Dump
    keep: bool
    why: tuple[str, ...]  # every reason there is
    usable: bool = True  # it counts: no proof says that it is damaged


@dataclass(frozen=True, slots=True)
class DumpPlan:
    """What expire does to dumps, and why."""

    dumps: tuple[DumpVerdict, ...] = ()  # oldest first

    @property
    def kept(self) -> list[Dump]:
        return [verdict.dump for verdict in self.dumps if verdict.keep]

    @property
    def dropped(self) -> list[Dump]:
        return [verdict.dump for verdict in self.dumps if not verdict.keep]


def plan_dumps(
    dumps: Iterable[Dump], marks: Marks, policy: KeepPolicy, now: datetime, zone: tzinfo
) -> DumpPlan:
    """Decide over every dump of one cluster: each series by itself, whatever backups there are."""
    everything = sorted(dumps, key=age)
    reasons = Reasons()
    for series in in_series(everything):
        if not policy.asks:
            _keep_all(reasons, series, NO_POLICY)
        elif series[0].origin is Origin.FILE:
            _keep_all(reasons, series, IMPORTED)
        else:
            _judge(reasons, series, marks, _Rules(policy, now - policy.window, zone))
    reasons.add_marks(marks)
    return DumpPlan(tuple(_verdicts(everything, marks, reasons, policy)))


def in_series(dumps: Iterable[Dump]) -> list[list[Dump]]:
    """Return dumps that replace each other together, in the order in which they were given."""
    found: dict[tuple[object, ...], list[Dump]] = {}
    for dump in dumps:
        found.setdefault(dump.series, []).append(dump)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Rules:
    """A policy at a moment."""

    policy: KeepPolicy
    start: datetime  # of the window
    zone: tzinfo


def _keep_all(reasons: Reasons, dumps: Iterable[Dump], why: str) -> None:
    for dump in dumps:
        reasons.add(dump.id, why)


def _judge(reasons: Reasons, series: Sequence[Dump], marks: Marks, rules: _Rules) -> None:
    """Apply every rule twice: to whole dumps, and to those that look right beside the one before.

    So a dump that is hollow never pushes out a good one, and a series in which every dump has its
    flaw grows no further than its policy says.
    """
    whole = [dump for dump in series if dump.id not in marks.damaged]
    if not whole:
        _keep_all(reasons, series, NONE_WHOLE)
    for dump in series:
        if dump.stopped_at > rules.start:
            reasons.add(dump.id, "in the window")
    clean = [dump for dump in whole if not dump.suspicions]
    _choose(reasons, whole, rules)
    if len(clean) < len(whole):
        _choose(reasons, clean, rules, " without suspicions")


def _choose(reasons: Reasons, good: Sequence[Dump], rules: _Rules, kind: str = "") -> None:
    older = [dump for dump in good if dump.stopped_at <= rules.start]
    found = chosen(older, rules.policy, rules.zone)
    minimum = rules.policy.minimum
    for rank, dump in enumerate(reversed(good[-minimum:]), start=1):
        which = "the newest" if rank == 1 else f"one of the newest {minimum}"
        found.setdefault(dump.id, []).append(f"{which} of its series")
    for dump_id, whys in found.items():
        said = reasons.of(dump_id)
        reasons.add(dump_id, *(why + kind for why in whys if why not in said))


def _verdicts(
    dumps: Iterable[Dump], marks: Marks, reasons: Reasons, policy: KeepPolicy
) -> Iterator[DumpVerdict]:
    for dump in dumps:
        state = _state(dump, marks)
        usable = dump.id not in marks.damaged
        why = reasons.of(dump.id)
        if why:
            yield DumpVerdict(dump, True, (*why, *state), usable)
        else:
            yield DumpVerdict(dump, False, (*state, why_dropped(policy)), usable)


def _state(dump: Dump, marks: Marks) -> tuple[str, ...]:
    """Say why a dump does not count, or not as a good one; empty for one that does."""
    state = []
    if dump.id in marks.damaged:
        state.append(f"damaged: {marks.damaged[dump.id]}")
    if dump.suspicions:
        more = f" and {len(dump.suspicions) - 1} more" if dump.suspicions[1:] else ""
        state.append(f"suspicious: {dump.suspicions[0]}{more}")
    return tuple(state)
