"""Looks at one cluster: repositories, server, pg_wal. Whatever fails is part of what is seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypeVar

from pgkeep.app import App
from pgkeep.coverage.listing import Listing, list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.forecast import Sample
from pgkeep.health.health import Health, RepositoryRoom, State
from pgkeep.health.judge import judge
from pgkeep.health.seen import PlaceSeen, Seen, ServerSeen, Trouble
from pgkeep.places import Place
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.pg_wal import look_at_pg_wal
from pgkeep.server.session import Session
from pgkeep.units import format_duration

_SERVER = "server"
# Of databases that our role may not connect to nobody tells us the size.
_SIZE = """
SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
WHERE datallowconn AND (has_database_privilege(oid, 'CONNECT')
                        OR pg_has_role('pg_read_all_stats', 'USAGE'))
"""
_Found = TypeVar("_Found")
Sizes = Mapping[str, Sequence[Sample]]  # what was weighed, by the repository's plain address
NO_SIZES: Final[Sizes] = MappingProxyType({})
Look = Callable[[str], Health]  # of a cluster; it may take long, and raise


def look(app: App, sizes: Sizes = NO_SIZES) -> Health:
    """Return the health of the app's cluster. What cannot be told is a condition, never raised."""
    return judge(see(app, sizes), app.settings, app.zone)


def weigh(app: App) -> list[tuple[Place, Sample]]:
    """Return how much is stored of the app's cluster now, in each repository that can be listed.

    Goes through the names of everything stored: where that is much and far away, for minutes.
    """
    found = []
    for place in app.places:
        try:
            store = place.open().store
            size = sum(blob.size for blob in store.list(names.cluster_prefix(app.cluster_name)))
            sample = Sample(datetime.now(UTC).timestamp(), size, store.free_space())
        except PgkeepError:
            continue  # a look tells of it
        found.append((place, sample))
    return found


def unknown(cluster: str, cause: str, hint: str = "", last: Health | None = None) -> Health:
    """Return what is left to say when a look fails: what the last one found may be so no longer."""
    condition = Condition(
        cluster,
        Kind.UNKNOWN,
        Level.CRITICAL,
        "nobody knows what can be restored now",
        cause,
        hint or f"pgkeep --cluster {cluster} check",
    )
    now = datetime.now(UTC)
    if last is None:
        return Health(cluster, State.UNKNOWN, now, None, None, None, (condition,))
    others = tuple(one for one in last.conditions if one.kind is not Kind.UNKNOWN)
    return replace(last, state=State.UNKNOWN, looked_at=now, conditions=(condition, *others))


def hanging(cluster: str, seconds: float, last: Health | None = None) -> Health:
    """Return what is left to say when a look does not come to an end."""
    cause = f"the server or a repository has not answered for {format_duration(seconds)}"
    return unknown(cluster, cause, last=last)


def looked(look_at: Look, cluster: str, last: Health | None = None) -> Health:
    """Look at a cluster; whatever goes wrong is unknown health. For the edge of a thread."""
    try:
        return look_at(cluster)
    except PgkeepError as error:
        return unknown(cluster, str(error), error.hint, last)
    except Exception as error:
        why = f"pgkeep has a bug: {type(error).__name__}: {error}"
        return unknown(cluster, why, last=last)


def see(app: App, sizes: Sizes = NO_SIZES) -> Seen:
    """Ask everything that can be asked. Raise only what is wrong with the config."""
    troubles: list[Trouble] = []
    cluster, now = app.cluster_name, datetime.now(UTC)
    # First: what it says that it has archived must then be in the repository.
    server, directory = None, app.settings.data_directory
    has_server = bool(app.settings.conninfo.reveal())
    if has_server:
        asked = _tried(_SERVER, troubles, lambda: _ask(app))
        if asked is not None:
            server, said = asked
            directory = directory or said
    listing = _tried("repository", troubles, lambda: list_cluster(app.cluster_to_read))
    found = _tried("repository", troubles, lambda: dumps.dumps(app.cluster_to_read))
    if listing is not None:
        troubles += [
            Trouble(place.title, str(error), error.hint) for place, error in app.copies.away
        ]
    return Seen(
        cluster=cluster,
        now=now,
        listing=listing,
        dumps=() if found is None else found.dumps,
        bad_dumps=() if found is None else tuple(_bad(one) for one in found.unreadable),
        server=server,
        has_server=has_server,
        room=look_at_pg_wal(directory) if directory else None,
        places=tuple(_places(app, listing, sizes)),
        troubles=tuple(dict.fromkeys(troubles)),
    )


def _bad(dump: dumps.UnreadableDump) -> Trouble:
    return Trouble(str(dump.id), dump.why, dump.error.hint)


def _tried(what: str, troubles: list[Trouble], ask: Callable[[], _Found]) -> _Found | None:
    try:
        return ask()
    except PgkeepError as error:
        trouble = Trouble(what, str(error), error.hint)
        if trouble not in troubles:
            troubles.append(trouble)
        return None


def _ask(app: App) -> tuple[ServerSeen, str]:
    """Ask the server; return with it where its data is."""
    with app.connect() as session:
        before = datetime.now(UTC)
        facts = session.facts(lists=False)
        after = datetime.now(UTC)
        ours = before + (after - before) / 2
        return ServerSeen(
            facts.generation.id,
            facts.timeline,
            facts.in_recovery,
            session.current_lsn(),
            (facts.clock - ours).total_seconds(),
            facts.archiving,
            facts.archive_timeout,
            _size(session),
            session.archiver_stats(),
        ), facts.data_directory


def _size(session: Session) -> int:
    return int(session.query(_SIZE, doing="ask for the size of all databases")[0][0])


def _places(app: App, listing: Listing | None, sizes: Sizes) -> list[PlaceSeen]:
    """Return each repository that answers, with its room; what does not is among the troubles."""
    if listing is None:
        return []
    away = {place.address for place, _ in app.copies.away}
    found = []
    for place in app.places:
        if place.address not in away:
            seen = _tried(place.title, [], lambda place=place: _place(app, place, listing))  # type: ignore[misc]
            if seen is not None:
                found.append(replace(seen, weighed=sizes.get(place.plain_address, ())))
    return found


def _place(app: App, place: Place, listing: Listing) -> PlaceSeen:
    folder: ClusterFolder = app.cluster_in(place)
    ids = frozenset(str(id) for id in catalog.ids(folder))
    stored = sum(backup.stored for backup in listing.backups if backup.id in ids)
    stored += sum(
        stat.size for part in listing.record.generations for stat in part.listing.stats.values()
    )
    room = RepositoryRoom(place.title, place.address, stored, folder.store.free_space())
    return PlaceSeen(room, ids)
