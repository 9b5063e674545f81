"""What `check` asks of the repositories beside the first that WAL and backups go to."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress
from pgkeep.repository.repository import ClusterFolder
from pgkeep.setup.init import user_name
from pgkeep.setup.store_test import store_test
from pgkeep.setup.verdicts import State, Verdict, failed, ok


class Other(NamedTuple):
    """One of them, and how it is opened."""

    title: str
    open_cluster: Callable[[], ClusterFolder]
    needed: bool  # everything must be there, too; else it is used when the one before fails

    def named(self, verdict: Verdict) -> Verdict:
        """Return a verdict as one of this repository: no failure where nothing depends on it."""
        name = f"{verdict.name} {'' if verdict.name == 'repository' else 'of '}{self.title}"
        if self.needed or verdict.state is not State.FAILED:
            return replace(verdict, name=name)
        says = f"it could not stand in for the one before: {verdict.says}"
        return replace(verdict, name=name, state=State.NOTE, says=says)


class Opened(NamedTuple):
    """One that can be used."""

    other: Other
    folder: ClusterFolder


def look_at_others(
    others: Sequence[Other], found: list[Verdict], progress: Progress
) -> list[Opened]:
    """Open and try each; a line for each that is well, else what is wrong. Return the open ones."""
    opened = []
    for other in others:
        try:
            folder = other.open_cluster()
        except PgkeepError as error:
            found.append(other.named(failed("repository", str(error), error.hint)))
            continue
        opened.append(Opened(other, folder))
        try:
            tried = store_test(
                folder.repository.store, user_name(os.geteuid()), progress, full=False
            )
        except PgkeepError as error:
            tried = [failed("writable", str(error), error.hint)]
        found += _in_one_line(other, folder, tried)
    return opened


def _in_one_line(other: Other, folder: ClusterFolder, tried: Sequence[Verdict]) -> list[Verdict]:
    amiss = [other.named(verdict) for verdict in tried if verdict.state is not State.OK]
    sealed = "encrypted" if folder.repository.key else "not encrypted"
    says = f"{folder.repository.store.url}, {sealed}"
    if not amiss:
        says += ", writable; taken names are refused, reads exact, listings current"
    return [ok(f"repository {other.title}", says), *amiss]
