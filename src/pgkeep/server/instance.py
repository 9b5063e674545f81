"""A server on this machine: start it on an existing data directory, watch it, stop it.

And the question before anything is written into a data directory: may a server be using it?
"""

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.server import processes
from pgkeep.server.binaries import SERVER_ENVIRONMENT, Binaries, as_server_user
from pgkeep.server.processes import Process, wait_until

# Settings under which a server's log can be followed by a program.
FOLLOW_OPTIONS: Final = ("logging_collector=off", "log_destination=stderr", "lc_messages=C")

_STOP_SIGNALS: Final = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class ServerWontStart(PgkeepError):
    """A server ended before it was ready."""

    code = "server-wont-start"
    exit_status = 59

    data_directory: str
    log_file: str
    last_words: str  # the end of its log

    def __str__(self) -> str:
        words = f": {self.last_words}" if self.last_words else ""
        return f"cannot start the server on {self.data_directory}{words}"

    @property
    def hint(self) -> str:
        return f"read its log: {self.log_file}"


class ServerWontStop(PgkeepError):
    """A server is still there after it was asked to stop."""

    code = "server-wont-stop"
    exit_status = 110

    data_directory: str
    pid: int
    waited: int  # seconds

    def __str__(self) -> str:
        return (
            f"cannot stop the server on {self.data_directory}: process {self.pid} is still "
            f"running after {self.waited} s"
        )

    @property
    def hint(self) -> str:
        return f"stop it with pg_ctl stop -m immediate -D {self.data_directory}"


class PidFile(NamedTuple):
    """postmaster.pid, as far as it is written. Lines: src/include/utils/pidfile.h."""

    pid: int | None
    port: int | None
    socket_directory: str
    shared_memory: int | None  # the identifier of its System V segment
    status: str  # 'starting', 'ready', 'standby', 'stopping' or ''

    @classmethod
    def read(cls, data_directory: str | os.PathLike[str]) -> "PidFile | None":
        """Return None when there is no such file."""
        try:
            text = Path(data_directory, "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return None
        lines = [line.strip() for line in text.splitlines()] + [""] * 8
        # postgres --single writes its number as a negative one.
        pid = _number(lines[0].lstrip("-"))
        shared_memory = _number(lines[6].rpartition(" ")[2])
        return cls(pid, _number(lines[3]), lines[4], shared_memory, lines[7])


class Occupant(NamedTuple):
    """A server that is using a data directory, or may be."""

    pid: int | None
    certain: bool
    why: str  # the evidence, for the user


@dataclass(slots=True)
class ServerProcess:
    """A server that lives on when pgkeep ends."""

    data_directory: Path
    log_file: Path
    process: Process
    exit_code: int | None = None
    log_start: int = 0  # where in the log file this run begins

    @classmethod
    def start(
        cls,
        binaries: Binaries,
        data_directory: str | os.PathLike[str],
        options: Sequence[str] = (),
        *,
        log_file: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
    ) -> "ServerProcess":
        """Launch a server with `options` ('name=value') and return without waiting for it.

        pg_ctl is not used: it calls a server ready that is still recovering, and its -o passes
        every value through a shell. Who wants to follow the log passes FOLLOW_OPTIONS too.
        """
        directory, log = Path(data_directory).absolute(), Path(log_file).absolute()
        settings = [word for option in options for word in ("-c", option)]
        command = [binaries.tool("postgres"), "-D", str(directory), *settings]
        log_start = log.stat().st_size if log.exists() else 0
        appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        argv = as_server_user(command, directory)
        try:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                {**SERVER_ENVIRONMENT, **(environment or {})},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), appending, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,  # a Ctrl-C at our terminal must not reach it
            )
        except OSError as error:
            raise ServerWontStart(str(directory), str(log), str(error)) from error
        # A child that died at once stays as a zombie, without a start time worth knowing.
        return cls(directory, log, Process.find(pid) or Process(pid, 0), log_start=log_start)

    @classmethod
    def attach(
        cls, data_directory: str | os.PathLike[str], *, log_file: str | os.PathLike[str]
    ) -> "ServerProcess | None":
        """Return the server that another process started here, or None."""
        occupant = running_server(data_directory)
        if occupant is None or occupant.pid is None or not occupant.certain:
            return None
        found = Process.find(occupant.pid)
        return cls(Path(data_directory), Path(log_file), found) if found else None

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        if self.exit_code is None:
            self.exit_code = processes.reap(self.pid)
        return self.exit_code is None and self.process.is_alive()

    def status(self) -> str:
        """Return 'starting', 'ready', 'standby', 'stopping' as its pid file says; '' when dead.

        'standby' means that it answers read-only queries: recovery is still going on.
        """
        if not self.is_alive():
            return ""
        file = PidFile.read(self.data_directory)
        return file.status or "starting" if file and file.pid == self.pid else "starting"

    def log_text(self) -> str:
        """Return what this run of the server has logged so far."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(self.log_start)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until it answers queries, read-only ones at least; raise ServerWontStart."""
        wait_until(lambda: self.status() in ("ready", "standby", ""), seconds)
        if self.status() not in ("ready", "standby"):
            raise ServerWontStart(str(self.data_directory), str(self.log_file), self.last_words())

    def last_words(self) -> str:
        """Return the message that tells best why it ended."""
        lines = self.log_text().splitlines()
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return " / ".join(fatal[-2:] or lines[-2:])

    def stop(self, mode: str = "fast", seconds: int = 60) -> None:
        """Stop it: 'smart', 'fast' or 'immediate' (a crash). Stopping a dead server succeeds."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, _STOP_SIGNALS[mode])
        if not wait_until(lambda: not self.is_alive(), seconds):
            raise ServerWontStop(str(self.data_directory), self.pid, seconds)

    def kill(self) -> None:
        """Kill it and all its children at once, as a power cut would; its memory goes too."""
        file = PidFile.read(self.data_directory)
        processes.kill_tree(self.process)
        if wait_until(lambda: not self.is_alive(), 30) and file and file.pid == self.pid:
            # Killed servers leave it for ever, and a machine has room for only 4,096 of them.
            processes.remove_shared_memory(file.shared_memory)


def running_server(data_directory: str | os.PathLike[str]) -> Occupant | None:
    """Return the server that is using, or may be using, a data directory; None: surely nobody.

    A stale pid file of a crashed server, even when its number has gone to another process,
    is nobody. A server seen only through a shared directory (another container or host) is
    doubtful: whoever is about to write must treat it as using the directory.
    """
    directory = Path(data_directory).absolute()
    if not directory.is_dir():
        return None
    try:
        file = PidFile.read(directory)
    except OSError as error:
        unreadable = Occupant(None, False, f"postmaster.pid cannot be read: {error.strerror}")
        return _server_process_in(directory, None) or unreadable
    worker = _server_process_in(directory, file)
    if worker is not None or file is None:
        return worker
    if file.pid is None:
        return Occupant(None, False, "postmaster.pid names no process: a server may be starting")
    return _hidden_server(file)


def _server_process_in(directory: Path, file: PidFile | None) -> Occupant | None:
    """Find a server process by where it works: every one stays in its data directory."""
    place = os.path.realpath(directory)
    for pid in filter(processes.is_postgres, processes.all_pids()):
        working_in = processes.working_directory(pid)
        if working_in == place:
            postmaster = file.pid if file is not None and file.pid is not None else pid
            return Occupant(postmaster, True, f"PostgreSQL process {pid} works there")
        if file is not None and file.pid == pid and working_in is None:
            why = f"postmaster.pid names PostgreSQL process {pid}, which belongs to another user"
            return Occupant(pid, False, why)
    return None


def _hidden_server(file: PidFile) -> Occupant | None:
    """Judge a pid file whose process is not to be seen: stale, or of another container."""
    if file.pid == 1:
        why = "postmaster.pid names process 1, as a server in a container does"
        return Occupant(None, False, why)
    if file.socket_directory and file.port is not None:
        path = f"{file.socket_directory}/.s.PGSQL.{file.port}"
        peer = _socket_owner(path)
        if peer is not None and processes.working_directory(peer) is None:
            return Occupant(None, False, f"a server that cannot be seen answers on {path}")
    return None


def _socket_owner(path: str) -> int | None:
    """Return the process that listens on a socket (0: of another container); None: nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(path)
            size = struct.calcsize("3i")
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError:
            return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
