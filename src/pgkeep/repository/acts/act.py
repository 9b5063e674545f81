"""One thing that somebody did, or had done. On disk: docs/formats/acts.md."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

# What the product's own acts are called. Whoever changes something through the page or the API
# names it after the kind of job, or after what is changed: 'user-add'.
KEY_TEST: Final = "key-test"  # the recovery kit opened the repository, or did not
ALERT_TEST: Final = "alert-test"
RUNBOOK: Final = "runbook"  # one was written
EXPIRE: Final = "expire"
POINT: Final = "point"  # a restore point was set
CHECKLIST: Final = "checklist"  # what the checklist said, and how much is stored

Moment = Annotated[datetime, Meta(tz=True)]
What = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,62}$")]  # it is part of the object's name


class Outcome(StrEnum):
    """What came of it."""

    STARTED = "started"  # a job, which tells of its end elsewhere
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # whoever asked has no right to it


class Act(Struct, frozen=True, kw_only=True):
    """One act. Written once, when it has come to its outcome, and never changed."""

    id: str  # as act_id() makes it
    at: Moment
    who: str  # a user of the page, or the account that typed it
    what: What
    outcome: Outcome
    cluster: str = ""  # '': of the whole repository
    words: tuple[str, ...] = ()  # the command line that does the same; secrets are never in it
    host: str = ""
    facts: dict[str, str] = {}  # evidence, for people and for the checklist

    @property
    def done(self) -> bool:
        return self.outcome is Outcome.DONE
