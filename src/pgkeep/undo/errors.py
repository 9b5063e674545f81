"""Why an accident cannot be found, or what it destroyed cannot be brought back."""

from pgkeep.errors import PgkeepError


class CannotUndo(PgkeepError):
    """An accident that cannot be taken back as asked. Nothing was changed."""

    code = "cannot-undo"
    exit_status = 10

    what: str  # 'find accidents of cluster main', 'bring back app.public.users'
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot {self.what}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class NoSuchEvent(CannotUndo):
    """An event was asked for by its number, and the last find gave no event that number."""

    code = "no-such-event"

    what: str = "use the event"
    why: str = "the last find did not find it"
    advice: str = "look for events: pgkeep undo find"
