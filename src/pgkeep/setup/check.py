"""Ask server, data directory and repository everything that backups and restores depend on."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pgkeep.coverage.listing import list_cluster
from pgkeep.coverage.lost_wal import losses_on_record
from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import GenerationId
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.control import read_control
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.progress import Progress
from pgkeep.repository.claims.writers import read_writer, this_server
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import Store
from pgkeep.server import privileges
from pgkeep.server.binaries import find_binaries
from pgkeep.server.facts import ServerFacts
from pgkeep.server.pg_wal import look_at_pg_wal
from pgkeep.server.session import Session
from pgkeep.setup import verdicts
from pgkeep.setup.init import look_at_settings, user_name
from pgkeep.setup.other_places import Opened, Other, look_at_others
from pgkeep.setup.plan import Archiving, plan_generation
from pgkeep.setup.store_test import store_test
from pgkeep.setup.verdicts import State, Verdict, failed, not_checked, note, ok
from pgkeep.units import format_duration

_POLL: Final = 0.1  # seconds between two looks for the forced segment


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Every question's answer, in the order in which they were asked."""

    cluster: str
    verdicts: tuple[Verdict, ...]

    @property
    def is_good(self) -> bool:
        return _is_good(self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return {"cluster": self.cluster, "ok": self.is_good, "checks": _shown(self.verdicts)}


@dataclass(frozen=True, slots=True)
class StoresReport:
    """What the full self-test found, store by store."""

    stores: tuple[tuple[str, tuple[Verdict, ...]], ...]  # each by its url

    @property
    def is_good(self) -> bool:
        return all(_is_good(verdicts) for _, verdicts in self.stores)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        stores = [
            {"repository": url, "ok": _is_good(verdicts), "checks": _shown(verdicts)}
            for url, verdicts in self.stores
        ]
        return {"ok": self.is_good, "repositories": stores}


def _is_good(verdicts: Sequence[Verdict]) -> bool:
    return all(verdict.state is not State.FAILED for verdict in verdicts)


def _shown(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [asdict(verdict) for verdict in verdicts]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked, and how it is reached."""

    cluster: str
    connect: Callable[[], AbstractContextManager[Session]]
    open_cluster: Callable[[], ClusterFolder]
    archiving: Callable[[], Archiving]
    secret_is_only_here: Callable[[], bool] = lambda: False
    server_name: str = ""  # what the archive calls this server, if not by its host
    data_directory: str = ""  # if not where the server says
    pg_bin: str | None = None
    locks: bool = False  # objects are to be locked
    others: tuple[Other, ...] = ()  # where WAL and backups go, too, or instead
    switch: bool = True  # force a segment to see it arrive
    seconds: float = 60.0  # to wait for it


def check(subject: Subject, progress: Progress) -> CheckReport:
    """Ask everything; what one failure makes unanswerable is noted as not checked."""
    found: list[Verdict] = []
    folder = _repository(subject, found, progress)
    others = look_at_others(subject.others, found, progress)
    places = None if folder is None else _Places(folder, tuple(others))
    facts = None
    try:
        with subject.connect() as session:
            facts = _server(subject, session, places, found, progress)
    except PgkeepError as error:
        name = "version" if isinstance(error, UnsupportedVersion) else "connection"
        found.append(_failure(name, error))
        found.append(not_checked("server", "it cannot be asked"))
    if folder is not None:
        generation = facts.generation.id if facts else None
        _tried("coverage", found, lambda: _coverage(folder, generation, found))
    return CheckReport(subject.cluster, tuple(found))


def check_stores(stores: Sequence[Store], progress: Progress) -> StoresReport:
    """Test stores in full; nothing is asked of servers, and there need be no repository yet."""
    user = user_name(os.geteuid())
    tested = []
    for store in stores:
        try:
            found = store_test(store, user, progress, full=True)
        except PgkeepError as error:
            found = [_failure("store", error)]
        tested.append((store.url, tuple(found)))
    return StoresReport(tuple(tested))


def _failure(name: str, error: PgkeepError) -> Verdict:
    return failed(name, str(error), error.hint)


def _tried(name: str, found: list[Verdict], ask: Callable[[], Verdict]) -> bool:
    """Add the answer to one question; an error is an answer. Tell whether there was one."""
    try:
        found.append(ask())
    except PgkeepError as error:
        found.append(_failure(name, error))
        return False
    return True


# The repository's side


def _repository(subject: Subject, found: list[Verdict], progress: Progress) -> ClusterFolder | None:
    try:
        folder = subject.open_cluster()
    except PgkeepError as error:
        found.append(_failure("repository", error))
        return None
    url = folder.repository.store.url
    sealed = "encrypted" if folder.repository.key else "not encrypted"
    found.append(ok("repository", f"{url}, {sealed}"))
    try:
        user = user_name(os.geteuid())
        found += store_test(folder.repository.store, user, progress, full=False)
    except PgkeepError as error:
        found.append(_failure("writable", error))
    if subject.locks:
        found += _locks(folder)
    if subject.secret_is_only_here():
        says = "the passphrase is only in this command's environment"
        fix = "the server archives in its own: name a passphrase_file or passphrase_command"
        found.append(note("passphrase", says, fix))
    return folder


def _locks(folder: ClusterFolder) -> list[Verdict]:
    from pgkeep.repository.store.objectlock.protection import protection
    from pgkeep.repository.store.objectlock.vault import open_vault
    from pgkeep.setup.locking import judge_locks

    try:
        open_vault(folder.store)
    except PgkeepError as error:
        return [_failure("locks", error)]
    return judge_locks(protection(folder.store))


def _coverage(
    folder: ClusterFolder, generation: GenerationId | None, found: list[Verdict]
) -> Verdict:
    """Judge what is on record of the server's own generation: what was before it is not it."""
    listing = list_cluster(folder)
    for bad in listing.record.unreadable:
        says = f"backup {bad.id} cannot be read: {bad.why}"
        found.append(failed("manifest", says, bad.error.hint or "pgkeep list"))
    own = [part for part in listing.record.generations if part.generation.id == generation]
    newest = own[0] if own else listing.record.newest
    backups = newest.backups if newest else ()
    older = len(listing.backups) - len(backups)
    if backups and (pages := verdicts.of_pages(backups[-1])):
        found.append(pages)
    now = datetime.now(UTC)
    moment = listing.newest_of(newest)
    coverage = newest.coverage if newest else None
    return verdicts.of_coverage(coverage, backups, moment, now, older=older)


# The server's side


class _Places(NamedTuple):
    """The repositories that can be used."""

    first: ClusterFolder
    others: tuple[Opened, ...]

    def without(self, segment: str, generation: str) -> list[str]:
        """Return who must have a segment and has not; '' is the first."""
        lacking = [
            opened.other.title
            for opened in self.others
            if opened.other.needed and not opened.folder.wal(generation).has(segment)
        ]
        if self.first.wal(generation).has(segment):
            return lacking
        instead = (opened for opened in self.others if not opened.other.needed)
        arrived = any(opened.folder.wal(generation).has(segment) for opened in instead)
        return lacking if arrived else ["", *lacking]


def _server(
    subject: Subject,
    session: Session,
    places: _Places | None,
    found: list[Verdict],
    progress: Progress,
) -> ServerFacts | None:
    """Ask everything of the server; return what it is, if it says so."""
    folder = None if places is None else places.first
    found.append(ok("connection", f"role {session.role}, database {session.database}"))
    missing = privileges.check(session)
    superuser = session.query("SELECT current_setting('is_superuser') = 'on'")[0][0]
    grants = [lacking.grant for lacking in missing]
    found.append(verdicts.of_privileges(session.role, superuser=superuser, missing=grants))
    try:
        facts = session.facts()
    except PgkeepError as error:
        found.append(not_checked("settings", str(error)))
        return None
    found.append(ok("version", f"PostgreSQL {facts.version}"))
    _tried("data directory", found, lambda: _data_directory(subject, facts))
    if (pg_wal := look_at_pg_wal(subject.data_directory or facts.data_directory)) is not None:
        found.append(verdicts.of_wal_room(pg_wal))
    if pg_wal is not None and pg_wal.given_up:
        found.append(verdicts.of_given_up(pg_wal.given_up))
    elif folder is not None:
        _tried("given up", found, lambda: _given_up(folder, facts))
    _tried("tools", found, lambda: _tools(subject, facts))
    found.append(_clock(session))
    plan = look_at_settings(session, facts, subject.archiving())
    found.extend(verdicts.of_settings(plan, facts.settings, checksums=facts.data_checksums))
    if folder is None or places is None:
        found.append(not_checked("delivery", "the repository cannot be used"))
        return facts
    _tried("identity", found, lambda: _identity(folder, facts))
    found += _strangers(places, facts)
    if not facts.in_recovery:
        _tried("writer", found, lambda: _writer(subject, session, folder, facts))
    _tried("room", found, lambda: _room(folder, session))
    needed = {other.title for other in subject.others if other.needed}
    away = sorted(needed - {opened.other.title for opened in places.others})
    if not plan.archives_to_us:
        found.append(not_checked("delivery", "the server does not archive to pgkeep yet"))
    elif facts.in_recovery:
        found.append(note("delivery", "the server is a standby: its primary archives"))
    elif away:
        why = f"WAL must be in repository {' and '.join(away)}, too, which cannot be used"
        found.append(not_checked("delivery", why))
    elif not subject.switch:
        found.append(not_checked("delivery", "--no-switch was given"))
    else:
        _tried("delivery", found, lambda: _delivery(subject, session, facts, places, progress))
    return facts


def _given_up(folder: ClusterFolder, facts: ServerFacts) -> Verdict:
    losses = losses_on_record(folder, facts.generation.id)
    backups = list_cluster(folder).backups if losses else ()
    return verdicts.of_losses(losses, max((b.started_at for b in backups), default=None))


def _data_directory(subject: Subject, facts: ServerFacts) -> Verdict:
    path = subject.data_directory or facts.data_directory
    user = user_name(os.geteuid())
    try:
        identifier, why = read_control(path).system_identifier, ""
        os.listdir(path)
    except OSError as error:
        identifier, why = None, error.strerror or str(error)
    return verdicts.of_data_directory(path, facts.system_identifier, identifier, why, user)


def _tools(subject: Subject, facts: ServerFacts) -> Verdict:
    found = find_binaries(facts.major, subject.pg_bin)
    return verdicts.of_tools(str(found.directory), found.version, facts.version)


def _clock(session: Session) -> Verdict:
    before = datetime.now(UTC)
    there = session.clock()
    half = (datetime.now(UTC) - before) / 2
    return verdicts.of_clock((there - (before + half)).total_seconds())


def _identity(folder: ClusterFolder, facts: ServerFacts) -> Verdict:
    known = folder.generations()
    if not known:
        return failed("identity", "the repository does not know this cluster yet", "pgkeep init")
    return verdicts.of_identity(plan_generation(known, facts.generation).says)


def _strangers(places: _Places, facts: ServerFacts) -> list[Verdict]:
    """Return who of the others does not know this server: its WAL is refused there."""
    found: list[Verdict] = []
    for other, folder in places.others:
        _tried("identity", found, lambda folder=folder: _identity(folder, facts))  # type: ignore[misc]
        found[-1] = other.named(found[-1])
    return [verdict for verdict in found if verdict.state is not State.OK]


def _writer(
    subject: Subject, session: Session, folder: ClusterFolder, facts: ServerFacts
) -> Verdict:
    server = this_server(facts.data_directory, subject.server_name)
    writer = folder.archiving().writers.get(facts.generation.id)
    if writer is None:
        return verdicts.of_writer(str(server), "", "", failing=False)
    found = read_writer(folder, facts.generation.id, writer)
    failing = session.archiver_stats().failed_at is not None
    since = found.since[:16].replace("T", " ")
    return verdicts.of_writer(str(server), str(found.server), since, failing=failing)


def _room(folder: ClusterFolder, session: Session) -> Verdict:
    size = session.query(
        "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"
        " WHERE datallowconn AND has_database_privilege(oid, 'CONNECT')"
    )[0][0]
    store = folder.repository.store
    prefix = f"clusters/{folder.name}/backups/"
    has_backups = any(True for _ in store.list(prefix))
    return verdicts.of_room(store.url, store.free_space(), size or 0, has_backups=has_backups)


def _delivery(
    subject: Subject,
    session: Session,
    facts: ServerFacts,
    places: _Places,
    progress: Progress,
) -> Verdict:
    """Have the server finish a segment with something in it, and wait until it has arrived."""
    # An idle server would switch nothing: a message makes WAL, and as a transaction gives a time.
    statement = "SELECT pg_logical_emit_message(true, 'pgkeep', 'check')"
    written = Lsn.parse(session.query(statement, doing="write a WAL record")[0][0])
    session.switch_wal()
    segment = Segment.ending(written, facts.timeline, facts.segment_size)
    everywhere = any(opened.other.needed for opened in places.others)
    progress.phase(f"waiting up to {format_duration(subject.seconds)} for {segment} to be archived")
    began = time.monotonic()
    while (waited := time.monotonic() - began) < subject.seconds:
        lacking = places.without(segment.name, facts.generation.id)
        if not lacking:
            return verdicts.of_delivery(segment.name, waited, everywhere=everywhere)
        time.sleep(_POLL)
    stats = session.archiver_stats()
    last_failure = ""
    if stats.last_failed_wal and stats.last_failed_time:
        when = f"{stats.last_failed_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        last_failure = f"the last failure was {stats.last_failed_wal} at {when}"
    return verdicts.of_no_delivery(segment.name, subject.seconds, last_failure, lacking)
