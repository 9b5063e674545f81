"""Backs up from the server's own data directory: on its host, as a user that may read it."""

import os
import socket
import stat
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import psycopg

from pgkeep.backup.copying.file_reader import FileReader
from pgkeep.backup.incremental.changes import ChangedBlocks
from pgkeep.backup.record import CONTROL_FILE
from pgkeep.backup.source import ClusterFacts, Listing, NoSummaries, Started, Stopped
from pgkeep.backup.summaries import read_changes
from pgkeep.backup.wait_wal import Archiver
from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import History, history_name
from pgkeep.postgres import datadir
from pgkeep.postgres.control import State, read_control, read_control_bytes
from pgkeep.postgres.datadir import Entry, Kind, Skipped, unreadable, walk
from pgkeep.postgres.layout import log_folder, relation_of_path
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.postgres.versions import VERSIONS
from pgkeep.postgres.wal_header import check_segment
from pgkeep.repository.manifest.builder import Attributes
from pgkeep.repository.manifest.facts import ConfigFile, Database, Extension, Tablespace
from pgkeep.server.connecting import CannotConnect, Connection, connect
from pgkeep.server.facts import ServerFacts
from pgkeep.server.privileges import MissingPrivilege
from pgkeep.server.session import QueryFailed, Session, SessionLost
from pgkeep.units import MIB, format_size

_CONFIG: Final = "pgkeep_config"  # where files from outside PGDATA are in a backup
_HELD: Final = 64 * MIB  # the largest WAL segment that we copy ourselves: it is held in memory
_LOOKS: Final = 10  # at pg_control, while a checkpoint may be changing it
_PAUSE_S: Final = 0.05


class WrongCluster(PgkeepError):
    """The server we talk to does not run on the files that we would read."""

    code = "wrong-cluster"
    exit_status = 60

    directory: str
    why: str

    def __str__(self) -> str:
        return f"no backup was made: {self.directory} is not what the server runs on: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "run pgkeep on the server's own host (in its container), with a conninfo that leads to "
            "the server of this data directory"
        )


class StandbyRefused(PgkeepError):
    """The server is a standby: backups from those are not supported yet."""

    code = "standby-not-supported"
    exit_status = 61

    host: str

    def __str__(self) -> str:
        return f"no backup was made: the server on {self.host} is a standby (it is in recovery)"

    @property
    def hint(self) -> str:
        return "run pgkeep backup on the primary; pg_stat_wal_receiver on the standby names it"


class Unfit(PgkeepError):
    """The server's settings allow no backup that could be restored."""

    code = "server-unfit"
    exit_status = 62

    why: str
    advice: str

    def __str__(self) -> str:
        return f"no backup was made: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class DataDirectorySource:
    """A primary whose data directory we can read. Closing it ends backup mode on the server."""

    def __init__(self, session: Session, conninfo: str, data_directory: str | None = None) -> None:
        self._session = session
        self._conninfo = conninfo  # for the other databases: relations have names in their own only
        self._given = data_directory
        self._databases: dict[int, Connection | None] = {}
        self._server: ServerFacts | None = None
        self._root = ""
        self._elsewhere: dict[str, str] = {}
        self._control: Entry | None = None

    @classmethod
    def connect(cls, conninfo: str, data_directory: str | None = None) -> Self:
        """Open a session. `data_directory` is where it is mounted here, if not as the server says.

        Raise CannotConnect, BadConninfo or UnsupportedVersion.
        """
        return cls(Session.connect(conninfo), conninfo, data_directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; a backup that it still holds is void from here on."""
        self._session.close()
        for connection in self._databases.values():
            if connection is not None:
                connection.close()

    def facts(self) -> ClusterFacts:
        """Check that server and files belong together and can be backed up, and describe them.

        Raise WrongCluster, StandbyRefused, Unfit, Unreadable, BadControlFile, MissingPrivilege.
        """
        server = self._server = self._session.facts()
        self._root = os.path.abspath(self._given or server.data_directory)
        if server.in_recovery:
            raise StandbyRefused(socket.gethostname())
        _demand_fit(server)
        self._demand_same_cluster()
        databases = [database.name for database in server.databases if database.connectable]
        extensions, _ = self._session.all_extensions(databases)
        return ClusterFacts(
            generation=server.generation,
            server_version=server.version,
            checksums=server.data_checksums,
            data_directory=self._root,
            data_directory_mode=stat.S_IMODE(os.stat(self._root).st_mode),
            archiving=server.archiving,
            settings=server.recovery_settings(),
            databases=[
                Database(d.oid, d.name, d.encoding, d.collate, d.ctype, d.collation_version)
                for d in server.databases
            ],
            extensions=[Extension(e.database, e.name, e.version) for e in extensions],
            config_files=[ConfigFile(*item) for item in self._config_files(server)],
            running_since=server.identity.started_at,
        )

    def start(self, label: str) -> Started:
        """Begin backup mode. Raise WrongCluster when the files did not notice."""
        begun = self._session.start_backup(label)
        # Only the server's own pg_control shows the checkpoint that has just been made; a clone
        # with the same system identifier does not.
        self._demand_same_cluster()
        return Started(begun.lsn, begun.timeline, begun.time)

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:
        """Raise NoSummaries."""
        server = self._facts()
        if not VERSIONS[server.major].has_summaries:
            raise NoSummaries("")  # nothing to explain: there is no such thing
        if not server.summarize_wal:
            raise NoSummaries("summarize_wal is off (pgkeep init --apply turns it on)")
        return read_changes(self._session, self._root, since, started, history)

    def listing(self) -> Listing:
        listing = Listing()
        server = self._facts()
        version = VERSIONS[server.major]
        segment_blocks = server.generation.segment_blocks
        emptied = {
            folder
            for setting in (server.log_directory, server.stats_temp_directory)
            if (folder := log_folder(setting, server.data_directory)) is not None
        }
        for found in walk(
            self._root,
            version.tablespace_folder,
            summaries=version.has_summaries,
            emptied=frozenset(emptied),
        ):
            if isinstance(found, Skipped):
                if found.rule.surprising and not self._is_kept(found.path):
                    listing.notes.append(f"left out {found.path}: {found.rule.value}")
            elif found.path == CONTROL_FILE:
                self._control = found
            else:
                _enter(listing, found, segment_blocks)
        if self._elsewhere:
            listing.builder.add_directory(_CONFIG, Attributes.of(os.stat(self._root)))
        for path in self._elsewhere:
            self._enter_config(listing, path)
        return listing

    def reader(self) -> FileReader:
        return FileReader(self._root, self._elsewhere)

    def control_file(self) -> tuple[bytes, Attributes]:
        content = read_control_bytes(self._root)
        return content, Attributes.of(os.stat(os.path.join(self._root, CONTROL_FILE)))

    def ping(self) -> None:
        """Raise BackupSessionLost."""
        self._session.ping()

    def stop(self) -> Stopped:
        """Raise BackupSessionLost."""
        end = self._session.stop_backup()
        return Stopped(end.lsn, end.timeline, end.time, end.label_file, end.tablespace_map)

    def tablespaces(self) -> Sequence[Tablespace]:
        return [
            Tablespace(space.oid, space.target or f"pg_tblspc/{space.oid}")
            for space in datadir.tablespaces(self._root)
        ]

    def relation_name(self, path: str) -> str:
        """Return 'shop.public.orders' (database first); '' where the catalog can't tell."""
        file = relation_of_path(path)
        connection = None if file is None else self._database(file.database)
        if file is None or connection is None:
            return ""
        try:
            row = connection.execute(
                "SELECT concat_ws('.', current_database(), n.nspname, c.relname) FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.oid = pg_filenode_relation(%s, %s)",
                (file.tablespace, file.number),
            ).fetchone()
        except psycopg.Error:
            return ""  # a name is a courtesy: the path tells as much
        return str(row[0]) if row else ""

    def history(self, timeline: int) -> bytes | None:
        descriptor = datadir.open_file(self._wal_path(history_name(timeline)))
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            return file.read()

    def archiver(self) -> Archiver | None:
        try:
            stats = self._session.archiver_stats()
        except (SessionLost, QueryFailed):
            return None  # it only explains a delay; the segments arrive or they don't
        failing = stats.last_failed_time is not None and (
            stats.last_archived_time is None or stats.last_failed_time > stats.last_archived_time
        )
        return Archiver(
            stats.archived_count,
            stats.last_archived_wal or "",
            (stats.last_failed_wal or "") if failing else "",
            stats.last_failed_time if failing else None,
        )

    def written(self) -> Lsn:
        return self._session.current_lsn()

    def switch_wal(self) -> None:
        try:
            self._session.switch_wal()
        except (MissingPrivilege, SessionLost, QueryFailed):
            return  # stopping the backup did it already: this is for good measure

    def wal_segment(self, segment: Segment) -> bytes | None:
        path = self._wal_path(segment.name)
        descriptor = datadir.open_file(path)
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            content = file.read()
            try:
                now_there = os.stat(path).st_ino
            except FileNotFoundError:
                return None
            if now_there != os.fstat(descriptor).st_ino:
                return None  # recycled meanwhile: the end of it may be another segment's already
        check_segment(segment.name, content[:PAGE_SIZE], len(content))
        return content

    def _wal_path(self, name: str) -> str:
        return os.path.join(self._root, "pg_wal", name)

    def _facts(self) -> ServerFacts:
        assert self._server is not None, "facts() comes first"
        return self._server

    def _config_files(self, server: ServerFacts) -> list[tuple[str, str]]:
        """Return names and places of configuration outside PGDATA, and remember to read it.

        What a link in PGDATA leads to counts as outside, because links stay behind.
        """
        outside = {name: os.path.realpath(path) for name, path in server.outside_files().items()}
        root = os.path.realpath(self._root)
        for name, path in server.config_files().items():
            inside = os.path.relpath(path, server.data_directory)
            place = os.path.realpath(f"{root}/{inside}")
            if name not in outside and place != f"{root}/{inside}":
                outside[name] = place
        self._elsewhere = {f"{_CONFIG}/{name}": path for name, path in outside.items()}
        return list(outside.items())

    def _is_kept(self, link: str) -> bool:
        """Tell whether what a link in PGDATA leads to is in the backup, as configuration."""
        return os.path.realpath(os.path.join(self._root, link)) in self._elsewhere.values()

    def _enter_config(self, listing: Listing, path: str) -> None:
        place = self._elsewhere[path]
        try:
            facts = os.stat(place)
            readable = os.access(place, os.R_OK, effective_ids=True)
        except OSError as error:
            listing.notes.append(f"left out {place}: {error.strerror}")
            return
        if not readable or not stat.S_ISREG(facts.st_mode):
            why = "not a regular file" if readable else "permission denied"
            listing.notes.append(f"left out {place}: {why}")
            return
        listing.add_file(path, facts.st_size, Attributes.of(facts))

    def _demand_same_cluster(self) -> None:
        """Raise WrongCluster unless the server's last checkpoint is the one in our pg_control."""
        self._demand_readable()
        server = self._facts()
        for _ in range(_LOOKS):
            control = read_control(self._root)
            if control.system_identifier != server.system_identifier:
                raise WrongCluster(
                    self._root,
                    f"its system identifier is {control.system_identifier}, the server's "
                    f"{server.system_identifier}",
                )
            row = self._session.query(
                "SELECT checkpoint_lsn::text, redo_lsn::text FROM pg_control_checkpoint()"
            )[0]
            if row == (str(control.checkpoint), str(control.redo)):
                if control.state is State.IN_PRODUCTION:
                    return
                raise WrongCluster(self._root, f"its state is '{control.state}'")
            time.sleep(_PAUSE_S)  # a checkpoint ended between the two looks
        raise WrongCluster(
            self._root,
            f"the last checkpoint in it is at {control.checkpoint}, the server's at {row[0]}: it "
            "belongs to a copy of the cluster",
        )

    def _demand_readable(self) -> None:
        try:
            os.stat(self._root)
        except (FileNotFoundError, NotADirectoryError):
            why = "there is no such directory on this host"
            raise WrongCluster(self._root, why) from None
        except OSError as error:
            raise unreadable(self._root, error.strerror or str(error)) from error
        for path in (self._root, os.path.join(self._root, CONTROL_FILE)):
            if not os.access(path, os.R_OK, effective_ids=True):
                raise unreadable(path, "permission denied")

    def _database(self, oid: int) -> Connection | None:
        """Return a connection to the database; for shared relations any will do."""
        if oid not in self._databases:
            server = self._facts()
            names = [d.name for d in server.databases if d.oid == oid and d.connectable]
            name = server.identity.database if oid == 0 else next(iter(names), None)
            try:
                self._databases[oid] = connect(self._conninfo, dbname=name) if name else None
            except CannotConnect:
                self._databases[oid] = None
        return self._databases[oid]


def _demand_fit(server: ServerFacts) -> None:
    """Raise Unfit with the setting that stands in the way."""
    if server.wal_level == "minimal":
        raise Unfit(
            "wal_level is minimal, so WAL lacks what a restore needs",
            "set wal_level = replica (pgkeep init --apply) and restart the server",
        )
    if server.archive_mode != "off" and not server.archiving:
        raise Unfit(
            f"archive_mode is {server.archive_mode}, but archive_command is empty, so the WAL of a "
            "backup would never be archived",
            "set archive_command (pgkeep init --apply) and reload the server",
        )
    if not server.archiving and server.segment_size > _HELD:
        raise Unfit(
            f"archive_mode is off, and WAL segments of {format_size(server.segment_size)} are too "
            "large to be collected by the backup itself",
            "set archive_mode = on and archive_command (pgkeep init --apply)",
        )
    if server.block_size != PAGE_SIZE:
        raise Unfit(
            f"the cluster has blocks of {server.block_size} bytes, and pgkeep can judge only those "
            f"of {PAGE_SIZE}",
            "dump it with pg_dump into a cluster of PostgreSQL's usual block size",
        )


def _enter(listing: Listing, found: Entry, segment_blocks: int) -> None:
    attributes = Attributes(
        found.mode, found.uid, found.gid, found.mtime_ns, found.ctime_ns, found.inode
    )
    listing.owners.add((found.uid, found.gid))
    if found.kind is Kind.DIRECTORY:
        listing.builder.add_directory(found.path, attributes)
    elif found.kind is Kind.LINK:
        listing.builder.add_symlink(found.path, found.target, attributes)
    else:
        blocks = None if found.relation is None else found.relation.first_block(segment_blocks)
        listing.add_file(found.path, found.size, attributes, blocks)
