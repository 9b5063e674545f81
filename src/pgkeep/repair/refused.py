"""Why a data directory is not one whose pages can be repaired now."""

from pgkeep.errors import PgkeepError


class CannotRepair(PgkeepError):
    """A data directory in which no page can be repaired as it is now."""

    code = "cannot-repair"
    exit_status = 252

    directory: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"no page was repaired in {self.directory}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class RepairFailed(PgkeepError):
    """Writing a repaired page, or the copy of the damaged one, failed."""

    code = "repair-failed"
    exit_status = 253

    path: str
    action: str  # 'write', 'keep', ...
    why: str

    def __str__(self) -> str:
        return f"the repair is not complete: cannot {self.action} {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "mend the cause and run it again: pages that are repaired already stay repaired"
