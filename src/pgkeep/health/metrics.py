"""Health as Prometheus reads it: docs/monitoring.md, whose names are stable. Pure.

What is not known has no sample: a zero would say that all is well.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from pgkeep import __version__
from pgkeep.health.health import Health, State

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # what generate_latest() writes


class Ran(NamedTuple):
    """A job that is over."""

    cluster: str
    kind: str
    good: bool
    seconds: float
    ended_at: datetime


def metrics(healths: Sequence[Health], ran: Iterable[Ran], now: datetime) -> bytes:
    """Return the text for a scraper; of each kind of job the newest of `ran` counts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(healths, list(ran), now))
    return generate_latest(registry)


class _Collector:
    """What prometheus_client asks for the metrics."""

    def __init__(self, healths: Sequence[Health], ran: Sequence[Ran], now: datetime) -> None:
        self._healths = healths
        self._ran = ran
        self._now = now

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pgkeep_up", "1: pgkeep runs.", labels=["version"])
        up.add_metric([__version__], 1)
        yield up
        yield from _moments(self._healths, self._now)
        yield from _amounts(self._healths)
        yield _states(self._healths)
        yield _conditions(self._healths)
        yield from _repositories(self._healths, self._now)
        yield from _jobs(self._ran)


_Rows = Iterable[tuple[Sequence[str], float | None]]


def _gauge(name: str, help: str, labels: Sequence[str], rows: _Rows) -> Metric:
    found = GaugeMetricFamily(f"pgkeep_{name}", help, labels=labels)
    for values, value in rows:
        if value is not None:
            found.add_metric(values, value)
    return found


def _of_each(name: str, help: str, rows: Iterable[tuple[str, float | None]]) -> Metric:
    return _gauge(name, help, ["cluster"], (([cluster], value) for cluster, value in rows))


def _moments(healths: Sequence[Health], now: datetime) -> Iterator[Metric]:
    def age(moment: datetime | None) -> float | None:
        return None if moment is None else max(0.0, (now - moment).total_seconds())

    yield _of_each(
        "looked_at_timestamp_seconds",
        "When the cluster was looked at.",
        ((one.cluster, one.looked_at.timestamp()) for one in healths),
    )
    yield _of_each(
        "restorable_age_seconds",
        "Age of the newest moment that can be restored.",
        ((one.cluster, age(one.protected_to)) for one in healths),
    )
    yield _of_each(
        "restorable_from_age_seconds",
        "Age of the oldest moment from which on every moment can be restored.",
        ((one.cluster, age(one.protected_from)) for one in healths),
    )
    yield _of_each(
        "backup_age_seconds",
        "Age of the newest backup.",
        ((one.cluster, age(one.newest_backup_at)) for one in healths),
    )
    yield _of_each(
        "dump_age_seconds",
        "Age of the newest dump.",
        ((one.cluster, age(one.newest_dump_at)) for one in healths),
    )
    yield _of_each(
        "drill_age_seconds",
        "Age of the newest restore test that passed.",
        ((one.cluster, age(one.proven.at if one.proven else None)) for one in healths),
    )


def _amounts(healths: Sequence[Health]) -> Iterator[Metric]:
    yield _of_each(
        "wal_behind_bytes",
        "WAL that is written and not archived yet.",
        ((one.cluster, one.wal_behind_bytes) for one in healths),
    )
    yield _of_each(
        "wal_behind_seconds",
        "Since when that WAL may have been written: what would be lost with the server.",
        ((one.cluster, one.wal_behind_s) for one in healths),
    )
    yield _of_each(
        "pg_wal_full_seconds",
        "Until the disk with pg_wal is full; only while archiving is behind.",
        ((one.cluster, one.pg_wal_full_in_s) for one in healths),
    )
    yield _of_each(
        "restore_estimate_seconds",
        "How long a restore to the newest moment would take.",
        ((one.cluster, one.restore_s) for one in healths),
    )
    yield _of_each(
        "cluster_bytes",
        "Size of the cluster.",
        ((one.cluster, one.cluster_bytes) for one in healths),
    )
    yield _gauge(
        "objective_seconds",
        "What the config aims at.",
        ["cluster", "objective"],
        (
            ([one.cluster, name], value)
            for one in healths
            for name, value in (("rpo", one.rpo_goal_s), ("rto", one.rto_goal_s))
        ),
    )


def _states(healths: Sequence[Health]) -> Metric:
    return _gauge(
        "cluster_state",
        "1 for the state that the cluster is in, 0 for the others.",
        ["cluster", "state"],
        (
            ([one.cluster, state.value], float(one.state is state))
            for one in healths
            for state in State
        ),
    )


def _conditions(healths: Sequence[Health]) -> Metric:
    counts = Counter(
        (one.cluster, condition.kind.value, condition.level.value)
        for one in healths
        for condition in one.conditions
    )
    help = "How many things of this kind are wrong; no sample: nothing."
    return _gauge("conditions", help, ["cluster", "kind", "level"], counts.items())


def _repositories(healths: Sequence[Health], now: datetime) -> Iterator[Metric]:
    rooms = [([one.cluster, room.name], room) for one in healths for room in one.repositories]
    labels = ["cluster", "repository"]
    yield _gauge(
        "repository_bytes",
        "What the cluster takes in the repository.",
        labels,
        ((values, room.bytes) for values, room in rooms),
    )
    yield _gauge(
        "repository_free_bytes",
        "What is free where the repository is.",
        labels,
        ((values, room.free) for values, room in rooms),
    )
    yield _gauge(
        "repository_full_seconds",
        "Until the repository is full, by its growth.",
        labels,
        (
            (values, max(0.0, (room.full_at - now).total_seconds()) if room.full_at else None)
            for values, room in rooms
        ),
    )


def _jobs(ran: Sequence[Ran]) -> Iterator[Metric]:
    newest: dict[tuple[str, str], Ran] = {}
    for run in sorted(ran, key=lambda one: one.ended_at):
        newest[run.cluster, run.kind] = run
    labels = ["cluster", "kind"]  # `job` is Prometheus' own name of what it scrapes
    yield _gauge(
        "job_good",
        "1: the newest job of this kind succeeded; 0: it did not, or its answer was no.",
        labels,
        ((key, float(run.good)) for key, run in newest.items()),
    )
    yield _gauge(
        "job_duration_seconds",
        "How long it took.",
        labels,
        ((key, run.seconds) for key, run in newest.items()),
    )
    yield _gauge(
        "job_ended_timestamp_seconds",
        "When it ended.",
        labels,
        ((key, run.ended_at.timestamp()) for key, run in newest.items()),
    )
