"""What distance costs: full backup and restore, next door and 50 ms away, medians.

PYTHONPATH=tests python -m bench.distance [--store s3] [--rounds 3] [--gigabytes 1]

Both go through the same forwarder to the same server on this machine, by turns: moto for s3, which
is slow itself, OpenSSH for sftp.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.dataset import Dataset
from bench.measure import Cost, measure
from support.forwarder import Forwarder
from support.object_servers import s3_server
from support.sshd import sshd_running

STEPS = ("full backup", "restore")


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    costs: dict[tuple[str, float], list[Cost]] = defaultdict(list)
    server = _sftp if options.store == "sftp" else _s3
    with (
        Dataset.build(out / f"data-{options.major}", options.major, options.gigabytes) as data,
        server(out) as far,
    ):
        print(f"{data.describe()}; {options.jobs} workers, {options.store} here", flush=True)
        for number in range(options.rounds + 1):  # the first round warms up and is not counted
            for away in (0.0, options.milliseconds / 1000):
                far.forwarder.delay = away / 2  # each way
                for step, cost in _once(data, far, out, options.jobs).items():
                    print(f"round {number}: {away:g} s: {step}: {cost.wall:.2f} s", file=sys.stderr)
                    if number:
                        costs[step, away].append(cost)
    for step in STEPS:
        near, distant = (
            statistics.median(cost.wall for cost in costs[step, away])
            for away in (0.0, options.milliseconds / 1000)
        )
        lost = 100 * (distant / near - 1)
        print(
            f"{step}: {near:.2f} s, {options.milliseconds} ms away {distant:.2f} s: {lost:+.0f} %"
        )
    shutil.rmtree(out)
    return 0


class _Far(NamedTuple):
    """A server behind a forwarder."""

    forwarder: Forwarder
    repository: Callable[[], str]  # the lines of a new one in the config


@contextmanager
def _sftp(_out: Path) -> Iterator[_Far]:
    with sshd_running() as server:
        forwarder = Forwarder(server.port)
        server.trust(forwarder.port)

        def repository() -> str:
            place = f"{server.user}@127.0.0.1:{forwarder.port}{server.folder()}/repository"
            return (
                f'url = "sftp://{place}"\nidentity_file = "{server.identity}"\n'
                f'known_hosts = "{server.known_hosts}"\n'
            )

        yield _Far(forwarder, repository)
        forwarder.close()


@contextmanager
def _s3(out: Path) -> Iterator[_Far]:
    with s3_server() as server:
        forwarder = Forwarder(int(server.endpoint.rpartition(":")[2]))
        credentials = server.credentials(out / "credentials")
        server.make_bucket("distance")

        def repository() -> str:
            return (
                f'url = "s3://distance/r{os.urandom(4).hex()}"\npath_style = true\n'
                f'endpoint = "http://127.0.0.1:{forwarder.port}"\nregion = "us-east-1"\n'
                f'credentials_file = "{credentials}"\n'
            )

        yield _Far(forwarder, repository)
        forwarder.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.distance", description=__doc__)
    parser.add_argument("--store", choices=("s3", "sftp"), default="s3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--major", type=int, default=15)
    parser.add_argument("--milliseconds", type=float, default=50)
    parser.add_argument("--out", default="bench/out")
    return parser.parse_args()


def _once(data: Dataset, far: _Far, out: Path, jobs: int) -> dict[str, Cost]:
    config = out / "pgkeep.toml"
    config.write_text(
        f"[repository]\n{far.repository()}"
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
