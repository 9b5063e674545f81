"""The censuses that may name what was hit: the newest before the WAL that was read, and later."""

from collections.abc import Collection
from typing import Final, NamedTuple

from pgkeep.model.census import Census, CensusId
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.repository.census.shelf import (
    BAD_CENSUS,
    UnknownCensus,
    census_facts,
    listed,
    read_census,
)
from pgkeep.repository.repository import ClusterFolder

_MOST: Final = 24  # that are read; of more, those in between are left out


class Censuses(NamedTuple):
    """By their places in WAL, and what is wrong with others."""

    censuses: tuple[Census, ...]
    notes: tuple[str, ...]


def censuses_for(
    cluster: ClusterFolder,
    generation: str,
    history: History,
    span: tuple[Lsn, Lsn],
    databases: Collection[int] | None,
) -> Censuses:
    """Read what may name relations in a stretch of WAL; of `databases` only, by OID.

    From the newest one backwards, until one was taken before the stretch.
    """
    places: list[tuple[Lsn, CensusId]] = []
    notes: list[str] = []
    for one in reversed(listed(cluster)):
        try:
            facts = census_facts(cluster, one.id)
        except UnknownCensus:
            continue
        except BAD_CENSUS as error:
            notes.append(f"census {one.id} cannot be used: {error}")
            continue
        if facts.generation != generation:
            continue
        if not history.includes(facts.timeline, facts.position):
            continue
        places.append((facts.position, CensusId(facts.id)))
        if facts.position <= span[0]:
            break
    places.sort()
    if len(places) > _MOST:
        step = -(-len(places) // _MOST)
        places = sorted({*places[::step], places[-1]})
    read = []
    for _, id in places:
        try:
            read.append(read_census(cluster, id, databases))
        except (UnknownCensus, *BAD_CENSUS) as error:
            notes.append(f"census {id} cannot be used: {error}")
    return Censuses(tuple(read), tuple(notes))
