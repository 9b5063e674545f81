"""Full backup, restore, pushes and fetches of WAL: pgkeep and its peers in turn, medians.

python -m bench.run [--rounds 3] [--gigabytes 4] [--jobs 2] [--major 15] [--keep]
"""

import os
import shutil
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Cost, measure
from bench.options import usual_options
from bench.peers import Peer, PgBackRest, Pgkeep
from bench.table import Costs, table
from pgkeep.postgres.conf import SPOOL_REMOVAL
from pgkeep.units import MIB

SEGMENTS = 50
IN_ORDER = f"{SEGMENTS} fetches in order"
STEPS = ("full backup", "restore", "push", "fetch", IN_ORDER)


def main() -> int:
    options = usual_options("run", __doc__)
    out = Path(options.out).absolute()
    with Dataset.build(out / f"data-{options.major}", options.major, options.gigabytes) as data:
        peers: list[Peer] = [Pgkeep(data, out / "pgkeep", options.jobs)]
        if PgBackRest.knows(options.major):
            peers.append(PgBackRest(data, out / "pgbackrest", options.jobs))
        print(f"{data.describe()}; {options.jobs} workers, zstd 1, page checksums on", flush=True)
        costs, sizes = _rounds(peers, data, out, options.rounds)
    print(table([peer.name for peer in peers], STEPS, costs))
    for name, size in sizes.items():
        print(f"repository of {name}: {size / MIB:,.0f} MiB")
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _rounds(
    peers: list[Peer], data: Dataset, out: Path, rounds: int
) -> tuple[Costs, dict[str, int]]:
    costs: Costs = defaultdict(list)
    sizes: dict[str, int] = {}
    for number in range(rounds + 1):  # the first round warms up and is not counted
        order = peers if number % 2 else peers[::-1]
        for peer in order:
            found = _once(peer, data, out)
            sizes[peer.name] = peer.stored()
            if number:
                for step, values in found.items():
                    costs[peer.name, step] += values
            print(f"round {number}: {peer.name}: {_line(found)}", file=sys.stderr, flush=True)
    return costs, sizes


def _once(peer: Peer, data: Dataset, out: Path) -> dict[str, list[Cost]]:
    peer.forget()
    data.archive_with(peer.archive_command())
    os.sync()
    found = {"full backup": [measure(peer.backup())]}
    target = out / "restored"
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    if peer.name == "pgbackrest":
        target.mkdir(mode=0o700)  # it wants the directory to be there
    found["restore"] = [measure(peer.restore(target))]
    shutil.rmtree(target)
    data.archive_with("true")  # the pushes below are the only ones
    segments = data.segments(SEGMENTS)
    os.sync()
    found["push"] = [measure(peer.push(segment), cwd=data.directory) for segment in segments]
    destination = out / "fetched"
    found["fetch"] = []
    for segment in segments:
        found["fetch"].append(measure(peer.fetch(segment.name, destination), cwd=data.directory))
        destination.unlink()
    os.sync()
    found[IN_ORDER] = [measure(["sh", "-c", _recovery(peer, segments)], cwd=data.directory)]
    return found


def _recovery(peer: Peer, segments: list[Path]) -> str:
    """Return a script that runs restore_command as a recovering server does, one by one."""
    place = "pg_wal/RECOVERYXLOG"
    text = peer.restore_command().replace("%p", place)
    each = [f"({text.replace('%f', segment.name)}) || exit 1" for segment in segments]
    return "\n".join([*each, f"rm {place}", SPOOL_REMOVAL])


def _line(found: dict[str, list[Cost]]) -> str:
    return ", ".join(
        f"{step} {statistics.median(cost.wall for cost in costs):.3f} s"
        for step, costs in found.items()
    )


if __name__ == "__main__":
    sys.exit(main())
