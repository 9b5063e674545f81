"""Facts in, rows out: what is done, due or broken, each with its proof. Pure.

A row is only ok with proof of something that was done, or seen now. What could not be asked is
"not known", never ok.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pgkeep.checklist.facts import Channel, Done, Facts, Kit, Rotation, Server
from pgkeep.checklist.row import Checklist, Row, State
from pgkeep.health.seen import is_ahead
from pgkeep.units import format_duration

# How long after its time a thing is late: a nightly job takes longer on some nights.
_GRACE: Final = {
    timedelta(days=1): timedelta(hours=6),
    timedelta(days=7): timedelta(days=1),
}
_STUCK: Final = timedelta(minutes=15)  # a WAL file takes seconds to archive
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
QUARTER: Final = timedelta(days=92)
HALF_YEAR: Final = timedelta(days=183)


class Answer(NamedTuple):
    """What there is to say of one row."""

    state: State
    proof: str
    last_done: datetime | None = None
    next_due: datetime | None = None
    todo: str = ""


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing that must be done, and who judges whether it is."""

    key: str
    name: str
    how_often: str
    why: str
    judge: Callable[[Facts, datetime], Answer]


def judge(facts: Facts, now: datetime) -> Checklist:
    """Return every row, in the order in which one reads a checklist: backups first."""
    rows = []
    for item in _ITEMS:
        said = item.judge(facts, now)
        todo = "" if said.state is State.OK else said.todo
        rows.append(
            Row(
                item.key, item.name, item.why, item.how_often, said.state, said.proof,
                said.last_done, said.next_due, todo,
            )
        )  # fmt: skip
    return Checklist(facts.cluster, now, tuple(rows))


def _dump(facts: Facts, now: datetime) -> Answer:
    todo = "pgkeep dump create --all"
    if facts.dump is None:
        return Answer(State.NOT_SET_UP, "there is no dump of all databases", todo=todo)
    return _periodic(facts.dump, DAY, now, todo)


def _backup(facts: Facts, now: datetime) -> Answer:
    if facts.backup is None:
        return Answer(State.NOT_SET_UP, "there is no backup", todo="pgkeep backup")
    # Without WAL nothing after a backup can be restored: then a week would be a week of loss.
    continuous = _wal(facts, now).state is State.OK
    return _periodic(facts.backup, WEEK if continuous else DAY, now, "pgkeep backup")


def _wal(facts: Facts, now: datetime) -> Answer:  # noqa: ARG001 - as every judge
    found, server = facts.archive, facts.server
    if found is None or found.to is None:
        return Answer(State.NOT_SET_UP, "no archived WAL can be restored", todo="pgkeep init")
    if found.holes:
        says = "WAL is missing after the newest backup: what was written since cannot be reached"
        return Answer(State.FAILED, says, found.to, todo="pgkeep backup")
    if server is None:
        says = f"the server cannot be asked ({facts.server_trouble})"
        return Answer(State.UNKNOWN, says, found.to, todo="pgkeep check")
    if server.standby:
        says = "this is a standby: its primary archives, and was not asked"
        return Answer(State.UNKNOWN, says, found.to)
    if trouble := _trouble(server):
        says = f"{trouble}: nothing after that can be restored"
        return Answer(State.FAILED, says, found.to, todo="pgkeep wal status")
    if not server.archives:
        return Answer(State.NOT_SET_UP, "the server archives no WAL", found.to, todo="pgkeep init")
    if server.archived is None:
        says = "the server has archived nothing since its statistics began"
        return Answer(State.UNKNOWN, says, found.to, todo="pgkeep check")
    says = f"no gap since the newest backup; {server.archived.proof}{_waiting(server)}"
    return Answer(State.OK, says, found.to)


def _trouble(server: Server) -> str:
    """Say what is wrong with archiving itself; '' when nothing is."""
    archived = server.archived
    if server.failing_since is not None:
        since = f"{server.failing_since:%Y-%m-%d %H:%M:%S} UTC"
        return f"archiving {server.failing} failed at {since}, and nothing since succeeded"
    if archived is not None and archived.wrong:
        return f"{archived.proof}, but {archived.wrong}"
    if server.waiting and (archived is None or server.asked_at - archived.at > _STUCK):
        last = archived.proof if archived else "nothing archived since the statistics began"
        return f"archiving is stuck: {last}{_waiting(server)}"
    return ""


def _waiting(server: Server) -> str:
    if not server.waiting:
        return ""
    return f", {server.waiting} {'file waits' if server.waiting == 1 else 'files wait'}"


def _archiver(facts: Facts, now: datetime) -> Answer:
    server = facts.server
    if server is None:
        # Nobody looked today, unless that is on record.
        before = _periodic(facts.checked, DAY, now, "pgkeep check")
        state = State.UNKNOWN if before.state is State.OK else before.state
        says = f"the server cannot be asked ({facts.server_trouble}); before: {before.proof}"
        return before._replace(state=state, proof=says, todo="pgkeep check")
    next_due = server.asked_at + DAY
    if server.standby:
        return Answer(State.UNKNOWN, "this is a standby: ask its primary", server.asked_at)
    return _of_archiver(server, next_due)


def _of_archiver(server: Server, next_due: datetime) -> Answer:
    if trouble := _trouble(server):
        says = f"pg_stat_archiver: {trouble}"
        return Answer(State.FAILED, says, server.asked_at, next_due, "pgkeep check")
    if not server.archives:
        says = "archive_mode is off, or there is no archive_command"
        return Answer(State.NOT_SET_UP, says, server.asked_at, todo="pgkeep init")
    if server.archived is None:
        says = "pg_stat_archiver: nothing archived and nothing failed since its statistics began"
        return Answer(State.UNKNOWN, says, server.asked_at, todo="pgkeep check")
    return Answer(State.OK, f"pg_stat_archiver: {server.archived.proof}", server.asked_at, next_due)


def _sizes(facts: Facts, now: datetime) -> Answer:
    return _periodic(facts.sizes, WEEK, now, "pgkeep checklist --record")


def _rotation(facts: Facts, now: datetime) -> Answer:
    """The worst of all repositories: each expires for itself."""
    if not facts.rotations:
        return Answer(State.UNKNOWN, "no repository is known", todo="pgkeep check")
    several = len(facts.rotations) > 1
    found = (_rotated(facts, one, now, several=several) for one in facts.rotations)
    return max(found, key=lambda one: one.state.rank)


def _rotated(facts: Facts, one: Rotation, now: datetime, *, several: bool) -> Answer:
    if not one.policy:
        says = f"{one.repository}: no retention is set: everything stays until the storage is full"
        todo = f'[clusters.{facts.cluster}.retention] window = "14d"'
        return Answer(State.NOT_SET_UP, says, todo=todo)
    todo = _in(one.repository, "expire", several=several)
    answer = _periodic(one.done, WEEK, now, todo)
    return answer._replace(proof=f"{one.repository}: {one.policy}; {answer.proof}")


def _in(repository: str, command: str, *, several: bool) -> str:
    """Return a command for one repository, which is named where there are several."""
    return f"pgkeep --repository {repository} {command}" if several else f"pgkeep {command}"


def _drill(facts: Facts, now: datetime) -> Answer:
    newest, passed = facts.drill, facts.drill_passed
    last = passed.at if passed else None
    if newest is not None and newest.wrong:
        says = f"{newest.proof}: {newest.wrong}"
        return Answer(State.FAILED, says, last, todo="pgkeep drill --show latest")
    return _periodic(passed, facts.drill_every, now, "pgkeep drill")


def _three_two_one(facts: Facts, now: datetime) -> Answer:
    if not facts.rules:
        says = f"the copies cannot be judged ({facts.rules_trouble})"
        return Answer(State.UNKNOWN, says, todo="pgkeep check --321")
    broken = [rule for rule in facts.rules if not rule.holds]
    if not broken:
        return Answer(State.OK, "; ".join(f"{r.name}: {r.says}" for r in facts.rules), now)
    says = "; ".join(f"{rule.name}: {rule.says}" for rule in broken)
    state = State.NOT_SET_UP if facts.repositories < 2 else State.FAILED
    return Answer(state, says, todo=broken[0].fix)


def _locked(facts: Facts, now: datetime) -> Answer:
    rule = facts.locked
    if rule is None:
        says = f"the copies cannot be judged ({facts.rules_trouble})"
        return Answer(State.UNKNOWN, says, todo="pgkeep check --321")
    if rule.holds:
        return Answer(State.OK, rule.says, now)
    return Answer(State.NOT_SET_UP, rule.says, todo=rule.fix)


def _point(facts: Facts, now: datetime) -> Answer:  # noqa: ARG001 - as every judge
    todo = "pgkeep run --point NAME -- COMMAND"
    if facts.point is None:
        return Answer(State.NOT_SET_UP, "none was ever set", todo=todo)
    return Answer(State.OK, facts.point.proof, facts.point.at)


def _checksums(facts: Facts, now: datetime) -> Answer:  # noqa: ARG001 - as every judge
    server = facts.server
    if server is None:
        says = f"the server cannot be asked ({facts.server_trouble})"
        return Answer(State.UNKNOWN, says, todo="pgkeep check")
    if server.checksums:
        return Answer(State.OK, "data_checksums is on", server.asked_at)
    says = "data_checksums is off: rot is found only by whoever reads the page"
    todo = "stop the server, then: pg_checksums --enable -D DATA_DIRECTORY"
    return Answer(State.NOT_SET_UP, says, server.asked_at, todo=todo)


def _kits(facts: Facts, now: datetime) -> Answer:
    """The worst of all repositories: each has key slots of its own."""
    if not facts.kits:
        return Answer(State.UNKNOWN, "no repository can be opened", todo="pgkeep check")
    several = len(facts.kits) > 1
    found = (_kit(kit, now, several=several) for kit in facts.kits)
    return max(found, key=lambda one: one.state.rank)


def _kit(kit: Kit, now: datetime, *, several: bool) -> Answer:
    if not kit.encrypted:
        says = f"{kit.repository} is not encrypted: no key is needed, and whoever has it can read"
        return Answer(State.OK, says, now)
    if not kit.recovery_slots:
        says = f"{kit.repository} has no recovery key"
        todo = _in(kit.repository, "key recovery", several=several)
        return Answer(State.NOT_SET_UP, says, todo=todo)
    todo = _in(kit.repository, "key test", several=several)
    answer = _periodic(kit.test, HALF_YEAR, now, todo)
    return answer._replace(proof=f"{kit.repository}: {answer.proof}")


def _alerts(facts: Facts, now: datetime) -> Answer:
    if not facts.channels:
        says = "nobody is told: there is no [[alerts.channels]]"
        return Answer(State.NOT_SET_UP, says, todo="[[alerts.channels]] name and url")
    found = (_channel(channel, now) for channel in facts.channels)
    return max(found, key=lambda one: one.state.rank)


def _channel(channel: Channel, now: datetime) -> Answer:
    answer = _periodic(channel.test, QUARTER, now, "pgkeep alert test")
    return answer._replace(proof=f"{channel.name}: {answer.proof}")


def _runbook(facts: Facts, now: datetime) -> Answer:
    todo = "pgkeep runbook --html -o runbook.html"
    if facts.runbook is None:
        return Answer(State.NOT_SET_UP, "none was ever written", todo=todo)
    if facts.runbook_stale:
        says = f"{facts.runbook.proof}, but {facts.runbook_stale}"
        return Answer(State.DUE, says, facts.runbook.at, now, todo)
    return _periodic(facts.runbook, QUARTER, now, todo)


def _periodic(done: Done | None, every: timedelta, now: datetime, todo: str) -> Answer:
    """Judge what is to be done again and again."""
    if done is None:
        return Answer(State.DUE, "never done, as far as the repository tells", todo=todo)
    next_due = done.at + every
    if done.wrong:
        return Answer(State.FAILED, f"{done.proof}: {done.wrong}", done.at, now, todo)
    if is_ahead(done.at, now):
        says = f"{done.proof}; dated ahead of the clock, so it proves nothing"
        return Answer(State.DUE, says, done.at, now, todo)
    if now > next_due + _GRACE.get(every, every / 20):
        late = format_duration((now - next_due).total_seconds())
        return Answer(State.DUE, f"{done.proof}; late by {late}", done.at, next_due, todo)
    return Answer(State.OK, done.proof, done.at, next_due)


_ITEMS: Final = (
    _Item("logical-backup", "logical backup", "daily",
          "it restores one table, moves between versions, and survives what a copy of the files "
          "would copy too", _dump),
    _Item("physical-backup", "physical backup", "daily or weekly",
          "every restore begins with one; the older it is, the more WAL there is to replay",
          _backup),
    _Item("wal-archiving", "WAL archiving", "continuous",
          "without it everything since the last backup is lost", _wal),
    _Item("archive-command", "archive_command succeeds", "daily",
          "while it fails, nothing new can be restored, and pg_wal fills the disk", _archiver),
    _Item("storage-size", "storage size recorded", "weekly",
          "a full repository stops backups and, soon after, the server", _sizes),
    _Item("rotation", "rotation by policy", "weekly",
          "what nobody removes fills the storage; what somebody removes by hand is missed later",
          _rotation),
    _Item("test-restore", "test restore", "monthly",
          "a backup that was never restored is a hope", _drill),
    _Item("three-two-one", "3-2-1: copies, media, off-site", "always",
          "one fire, one thief or one broken account must not take all copies", _three_two_one),
    _Item("locked-copy", "a copy that nobody can delete", "always",
          "whoever takes over this host deletes the backups first", _locked),
    _Item("restore-point", "restore point before migrations", "each time",
          "a migration that went wrong is undone to the moment before it, not to a guess", _point),
    _Item("checksums", "data checksums", "always",
          "without them rotten pages get into every backup unseen", _checksums),
    _Item("recovery-kit", "recovery kit tested", "every half year",
          "an encrypted backup whose key is lost is lost", _kits),
    _Item("alerts", "alerts tested", "every quarter",
          "backups stop in silence: somebody must be told, and the way to them tried", _alerts),
    _Item("runbook", "runbook written", "every quarter, and when things change",
          "on the worst day nobody has the time to find out where everything is", _runbook),
)  # fmt: skip
