"""Clusters as a look saw them, without a server: a shelf with backups, and what was changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pgkeep.config.sections import ClusterConfig
from pgkeep.config.service import ObjectivesConfig, ScheduleConfig
from pgkeep.coverage.listing import list_cluster
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, Proven, RepositoryRoom, State
from pgkeep.health.judge import judge
from pgkeep.health.seen import PlaceSeen, Seen, ServerSeen
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.wal_room import WalRoom
from pgkeep.repository import dumps
from pgkeep.server.session import ArchiverStats
from pgkeep.units import Duration
from support.shelves import GENERATION, NOW, SIZE, Shelf

LAST = 9  # segment of a shelf of protected()
ROOM = WalRoom(waiting=0, waiting_size=0, free=100 << 30, rate=1e6)


def archiver(
    archived: float | None = 60, failed: float | None = None, last: str = ""
) -> ArchiverStats:
    """Return what pg_stat_archiver tells; times in seconds before NOW."""
    when = [None if ago is None else NOW - timedelta(seconds=ago) for ago in (archived, failed)]
    last = last or Segment(1, LAST, SIZE).name
    return ArchiverStats(7, last, when[0], 0, "000000010000000000000009", when[1], None)


def server(behind: float = 0, **changes: Any) -> ServerSeen:
    """Return a server that has written `behind` segments more than protected() has archived."""
    found = ServerSeen(
        generation=GENERATION.id,
        timeline=1,
        in_recovery=False,
        lsn=Lsn(int((LAST + 1 + behind) * SIZE)),
        ahead_s=0.0,
        archiving=True,
        archive_timeout=60,
        size=1 << 30,
        archiver=archiver(),
    )
    return replace(found, **changes)


def protected() -> Shelf:
    """Return a shelf with a backup of each of the last four days, and all WAL."""
    shelf = Shelf()
    for number, name in enumerate("abcd"):
        shelf.backup(name, 3.49 - number, 1 + 2 * number)
    shelf.wal(1, LAST, 0)
    return shelf


def seen(shelf: Shelf, **changes: Any) -> Seen:
    """Return what a look at a shelf and its well server sees."""
    listing = list_cluster(shelf.cluster)
    backups = frozenset(str(backup.id) for backup in listing.backups)
    shelved = dumps.dumps(shelf.cluster)
    found = Seen(
        cluster="main",
        now=NOW,
        listing=listing,
        dumps=shelved.dumps,
        server=server(),
        room=ROOM,
        places=(PlaceSeen(RepositoryRoom("main", "/repo", 5000, 10 << 40), backups),),
    )
    return replace(found, **changes)


def config(*, rpo: int = 0, rto: int = 0, backup: str = "", **schedule: Any) -> ClusterConfig:
    return ClusterConfig(
        objectives=ObjectivesConfig(rpo=Duration(rpo), rto=Duration(rto)),
        schedule=ScheduleConfig(backup=backup, **schedule),
    )


def judged(what: Seen, settings: ClusterConfig | None = None) -> Health:
    return judge(what, settings or ClusterConfig(), UTC)


def wrong(health: Health) -> str:
    """Return 'critical wal-hole, warning wal-late': what is wrong, the worst first."""
    return ", ".join(f"{one.level} {one.kind}" for one in health.conditions)


def only_condition(health: Health) -> Condition:
    (found,) = health.conditions
    return found


def a_condition(kind: Kind = Kind.WAL_HOLE, level: Level = Level.CRITICAL) -> Condition:
    return Condition("shop", kind, level, "nothing can be restored", "it is gone", "pgkeep backup")


def a_health(cluster: str = "shop", **changes: Any) -> Health:
    """Return the health of a cluster that has everything and lacks nothing, looked at at NOW."""
    minute = timedelta(minutes=1)
    found = Health(
        cluster=cluster,
        state=State.PROTECTED,
        looked_at=NOW,
        protected_to=NOW - timedelta(seconds=38),
        protected_from=datetime(2026, 2, 1, 2, tzinfo=UTC),
        proven=Proven("20260227T060000Z-1", NOW - timedelta(days=2), 250.0, "20260227T020000Z-1"),
        newest_backup="20260301T020000Z-1",
        newest_backup_at=NOW - timedelta(hours=10),
        newest_dump_at=NOW - timedelta(hours=8),
        cluster_bytes=5 << 30,
        wal_behind_bytes=1 << 20,
        wal_behind_s=38.0,
        wal_bytes_per_s=1e5,
        pg_wal_full_in_s=7200.0,
        restore_s=260.0,
        rpo_s=38.0,
        rpo_goal_s=60.0,
        rto_goal_s=3600.0,
        repositories=(RepositoryRoom("main", "/repo", 9 << 30, 1 << 40, NOW + 60 * minute),),
    )
    return replace(found, **changes)
