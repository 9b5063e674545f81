"""Look at what a repository holds, to say what it costs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pgkeep.costs.plan import LastBackup, RepositoryCost, Tally, cost_of_repository
from pgkeep.model.backup import Backup
from pgkeep.repository.catalog import backups
from pgkeep.repository.metering.prices import Tariff
from pgkeep.repository.repository import Repository


class Priced(NamedTuple):
    """A repository, and what its provider takes for it."""

    repository: Repository
    tariff: Tariff


def look_at_costs(places: Sequence[Priced], now: datetime) -> list[RepositoryCost]:
    """List each repository once and add up."""
    return [_cost(place, now) for place in places]


def _cost(place: Priced, now: datetime) -> RepositoryCost:
    store, moment = place.repository.store, now.timestamp()
    tally = Tally(store.list(), moment)
    last = _last_backup(place.repository, tally.clusters)
    return cost_of_repository(store.url, place.tariff, tally, last, moment)


def _last_backup(repository: Repository, clusters: Iterable[str]) -> LastBackup | None:
    newest: Backup | None = None
    for name in sorted(clusters):
        for backup in backups(repository.cluster(name)).backups:
            if newest is None or backup.stopped_at > newest.stopped_at:
                newest = backup
    if newest is None:
        return None
    return LastBackup(newest.id, newest.started_at, newest.stopped_at, newest.size, newest.stored)
