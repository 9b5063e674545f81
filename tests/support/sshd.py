"""A real OpenSSH server for one user, on a free port of 127.0.0.1, with keys of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from pgkeep.server.processes import wait_until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def require_sshd() -> str:
    """Return sshd's path; skip the test without it, but fail where CI runs."""
    if SSHD is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must test the SFTP store: openssh-server is not installed")
        pytest.skip("the SFTP store is NOT TESTED: there is no sshd (openssh-server)")
    return SSHD


class Sshd:
    """One server: its keys, its user's key, a folder for repositories. start() and stop() it.

    As root it lets in `nobody`, for whom permissions count; any other user lets in himself.
    """

    def __init__(self, subsystem: str = "internal-sftp", more: Sequence[str] = ()) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pgkeep-sshd-"))
        self.home.chmod(0o755)
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.port = _free_port()
        self.identity = self.make_key("identity")
        self.host_key = self.make_key("host_key")
        self.known_hosts = self.home / "known_hosts"
        self.trust(self.port)
        self.authorized_keys = self.home / "authorized_keys"
        shutil.copy(f"{self.identity}.pub", self.authorized_keys)
        self.authorized_keys.chmod(0o644)
        self._subsystem = subsystem
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    def make_key(self, name: str) -> Path:
        path = self.home / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(command, check=True)
        return path

    def trust(self, port: int) -> None:
        """Let clients know the server under a port of 127.0.0.1."""
        kind, blob = Path(f"{self.host_key}.pub").read_text().split()[:2]
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {kind} {blob}\n")

    def folder(self, name: str = "") -> Path:
        """Return a new folder that belongs to the user who logs in."""
        made = Path(tempfile.mkdtemp(prefix=f"{name or 'r'}-", dir=self.home))
        self.give(made)
        return made

    def give(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, self.user)

    def address(self, folder: Path | str, port: int | None = None, **options: str) -> str:
        """Return what open_store() takes; an option that is empty is left out."""
        given = {
            "identity_file": str(self.identity),
            "known_hosts": str(self.known_hosts),
            "retry_for": "5s",
            **options,
        }
        query = urlencode({name: value for name, value in given.items() if value})
        return f"sftp://{self.user}@127.0.0.1:{port or self.port}{folder}?{query}"

    def start(self) -> None:
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd demands it, and cages there
        config = self.home / "sshd_config"
        config.write_text("\n".join([*self._settings(), *self._more, ""]))
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [require_sshd(), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        assert wait_until(self._answers, 20), (self.home / "log").read_text()

    def stop(self) -> None:
        """Kill the server with all that it serves, as a power cut would."""
        if self._process is not None:
            for pid in self.sessions():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def sessions(self) -> list[int]:
        """Return the server's processes for its clients, children before parents."""
        found: list[int] = []
        waiting = [self._process.pid] if self._process else []
        while waiting:
            children = Path(f"/proc/{waiting.pop()}/task").glob("*/children")
            below = [int(pid) for file in children for pid in _words(file)]
            found[:0] = below
            waiting += below
        return found

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def _settings(self) -> list[str]:
        return [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"PidFile {self.home}/pid",
            f"AuthorizedKeysFile {self.authorized_keys}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 100",
            *([f"Subsystem sftp {self._subsystem}"] if self._subsystem else []),
        ]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as found:
                return found.recv(4) == b"SSH-"
        except OSError:
            return False


@contextmanager
def sshd_running(subsystem: str = "internal-sftp", *more: str) -> Iterator[Sshd]:
    """Run a server; it and its folder are gone afterwards."""
    require_sshd()
    server = Sshd(subsystem, more)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []  # ended while we looked
