"""Measures a live cluster for the adviser: its size, its WAL, who runs it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.server.session import Session

_LEAST_S: Final = 3600.0  # of statistics that say anything of a day
# Roles that only these services have.
_SERVICES: Final = {
    "rds_superuser": Provider.AWS,
    "cloudsqlsuperuser": Provider.GOOGLE,
    "azure_pg_admin": Provider.AZURE,
}
_SIZE: Final = "SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database"
_WAL: Final = "SELECT wal_bytes::float8, stats_reset, clock_timestamp() FROM pg_stat_wal"
_TABLES: Final = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'm')"
_REPLICAS: Final = "SELECT count(*) FROM pg_stat_replication"
_ROLES: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was measured."""

    version: str
    major: int
    size: int  # bytes of all databases
    tables: int  # of the connected database
    wal_per_day: float | None  # bytes; None: too few statistics
    wal_since: datetime | None  # since when they count
    checksums: bool
    archiving: bool
    archive_timeout: int
    replicas: int
    service: Provider | None  # whose managed service it is, by its roles

    @property
    def hosting(self) -> Hosting | None:
        """Where it runs, as far as the server tells."""
        return Hosting.MANAGED if self.service else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        return asdict(self)


def inspect_server(session: Session) -> Inspection:
    """Ask a server. Raise QueryFailed, MissingPrivilege."""
    facts = session.facts()
    doing = "measure the cluster"
    wal_bytes, reset, now = session.query(_WAL, doing=doing)[0]
    since = reset or facts.identity.started_at
    seconds = (now - since).total_seconds()
    roles = [row[0] for row in session.query(_ROLES, list(_SERVICES), doing=doing)]
    return Inspection(
        version=facts.version,
        major=facts.major,
        size=int(session.query(_SIZE, doing=doing)[0][0]),
        tables=int(session.query(_TABLES, doing=doing)[0][0]),
        wal_per_day=wal_bytes / seconds * 86400 if seconds >= _LEAST_S else None,
        wal_since=since,
        checksums=facts.data_checksums,
        archiving=facts.archiving,
        archive_timeout=facts.archive_timeout,
        replicas=int(session.query(_REPLICAS, doing=doing)[0][0]),
        service=_SERVICES[roles[0]] if roles else None,
    )
