"""What `check` thinks of what it saw: one verdict per question, with the fix. Pure.

Idle, empty and brand-new are normal: they get a note, never a failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pgkeep.coverage.lost_wal import LostWal
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Coverage
from pgkeep.model.wal_room import WalRoom
from pgkeep.postgres.versions import major_of
from pgkeep.setup.plan import DISABLED, PROGRAM, RESTART, SettingsPlan
from pgkeep.units import format_duration, format_size

CLOCK_NOTE: Final = 5.0  # seconds apart: more than a network and a busy host explain
CLOCK_FAILED: Final = 60.0  # seconds apart: times that people type would mean other moments
ROOM_FOR_BACKUPS: Final = 1.0  # a first full backup may need as much as the cluster, uncompressed


class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question of `check`."""

    name: str
    state: State
    says: str
    fix: str = ""  # what to type or change; several lines are several steps


def ok(name: str, says: str) -> Verdict:
    return Verdict(name, State.OK, says)


def note(name: str, says: str, fix: str = "") -> Verdict:
    return Verdict(name, State.NOTE, says, fix)


def failed(name: str, says: str, fix: str) -> Verdict:
    return Verdict(name, State.FAILED, says, fix)


def not_checked(name: str, why: str) -> Verdict:
    return note(name, f"not checked: {why}")


def of_privileges(role: str, *, superuser: bool, missing: Sequence[str]) -> Verdict:
    """`missing` are the GRANT statements that the role lacks."""
    if missing:
        says = f"role {role} lacks {len(missing)} of the privileges that a backup needs"
        return failed("privileges", says, "as a superuser, run:\n" + "\n".join(missing))
    if superuser:
        advice = "docs/privileges.md has a role that may do no more than backups need"
        return ok("privileges", f"role {role} is a superuser; {advice}")
    return ok("privileges", f"role {role} has all that a backup needs")


def of_settings(
    plan: SettingsPlan, settings: Mapping[str, str], *, checksums: bool
) -> list[Verdict]:
    """One verdict per setting that archiving and backups depend on."""
    wanted = {change.name: change for change in plan.needed}
    verdicts = []
    for name in ("wal_level", "archive_mode", "archive_library", "archive_command"):
        change = wanted.get(name)
        if change is not None and change.pending:
            says = f"it is set to {change.wanted!r} and waits for a restart of the server"
            verdicts.append(failed(name, says, "restart PostgreSQL"))
        elif change is not None:
            verdicts.append(_wrong_setting(name, change.current, change.statement, plan.foreign))
        elif settings.get(name) == DISABLED:
            verdicts.append(ok(name, "set, in force as soon as archive_mode is on"))
        elif settings.get(name):
            verdicts.append(ok(name, settings[name]))
    if change := wanted.get("archive_timeout"):
        says = "archive_timeout is 0: a quiet server's last transactions wait for more WAL"
        fix = f"{change.statement} SELECT pg_reload_conf();"
        verdicts.append(note("archive_timeout", says, fix))
    return [*verdicts, *_page_settings(settings, checksums=checksums)]


def _wrong_setting(name: str, current: str, statement: str, foreign: str) -> Verdict:
    fix = statement if name not in RESTART else f"{statement} Then restart PostgreSQL"
    if name == "archive_command" and PROGRAM in current:
        says = f"pgkeep-wal in another form than this config's: {current!r}"
        return note(name, says, f"if it is not meant so: {fix}")
    if name == "archive_command" and foreign.startswith(name):
        says = f"another program archives here: {current!r}"
        return failed(name, says, f"if pgkeep is to take over: {fix}")
    if name == "archive_command":
        return failed(name, "pgkeep does not receive this server's WAL", fix)
    return failed(name, f"it is {current!r}", fix)


def _page_settings(settings: Mapping[str, str], *, checksums: bool) -> list[Verdict]:
    verdicts = []
    if settings.get("full_page_writes") == "off":
        says = "off: a crash can leave torn pages; a backup turns it on only while it runs"
        fix = "ALTER SYSTEM SET full_page_writes = 'on'; SELECT pg_reload_conf();"
        verdicts.append(note("full_page_writes", says, fix))
    else:
        verdicts.append(ok("full_page_writes", "on"))
    if checksums:
        verdicts.append(ok("checksums", "on: every page is checked while it is backed up"))
    else:
        says = "off: damaged pages would be backed up unnoticed"
        fix = "with the server stopped: pg_checksums --enable -D DATA_DIRECTORY"
        verdicts.append(note("checksums", says, fix))
    return verdicts


def of_data_directory(
    path: str, server_identifier: int, found_identifier: int | None, why: str, user: str
) -> Verdict:
    """`found_identifier` is what the directory's pg_control says, None when it cannot be read."""
    name = "data directory"
    if found_identifier is None:
        fix = "run pgkeep as the user that owns it (usually postgres), on the server's own host"
        return failed(name, f"user {user} cannot read {path}: {why}", fix)
    if found_identifier != server_identifier:
        says = (
            f"{path} belongs to another cluster: its system identifier is {found_identifier}, "
            f"the server's is {server_identifier}"
        )
        return failed(name, says, "correct conninfo or data_directory in pgkeep.toml")
    return ok(name, f"{path}, readable by {user}, system identifier {server_identifier}")


def of_wal_room(room: WalRoom) -> Verdict:
    """Warn early: a server whose pg_wal is full stops."""
    fix = "find out why WAL is not archived: pgkeep wal status, and the server's log"
    if room.is_short:
        return failed("pg_wal", str(room), fix)
    if room.is_behind:
        return note("pg_wal", str(room), fix)
    return ok("pg_wal", str(room))


def of_given_up(files: int) -> Verdict:
    """Shout about WAL that was given up and is not on record, as while the repository is away."""
    says = (
        f"{files} WAL file{'s were' if files != 1 else ' was'} given up to keep the server running,"
        " and there is no backup after that: no recovery goes across"
    )
    return failed("given up", says, "mend the repository: a backup is made by itself then")


def of_losses(losses: Sequence[LostWal], newest_backup: datetime | None) -> Verdict:
    """Shout about WAL that was given up, until a backup was begun after it."""
    if not losses:
        return ok("given up", "no WAL was given up to keep the server running")
    last = max(losses, key=lambda lost: lost.given_up_at)
    says = (
        f"WAL from {last.first} to {last.last} was given up at {last.when}: {last.why}; no "
        "recovery goes across"
    )
    if newest_backup is None or newest_backup <= datetime.fromisoformat(last.given_up_at):
        return failed("given up", f"{says}, and there is no backup after it", "pgkeep backup")
    return note("given up", f"{says}; the newest backup is after it")


def of_clock(server_ahead: float) -> Verdict:
    """`server_ahead`: seconds by which the server's clock is ahead of this host's."""
    apart = abs(server_ahead)
    which = "ahead of" if server_ahead > 0 else "behind"
    says = f"the server's clock is {format_duration(apart)} {which} this host's"
    fix = "set both by NTP: recovery times are the server's"
    if apart >= CLOCK_FAILED:
        return failed("clock", says, fix)
    if apart >= CLOCK_NOTE:
        return note("clock", says, fix)
    return ok("clock", "the server's and this host's agree")


def of_room(url: str, free: int | None, cluster_size: int, *, has_backups: bool) -> Verdict:
    if free is None:
        return ok("room", f"{url} has no fixed limit")
    says = f"{format_size(free)} free in {url}, the cluster has {format_size(cluster_size)}"
    if not has_backups and free < cluster_size * ROOM_FOR_BACKUPS:
        fix = "a first backup may need as much as the cluster has, before compression: free space"
        return note("room", says, fix)
    if free < cluster_size // 20:
        return failed("room", says, "free space, or move the repository to a larger disk")
    return ok("room", says)


def of_tools(folder: str, found: str, server: str) -> Verdict:
    """`found` and `server` are versions like '18.6'."""
    if major_of(found) != major_of(server):
        says = f"{folder} has PostgreSQL {found}, the server is {server}"
        return failed("tools", says, "name the right folder with pg_bin in pgkeep.toml")
    if found != server:
        return ok("tools", f"{folder}, PostgreSQL {found} (the server is {server})")
    return ok("tools", f"{folder}, PostgreSQL {found}")


def of_delivery(segment: str, seconds: float, *, everywhere: bool = False) -> Verdict:
    """`everywhere`: it had to be in several repositories, and was."""
    where = "all repositories" if everywhere else "the repository"
    says = f"a forced segment, {segment}, was in {where} after {format_duration(seconds)}"
    return ok("delivery", says)


def of_no_delivery(
    segment: str, waited: float, last_failure: str, lacking: Sequence[str] = ("",)
) -> Verdict:
    """`lacking` are the repositories that do not have it; '' is the first."""
    where = " and ".join(f"repository {one}" if one else "the first repository" for one in lacking)
    if list(lacking) == [""]:
        where = "the repository"
    says = f"segment {segment} did not arrive in {where} within {format_duration(waited)}"
    if last_failure:
        says += f"; {last_failure}"
    fix = (
        "the server's log says what archive_command printed; try it by hand as the server's user.\n"
        "New backups cannot finish, and nothing after the last archived segment can be restored"
    )
    return failed("delivery", says, fix)


def of_identity(says: str) -> Verdict:
    """`says` is what plan_generation says, '' when the server is the one that is known."""
    if says:
        return failed("identity", says, "if that is meant: pgkeep init --new-generation")
    return ok("identity", "the repository knows this server")


def of_writer(server: str, writer: str, since: str, *, failing: bool) -> Verdict:
    """`writer` is who archives this server's WAL by what the repository says, '' for nobody."""
    if not writer:
        return ok("writer", "nobody archives yet: the first that does keeps others out")
    if writer == server:
        return ok("writer", f"{writer}, since {since}")
    says = f"{writer} archives this cluster's WAL since {since}; seen from here this is {server}"
    fix = "has this server replaced it for good? then run here: pgkeep wal take-over"
    if failing:
        return failed("writer", f"{says}, and its WAL is refused", fix)
    return note("writer", says, fix)  # seen from outside a container one server has two names


def of_coverage(
    coverage: Coverage | None,
    backups: Sequence[Backup],
    newest: datetime | None,
    now: datetime,
    *,
    older: int = 0,
) -> Verdict:
    """`newest` is the time of the newest restorable moment, where it is known.

    `older` backups are of what the cluster was before an upgrade or a new initdb.
    """
    if older and not backups:
        kept = f"{older} older backup{'s' if older != 1 else ''}"
        says = f"no backup of this server yet: only what was before it can be restored, from {kept}"
        return failed("coverage", says, "pgkeep backup")
    if coverage is None or not backups:
        return note("coverage", "no backup yet, so nothing can be restored", "pgkeep backup")
    latest = coverage.latest
    if latest is None or latest.newest is None:
        missing = ", ".join(f"{s.backup} lacks {s.missing}" for s in coverage.stranded[-3:])
        return failed("coverage", f"no backup can be restored: {missing}", "pgkeep backup")
    backup = backups[-1]
    if any(s.backup == backup.id for s in coverage.stranded):
        lacking = next(s.missing for s in coverage.stranded if s.backup == backup.id)
        says = f"the newest backup, {backup.id}, cannot be restored: {lacking} is not archived"
        return failed("coverage", says, "take another: pgkeep backup")
    if newest is not None:
        far = f"up to {format_duration(max(0.0, (now - newest).total_seconds()))} ago"
    else:
        far = f"up to {latest.newest}"
    says = f"restorable {far}, from {len(backups)} backup{'s' if len(backups) != 1 else ''}"
    if latest.holes:
        holes = ", ".join(f"{hole.first} to {hole.last}" for hole in latest.holes)
        return note("coverage", f"{says}; holes in the archived WAL: {holes}", "pgkeep list")
    return ok("coverage", says)


def of_pages(backup: Backup) -> Verdict | None:
    """Tell of damaged pages in the newest backup; None when there are none."""
    if not backup.corrupt_pages:
        return None
    says = f"the newest backup, {backup.id}, holds {backup.corrupt_pages} damaged pages"
    return failed("pages", says, f"pgkeep show {backup.id} names the tables")
