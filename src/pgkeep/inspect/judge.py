"""What a data directory will do when it is started, said in plain words. Pure.

Source: xlogrecovery.c, InitWalRecovery and validateRecoveryParameters; every combination of
backup_label and signal files was tried on servers 15 to 18 (tests/integration/test_inspect.py).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pgkeep.inspect.seen import InspectReport, Seen, State
from pgkeep.postgres.control import State as Control
from pgkeep.traces import OVER
from pgkeep.units import format_size

# Deleting one of these "to make it start" is how a hurt cluster becomes a lost one.
_PRECIOUS: Final = {
    "backup_label": "tells where recovery must begin; without it data is silently wrong",
    "tablespace_map": "tells where the tablespaces of this copy are",
    "pg_wal": "holds changes that are in no data file yet",
    "global/pg_control": "without it no server starts on this directory",
    "pg_xact": "tells which transactions committed",
    "recovery.signal": "makes the server recover from the archive; without it data is missing",
    "standby.signal": "keeps the standby a standby",
}
_TARGETS: Final = (
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
)
_CRASHED: Final = (
    Control.IN_PRODUCTION,
    Control.IN_CRASH_RECOVERY,
    Control.SHUTTING_DOWN,
    Control.STARTING_UP,
)


def judge(seen: Seen) -> InspectReport:
    """Say what `seen` is and what starting a server on it would do."""
    if seen.running_pid is not None or seen.running_why:
        return _running(seen)
    if seen.marker:
        return _half_restored(seen)
    if not seen.version and seen.control is None:
        return _stranger(seen)
    problems = tuple(_problems(seen))
    state, headline, happens = _outlook(seen)
    if seen.control is None:
        state, happens = State.BROKEN, ()
        headline = "This directory cannot be started: its global/pg_control is missing or damaged."
    elif problems:
        headline = f"This directory would not start: {problems[0]}."
    return InspectReport(
        seen.directory,
        state,
        headline,
        not problems,
        happens,
        problems,
        tuple(_warnings(seen)),
        tuple(f"{name}: {why}" for name, why in _PRECIOUS.items() if _there(seen, name)),
        tuple(_next_steps(seen, state, problems)),
        _facts(seen),
    )


def _running(seen: Seen) -> InspectReport:
    sure = "is running" if seen.running_certain else "may be running"
    pid = f" as process {seen.running_pid}" if seen.running_pid else ""
    # postmaster.pid says 'ready' of a hot standby as well: only pg_control tells
    in_production = seen.control is not None and seen.control.state is Control.IN_PRODUCTION
    does = ", recovering"
    if seen.running_status == "ready":
        does = ", open for reading and writing" if in_production else ", recovering, but readable"
    steps = ["look, but change nothing here while it runs"]
    if not in_production:
        steps.append(f"pgkeep inspect --follow {seen.directory}: how far its recovery is")
    return InspectReport(
        seen.directory,
        State.RUNNING,
        f"A server {sure} here{pid}{does}: {seen.running_why}.",
        False,
        never_delete=("postmaster.pid: it keeps a second server from destroying the data",),
        next_steps=tuple(steps),
        facts=_facts(seen),
    )


def _half_restored(seen: Seen) -> InspectReport:
    if seen.marker.endswith(OVER):
        return _half_restored_over(seen)
    return InspectReport(
        seen.directory,
        State.HALF_RESTORED,
        f"This directory is half-restored and cannot be started: {seen.marker}.",
        False,
        problems=("the restore did not finish: files are missing, global/pg_control among them",),
        next_steps=(
            f"rm -r {seen.directory}: nothing in it is worth keeping, the backup is unharmed",
            f"pgkeep restore --target-dir {seen.directory} ...: run the restore again",
        ),
        facts=_facts(seen),
    )


def _half_restored_over(seen: Seen) -> InspectReport:
    """Say what to do with an old directory that a delta restore had begun with."""
    return InspectReport(
        seen.directory,
        State.HALF_RESTORED,
        f"This directory is half-restored and must not be started: {seen.marker}.",
        False,
        problems=("the restore did not finish: files are of the backup, or still the old ones",),
        never_delete=("pg_wal: it may hold the newest changes, which are in no archive yet",),
        next_steps=(
            f"pgkeep restore --target-dir {seen.directory} --delta ...: run the restore again",
        ),
        facts=_facts(seen),
    )


def _stranger(seen: Seen) -> InspectReport:
    what = "is empty" if not seen.names else "holds no PG_VERSION and no global/pg_control"
    return InspectReport(
        seen.directory,
        State.NOT_A_DATA_DIRECTORY,
        f"This is no PostgreSQL data directory: it {what}.",
        False,
        problems=("there is nothing here that a server could start on",),
        facts=_facts(seen),
    )


def _outlook(seen: Seen) -> tuple[State, str, tuple[str, ...]]:
    """Return the state, the sentence for it, and what happens step by step."""
    if seen.has("standby.signal"):
        return _standby(seen)
    if seen.label is not None:
        return _with_label(seen)
    if seen.has("recovery.signal"):
        return _recovering(seen)
    return _without_signal(seen)


def _standby(seen: Seen) -> tuple[State, str, tuple[str, ...]]:
    source = []
    if seen.settings.get("primary_conninfo"):
        source.append("streams from the primary in primary_conninfo")
    if seen.settings.get("restore_command"):
        source.append("fetches WAL with restore_command")
    happens = (
        f"replays WAL from {_start(seen)}",
        *source,
        "answers read-only queries once it is consistent, and stays in recovery until promoted",
    )
    return State.STANDBY, "This is a standby: it starts, and follows its primary.", happens


def _with_label(seen: Seen) -> tuple[State, str, tuple[str, ...]]:
    label = seen.label
    assert label is not None
    if seen.has("recovery.signal"):
        target = _target(seen)
        headline = (
            f"This is a restored backup (taken {label.start_time}): it starts with archive "
            f"recovery {target}."
        )
        return State.RESTORED, headline, _archive_recovery(seen, target)
    headline = (
        f"This is a copy from a backup (taken {label.start_time}) that was never told to recover "
        "from the archive."
    )
    happens = (
        f"replays from {label.start} only what lies in pg_wal ({format_size(seen.wal_bytes)})",
        f"then opens on the same timeline ({label.timeline}) as its original, with which it would "
        "collide in the archive",
    )
    return State.BACKUP_COPY, headline, happens


def _recovering(seen: Seen) -> tuple[State, str, tuple[str, ...]]:
    target = _target(seen)
    done = ""
    if seen.control and seen.control.min_recovery_point:
        done = f" It has been replayed up to {seen.control.min_recovery_point} at least."
    headline = f"Archive recovery was begun here and would go on, {target}.{done}"
    return State.RECOVERING, headline, _archive_recovery(seen, target)


def _archive_recovery(seen: Seen, target: str) -> tuple[str, ...]:
    action = seen.settings.get("recovery_target_action", "pause")
    end = {
        "promote": "opens for writing on a new timeline",
        "pause": "pauses there, open for reading: SELECT pg_wal_replay_resume() promotes it",
        "shutdown": "shuts down there; the next start stops at once until the target is changed",
    }.get(action, "ends")
    if not any(seen.settings.get(name) for name in _TARGETS):
        end = "opens for writing on a new timeline"
    return (
        f"replays WAL from {_start(seen)}, fetched with restore_command",
        f"goes on {target}",
        f"then {end}",
    )


def _without_signal(seen: Seen) -> tuple[State, str, tuple[str, ...]]:
    control = seen.control
    if control is None:
        return State.BROKEN, "", ()
    updated = _moment(control.updated_at)
    if control.state is Control.SHUT_DOWN:
        headline = f"This directory was shut down cleanly at {updated}: it starts normally."
        return State.CLEAN, headline, ("opens for reading and writing within seconds",)
    if control.state in _CRASHED:
        headline = (
            f"The server here crashed or was killed (last sign of life {updated}): it "
            "starts with crash recovery."
        )
        happens = (
            f"replays WAL from {control.redo}: about {format_size(seen.wal_bytes)} in pg_wal",
            "then opens for reading and writing; nothing committed is lost",
        )
        return State.CRASHED, headline, happens
    headline = (
        "Archive recovery was begun here, but no recovery.signal or standby.signal tells to go on."
    )
    happens = (
        f"replays from {control.redo} only what lies in pg_wal ({format_size(seen.wal_bytes)})",
        f"then opens on timeline {control.timeline}, as if everything had been recovered",
    )
    return State.BACKUP_COPY, headline, happens


def _problems(seen: Seen) -> Iterator[str]:
    """Yield why a server would refuse to start, the plainest reason first."""
    if seen.control is None:
        yield seen.control_problem or "global/pg_control is missing"
    if not seen.version:
        yield "PG_VERSION is missing"
    for name in seen.missing_directories:
        yield f"the directory {name} is missing"
    if seen.mode & 0o027:
        yield (f"its permissions are {seen.mode:04o}, and PostgreSQL insists on 0700 or 0750")
    if seen.label_problem:
        yield seen.label_problem
    yield from _setting_problems(seen)
    for link in seen.tablespaces:
        if not link.there:
            yield f"tablespace {link.oid} is missing: {link.target} does not exist"
    if _only_local_wal(seen) and not seen.wal_first_there and seen.wal_first_needed:
        yield f"pg_wal lacks {seen.wal_first_needed}, in which replay must begin"


def _setting_problems(seen: Seen) -> Iterator[str]:
    targets = [name for name in _TARGETS if seen.settings.get(name)]
    signal = seen.has("recovery.signal") or seen.has("standby.signal")
    if signal and len(targets) > 1:
        yield f"more than one recovery target is set: {', '.join(targets)}"
    if (
        seen.has("recovery.signal")
        and not seen.has("standby.signal")
        and not seen.settings.get("restore_command")
    ):
        yield "recovery.signal is there, but restore_command is not set"


def _warnings(seen: Seen) -> Iterator[str]:
    if not seen.programs and seen.version:
        yield f"no PostgreSQL {seen.version} programs were found on this machine"
    if seen.user_uid not in (seen.owner_uid, 0):
        yield f"it belongs to {seen.owner}: start it as that user"
    if seen.has("postmaster.pid"):
        yield "postmaster.pid was left behind by a server that is gone: the next start replaces it"
    yield from _label_warnings(seen)
    if seen.has("standby.signal") and seen.has("recovery.signal"):
        yield "both standby.signal and recovery.signal are there: standby.signal wins"
    if seen.has("tablespace_map") and seen.label is None and not seen.label_problem:
        yield "tablespace_map without backup_label will be ignored"


def _label_warnings(seen: Seen) -> Iterator[str]:
    lost = seen.restored_by or (seen.control is not None and seen.control.backup_end_required)
    gone = seen.label is None and not seen.has("backup_label.old") and not seen.label_problem
    if lost and gone:
        yield (
            "this is a restored backup, but backup_label is gone: do not start it, restore again"
        )
    if _only_local_wal(seen) and seen.label is not None:
        yield (
            "started like this it shows an old state as if it were all: create recovery.signal "
            "and set restore_command first, or restore it with pgkeep"
        )


def _next_steps(seen: Seen, state: State, problems: tuple[str, ...]) -> Iterator[str]:
    start = f"pg_ctl -D {seen.directory} -l {seen.directory}.log start"
    if problems:
        if state in (State.BROKEN, State.BACKUP_COPY, State.RESTORED):
            yield "pgkeep restore --target-dir ANOTHER_DIRECTORY: the surest way"
        if seen.mode & 0o027:
            yield f"chmod 0700 {seen.directory}"
        yield "keep a copy of the directory before you change anything in it"
        return
    if state in (State.CRASHED, State.BACKUP_COPY):
        yield f"cp -a {seen.directory} {seen.directory}.copy: first keep a copy"
    if state is State.BACKUP_COPY:
        yield f"touch {seen.directory}/recovery.signal, and set restore_command"
        return
    yield start
    if state in (State.RESTORED, State.RECOVERING, State.STANDBY):
        yield f"pgkeep inspect --follow {seen.directory}: how far its recovery is"
    if state is State.STANDBY:
        yield f"pg_ctl -D {seen.directory} promote: make it a primary"


def _facts(seen: Seen) -> dict[str, str]:
    facts = {"version": seen.version, "mode": f"{seen.mode:04o}", "owner": seen.owner}
    if seen.control:
        facts |= {
            "state": str(seen.control.state),
            "system_identifier": str(seen.control.system_identifier),
            "timeline": str(seen.control.timeline),
            "checkpoint": str(seen.control.checkpoint),
            "redo": str(seen.label.start if seen.label else seen.control.redo),
            "updated": _moment(seen.control.updated_at),
        }
    if seen.restored_by:
        facts["restored_by"] = seen.restored_by
    if seen.programs:
        facts["programs"] = seen.programs
    facts["wal_files"] = str(seen.wal_files)
    return {name: value for name, value in facts.items() if value}


def _only_local_wal(seen: Seen) -> bool:
    """Tell whether a start would use pg_wal alone."""
    signal = seen.has("recovery.signal") or seen.has("standby.signal")
    clean = seen.label is None and seen.control and seen.control.state is Control.SHUT_DOWN
    return not signal and not clean


def _start(seen: Seen) -> str:
    if seen.label:
        return f"{seen.label.start} (backup_label)"
    return str(seen.control.redo) if seen.control else "an unknown position"


def _target(seen: Seen) -> str:
    for name in _TARGETS:
        value = seen.settings.get(name)
        if value:
            kind = name.removeprefix("recovery_target").lstrip("_") or "target"
            return f"to {kind} {value!r}" if kind != "target" else "to the first consistent moment"
    return "to the end of all WAL it can get"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _there(seen: Seen, name: str) -> bool:
    if name == "global/pg_control":
        return seen.control is not None
    return seen.has(name)
