"""Composition: config in, wired objects out. The one place that knows how the parts fit."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from pgkeep import config_file
from pgkeep.config.sections import ClusterConfig, RetentionConfig
from pgkeep.config.whole import Config, read_config
from pgkeep.errors import PgkeepError
from pgkeep.places import (
    AWAY,
    NoSuchRepository,
    OpenedCopies,
    OpenPlace,
    Place,
    absolute,
    first_working,
    open_copies,
)
from pgkeep.repository.marker import NotARepository, read_marker
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.open import make_store
from pgkeep.zone import SessionZone, zone_named

if TYPE_CHECKING:
    from pgkeep.model.target import RecoveryTarget
    from pgkeep.repository.copies.make import Made
    from pgkeep.sandbox.request import SandboxRequest
    from pgkeep.server.session import Session

NO_FILE: Final = "the command line"
# What a server of ours must not take from our environment: libpq's, and how it speaks.
_SERVERS_OWN: Final = re.compile(r"PG(?!KEEP_)|LC_|(LANG|LANGUAGE|TZ|HOME|PATH)$")


class NoConnection(PgkeepError):
    """A command needs the server, and nothing says how to reach it."""

    code = "no-conninfo"
    exit_status = 102

    cluster: str
    file: str

    def __str__(self) -> str:
        return f"cannot connect to cluster {self.cluster}: {self.file} gives no conninfo for it"

    @property
    def hint(self) -> str:
        return (
            f'add under [clusters.{self.cluster}]: conninfo = "host=/var/run/postgresql '
            'dbname=postgres"'
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """The config and where it came from."""

    file: str  # NO_FILE when there is none
    table: Mapping[str, object]
    config: Config


class App:
    """One run's wiring. Everything is made when it is first asked for."""

    def __init__(
        self, config: str | None = None, cluster: str | None = None, repository: str | None = None
    ) -> None:
        self._config_path = config
        self._cluster = cluster
        self._address = repository
        self._told: set[str] = set()

    @cached_property
    def loaded(self) -> Loaded:
        """The config; with --repository alone an empty one will do. Raise what is wrong with it."""
        try:
            file, table = config_file.load(self._config_path)
        except config_file.ConfigMissing:
            if self._address is None or self._config_path is not None:
                raise
            bare = Config(repository=(RepositoryConfig(url=self._address),))
            return Loaded(NO_FILE, {"repository": {}}, bare)
        with open(file, encoding="utf-8") as opened:
            return Loaded(file, table, read_config(table, file, opened.read()))

    @classmethod
    def of(cls, loaded: Loaded, cluster: str | None = None) -> "App":
        """Return the wiring of a config that is read already."""
        app = cls(loaded.file, cluster)
        app.__dict__["loaded"] = loaded
        return app

    @property
    def config(self) -> Config:
        return self.loaded.config

    def beside(self, cluster: str) -> "App":
        """Return the wiring of another cluster; what is read and opened by now is shared."""
        other = App(self._config_path, cluster, self._address)
        shared = ("loaded", "store", "repository", "copies")
        other.__dict__.update(
            {name: self.__dict__[name] for name in shared if name in self.__dict__}
        )
        return other

    @cached_property
    def zone(self) -> tzinfo:
        """The zone for times; that of the session until the config says another."""
        try:
            return zone_named(self.config.timezone)
        except PgkeepError:
            return SessionZone()

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The repositories that this run may use, the one that is meant first.

        With --repository it is that one alone: one of the config's by name, or any address.
        """
        wanted = self._address
        return self.configured if wanted is None else (self._named(wanted),)

    @cached_property
    def configured(self) -> tuple[Place, ...]:
        """The repositories of the config, whichever is meant, in its order."""
        loaded = self.loaded
        if loaded.file == NO_FILE:
            assert self._address is not None
            return (Place("", absolute(self._address), loaded.config.repository[0], None),)
        tables = config_file.repository_tables(loaded.file, loaded.table)
        return tuple(
            Place(
                section.name,
                config_file.repository_url(loaded.file, table),
                section,
                partial(config_file.read_secret, loaded.file, table),
            )
            for section, table in zip(loaded.config.repository, tables, strict=True)
        )

    @property
    def place(self) -> Place:
        """The repository that is meant, or the first."""
        return self.places[0]

    @property
    def address(self) -> str:
        """Where the repository is."""
        return self.place.address

    def secret(self) -> str | None:
        """Return the passphrase or recovery key, or None where none is given."""
        return self.place.secret()

    @property
    def secret_is_only_here(self) -> bool:
        """Whether an encrypted repository opens only with what this process's environment holds.

        The server runs pgkeep-wal in an environment of its own.
        """
        return self.repository.key is not None and not self.place.secret_lasts

    @property
    def some_secret_is_only_here(self) -> bool:
        """Whether that is so of one of the copies that are read."""
        away = [place for place, _ in self.copies.away]
        read = [place for place in self.places if place not in away]
        lasting = all(place.secret_lasts for place in read)
        return self.copies.repository.key is not None and not lasting

    @cached_property
    def store(self) -> Store:
        return open_metered(self.address)

    def open_repository(self) -> Repository:
        """Open the repository that is there. Raise NotARepository, KeyNeeded, WrongKey, ..."""
        return self.place.open(self.store)

    def create_repository(self) -> Repository:
        """Make the repository, and its folder if need be: for `init` alone."""
        encryption = self.place.section.encryption
        secret = None if encryption == "none" else self.secret()
        return Repository.create(make_store(self.address), encryption, secret)

    def make_copies(self, origin: Repository) -> list["Made"]:
        """Make every other repository of the config a copy of `origin`, or open the copy it is."""
        return [place.make_copy(origin) for place in self.places[1:]]

    def is_repository(self) -> bool:
        """Tell whether there is a repository; a folder that is missing has none."""
        try:
            read_marker(make_store(self.address))
        except NotARepository:
            return False
        return True

    @cached_property
    def repository(self) -> Repository:
        """The repository that is meant; of several, the first."""
        return self.open_repository()

    def place_of(self, wanted: str | None, passphrase_file: str | None = None) -> Place:
        """Return the repository that is meant, one of the config's by name, or at any address.

        None: the one that every command means. `passphrase_file` goes before all else that opens.
        """
        found = self.place if wanted is None else self._named(wanted)
        if passphrase_file is None:
            return found
        section = RepositoryConfig(url=found.address, encryption="passphrase")
        read_secret = partial(config_file.secret_from_file, passphrase_file)
        return found._replace(section=section, read_secret=read_secret)

    def _named(self, wanted: str) -> Place:
        """Look a repository up; one that is not configured is opened by what opens the first."""
        try:
            configured = self.configured
        except config_file.ConfigMissing:
            return Place("", absolute(wanted), RepositoryConfig(url=wanted), None)
        named = [place for place in configured if wanted in (place.name, place.address)]
        names = tuple(place.name for place in configured if place.name)
        if not named and names and not ("/" in wanted or ":" in wanted):
            # A name that was typed wrong must not become a directory, or a copy in one.
            raise NoSuchRepository(wanted, known=names)
        return named[0] if named else configured[0]._replace(name="", address=absolute(wanted))

    def others(
        self, wanted: Sequence[str], passphrase_file: str | None, note: Callable[[str], object]
    ) -> list[Repository]:
        """Open other copies of the repository that is meant: those `wanted`, else the config's.

        Of the config's, `note` hears of those that cannot be opened.
        """
        if wanted:
            return [self.place_of(one, passphrase_file).open() for one in wanted]
        opened = []
        for place in self.configured:
            if place.address != self.place.address:
                try:
                    opened.append(place.open())
                except AWAY as error:
                    note(f"repository {place.title} cannot be asked: {error}")
        return opened

    def settings_of(self, cluster: str) -> ClusterConfig:
        """Return what the config says of a cluster; without a config, nothing."""
        try:
            return self.config.clusters.get(cluster, ClusterConfig())
        except config_file.ConfigMissing:
            return ClusterConfig()

    @cached_property
    def copies(self) -> OpenedCopies:
        """Every repository of the config that can be opened, for whoever reads: as one.

        Raise why the first cannot be opened if none can, and NotACopy.
        """
        return open_copies(self.places)

    def copies_notes(self) -> list[str]:
        """Return what reading from several copies came to, once."""
        opened = self.__dict__.get("copies")
        notes = opened.notes() if opened is not None else []
        told = [note for note in notes if note not in self._told]
        self._told.update(told)
        return told

    def primary(self, note: Callable[[str], object]) -> OpenPlace:
        """Open the place to write to: the first that works. Raise what is wrong with the first.

        `note` hears of the others.
        """
        return first_working(self.writing, note)

    def copies_beside(self, place: Place) -> list[ClusterFolder]:
        """Return the cluster's part of the other repositories to write to that can be opened."""
        found = []
        for other in self.writing:
            if other.address != place.address:
                with suppress(*AWAY):
                    found.append(other.open().cluster(self.cluster_name))
        return found

    @property
    def writing(self) -> tuple[Place, ...]:
        """The repositories to write to, in order; see config.Config.write."""
        wanted = self.config.write if self._address is None else []
        by_name = {place.name: place for place in self.places}
        return tuple(by_name[name] for name in wanted) or self.places

    @property
    def writes_everywhere(self) -> bool:
        """Whether all that is written must be in each of `writing`, and not in the first alone."""
        return bool(self.config.write) and self._address is None

    @cached_property
    def cluster_name(self) -> str:
        """The cluster that is meant: one of the config's, else one of the repository's.

        On a new host nothing may be left but the repository and its key.
        """
        described = self.config.clusters
        if self._cluster in described or (self._cluster is None and described):
            return config_file.choose_cluster(self.loaded.file, self.loaded.table, self._cluster)
        known = self.copies.repository.clusters()
        if self._cluster in known:
            return self._cluster
        if self._cluster is None and len(known) == 1:
            return known[0]
        place = self.address if self.loaded.file == NO_FILE else self.loaded.file
        names = tuple(dict.fromkeys([*described, *known]))
        raise config_file.ClusterNotChosen(place, self._cluster or "", names)

    @cached_property
    def cluster(self) -> ClusterFolder:
        """The cluster's part of the repository that is meant; of several, of the first."""
        return self.repository.cluster(self.cluster_name)

    def cluster_in(self, place: Place) -> ClusterFolder:
        """The cluster's part of the repository in one place."""
        if place.address == self.place.address:
            return self.cluster
        return place.open().cluster(self.cluster_name)

    @property
    def cluster_to_read(self) -> ClusterFolder:
        """The cluster's part of all copies of the repository as one."""
        return self.copies.repository.cluster(self.cluster_name)

    @property
    def settings(self) -> ClusterConfig:
        """What the config says of the cluster."""
        return self.config.clusters.get(self.cluster_name, ClusterConfig())

    @property
    def conninfo(self) -> str:
        """How to connect. Raise NoConnection."""
        conninfo = self.settings.conninfo.reveal()
        if not conninfo:
            raise NoConnection(self.cluster_name, self.loaded.file)
        return conninfo

    def retention_in(self, place: Place, cluster: str) -> RetentionConfig:
        """Return what must stay of a cluster in one repository: its own rule, or the cluster's."""
        own = self.config.retention.get(place.name) if place.name else None
        return own or self.settings_of(cluster).retention

    def connect(self) -> "Session":
        """Open a session with the server. Raise NoConnection or why there is none."""
        from pgkeep.server.session import Session

        return Session.connect(self.conninfo)

    def find_data_directory(self) -> str:
        """Return where the server's data is: by the config, else by the server's own word."""
        if self.settings.data_directory:
            return self.settings.data_directory
        with self.connect() as session:
            return session.facts(lists=False).data_directory

    def refuse_strangers(self, cluster: ClusterFolder) -> None:
        """Raise UnknownGeneration when the server is not the one this cluster's folder knows.

        Only `init` opens a new generation, and says so: a wrong conninfo must not mix two servers.
        """
        from pgkeep.repository.repository import UnknownGeneration
        from pgkeep.repository.store.distance.at_once import Calls

        with Calls(cluster.store) as calls:
            listing = calls.begin(cluster.generation_ids)
            with self.connect() as session:
                found = session.facts(lists=False).generation.id
            known = tuple(listing.result())
        if known and found not in known:
            what = f"back up cluster {self.cluster_name}"
            raise UnknownGeneration(what, found, self.cluster_name, cluster.store.url, known)

    def archive_command(self) -> str:
        """Return the archive_command that stores this cluster's WAL here."""
        from pgkeep.wal.commands import archive_command

        ahead = self.settings.archive == "ahead"
        if self.loaded.file == NO_FILE or self._address is not None:
            return archive_command(self.cluster_name, repository=self.store.address, ahead=ahead)
        return archive_command(self.cluster_name, config=self.loaded.file, ahead=ahead)

    def fetch_command(self) -> tuple[str, ...]:
        """Return the words of a restore_command before the file's name; all paths absolute."""
        from pgkeep.wal.commands import find_program

        if self.loaded.file == NO_FILE or self._address is not None:
            origin = ("--repository", self.store.address)
        else:
            origin = ("--config", self.loaded.file)
        return (find_program(), *origin, "--cluster", self.cluster_name, "fetch")

    def sandbox_request(
        self, recovery: "RecoveryTarget", purpose: str, scratch: str | None, pg_bin: str | None
    ) -> "SandboxRequest":
        """Return what a sandbox of this cluster needs to know; replace() adds the rest.

        `scratch` and `pg_bin` are the command line's, which goes before the config.
        """
        from pgkeep.sandbox.request import SandboxRequest
        from pgkeep.server.connecting import user_in

        return SandboxRequest(
            recovery,
            directory=scratch or self.config.sandbox.directory,
            jobs=self.jobs,
            # Its stores may keep credentials there. The server itself must find no ~/.pgpass.
            fetch_command=("env", f"HOME={os.path.expanduser('~')}", *self.fetch_command()),
            environment=self._for_stores(),
            role=user_in(self.settings.conninfo.reveal()),
            pg_bin=pg_bin or self.settings.pg_bin or None,
            purpose=purpose,
        )

    def _for_stores(self) -> tuple[tuple[str, str], ...]:
        """Return what of our environment opens the repository for a restore_command of ours."""
        found = {
            name: value
            for name, value in config_file.environment().items()
            if not _SERVERS_OWN.match(name)
        }
        if self.loaded.file == NO_FILE or self._address is not None:
            # pgkeep-wal then reads no config that could name a file or a command.
            secret = self.secret()
            found |= {} if secret is None else {config_file.SECRET_VARIABLE: secret}
        return tuple(sorted(found.items()))

    @property
    def jobs(self) -> int:
        """Worker processes, if the command line names no number."""
        from pgkeep.workers.pool import default_jobs

        return self.settings.jobs or default_jobs()
