"""Incremental backups: pgkeep and its peers in turn on the same changes, medians.

Each round changes the cluster, then lets every tool back it up, the order alternating. pgBackRest
takes part where it knows the PostgreSQL; which kind of
incremental backups it has is said.

python -m bench.incremental [--rounds 5] [--gigabytes 4] [--jobs 2] [--major 15] [--keep]
"""

import argparse
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Cost, measure
from bench.peers import Peer, PgBackRest, Pgkeep
from bench.table import Costs, table
from pgkeep.units import MIB

_SUMMARIES_SINCE = 17  # major
_ROWS = 0.0055  # of the pages of large tables, to change about a hundredth of all pages
UNCHANGED = "nothing changed"
RANDOM = "1 % of the pages, at random"
PGBENCH = "20,000 pgbench transactions"
STEPS = (UNCHANGED, RANDOM, PGBENCH)


@dataclass
class Contest:
    """The tools, and what they have done so far."""

    data: Dataset
    peers: list[Peer]
    costs: Costs = field(default_factory=lambda: defaultdict(list))
    stored: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def begin(self) -> None:
        """Let every tool make its full backup, which is not counted."""
        for peer in self.peers:
            peer.forget()
            cost, _ = self._backup(peer, peer.backup())
            print(f"{peer.name}: full {cost.wall:.2f} s", file=sys.stderr, flush=True)

    def round(self, number: int, *, rows: float) -> None:
        """Do every step; round 0 warms up and is not counted."""
        changes: dict[str, Callable[[], object]] = {
            UNCHANGED: lambda: None,
            RANDOM: lambda: self.data.update_at_random(rows, seed=number),
            PGBENCH: lambda: self.data.transactions(20_000),
        }
        for step in STEPS:
            lsn = self.data.lsn()
            changes[step]()
            changed, total = self.data.pages_since(lsn)
            said = [f"round {number}, {step}: {changed:,} of {total:,} pages changed"]
            for peer in self.peers if number % 2 else self.peers[::-1]:
                if step == UNCHANGED:
                    # What the other tools and the settings have changed is not its business.
                    self._backup(peer, peer.incremental())
                cost, size = self._backup(peer, peer.incremental())
                said.append(f"{peer.name} {cost.wall:.3f} s, {size / MIB:.1f} MiB")
                if number:
                    self.costs[peer.name, step].append(cost)
                    self.stored[peer.name, step].append(size)
            print("; ".join(said), file=sys.stderr, flush=True)

    def _backup(self, peer: Peer, command: list[str]) -> tuple[Cost, int]:
        self.data.archive_with(peer.archive_command())
        if peer.name.endswith("LSN"):
            self.data.switch("summarize_wal", "off")
        before = peer.backups_stored()
        os.sync()
        cost = measure(command)
        if peer.name.endswith("LSN"):
            self.data.switch("summarize_wal", "on")
        return cost, peer.backups_stored() - before


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    summaries = options.major >= _SUMMARIES_SINCE
    settings = {"summarize_wal": "on"} if summaries else {}
    directory = out / f"data-{options.major}"
    with Dataset.build(directory, options.major, options.gigabytes, settings) as data:
        contest = Contest(data, _peers(data, out, options))
        print(f"{data.describe()}; {options.jobs} workers, zstd 1, page checksums on")
        if PgBackRest.knows(options.major):
            version = ".".join(map(str, PgBackRest.version()))
            print(f"pgbackrest {version}: {PgBackRest.kind()}", flush=True)
        contest.begin()
        for number in range(options.rounds + 1):
            contest.round(number, rows=options.rows)
    names = [peer.name for peer in contest.peers]
    print(table(names, STEPS, contest.costs, contest.stored))
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.incremental", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--major", type=int, default=15)
    parser.add_argument(
        "--rows",
        type=float,
        default=_ROWS,
        help="rows to update, as a share of large tables' pages",
    )
    parser.add_argument(
        "--files", action="store_true", help="also pgBackRest without its block incremental"
    )
    parser.add_argument("--out", default="bench/out")
    parser.add_argument("--keep", action="store_true", help="leave the data set for the next run")
    return parser.parse_args()


def _peers(data: Dataset, out: Path, options: argparse.Namespace) -> list[Peer]:
    jobs, major, files = options.jobs, options.major, options.files
    peers: list[Peer] = [Pgkeep(data, out / "pgkeep", jobs)]
    if major >= _SUMMARIES_SINCE:
        peers[0].name = "pgkeep by summaries"
        peers.append(Pgkeep(data, out / "pgkeep-lsn", jobs, "pgkeep by LSN"))
    if PgBackRest.knows(major):
        peers.append(PgBackRest(data, out / "pgbackrest", jobs, blocks=True))
        if files:
            peers.append(PgBackRest(data, out / "pgbackrest-files", jobs, "pgbackrest, files"))
    return peers


if __name__ == "__main__":
    sys.exit(main())
