"""A shell that finishes what a killed process could not: it ends its server, removes its files."""

import os
from collections.abc import Sequence

from pgkeep.workers.waiting_shell import WaitingShell

# Waits for words on its standard input. The end of it instead of a word means that the process
# which started it was killed. Only a server that works in the directory is ended: by the time its
# number may have gone to another process.
_SCRIPT = """
data=$1
shift
word=
read -r word until
[ "$word" = done ] && exit 0
if [ "$word" = keep ]; then
    # What somebody else removed meanwhile is no business of ours any more.
    while [ "$(date +%s)" -lt "$until" ] && [ -e "$1" ]; do sleep 2; done
fi
memory=$(sed -n '7s/.* //p' "$data/postmaster.pid" 2>/dev/null)
pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
place=$(readlink -f "$data")
[ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$place" ] || pid=
[ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null
count=0
# A zombie that nobody collects has no working directory any more.
while [ -n "$pid" ] && readlink "/proc/$pid/cwd" >/dev/null 2>&1 && [ $count -lt 100 ]; do
    sleep 0.1
    count=$((count + 1))
done
[ -n "$memory" ] && ipcrm -m "$memory" 2>/dev/null
count=0
# Whoever dies may have made a file after rm had looked.
until rm -rf -- "$@" 2>/dev/null || [ $count -ge 100 ]; do
    sleep 0.1
    count=$((count + 1))
done
"""


class Watchdog:
    """Ends the server on a data directory and removes `made` when this process is killed.

    Call end() when there is nothing left to do, or keep() to leave all that to it.
    """

    def __init__(
        self, data_directory: str | os.PathLike[str], made: Sequence[str | os.PathLike[str]]
    ) -> None:
        words = [os.fspath(path) for path in (data_directory, *made)]
        self._shell = WaitingShell(_SCRIPT, words)

    def end(self) -> None:
        """Say that there is nothing left to do."""
        self._shell.end()

    def keep(self, until: float) -> None:
        """Have it go on alone: it ends the server and removes all at `until`, by the clock.

        It ends earlier when somebody else removes the first of what was made.
        """
        self._shell.let_go(f"keep {int(until)}")
