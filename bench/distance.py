"""What distance costs: full backup and restore over SFTP, next door and 50 ms away, medians.

PYTHONPATH=tests python -m bench.distance [--rounds 3] [--gigabytes 1] [--milliseconds 50]

Both go through the same forwarder to the same sshd on this machine, by turns.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Cost, measure
from support.forwarder import Forwarder
from support.sshd import Sshd, sshd_running

STEPS = ("full backup", "restore")


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    costs: dict[tuple[str, float], list[Cost]] = defaultdict(list)
    with (
        Dataset.build(out / f"data-{options.major}", options.major, options.gigabytes) as data,
        sshd_running() as server,
    ):
        forwarder = Forwarder(server.port)
        server.trust(forwarder.port)
        print(f"{data.describe()}; {options.jobs} workers, SFTP on this machine", flush=True)
        for number in range(options.rounds + 1):  # the first round warms up and is not counted
            for away in (0.0, options.milliseconds / 1000):
                forwarder.delay = away / 2  # each way
                for step, cost in _once(data, server, forwarder, out, options.jobs).items():
                    print(f"round {number}: {away:g} s: {step}: {cost.wall:.2f} s", file=sys.stderr)
                    if number:
                        costs[step, away].append(cost)
        forwarder.close()
    for step in STEPS:
        near, far = (
            statistics.median(cost.wall for cost in costs[step, away])
            for away in (0.0, options.milliseconds / 1000)
        )
        lost = 100 * (far / near - 1)
        print(f"{step}: {near:.2f} s, {options.milliseconds} ms away {far:.2f} s: {lost:+.0f} %")
    shutil.rmtree(out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.distance", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--major", type=int, default=15)
    parser.add_argument("--milliseconds", type=float, default=50)
    parser.add_argument("--out", default="bench/out")
    return parser.parse_args()


def _once(
    data: Dataset, server: Sshd, forwarder: Forwarder, out: Path, jobs: int
) -> dict[str, Cost]:
    config = out / "pgkeep.toml"
    url = f"sftp://{server.user}@127.0.0.1:{forwarder.port}{server.folder()}/repository"
    config.write_text(
        f'[repository]\nurl = "{url}"\nidentity_file = "{server.identity}"\n'
        f'known_hosts = "{server.known_hosts}"\n'
        f"[clusters.bench]\nconninfo = {json.dumps(data.conninfo)}\n"
    )
    pgkeep = [str(data.bin / "pgkeep"), "--config", str(config)]
    subprocess.run([*pgkeep, "init"], check=True, capture_output=True)
    wal = f"{data.bin / 'pgkeep-wal'} --config {config} --cluster bench push %p"
    data.archive_with(wal)
    os.sync()
    found = {"full backup": measure([*pgkeep, "backup", "--type", "full", "--jobs", str(jobs)])}
    target = out / "restored"
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    where = ("--target-dir", str(target), "--to", "immediate", "--jobs", str(jobs))
    found["restore"] = measure([*pgkeep, "restore", *where])
    shutil.rmtree(target)
    return found


if __name__ == "__main__":
    sys.exit(main())
