"""Why following a dump can end before the dump does."""

from pgkeep.errors import PgkeepError


class CaptureAborted(PgkeepError):
    """What pg_dump writes cannot be taken into the repository any more."""

    code = "dump-aborted"
    exit_status = 235

    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"no dump was made: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice
