"""A PostgreSQL cluster to throw away: for the demo, and for tests.

It listens on a socket in a directory of its own, never on the network, trusts everybody who can
reach that, and is not durable. It dies and is removed with the process that made it, even when
that is killed.
"""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from pgkeep.errors import PgkeepError
from pgkeep.server.binaries import (
    SERVER_ENVIRONMENT,
    Binaries,
    as_server_user,
    give_to_server_user,
)
from pgkeep.server.instance import ServerProcess
from pgkeep.workers.watchdog import Watchdog

_SETTINGS: Final[Mapping[str, str | int]] = {
    "listen_addresses": "",
    "fsync": "off",
    "dynamic_shared_memory_type": "mmap",  # files in the directory: removed with it
    "shared_buffers": "16MB",
    "max_connections": 30,
    "log_line_prefix": "%m [%p] ",
    "lc_messages": "C",
}

# Of these, what a restored directory can be given whatever its WAL says about the old server.
_HARMLESS: Final = {
    name: _SETTINGS[name]
    for name in (
        "listen_addresses",
        "fsync",
        "dynamic_shared_memory_type",
        "log_line_prefix",
        "lc_messages",
    )
}


class ToolFailed(PgkeepError):
    """One of PostgreSQL's own programs failed."""

    code = "postgresql-program-failed"
    exit_status = 109

    command: str
    status: int
    output: str

    def __str__(self) -> str:
        return f"{self.command} failed with exit status {self.status}: {self.output}"


class ScratchPlaceTaken(PgkeepError):
    """A throw-away cluster was to be made where something is kept already."""

    code = "scratch-place-taken"
    exit_status = 108

    directory: str

    def __str__(self) -> str:
        return f"cannot make a throw-away cluster in {self.directory}: it is not empty"

    @property
    def hint(self) -> str:
        return "name a directory that does not exist: all in it is removed at the end"


class ScratchCluster:
    """One throw-away cluster. As a context manager it is made and started, then removed.

    `directory` is created, and removed at the end with all in it (one that holds anything is
    refused); `data_directory` and the log live below. Settings go to postgresql.conf, so that a
    backup of the cluster carries them; one that is None is left at PostgreSQL's default.
    `template` is a data directory to copy instead of running initdb: quicker, but copies share
    their system identifier.
    """

    def __init__(  # noqa: PLR0913  # all but two are named
        self,
        binaries: Binaries,
        directory: str | os.PathLike[str],
        *,
        settings: Mapping[str, str | int | None] | None = None,
        initdb_args: Sequence[str] = (),
        wal_segsize: int | None = None,  # MiB; PostgreSQL's own default is 16
        checksums: bool = True,
        template: Path | None = None,
    ) -> None:
        self.binaries = binaries
        self.directory = Path(directory).absolute()
        self.data_directory = self.directory / "data"
        self.log_path = self.directory / "server.log"
        self.socket_directory = Path()
        self.port = random.randrange(20000, 60000)  # noqa: S311  # part of a socket's name only
        self.environment: dict[str, str] = {}  # what the server finds besides SERVER_ENVIRONMENT
        self._settings = dict(settings or {})
        self._initdb_args = _initdb_args(binaries, initdb_args, wal_segsize, checksums)
        self._template = template
        self._server: ServerProcess | None = None
        self._watchdog: Watchdog | None = None
        self._existing = False
        self._made: list[Path] = []  # what is removed at the end

    @classmethod
    def over(
        cls,
        binaries: Binaries,
        data_directory: str | os.PathLike[str],
        *,
        settings: Mapping[str, str | int | None] | None = None,
    ) -> Self:
        """Return a cluster over an existing data directory: a restored one. It is not removed.

        Settings are given on the command line, where they win over what the directory says.
        """
        directory = Path(data_directory).absolute()
        cluster = cls(binaries, directory.parent, settings=settings)
        cluster.data_directory = directory
        cluster.log_path = directory.parent / f"{directory.name}.log"
        cluster._existing = True
        return cluster

    def __enter__(self) -> Self:
        try:
            self.create()
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.destroy()

    def create(self) -> None:
        """Make the data directory; the server is not started."""
        if not self._existing:
            if self.directory.exists() and any(self.directory.iterdir()):
                raise ScratchPlaceTaken(str(self.directory))
            self.directory.mkdir(parents=True, exist_ok=True)
            self._made.append(self.directory)
            give_to_server_user(self.directory)
        # Short, because a socket's path is limited to 107 bytes.
        self.socket_directory = Path(tempfile.mkdtemp(prefix="pgkeep-", dir="/tmp"))
        self._made.append(self.socket_directory)
        give_to_server_user(self.socket_directory)
        self._watchdog = Watchdog(self.data_directory, self._made)
        if self._existing:
            return
        if self._template is not None:
            shutil.copytree(self._template, self.data_directory, symlinks=True)
        else:
            self.initdb(self.data_directory)
        self.configure(**{**_SETTINGS, **self._place(), **self._settings})

    def initdb(self, directory: Path) -> None:
        """Run initdb with this cluster's options on any directory."""
        command = [self.binaries.tool("initdb"), "-D", str(directory), *self._initdb_args]
        self._run(as_server_user(command, directory), SERVER_ENVIRONMENT)

    def configure(self, **settings: str | int | None) -> None:
        """Append settings to postgresql.conf; they count from the next start or reload."""
        with (self.data_directory / "postgresql.conf").open("a") as file:
            file.writelines(f"{line}\n" for line in map(_line, settings.items()) if line)

    def start(self, *, wait: bool = True) -> ServerProcess:
        """Start the server; unless `wait` is False, return once it answers queries."""
        options = {**_HARMLESS, **self._place(), **self._settings} if self._existing else {}
        self._server = ServerProcess.start(
            self.binaries,
            self.data_directory,
            [f"{name}={value}" for name, value in options.items() if value is not None],
            log_file=self.log_path,
            environment=self.environment,
        )
        if wait:
            self._server.wait_ready(60)
        return self._server

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: 'smart', 'fast' or 'immediate'."""
        if self._server is not None:
            self._server.stop(mode)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill9(self) -> None:
        """Kill the server and all its children at once, as a power cut would."""
        if self._server is not None:
            self._server.kill()

    def destroy(self) -> None:
        """Stop the server at once and remove everything. May be called at any point, and twice."""
        if self._server is not None:
            self._server.kill()
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)
        if self._watchdog is not None:
            # The last step: until here the watchdog would have finished the work for us.
            self._watchdog.end()
            self._watchdog = None

    @property
    def server(self) -> ServerProcess:
        """The server as it was last started."""
        if self._server is None:
            raise RuntimeError("this scratch cluster was never started")
        return self._server

    @property
    def conninfo(self) -> str:
        place = f"host={self.socket_directory} port={self.port}"
        return f"{place} user=postgres dbname=postgres"

    @property
    def log(self) -> str:
        """All that its server has logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def connect(self, **parameters: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection in autocommit mode; `dbname=` and `user=` as for libpq."""
        return psycopg.connect(self.conninfo, autocommit=True, **parameters)

    def sql(self, query: str, *values: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a query in a connection of its own; return its rows, none if it has none."""
        with self.connect(dbname=dbname) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: object, dbname: str = "postgres") -> Any:
        """Run a query and return the first column of its first row."""
        return self.sql(query, *values, dbname=dbname)[0][0]

    def tool(
        self, name: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a client program (psql, pgbench, pg_dump ...) against this cluster."""
        environment = {
            **SERVER_ENVIRONMENT,
            "PGHOST": str(self.socket_directory),
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }
        return self._run([self.binaries.tool(name), *arguments], environment, check=check)

    def server_tool(
        self, name: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program that refuses root (pg_resetwal, pg_rewind) as the server's user."""
        command = as_server_user([self.binaries.tool(name), *arguments], self.data_directory)
        return self._run(command, SERVER_ENVIRONMENT, check=check)

    def fill(self, scale: int = 1) -> None:
        """Create pgbench's tables: 15 MB for each step of the scale."""
        self.tool("pgbench", "--initialize", "--quiet", f"--scale={scale}")

    def work(self, transactions: int = 100, clients: int = 2) -> None:
        """Run pgbench's transactions, that many for each client."""
        self.tool("pgbench", "--no-vacuum", f"--transactions={transactions}", f"--client={clients}")

    def switch_wal(self) -> str:
        """End the current WAL segment, with something in it, and return its name."""
        with self.connect() as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'pgkeep', 'end of segment')")
            # Minus 1: at an exact boundary pg_walfile_name's answer depends on the version.
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal() - 1)").fetchone()
        return row[0] if row else ""

    def _place(self) -> dict[str, str | int | None]:
        return {"unix_socket_directories": str(self.socket_directory), "port": self.port}

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd="/",  # the server's user can always go there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            words = " ".join((done.stderr or done.stdout).split())
            program = next(
                word for word in command if word.startswith(str(self.binaries.directory))
            )
            raise ToolFailed(Path(program).name, done.returncode, words[-500:])
        return done


def _initdb_args(
    binaries: Binaries, more: Sequence[str], wal_segsize: int | None, checksums: bool
) -> list[str]:
    arguments = ["--no-sync", "--auth=trust", "--username=postgres"]
    arguments += ["--encoding=UTF8", "--locale=C.UTF-8"]
    if checksums:
        arguments.append("--data-checksums")
    elif binaries.major >= 18:  # on by default from 18
        arguments.append("--no-data-checksums")
    if wal_segsize is not None:
        arguments.append(f"--wal-segsize={wal_segsize}")
    return [*arguments, *more]


def _line(setting: tuple[str, str | int | None]) -> str:
    name, value = setting
    if value is None:
        return ""
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"{name} = '{text}'"
