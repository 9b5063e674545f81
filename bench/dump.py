"""Logical backups: pgkeep dump against pg_dump and pg_restore with as many jobs, in turn, medians.

A first dump into an empty repository; the next one when nothing, and when a hundredth of the rows
has changed, in one stretch of each large table and all over them; a restore into a new database.
pg_dump writes a directory with zstd 1 where it can (16 and later), else with its gzip.

python -m bench.dump [--rounds 3] [--gigabytes 1] [--jobs 2] [--major 17] [--keep]
"""

import argparse
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Cost, measure
from bench.peers import Pgkeep, tree_size
from bench.table import Costs, table
from pgkeep.server.client_tools import find_tools
from pgkeep.units import MIB

FIRST = "first dump"
SAME = "dump, nothing changed"
STRETCH = "dump, 1 % changed in stretches"
SCATTERED = "dump, 1 % changed all over"
RESTORE = "restore"
STEPS = (FIRST, SAME, STRETCH, SCATTERED, RESTORE)
PGKEEP, PG_DUMP = "pgkeep", "pg_dump, pg_restore"


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    costs: Costs = defaultdict(list)
    stored: dict[tuple[str, str], list[int]] = defaultdict(list)
    with Dataset.build(out / f"data-{options.major}", options.major, options.gigabytes) as data:
        print(f"{data.describe()}; {options.jobs} jobs", flush=True)
        bench = Bench(data, out, options.jobs, options.major)
        for number in range(options.rounds + 1):
            for step, tool, cost, size in bench.round(number):
                if number:
                    costs[tool, step].append(cost)
                    stored[tool, step].append(size)
                line = f"round {number}: {tool}: {step} {cost.wall:.3f} s, {size / MIB:,.1f} MiB"
                print(line, file=sys.stderr, flush=True)
    print(table([PGKEEP, PG_DUMP], STEPS, costs, stored))
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dump", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--major", type=int, default=17)
    parser.add_argument("--out", default="bench/out")
    parser.add_argument("--keep", action="store_true", help="leave the data set for the next run")
    return parser.parse_args()


class Bench:
    """Both tools on one data set."""

    def __init__(self, data: Dataset, out: Path, jobs: int, major: int) -> None:
        self._data = data
        self._out = out
        self._jobs = jobs
        self._tools = find_tools(str(major))
        self._compress = "--compress=zstd:1" if major >= 16 and _knows_zstd(major) else ""
        self._pgkeep = Pgkeep(data, out / "pgkeep", jobs)
        self._archive = out / "pg_dump"

    def round(self, number: int) -> list[tuple[str, str, Cost, int]]:
        """Do every step with both; who comes first changes from round to round."""
        self._pgkeep.forget()
        found = self._both(FIRST, number)
        found += self._both(SAME, number)
        self._data.change_stretches(0.01, seed=number)
        found += self._both(STRETCH, number)
        self._data.change_rows(0.01, seed=number)
        found += self._both(SCATTERED, number)
        found += self._both(RESTORE, number)
        return found

    def _both(self, step: str, number: int) -> list[tuple[str, str, Cost, int]]:
        order = (PGKEEP, PG_DUMP) if number % 2 else (PG_DUMP, PGKEEP)
        return [(step, tool, *self._once(step, tool)) for tool in order]

    def _once(self, step: str, tool: str) -> tuple[Cost, int]:
        os.sync()
        if step == RESTORE:
            cost = self._restore(tool)
            return cost, 0
        if tool == PGKEEP:
            before = self._stored()
            cost = measure(self._pgkeep.dump())
            return cost, self._stored() - before
        shutil.rmtree(self._archive, ignore_errors=True)
        cost = measure(
            [
                self._tools.tool("pg_dump"), "-Fd", f"-j{self._jobs}", "-f", str(self._archive),
                *([self._compress] if self._compress else []), "-d", self._data.conninfo,
            ]
        )  # fmt: skip
        return cost, tree_size(self._archive)

    def _restore(self, tool: str) -> Cost:
        target = "restored"
        self._data.drop_database(target)
        if tool == PGKEEP:
            return measure(self._pgkeep.dump_restore(target))
        self._data.create_database(target)
        return measure(
            [
                self._tools.tool("pg_restore"), f"-j{self._jobs}", "-d",
                self._data.conninfo_to(target), str(self._archive),
            ]
        )  # fmt: skip

    def _stored(self) -> int:
        cluster = self._pgkeep.work / "repository" / "clusters" / "bench"
        return tree_size(cluster / "packs") + tree_size(cluster / "dumps")


def _knows_zstd(major: int) -> bool:
    return major != 18  # that build has gzip alone


if __name__ == "__main__":
    sys.exit(main())
