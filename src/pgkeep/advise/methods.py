"""The ways to keep a database, for the table that compares them. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Method:
    """One way to keep a database."""

    name: str
    loses: str  # when the server dies
    restores: str  # how long it takes, by what
    brings_back: str
    cannot: str
    costs: str


METHODS: Final = (
    Method(
        "dump (pg_dump; pgkeep dump)",
        "all since the last dump: the time between two, and the time that one takes",
        "slow: rows are loaded and indexes built anew",
        "single tables, other versions and machines, masked copies",
        "no moment between two dumps; the server is read from end to end for each",
        "little: compressed rows; pgkeep stores what did not change once",
    ),
    Method(
        "base backup alone (pg_basebackup)",
        "all since the last backup: a day",
        "as fast as files are copied",
        "the whole cluster as it was at the end of the backup",
        "no other moment; no single table without a restore aside; no other major version",
        "a whole cluster for each backup that is kept",
    ),
    Method(
        "base backup + WAL archive",
        "the last segment: archive_timeout and its way, seconds to minutes",
        "files, then replay of the WAL since the backup",
        "any second",
        "no other major version; a hole in the WAL ends it",
        "a whole cluster for each backup, and all WAL",
    ),
    Method(
        "incremental + WAL (pgkeep, pgBackRest)",
        "the last segment: archive_timeout and its way, seconds to minutes",
        "files in parallel, then replay: less of it, for backups can be made more often",
        "any second; with pgkeep also single tables and rows (undo), and proof by drills",
        "no other major version: keep dumps beside it",
        "one cluster, what changes, and all WAL",
    ),
    Method(
        "WAL streamed (pg_receivewal, Barman)",
        "less than a second, or nothing where it is synchronous",
        "as with a WAL archive: it is one, filled sooner",
        "any second",
        "while its connection is away WAL waits at the server; pgkeep archives, it does not stream",
        "one more process that must be watched",
    ),
    Method(
        "managed service's own recovery (RDS, Cloud SQL, Azure)",
        "about five minutes, says the provider",
        "a new instance: minutes to hours, not in your hands",
        "any second of 7 to 35 days, by service and edition, as a new instance",
        "nothing when the account is lost, locked or deleted; no single table",
        "by the GB beyond what is included",
    ),
    Method(
        "replica (streaming)",
        "less than a second, or nothing where it is synchronous",
        "at once: promote it",
        "the present, after hardware failed",
        "no accident: DROP TABLE is there within a second. It is no backup",
        "a second server",
    ),
)
