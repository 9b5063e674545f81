"""The ways in which a target cannot be reached. All are raised before anything is written."""

from pgkeep.errors import PgkeepError


class NothingToRestore(PgkeepError):
    """There is no backup from which anything could be restored."""

    code = "nothing-to-restore"
    exit_status = 80

    cluster: str
    why: str

    def __str__(self) -> str:
        return f"cannot restore {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        return "pgkeep list shows what the repository holds; pgkeep backup makes a first backup"


class TargetTooEarly(PgkeepError):
    """The target lies before the end of the oldest backup that could serve."""

    code = "target-too-early"
    exit_status = 81

    target: str
    backup: str
    earliest: str  # the first moment that can be restored, in words
    typed: str  # the same as `--to` takes it

    def __str__(self) -> str:
        return (
            f"cannot restore to {self.target}: the oldest backup that could serve, {self.backup}, "
            f"was complete only at {self.earliest}"
        )

    @property
    def hint(self) -> str:
        return f"the earliest reachable moment: --to {self.typed}"


class TargetTooLate(PgkeepError):
    """The target lies after the newest WAL on record."""

    code = "target-too-late"
    exit_status = 82

    target: str
    newest: str

    def __str__(self) -> str:
        return (
            f"cannot restore to {self.target}: the newest change on record is {self.newest}, "
            f"and nothing after it tells whether that is all"
        )

    @property
    def hint(self) -> str:
        return (
            "for everything there is: --to latest; for more, archive the newest WAL first "
            "(SELECT pg_switch_wal() on the server, then pgkeep wal status)"
        )


class TargetInHole(PgkeepError):
    """Archived WAL is missing on the way to the target."""

    code = "wal-gap"
    exit_status = 83

    target: str
    first: str  # segment names
    last: str
    before: str  # the last reachable moment before the hole, in words; empty when there is none
    after: str  # the first reachable one after it

    def __str__(self) -> str:
        missing = f"WAL segment {self.first} is not archived"
        if self.first != self.last:
            missing = f"WAL segments {self.first} to {self.last} are not archived"
        return f"cannot restore to {self.target}: {missing}"

    @property
    def hint(self) -> str:
        nearest = [
            words
            for words in (
                self.before and f"the last reachable moment before the hole is {self.before}",
                self.after and f"the first one after it is {self.after}",
            )
            if words
        ]
        found = f"{self.first} may still be in the server's pg_wal: archive it and run this again"
        return "; ".join([*nearest, found])


class TargetBehindDamage(PgkeepError):
    """Archived WAL on the way to the target is damaged."""

    code = "wal-damaged"
    exit_status = 243

    target: str
    segment: str
    why: str
    before: str  # the last reachable moment before it, as `--to` takes it

    def __str__(self) -> str:
        return (
            f"cannot restore to {self.target}: WAL segment {self.segment}, on the way there, "
            f"is damaged ({self.why})"
        )

    @property
    def hint(self) -> str:
        return (
            f"the last reachable moment before it: --to {self.before}; for more, bring that object "
            "back from another copy of the repository; take a new backup now"
        )


class TargetNotFound(PgkeepError):
    """No transaction or restore point of this kind is on record."""

    code = "target-not-found"
    exit_status = 84

    target: str
    why: str
    near: str = ""

    def __str__(self) -> str:
        return f"cannot restore to {self.target}: {self.why}"

    @property
    def hint(self) -> str:
        return self.near or "a time reaches every moment: --to '2026-01-15 15:47:21+00'"


class WrongTimeline(PgkeepError):
    """The timeline asked for is unknown, or the target lies on another one."""

    code = "wrong-timeline"
    exit_status = 85

    target: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"cannot restore to {self.target}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class BackupCannotReach(PgkeepError):
    """The backup that was named does not lead to the target."""

    code = "backup-cannot-reach"
    exit_status = 86

    target: str
    backup: str
    why: str
    instead: str = ""

    def __str__(self) -> str:
        return f"cannot restore backup {self.backup} to {self.target}: {self.why}"

    @property
    def hint(self) -> str:
        if self.instead:
            return f"backup {self.instead} can reach it; leave the backup out and pgkeep chooses"
        return "leave the backup out and pgkeep chooses the one that reaches the target"
