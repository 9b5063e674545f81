"""Make a repository, record the cluster in it, and tell or set the settings that it needs."""

import os
import pwd
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.repository.copies.make import Made
from pgkeep.repository.keys import add_recovery_key
from pgkeep.repository.repository import Repository, UnknownGeneration
from pgkeep.server.facts import ServerFacts
from pgkeep.server.session import QueryFailed, Session
from pgkeep.setup.plan import (
    Archiving,
    Change,
    GenerationPlan,
    SettingsPlan,
    plan_generation,
    plan_settings,
)

_DENIED: Final = "42501"  # insufficient_privilege


class RunAsOwner(PgkeepError):
    """pgkeep runs as another user than the server, which could not write what it makes."""

    code = "run-as-owner"
    exit_status = 103

    what: str
    user: str
    owner: str
    owned: str

    def __str__(self) -> str:
        return f"cannot {self.what} as {self.user}: {self.owned} belongs to {self.owner}"

    @property
    def hint(self) -> str:
        return (
            f"run it as {self.owner} (sudo -u {self.owner} pgkeep ...): the server archives WAL as "
            f"{self.owner} and must be able to write to the repository"
        )


class ArchiverInUse(PgkeepError):
    """Another program receives this server's WAL; taking over would end its archive."""

    code = "archiver-in-use"
    exit_status = 104

    setting: str

    def __str__(self) -> str:
        return f"nothing was changed: another program archives this server's WAL: {self.setting}"

    @property
    def hint(self) -> str:
        return (
            "its archive gets no more WAL once pgkeep takes over; if that is meant: "
            "pgkeep init --apply --replace-archiver"
        )


class AnotherServer(UnknownGeneration):
    """The server is not the one that was backed up under this name so far. Nothing was made."""

    code = "another-server"

    @property
    def hint(self) -> str:
        return (
            f"was it upgraded or initialised again? then: pgkeep --cluster {self.cluster} init "
            "--new-generation, and a backup at once. Is it another cluster? then give it a name of "
            "its own under [clusters]"
        )


class SettingsRefused(PgkeepError):
    """The role may not change the server's settings."""

    code = "settings-refused"
    exit_status = 105

    role: str
    statements: list[str]
    why: str

    def __str__(self) -> str:
        return f"cannot change the server's settings as role {self.role}: {self.why}"

    @property
    def hint(self) -> str:
        return "run as a superuser:\n" + "\n".join([*self.statements, "SELECT pg_reload_conf();"])


@dataclass(frozen=True, slots=True)
class InitReport:
    """What init found and did."""

    cluster: str
    repository: str
    created: bool  # the repository, by this run
    encrypted: bool
    recovery_key: str | None  # shown this once, stored nowhere
    generation: GenerationPlan
    settings: SettingsPlan
    applied: tuple[Change, ...]
    data_directory: str
    copies: tuple["RepositoryReport", ...] = ()  # the other repositories

    @property
    def restart_needed(self) -> bool:
        """Whether only a restart is missing, as far as is known."""
        waits = [change for change in self.settings.needed if change.pending]
        return any(change.needs_restart for change in (*waits, *self.applied))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        generation = self.generation.generation
        return {
            "cluster": self.cluster,
            "repository": self.repository,
            "created": self.created,
            "encrypted": self.encrypted,
            "recovery_key": self.recovery_key,
            "generation": generation.id,
            "system_identifier": str(generation.system_identifier),
            "major": generation.major,
            "identity": self.generation.identity.value,
            "says": self.generation.says,
            "needed": [_change(change) for change in self.settings.needed],
            "offers": [_change(change) for change in self.settings.offers],
            "applied": [change.name for change in self.applied],
            "restart_needed": self.restart_needed,
            "copies": [copy.to_dict() for copy in self.copies],
        }


def _change(change: Change) -> dict[str, Any]:
    return {
        **asdict(change),
        "needs_restart": change.needs_restart,
        "statement": change.statement,
    }


@dataclass(frozen=True, slots=True)
class RepositoryReport:
    """A repository that was made without looking at a server: for dumps alone."""

    cluster: str
    repository: str
    created: bool  # by this run
    encrypted: bool
    recovery_key: str | None  # shown this once, stored nowhere
    copies: tuple["RepositoryReport", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What init is to do, and with what."""

    cluster: str
    archiving: Archiving
    encrypt: bool
    apply: bool = False
    offers: bool = True  # apply what is merely better too
    replace_archiver: bool = False
    new_generation: bool = False  # of a cluster that is known: after pg_upgrade or initdb


class Place(Protocol):
    """Where the repository is, or is to be."""

    def is_repository(self) -> bool: ...
    def open_repository(self) -> Repository: ...
    def create_repository(self) -> Repository: ...
    def make_copies(self, origin: Repository) -> Sequence[Made]:
        """Make every other repository of the config a copy, or find that it is one."""
        ...


def init(session: Session, place: Place, options: InitOptions) -> InitReport:
    """Safe to run again: what is there is left alone. Never restarts the server."""
    # The server first: where it cannot be reached, or is not ours to set up, nothing is made.
    facts = session.facts()
    _refuse_strangers(facts.data_directory)
    settings = look_at_settings(session, facts, options.archiving)
    if options.apply and settings.foreign and not options.replace_archiver:
        raise ArchiverInUse(settings.foreign)
    repository, made = _make(place, options)
    cluster = repository.cluster(options.cluster)
    generation = plan_generation(cluster.generations(), facts.generation)
    if generation.previous is not None and not options.new_generation:
        known = tuple(cluster.generation_ids())
        what = f"set up cluster {cluster.name}"
        raise AnotherServer(what, facts.generation.id, cluster.name, made.repository, known)
    copies = place.make_copies(repository)
    # The generation before the settings: from the first segment on it is known whose WAL it is.
    for one in (repository, *(copy.repository for copy in copies)):
        one.cluster(options.cluster).add_generation(facts.generation)
    offers = settings.offers if options.offers else ()
    applied = apply_settings(session, settings, offers) if options.apply else ()
    return InitReport(
        cluster=options.cluster,
        repository=made.repository,
        created=made.created,
        encrypted=made.encrypted,
        recovery_key=made.recovery_key,
        generation=generation,
        settings=settings,
        applied=applied,
        data_directory=facts.data_directory,
        copies=tuple(_report(options.cluster, copy) for copy in copies),
    )


def _report(cluster: str, made: Made) -> "RepositoryReport":
    sealed = made.repository.key is not None
    url = made.repository.store.url
    return RepositoryReport(cluster, url, made.created, sealed, made.recovery_key)


def init_for_dumps(place: Place, options: InitOptions) -> RepositoryReport:
    """Make the repository and ask nothing of the server: dumps need neither archiving nor files."""
    repository, report = _make(place, options)
    copies = tuple(_report(options.cluster, copy) for copy in place.make_copies(repository))
    return replace(report, copies=copies)


def _make(place: Place, options: InitOptions) -> tuple[Repository, RepositoryReport]:
    created = not place.is_repository()
    repository = place.create_repository() if created else place.open_repository()
    recovery_key = None
    if created and options.encrypt:
        recovery_key = add_recovery_key(repository, "made by pgkeep init")
    report = RepositoryReport(
        options.cluster,
        repository.store.url,
        created,
        repository.key is not None,
        recovery_key,
    )
    return repository, report


def look_at_settings(session: Session, facts: ServerFacts, archiving: Archiving) -> SettingsPlan:
    """Ask the server what it is set to, in memory and in its files, and plan the rest."""
    pending = session.query("SELECT name FROM pg_settings WHERE pending_restart")
    try:
        rows = session.query(
            "SELECT name, setting FROM pg_file_settings"
            " WHERE name IN ('archive_mode', 'wal_level', 'archive_command') ORDER BY seqno"
        )
    except QueryFailed as refused:
        if refused.sqlstate != _DENIED:
            raise
        rows = []
    in_files = {name: setting or "" for name, setting in rows}  # the last one counts
    waiting = {row[0] for row in pending}
    return plan_settings(facts.settings, facts.major, archiving, pending=waiting, in_files=in_files)


def apply_settings(
    session: Session, plan: SettingsPlan, offers: tuple[Change, ...] = ()
) -> tuple[Change, ...]:
    """Run the statements and have the server read its files again. Raise SettingsRefused."""
    changes = (*plan.unset, *offers)
    for change in changes:
        try:
            session.query(change.statement.encode(), doing=f"set {change.name}")
        except QueryFailed as refused:
            if refused.sqlstate != _DENIED:
                raise
            statements = [change.statement for change in changes]
            raise SettingsRefused(session.role, statements, refused.why) from refused
    if changes:
        # Last, so that the server never sees the half of it.
        session.query("SELECT pg_reload_conf()", doing="reload the configuration")
    return changes


def _refuse_strangers(data_directory: str) -> None:
    """Raise RunAsOwner unless the server will be able to write to what we make."""
    try:
        owner = os.stat(data_directory).st_uid
    except OSError:
        return  # on another host, or hidden: check tells of it
    if owner != os.geteuid():
        raise RunAsOwner(
            "set up backups", user_name(os.geteuid()), user_name(owner), data_directory
        )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
