"""Measures a live cluster for the adviser: its size, its WAL, its settings, who runs it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

from pgkeep.advise.facts import LEAST_WAL
from pgkeep.advise.recorded import NOTHING, Recorded
from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.server.session import Session
from pgkeep.units import format_duration

SAMPLE: Final = 3.0  # seconds over which WAL is measured where nothing older tells
_DOING: Final = "measure the cluster"
_LEAST_S: Final = 3600.0  # of statistics that say anything of a day
_DAY: Final = 86400.0
_KNOWS_WAL: Final = 14  # pg_stat_wal came with it
# Roles that only these services have; nobody is a superuser there.
_SERVICES: Final = {
    "rds_superuser": Provider.AWS,
    "cloudsqlsuperuser": Provider.GOOGLE,
    "azure_pg_admin": Provider.AZURE,
}
_SERVER: Final = """
SELECT current_setting('server_version'), clock_timestamp(), pg_is_in_recovery(),
       current_setting('data_checksums') = 'on', current_setting('archive_mode') <> 'off',
       (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
       current_setting('wal_level'), coalesce(current_setting('summarize_wal', true), 'off') = 'on',
       (SELECT count(*) FROM pg_stat_replication),
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""
# A service has databases of its own, whose size is not everybody's to see.
_SIZE: Final = """
SELECT coalesce(sum(CASE WHEN seen THEN pg_database_size(oid) END), 0)::bigint,
       count(*) FILTER (WHERE NOT seen)
FROM (SELECT oid, has_database_privilege(oid, 'CONNECT')
                  OR pg_has_role('pg_read_all_stats', 'USAGE') AS seen
      FROM pg_database) AS databases
"""
_TABLES: Final = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'm')"
_ROLES: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
_WAL: Final = "SELECT wal_bytes::float8, stats_reset, clock_timestamp() FROM pg_stat_wal"
_POSITION: Final[LiteralString] = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
        - '0/0'::pg_lsn)::float8, clock_timestamp()
"""


class Wal(NamedTuple):
    """How much WAL a cluster writes, and how that is known."""

    per_day: float  # bytes
    source: str
    weak: bool  # whether it says little of a day


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was measured."""

    version: str
    major: int
    asked_at: datetime
    size: int  # bytes of all databases that may be seen
    unseen: int  # databases whose size may not
    tables: int  # of the connected database
    wal_per_day: float  # bytes
    wal_source: str
    wal_is_weak: bool
    checksums: bool
    archiving: bool
    archive_timeout: int
    wal_level: str
    summarize_wal: bool
    replicas: int
    standby: bool
    service: Provider | None  # whose managed service it is, by its roles
    recorded: Recorded

    @property
    def wal_to_plan_for(self) -> float:
        """Return WAL a day, in bytes: what some quiet seconds saw is no reason to plan for less."""
        if not self.wal_is_weak:
            return self.wal_per_day
        return max(self.wal_per_day, LEAST_WAL.value * self.size)

    @property
    def hosting(self) -> Hosting | None:
        """Where it runs, as far as the server tells."""
        return Hosting.MANAGED if self.service else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        return {**asdict(self), "recorded": self.recorded._asdict()}


def inspect_server(session: Session, record: Recorded = NOTHING) -> Inspection:
    """Ask a server; `record` is what its repository tells. Raise QueryFailed, SessionLost."""
    row = session.query(_SERVER, doing=_DOING)[0]
    version, now, standby, checksums, archiving, timeout, level, summaries, replicas, boss = row
    size, unseen = session.query(_SIZE, doing=_DOING)[0]
    roles = [found[0] for found in session.query(_ROLES, list(_SERVICES), doing=_DOING)]
    wal = _wal(session, record, standby=standby)
    return Inspection(
        version=version,
        major=session.major,
        asked_at=now,
        size=int(size),
        unseen=int(unseen),
        tables=int(session.query(_TABLES, doing=_DOING)[0][0]),
        wal_per_day=wal.per_day,
        wal_source=wal.source,
        wal_is_weak=wal.weak,
        checksums=checksums,
        archiving=archiving,
        archive_timeout=int(timeout),
        wal_level=level,
        summarize_wal=summaries,
        replicas=int(replicas),
        standby=standby,
        # A dump that was taken there brings the roles along, but no superuser is anywhere there.
        service=_SERVICES[roles[0]] if roles and not boss else None,
        recorded=record,
    )


def _wal(session: Session, record: Recorded, *, standby: bool) -> Wal:
    """Take the longest look back that there is."""
    if record.wal_per_day is not None:
        days = format_duration(record.days * _DAY)
        return Wal(record.wal_per_day, f"by {record.backups} backups on record, over {days}", False)
    if session.major >= _KNOWS_WAL and not standby:  # a standby's statistics count none of it
        written, reset, now = session.query(_WAL, doing=_DOING)[0]
        seconds = (now - reset).total_seconds() if reset else 0.0
        if seconds >= _LEAST_S:
            source = f"by pg_stat_wal, over {format_duration(seconds)}"
            return Wal(written / seconds * _DAY, source, False)
    return _sample(session)


def _sample(session: Session) -> Wal:
    before, began = session.query(_POSITION, doing=_DOING)[0]
    session.query("SELECT pg_sleep(%s)", SAMPLE, doing=_DOING)
    after, ended = session.query(_POSITION, doing=_DOING)[0]
    seconds = (ended - began).total_seconds()
    source = f"over {format_duration(seconds)}, which says little of a day"
    return Wal(max(0.0, (after or 0) - (before or 0)) / max(seconds, 0.001) * _DAY, source, True)
