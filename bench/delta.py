"""Delta restores: a restored directory is damaged, each tool brings it back, in turn, medians.

A hundredth of the pages gets other bytes, and some files are deleted; from a full backup, and from
an incremental one whose files have overlays. What pgkeep made is compared with what was there.

python -m bench.delta [--rounds 3] [--gigabytes 4] [--jobs 2] [--major 15] [--keep]
"""

import os
import random
import shutil
import sys
from collections import defaultdict
from pathlib import Path

from blake3 import blake3

from bench.dataset import Dataset
from bench.measure import measure
from bench.options import usual_options
from bench.peers import Peer, PgBackRest, Pgkeep
from bench.table import Costs, table
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.units import MIB

_INCREMENTALS = 3
_DELETED = 50  # files
_OWN = {"backup.manifest", "backup_label", "postgresql.auto.conf", "recovery.signal"}


def main() -> int:
    options = usual_options("delta", __doc__)
    out = Path(options.out).absolute()
    directory = out / f"data-{options.major}"
    costs: Costs = defaultdict(list)
    with Dataset.build(directory, options.major, options.gigabytes) as data:
        peers: list[Peer] = [Pgkeep(data, out / "pgkeep", options.jobs)]
        if PgBackRest.knows(options.major):
            peers.append(PgBackRest(data, out / "pgbackrest", options.jobs))
        print(f"{data.describe()}; {options.jobs} workers, zstd 1, page checksums on", flush=True)
        for peer in peers:
            peer.forget()
        for step in STEPS:
            _prepare(step, data, peers)
            for peer in peers:
                _restore(peer, out)
            for number in range(options.rounds + 1):
                for peer in peers if number % 2 else peers[::-1]:
                    _once(peer, out, number, costs, step)
    print(table([peer.name for peer in peers], STEPS, costs))
    if not options.keep:
        shutil.rmtree(out)
    return 0


FULL = "from a full backup"
OVERLAYS = f"after {_INCREMENTALS} incremental ones"
UNDAMAGED = "nothing differs"
STEPS = (FULL, OVERLAYS, UNDAMAGED)


def _prepare(step: str, data: Dataset, peers: list[Peer]) -> None:
    """Make the backups that are restored: the same changes for all."""
    if step == FULL:
        for peer in peers:
            data.archive_with(peer.archive_command())
            measure(peer.backup())
    elif step == OVERLAYS:
        for number in range(_INCREMENTALS):
            data.update_at_random(0.0055, seed=number)
            for peer in peers:
                data.archive_with(peer.archive_command())
                measure(peer.incremental())


def _target(peer: Peer, out: Path) -> Path:
    return out / f"restored-{peer.name}"


def _restore(peer: Peer, out: Path) -> None:
    target = _target(peer, out)
    shutil.rmtree(target, ignore_errors=True)
    if peer.name == "pgbackrest":
        target.mkdir(mode=0o700)  # it wants the directory to be there
    measure(peer.restore(target))


def _once(peer: Peer, out: Path, number: int, costs: Costs, step: str) -> None:
    target = _target(peer, out)
    before = _hashes(target)
    if step != UNDAMAGED:
        _damage(target, random.Random(number))
    os.sync()
    cost = measure(peer.delta(target))
    after = _hashes(target)
    wrong = sorted(path for path in before | after if before.get(path) != after.get(path))
    print(
        f"round {number}, {step}: {peer.name} {cost.wall:.3f} s, {len(wrong)} files differ"
        f"{': ' if wrong else ''}{', '.join(wrong[:5])}",
        file=sys.stderr,
        flush=True,
    )
    if number:
        costs[peer.name, step].append(cost)


def _damage(target: Path, chance: random.Random) -> None:
    """Write other bytes into a hundredth of the pages of all relations, and delete some files."""
    paths = sorted(path for path in target.glob("base/*/*") if path.name.split(".")[0].isdigit())
    small = [path for path in paths if path.stat().st_size <= 8 * PAGE_SIZE]
    sizes = [path.stat().st_size // PAGE_SIZE for path in paths]
    for path, pages in zip(paths, sizes, strict=True):
        count = int(pages / 100 + chance.random())
        with path.open("r+b") as file:
            for page in chance.sample(range(pages), min(count, pages)):
                file.seek(page * PAGE_SIZE + 100)
                file.write(chance.randbytes(64))
    for path in chance.sample(small, min(_DELETED, len(small))):
        path.unlink()


def _hashes(target: Path) -> dict[str, bytes]:
    """Return the hash of every file but those in which restores write down their own time."""
    found = {}
    for root, _, names in os.walk(target):
        for name in names:
            if name in _OWN or name.startswith("pgkeep"):
                continue
            hasher = blake3()
            with (Path(root) / name).open("rb") as file:
                while part := file.read(4 * MIB):
                    hasher.update(part)
            found[os.path.relpath(os.path.join(root, name), target)] = hasher.digest()
    return found


if __name__ == "__main__":
    sys.exit(main())
