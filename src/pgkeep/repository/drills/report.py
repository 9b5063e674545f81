"""What one drill did and found. On disk: docs/formats/drills.md."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


class Status(StrEnum):
    """What came out, of one check or of the whole."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TESTED = "could not test"


class CheckKind(StrEnum):
    """What a drill looks at, in the order in which it is told."""

    RESTORE = "restore"  # every file was read from the repository and written
    RECOVERY = "recovery"  # the server became consistent and reached the target
    CONNECT = "connect"  # every database lets a session in
    CHECKSUMS = "checksums"  # pg_checksums
    AMCHECK = "amcheck"  # pg_amcheck
    READ = "read"  # all data, once
    EXPECTED = "expected"  # what the census or the inventory says was there
    QUERY = "query"  # the user's own


# Without these nothing is known of the backup at all.
ESSENTIAL: Final = frozenset({CheckKind.RESTORE, CheckKind.RECOVERY, CheckKind.CONNECT})


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    kind: CheckKind
    status: Status
    words: str  # one sentence: what was seen, or why it could not be looked at
    name: str = ""  # of a query of the user's
    evidence: tuple[str, ...] = ()  # the first few lines of what is wrong
    more: Count = 0  # lines of evidence that were left out
    seconds: Seconds = 0.0

    @property
    def title(self) -> str:
        return f"{self.kind.value} {self.name}" if self.name else self.kind.value


class Measures(Struct, frozen=True, kw_only=True):
    """How long it took, and how much that was."""

    restored_bytes: Count = 0
    restore_s: Seconds | None = None
    wal_bytes: Count = 0
    recovery_s: Seconds | None = None
    ready_s: Seconds | None = None  # from the beginning to a server that can be used
    newest_commit: Moment | None = None  # of the last transaction that is in the copy
    age_s: float | None = None  # how old that was when the drill began; only for target latest
    tables: Count = 0  # of a dump
    rows: Count = 0


class Report(Struct, frozen=True, kw_only=True):
    """One drill, from its beginning to its end."""

    id: str
    cluster: str
    status: Status
    of: str  # the backup or dump; '' when none could be chosen
    asked: str  # as typed: 'latest', 'random', ...
    target: str  # what was recovered to: it can be given to --to
    seed: str = ""  # of a random target
    timeline: int | None = None
    reached: str = ""  # where recovery stopped, in words
    checks: tuple[Check, ...] = ()
    measures: Measures = Measures()
    server: str = ""  # PostgreSQL's version that ran
    host: str
    pgkeep_version: str
    started_at: Moment
    finished_at: Moment
    notes: tuple[str, ...] = ()

    @property
    def untested(self) -> list[str]:
        """Return the checks that could not be made, by their titles."""
        return [check.title for check in self.checks if check.status is Status.NOT_TESTED]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.status is Status.FAILED]
