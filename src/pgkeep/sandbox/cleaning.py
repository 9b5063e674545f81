"""Sandboxes that nobody has any more: found by their marks, ended and removed."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from pgkeep.repository.claims import locks
from pgkeep.sandbox.mark import PREFIX, Fate, Mark, judge
from pgkeep.sandbox.place import Place, is_held, read_mark
from pgkeep.server import processes
from pgkeep.server.instance import PidFile
from pgkeep.server.processes import Process

_ROUNDS: Final = 5  # a postmaster that starts may just be making another process


class Found(NamedTuple):
    """A sandbox's directory, whoever made it."""

    root: Path
    mark: Mark | None  # None: it cannot be read
    fate: Fate


def sandboxes_in(directory: str, now: datetime) -> Iterator[Found]:
    """Yield the sandboxes in a directory that belong to our own user."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        root = Path(os.path.realpath(directory), name)
        try:
            facts = root.lstat()
        except FileNotFoundError:
            continue
        # In /var/tmp anybody may make a directory of such a name.
        if not name.startswith(PREFIX) or facts.st_uid != os.geteuid() or not root.is_dir():
            continue
        if not root.is_symlink():
            mark = read_mark(root)
            gone = None if mark is None else _is_gone(root, mark.owner)
            age = time.time() - facts.st_mtime
            yield Found(root, mark, judge(mark, gone, now, age))


def clean(directory: str, now: datetime) -> list[str]:
    """Remove what killed processes left, with servers that still run; return what was done."""
    told = []
    for found in sandboxes_in(directory, now):
        if found.fate is Fate.STRANGE and found.mark is not None:
            host = found.mark.owner.host
            told.append(f"{found.root} is a sandbox of host {host}: it is left alone")
        if found.fate is Fate.LEFT_BEHIND:
            stopped = remove(found.root, found.mark)
            server = ", with a server that still ran," if stopped else ""
            whose = found.mark.purpose if found.mark else "an unknown process"
            told.append(f"{found.root}, left behind by {whose}{server} was removed")
    return told


def remove(root: Path, mark: Mark | None) -> bool:
    """End the server of a sandbox and remove its directories; tell whether a server ran."""
    data = root / "data"
    stopped = end_servers(data)
    shutil.rmtree(root, ignore_errors=True)
    if mark is not None:
        for outside in Place(root, mark).made[1:]:
            if outside.name.startswith("pgkeep-") and not outside.is_symlink():
                shutil.rmtree(outside, ignore_errors=True)
    return stopped


def _is_gone(root: Path, owner: locks.Process) -> bool | None:
    """Tell whether a sandbox's owner has ended; None when that cannot be seen from here."""
    ended, here = locks.has_ended(owner), locks.this_process()
    if ended is not None:
        return ended
    if owner.boot_id == here.boot_id:
        return not is_held(root)  # in another container, whose processes are not to be seen
    return True if owner.host == here.host else None  # from before this machine was started


def end_servers(data_directory: Path) -> bool:
    """Kill every server process that works in a data directory; tell whether there was one.

    Where a process works is the proof: the number in a pid file may be another process's by now.
    """
    file = PidFile.read(data_directory) if data_directory.is_dir() else None
    found = False
    for _ in range(_ROUNDS):
        members = _working_in(data_directory)
        if not members:
            break
        found = True
        for member in members:
            processes.kill_tree(member)
            # One of our own would stay as a zombie, whose number a new server takes for alive.
            processes.reap(member.pid)
    if found and file is not None:
        processes.remove_shared_memory(file.shared_memory)
    return found


def _working_in(data_directory: Path) -> list[Process]:
    place = os.path.realpath(data_directory)
    there = [
        pid
        for pid in processes.all_pids()
        if processes.is_postgres(pid) and processes.working_directory(pid) == place
    ]
    return [found for pid in there if (found := Process.find(pid)) is not None]
