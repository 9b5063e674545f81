"""Acts that nobody did."""

from datetime import datetime

from pgkeep.repository.acts.act import RUNBOOK, Act, Outcome
from pgkeep.repository.marker import timed_id


def an_act(
    at: datetime,
    what: str = RUNBOOK,
    outcome: Outcome = Outcome.DONE,
    *,
    cluster: str = "main",
    chance: int = 1,
    **facts: str,
) -> Act:
    return Act(
        id=timed_id(at, chance.to_bytes(4, "big")),
        at=at,
        who="kim",
        what=what,
        outcome=outcome,
        cluster=cluster,
        words=("pgkeep", what),
        host="backup1",
        facts=facts,
    )
