"""Reads what pages list. Takes as long as the repository takes: not for an event loop."""

from datetime import datetime
from typing import Final, NamedTuple

from pgkeep.app import App
from pgkeep.costs.plan import RepositoryCost
from pgkeep.costs.survey import Priced, look_at_costs
from pgkeep.coverage.listing import list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.health.forecast import Stored
from pgkeep.health.look import Sizes
from pgkeep.logical.largest import CountedTable, largest_tables
from pgkeep.repository.drills.storing import read_reports
from pgkeep.repository.dumps import dumps, read_facts
from pgkeep.repository.manifest.dump_facts import DumpFacts
from pgkeep.retention.pins import read_pins
from pgkeep.web.rows import storage
from pgkeep.web.rows.backups import Found

_LARGEST: Final = 50  # tables of a dump


def backups_of(app: App, now: datetime) -> Found:
    """Return all backups and dumps with what is known of them. Raise what is wrong."""
    cluster = app.cluster_to_read
    listing, catalog = list_cluster(cluster), dumps(cluster)
    return Found(
        listing,
        catalog.dumps,
        [
            *((str(one.id), one.why) for one in listing.record.unreadable),
            *((str(one.id), one.why) for one in catalog.unreadable),
        ],
        read_pins(cluster),
        read_reports(cluster).found,
        now,
    )


class DumpInside(NamedTuple):
    """What is in one dump."""

    facts: DumpFacts
    largest: list[CountedTable]
    why_not: str  # why there is no list of tables


def inside_dump(app: App, id: str) -> DumpInside:
    """Return what is on record of a dump. Raise UnknownDump, Damaged, ..."""
    cluster = app.cluster_to_read
    facts = read_facts(cluster, id)
    try:
        return DumpInside(facts, largest_tables(cluster, id, _LARGEST), "")
    except PgkeepError as error:  # what is on record is worth seeing all the same
        return DumpInside(facts, [], str(error))


class Storage(NamedTuple):
    """What a cluster stores, and what each repository costs."""

    curves: list[tuple[str, storage.Curve]]  # by the names of repositories; '': of all
    costs: list[tuple[str, RepositoryCost]]  # by the names of repositories
    troubles: list[tuple[str, str]]  # those that cannot be listed, and why


def storage_of(app: App, now: datetime, sizes: Sizes) -> Storage:
    """Return it, with the help of all that was weighed.

    Goes through the names of everything stored. Raise what is wrong.
    """
    cluster = app.cluster_to_read
    listing = list_cluster(cluster)
    wal = [
        Stored(stat.modified, stat.size)
        for part in listing.record.generations
        for stat in part.listing.stats.values()
    ]
    costs, troubles = [], []
    for place in app.places:
        try:
            found = look_at_costs([Priced(place.open(), place.tariff)], now)
        except PgkeepError as error:
            troubles.append((place.title, str(error)))
            continue
        costs += [(place.title, one) for one in found]
    curves = [
        (place.title, curve)
        for place in app.places
        if (curve := storage.weighed_curve(sizes.get(place.plain_address, ()), now)) is not None
    ]
    if not curves:
        curves = [("", storage.curve(listing.backups, dumps(cluster).dumps, wal, now))]
    return Storage(curves, costs, troubles)
