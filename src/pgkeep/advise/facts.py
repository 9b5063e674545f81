"""What is known of the methods: what each can bring back, how fast, and who says so. Pure.

Rates are for two cores and one disk, half of what was measured there (docs/benchmarks.md): nobody
should be promised more. A drill measures yours.
"""

from dataclasses import dataclass
from typing import Final

from pgkeep.advise.wishes import Provider
from pgkeep.repository.metering.prices import FREE, LIST, Prices

RESTORE: Final = 150e6  # bytes a second of a cluster, from a disk or a bucket nearby
REPLAY: Final = 40e6  # bytes of WAL a second: one process of PostgreSQL's
START: Final = 60.0  # seconds until a person has typed and a server has started
DUMP: Final = 60e6  # bytes a second of a database, by pg_dump
LOAD: Final = 15e6  # by pg_restore, with indexes and constraints
STORED: Final = 0.4  # of a cluster's size, compressed
WAL_STORED: Final = 0.3  # of WAL, compressed
DUMP_STORED: Final = 0.2  # of a database's size: no indexes, compressed
CHANGED: Final = 0.6  # bytes of changed pages for a byte of WAL
PUSH: Final = 5.0  # seconds for a segment on its way into a bucket
SEGMENT: Final = 16 << 20  # bytes
# "Typically within the last five minutes": so RDS; Cloud SQL and Azure say the same of their own.
MANAGED_RPO: Final = 300.0
MANAGED_RESTORE: Final = 100e6  # bytes a second: a new instance from a snapshot; not measured by us
MANAGED_WINDOW: Final = 35 * 86400.0  # the longest that the three of them offer
MANAGED_PRICE: Final = (
    0.095  # a GB and month of backup beyond the instance's size (RDS, list price)
)


@dataclass(frozen=True, slots=True)
class Method:
    """One way to keep a database, for the table that compares them."""

    name: str
    loses: str  # what is lost when the server dies
    restores: str  # how long, by what
    brings_back: str
    cannot: str
    costs: str


METHODS: Final = (
    Method(
        "dump (pg_dump; pgkeep dump)",
        "all since the last dump: hours",
        "slow: rows are loaded and indexes built anew, about 15 MB/s",
        "single tables, other versions and machines, masked copies",
        "no moment between two dumps; load on the server for hours when it is large",
        "little: compressed rows, what did not change is stored once",
    ),
    Method(
        "base backup alone (pg_basebackup)",
        "all since the last backup: a day",
        "as fast as files are copied",
        "the whole cluster as it was at the end of the backup",
        "no other moment; no single table without a restore aside",
        "a whole cluster for each backup that is kept",
    ),
    Method(
        "base backup + WAL archive",
        "the last segment: archive_timeout, seconds to minutes",
        "files, then replay of the WAL since the backup",
        "any second; undo of accidents",
        "other major versions",
        "a whole cluster for each backup, and all WAL",
    ),
    Method(
        "pgkeep, pgBackRest: incremental + WAL",
        "the last segment: archive_timeout, seconds to minutes",
        "files in parallel, then replay",
        "any second; with pgkeep also single tables and rows (undo), and proof by drills",
        "other major versions: keep dumps beside it",
        "one cluster and what changes, and all WAL",
    ),
    Method(
        "managed service's own (RDS, Cloud SQL, Azure)",
        "about five minutes, says the provider",
        "a new instance: minutes to hours, not in your hands",
        "any second of at most 35 days, as a new instance",
        "nothing when the account is lost, locked or deleted; no single table",
        "included up to the instance's size, then by the GB",
    ),
    Method(
        "replica (streaming)",
        "seconds, or nothing when it is synchronous",
        "at once: promote it",
        "the present, after hardware fails",
        "no accident: DROP TABLE is replicated within a second. It is no backup",
        "a second server",
    ),
)


def prices_of(provider: Provider) -> Prices:
    """Return the list prices of a provider's object store; one's own disk costs nothing here."""
    scheme = {Provider.AWS: "s3", Provider.GOOGLE: "gs", Provider.AZURE: "az"}.get(provider)
    if scheme is None:
        # Somebody's S3: about what the cheaper ones take. Nobody has all their prices.
        return Prices(0.0, 0.0, 0.0, 0.006) if provider is Provider.OTHER else FREE
    return LIST[scheme]
