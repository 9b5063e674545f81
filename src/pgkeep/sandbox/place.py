"""Where sandboxes are: a directory for each, with a mark in it that says whose it is."""

import fcntl
import json
import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pgkeep.repository.claims.locks import this_process
from pgkeep.restore.preflight import unwritable
from pgkeep.restore.tablespaces import is_within
from pgkeep.sandbox.mark import MARK, PREFIX, BadMark, Mark
from pgkeep.sandbox.request import SandboxMisplaced
from pgkeep.server.binaries import as_server_user

# sun_path holds 108 bytes, of which the last is 0.
_LONGEST_FOR_SOCKETS: Final = 107 - len("/.s.PGSQL.65535")
_HELD: Final = "held"
_SHORT: Final = "/tmp"  # noqa: S108  # a directory of our own is made in it


@dataclass(frozen=True, slots=True)
class Place:
    """A sandbox's own directory and what is in it."""

    root: Path
    mark: Mark
    hold: int | None = None  # an open file that is locked as long as its owner lives

    def let_go(self) -> None:
        """Say to whoever cannot see our process that nobody uses this place any more."""
        if self.hold is not None:
            os.close(self.hold)

    @property
    def data_directory(self) -> Path:
        return self.root / "data"

    @property
    def tablespaces(self) -> Path:
        return self.root / "tablespaces"

    @property
    def log_file(self) -> Path:
        return self.root / "server.log"

    @property
    def socket_directory(self) -> Path:
        return Path(self.mark.socket_directory)

    @property
    def made(self) -> tuple[Path, ...]:
        """What is removed in the end: the sandbox itself first."""
        outside = not is_within(self.mark.socket_directory, str(self.root))
        return (self.root, self.socket_directory) if outside else (self.root,)


def usual_directory() -> str:
    """Return where sandboxes are made if nobody says where: $TMPDIR, else /var/tmp.

    Not /tmp, which is memory on many machines, and a sandbox is as large as the cluster.
    """
    usual = tempfile.gettempdir()
    other = "/var/tmp"  # noqa: S108  # a directory of our own is made in it
    return other if usual == _SHORT and os.access(other, os.W_OK | os.X_OK) else usual


def check_directory(directory: str, repository: str | None) -> None:
    """Raise SandboxMisplaced unless sandboxes may be made there.

    `repository` is the path of a repository on this machine, or None.
    """
    place = os.path.realpath(directory)
    above = place
    while above != "/":
        if os.path.lexists(os.path.join(above, "PG_VERSION")):
            raise SandboxMisplaced(f"it lies in the data directory {above}", directory)
        above = os.path.dirname(above)
    if repository is not None and is_within(place, os.path.realpath(repository)):
        raise SandboxMisplaced(f"it lies in the repository {repository}", directory)
    # A sandbox is a directory of its own in it: whose that is does not matter.
    why = unwritable(os.path.join(place, PREFIX))
    if why:
        raise SandboxMisplaced(why, directory)


def make_place(directory: str, cluster: str, purpose: str, now: datetime) -> Place:
    """Make the directory of a sandbox, with its mark. Raise SandboxMisplaced."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=os.path.realpath(directory)))
    except OSError as error:
        raise SandboxMisplaced((error.strerror or str(error)).lower(), directory) from error
    sockets = root / "s"
    if len(os.fsencode(sockets)) > _LONGEST_FOR_SOCKETS:
        sockets = Path(tempfile.mkdtemp(prefix="pgkeep-", dir=_SHORT))
    mark = Mark(this_process(), purpose, cluster, now, str(sockets))
    place = Place(root, mark, _hold(root))
    write_mark(place)
    sockets.mkdir(mode=0o700, exist_ok=True)
    place.tablespaces.mkdir(mode=0o700)
    return place


def _hold(root: Path) -> int:
    held = os.open(root / _HELD, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def is_held(root: Path) -> bool:
    """Tell whether a process of this machine, in whichever container, has a sandbox."""
    try:
        with open(root / _HELD, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def keep_place(place: Place, until: datetime) -> Place:
    """Say in the mark that nobody is to touch the sandbox until then."""
    kept = replace(place, mark=replace(place.mark, kept_until=until))
    write_mark(kept)
    return kept


def write_mark(place: Place) -> None:
    """Write the mark: readers see the old one or the new one, never half of it."""
    temporary = place.root / f"{MARK}.new"
    temporary.write_text(place.mark.encode())
    temporary.replace(place.root / MARK)


def read_mark(root: Path) -> Mark | None:
    """Return the mark of a sandbox's directory; None without one that can be read."""
    try:
        return Mark.decode((root / MARK).read_text())
    except (OSError, UnicodeDecodeError, BadMark, json.JSONDecodeError):
        return None


def open_to_server(place: Place, uid: int, gid: int) -> None:
    """Let the user to whom the data directory will belong reach it, and make sockets.

    Only root restores for somebody else. Raise SandboxMisplaced when that user cannot get there.
    """
    if os.geteuid() != 0 or uid == 0:
        return
    for directory in (place.root, place.tablespaces):
        directory.chmod(0o711)  # to pass through: what is in it keeps its own rights
    os.chown(place.socket_directory, uid, gid)
    test = as_server_user(["test", "-w", str(place.socket_directory)], place.socket_directory)
    if subprocess.run(test, check=False, capture_output=True).returncode != 0:
        why = f"user {user_named(uid)}, as whom the server runs, cannot get there"
        raise SandboxMisplaced(why, str(place.root.parent))


def user_named(uid: int) -> str:
    """Return a user's name, or its number where it has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
