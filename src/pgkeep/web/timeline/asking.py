"""What becomes of one moment: reachable or not and why, from which backup, how long it takes."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from pgkeep.app import App
from pgkeep.errors import PgkeepError
from pgkeep.health.forecast import restore_time
from pgkeep.model.backup import Backup
from pgkeep.model.target import AtTime, Latest, RecoveryTarget, Target, parse_target
from pgkeep.repository.drills.report import Measures
from pgkeep.repository.drills.storing import read_reports
from pgkeep.repository.dumps import is_dump_id
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.preflight import NoRoom
from pgkeep.restore.prepare import RestoreRequest, prepare
from pgkeep.web.words import target_time

SANDBOX_FOR: Final = ("1h", "2h", "8h", "24h")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The moment that is asked for."""

    text: str  # as restore --to takes it
    before: bool = False  # just before it


@dataclass(frozen=True, slots=True)
class Answer:
    """What a restore to a moment would be."""

    wanted: Wanted
    target: str  # as it is typed, with its zone
    plan: RestorePlan | None = None
    seconds: float = 0.0
    measured: bool = False  # by a drill; else by rates that nobody has measured here
    error: PgkeepError | None = None  # why it cannot be reached
    no_room: bool = False  # it can be reached, and there is no room for it

    @property
    def reachable(self) -> bool:
        return self.plan is not None

    @property
    def backup(self) -> Backup | None:
        return self.plan.backup if self.plan else None


def canonical(text: str, zone: tzinfo) -> tuple[Target, str]:
    """Return a target as the viewer means it, and as it is typed anywhere. Raise BadTarget."""
    target = parse_target(text, zone)
    return target, target_time(target.time) if isinstance(target, AtTime) else str(target)


def ask(app: App, wanted: Wanted, zone: tzinfo, directory: str) -> Answer:
    """Plan a restore into a new `directory` without writing anything."""
    typed = wanted.text
    try:
        target, typed = canonical(wanted.text, zone)
        cluster = app.cluster_to_read
        recovery = RecoveryTarget(target, inclusive=not wanted.before)
        request = RestoreRequest(
            target_dir=directory, recovery=recovery, fetch_command=app.fetch_command()
        )
        plan = prepare(cluster, request).plan
        estimate = restore_time(plan.backup.size, plan.wal_bytes, _measures(cluster))
    except PgkeepError as error:
        return Answer(wanted, typed, error=error, no_room=isinstance(error, NoRoom))
    return Answer(wanted, typed, plan, estimate.seconds, estimate.measured)


def restore_words(answer: Answer, directory: str) -> tuple[str, ...]:
    """Return the words of the restore that an answer is about."""
    words = ["restore", "--target-dir", directory]
    if answer.target != str(Latest()):
        words += ["--to", answer.target]
    if answer.wanted.before:
        words.append("--exclusive")
    return tuple(words)


def sandbox_words(answer: Answer, duration: str) -> tuple[str, ...]:
    """Return the words of the sandbox that an answer is about."""
    option = "--before" if answer.wanted.before else "--at"
    return ("undo", "sandbox", option, answer.target, "--for", duration)


def new_directory(top: str, cluster: str, now: datetime) -> str:
    """Return a name for a new directory that says what is in it."""
    return f"{top.rstrip('/')}/{cluster}-{now:%Y%m%d-%H%M%S}"


def _measures(cluster: ClusterFolder) -> Measures | None:
    passed = read_reports(cluster, until_passed=True).last_passed
    return None if passed is None or is_dump_id(passed.of) else passed.measures
