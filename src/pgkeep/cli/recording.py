"""What a command has done, kept in the repositories as an act: docs/formats/acts.md."""

import os
import sys
from typing import TYPE_CHECKING

from pgkeep.cli.context import Context, say
from pgkeep.cli.text import safe
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.repository.acts.act import Act
    from pgkeep.repository.repository import Repository


def new_act(
    cluster: str,
    what: str,
    error: PgkeepError | None,
    facts: dict[str, str],
    words: tuple[str, ...] = (),
) -> "Act":
    """Return the act of this command, done now by this user; `error`: it failed.

    `words` are given where what was typed may hold secrets of another program's.
    """
    from datetime import UTC, datetime

    from pgkeep.config.shown import harmless
    from pgkeep.repository.acts.act import Act, Outcome
    from pgkeep.repository.acts.storing import act_id
    from pgkeep.setup.init import user_name

    now = datetime.now(UTC)
    return Act(
        id=act_id(now),
        at=now,
        who=user_name(os.geteuid()),
        what=what,
        outcome=Outcome.DONE if error is None else Outcome.FAILED,
        cluster=cluster,
        words=words or ("pgkeep", *map(harmless, sys.argv[1:])),
        host=os.uname().nodename,
        facts=facts if error is None else {**facts, "error": str(error)},
    )


def facts_of(place: "Place") -> dict[str, str]:
    """Return which repository an act is about: by its name here, and by its address elsewhere."""
    return {"repository": place.title, "address": place.plain_address}


def record(context: Context, act: "Act", opened: "Repository | None" = None) -> bool:
    """Keep an act in every repository that takes it; say where it is not. Tell whether it is kept.

    What was done stands all the same, so nothing is raised. `opened` is one that may be open
    although the config could not open it.
    """
    from pgkeep.places import record_everywhere
    from pgkeep.repository.acts.storing import record_act

    try:
        if opened is not None:
            record_act(opened, act)
        failed = record_everywhere(context.app.places, act)
    except PgkeepError as error:
        say(f"warning: that this was done is not on record: {safe(str(error))}")
        return False
    for place, why in failed:
        where = f"repository {safe(place.title)}"
        say(f"warning: that this was done is not on record in {where}: {safe(str(why))}")
    return True
