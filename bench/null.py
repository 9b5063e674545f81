"""What the store costs a full backup: into a directory, and into one that forgets packs. Medians.

python -m bench.null [--rounds 3] [--gigabytes 4] [--jobs 2]

Both are the same backup in the same process with the same workers, by turns. The null store stands
behind the same interface as a bucket, several blobs under way at a time, and is counted like one.
"""

import os
import shutil
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

from bench.dataset import Dataset
from bench.nowhere import NullStore, null_workers
from bench.options import usual_options
from pgkeep.backup.backup import BackupOptions, Kind, MakeWorkers, run
from pgkeep.backup.copying.workers import ProcessWorkers
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.repository.metering.metered import Metered
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store

LOCAL, NULL = "directory", "null store"


def main() -> int:
    options = usual_options("null", __doc__)
    out = Path(options.out).absolute()
    walls: dict[str, list[float]] = defaultdict(list)
    ways: dict[str, MakeWorkers] = {LOCAL: ProcessWorkers, NULL: null_workers}
    with Dataset.build(out / f"data-{options.major}", options.major, options.gigabytes) as data:
        print(f"{data.describe()}; {options.jobs} workers", flush=True)
        for number in range(options.rounds + 1):  # the first round warms up and is not counted
            for way in sorted(ways, reverse=bool(number % 2)):
                wall = _once(data, out / "repository", way, ways[way], options.jobs)
                print(f"round {number}: {way}: {wall:.2f} s", file=sys.stderr, flush=True)
                if number:
                    walls[way].append(wall)
    local, null = (statistics.median(walls[way]) for way in (LOCAL, NULL))
    print(f"{LOCAL}: {local:.2f} s, {NULL}: {null:.2f} s, {local / null:.2f} times as fast")
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _once(data: Dataset, folder: Path, way: str, make_workers: MakeWorkers, jobs: int) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    real = Repository.create(make_store(str(folder)), "none", None)
    with DataDirectorySource.connect(data.conninfo) as source:
        real.cluster("bench").add_generation(source.facts().generation)
    program = data.bin / "pgkeep-wal"
    data.archive_with(f"{program} --repository {folder} --cluster bench push %p")
    store = Metered(NullStore(real.store) if way == NULL else real.store)
    cluster = Repository(store, real.id, real.key).cluster("bench")
    os.sync()
    began = time.monotonic()
    with DataDirectorySource.connect(data.conninfo) as source:
        run(source, cluster, BackupOptions(kind=Kind.FULL, jobs=jobs), make_workers=make_workers)
    wall = time.monotonic() - began
    data.archive_with("true")
    return wall


if __name__ == "__main__":
    sys.exit(main())
