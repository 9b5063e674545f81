"""How long `pgkeep undo find` takes for WAL of small transactions and of bulk changes, by turns.

python -m bench.find [--gigabytes 1] [--jobs 2] [--major 15] [--rounds 3] [--out bench/out-find]
"""

import argparse
import shutil
import statistics
import sys
from pathlib import Path

from bench.measure import Cost, measure
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.control import read_control
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.server.binaries import find_binaries
from pgkeep.server.scratch import ScratchCluster
from pgkeep.units import GIB, MIB

SETTINGS: dict[str, str | int | None] = {
    "wal_level": "replica",
    "wal_keep_size": "200GB",
    "max_wal_size": "2GB",
    "shared_buffers": "128MB",
    "synchronous_commit": "off",
}
ROUND = (
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= 250000",
    "DELETE FROM big WHERE id <= 250000",
    "INSERT INTO big SELECT g, 'row ' || g FROM generate_series(1, 250000) g",
)


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    if not (out / "repository").exists():
        _build(out, options.major, int(options.gigabytes * GIB))
    segments = sum(1 for _ in (out / "repository/clusters/main/wal").rglob("0*") if _.is_file())
    command = [str(Path(sys.executable).parent / "pgkeep"), f"--repository={out / 'repository'}"]
    command += ["undo", "find", "--json", "--since=365d", f"--jobs={options.jobs}"]
    costs: list[Cost] = [measure(command) for _ in range(options.rounds + 1)][1:]
    print(f"{segments * 16 / 1024:.2f} GiB of WAL, {options.jobs} processes")
    print("wall s, CPU s, memory MiB (medians):")
    for name, unit in (("wall", 1), ("cpu", 1), ("memory", MIB)):
        values = [getattr(cost, name) / unit for cost in costs]
        print(f"  {name}: {statistics.median(values):.2f} of {[round(v, 2) for v in values]}")
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.find", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--major", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="bench/out-find")
    parser.add_argument("--keep", action="store_true", help="leave the repository for next time")
    return parser.parse_args()


def _build(out: Path, major: int, size: int) -> None:
    """Make so much WAL, half of it by pgbench, and archive it."""
    out.mkdir(parents=True, exist_ok=True)
    repository = Repository.create(make_store(str(out / "repository")), "none", None)
    folder = repository.cluster("main")
    server = ScratchCluster(
        find_binaries(major), out / "cluster", settings=SETTINGS, wal_segsize=16
    )
    with server:
        generation = read_control(str(server.data_directory)).generation
        folder.add_generation(generation)
        server.fill(5)
        server.sql("CREATE TABLE big (id int PRIMARY KEY, v text)")
        while Lsn.parse(str(server.value("SELECT pg_current_wal_lsn()::text"))) < size:
            server.work(20_000, 2)
            for statement in ROUND:
                server.sql(statement)
        server.sql("SELECT pg_switch_wal()")
        current = server.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        archive = folder.wal(generation.id)
        for path in sorted((server.data_directory / "pg_wal").glob("0" * 7 + "?" * 17)):
            if path.name < current:
                archive.push(path.name, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
