"""Every number that the plans rest on, with where it is from. Pure.

What was measured is in docs/benchmarks.md; what was not is said to be assumed. Prices are those of
repository/metering/prices.py.
"""

from typing import Final, NamedTuple

from pgkeep.advise.wishes import Provider
from pgkeep.repository.drills.rates import GUESSED_REPLAY, GUESSED_RESTORE
from pgkeep.repository.metering.prices import AS_OF, FREE, LIST, Prices

LEAST_TIMEOUT: Final = 10.0  # seconds: below it segments are mostly padding
SEGMENT: Final = 16 << 20  # bytes of a WAL segment
PACK: Final = 32 << 20  # bytes of an object that holds chunks
MEGABYTE: Final = 1e6


class Fact(NamedTuple):
    """One number."""

    name: str
    value: float
    unit: str
    source: str


RESTORE: Final = Fact(
    "restore of files",
    GUESSED_RESTORE,
    "bytes/s",
    "measured with two cores: 66 MB/s where the disk was the limit, 447 where it was not",
)
REPLAY: Final = Fact(
    "replay of WAL", GUESSED_REPLAY, "bytes/s", "measured: 34 MB/s by one process of PostgreSQL's"
)
START: Final = Fact(
    "until a restore is typed, and a server has started", 60.0, "s", "assumed; a drill measures it"
)
PUSH: Final = Fact(
    "a WAL segment on its way into the repository",
    5.0,
    "s",
    "assumed for a bucket far away; into a folder 0.06 s were measured",
)
DUMP: Final = Fact("reading for a dump", 60e6, "bytes/s", "assumed; a dump's report tells")
LOAD: Final = Fact(
    "loading a dump, indexes and keys included",
    15e6,
    "bytes/s",
    "assumed; a drill of a dump measures it",
)
STORED: Final = Fact(
    "a cluster when it is stored",
    0.4,
    "of its size",
    "measured: 0.22 of pgbench's data, 0.38 of text that compresses 2 to 1",
)
WAL_STORED: Final = Fact(
    "WAL when it is stored", 0.4, "of its size", "measured: 0.38 of segments full of rows"
)
DUMP_STORED: Final = Fact(
    "a dump when it is stored", 0.2, "of the database's size", "assumed: no indexes, compressed"
)
DUMP_NEW: Final = Fact(
    "of a dump that the next one stores again, at most",
    0.5,
    "of it",
    "assumed; what was changed all over is stored again whole",
)
DUMP_SPREAD: Final = Fact(
    "stored again by the next dump, for each changed byte", 10.0, "bytes", "assumed"
)
CHANGED: Final = Fact(
    "pages changed by WAL", 0.6, "of its bytes", "assumed; a backup's report tells"
)
LEAST_WAL: Final = Fact(
    "WAL a day, where --inspect has seen nothing older than seconds",
    0.1,
    "of the cluster's size, or more",
    "assumed",
)
MANAGED_RPO: Final = Fact(
    "what a managed service may lose",
    300.0,
    "s",
    'the providers\' documents: RDS "typically within the last five minutes"',
)
MANAGED_RESTORE: Final = Fact(
    "a new instance from a managed service's backup", 100e6, "bytes/s", "assumed; only a test tells"
)
MANAGED_WINDOW: Final = Fact(
    "how far back a managed service goes",
    35 * 86400.0,
    "s",
    "the providers' documents: 35 days at most with RDS, Azure and Cloud SQL Enterprise Plus, "
    "7 with Cloud SQL Enterprise",
)
MANAGED_PRICE: Final = Fact(
    "a GB of a managed service's backups for a month",
    0.095,
    "of the currency",
    f"RDS's list price beyond the instance's own size, as known in {AS_OF}",
)
OTHER_PRICE: Final = Fact(
    "a GB in a bucket of somebody else's for a month",
    0.006,
    "of the currency",
    "assumed: about what the cheaper ones take; pgkeep.toml says what yours costs",
)
FACTS: Final = (
    RESTORE, REPLAY, START, PUSH, DUMP, LOAD, STORED, WAL_STORED, DUMP_STORED, DUMP_NEW,
    DUMP_SPREAD, CHANGED, LEAST_WAL,
    MANAGED_RPO, MANAGED_RESTORE, MANAGED_WINDOW, MANAGED_PRICE, OTHER_PRICE,
)  # fmt: skip
SCHEMES: Final = {Provider.AWS: "s3", Provider.GOOGLE: "gs", Provider.AZURE: "az"}


def prices_of(provider: Provider) -> Prices:
    """Return the list prices of a provider's object store; one's own disk costs nothing here."""
    if provider is Provider.OTHER:
        return Prices(0.0, 0.0, 0.0, OTHER_PRICE.value)
    return LIST[SCHEMES[provider]] if provider in SCHEMES else FREE
