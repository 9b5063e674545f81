"""What the service, its alerts and its page cannot do."""

from pgkeep.errors import PgkeepError


class ServiceFailed(PgkeepError):
    """The service, or somebody's request to it, could not do what was asked."""

    code = "service-failed"
    exit_status = 9

    what: str
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot {self.what}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice
