"""python -m torture [--seed N] [--minutes M] [--major 15|17|18] [--keep]: docs/testing.md."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from pgkeep.server.binaries import find_binaries
from torture.director import Director
from torture.journal import Journal
from torture.setting import MAJORS, Setting
from torture.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, help="else a random one")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--major", type=int, choices=MAJORS, help="else the seed decides")
    parser.add_argument("--place", type=Path, help="an existing directory to work in")
    parser.add_argument("--keep", action="store_true", help="keep everything in any case")
    ask = parser.parse_args()
    seed = random.randrange(1_000_000) if ask.seed is None else ask.seed
    directory = Path(tempfile.mkdtemp(prefix=f"pgkeep-torture-{seed}-", dir=ask.place))
    directory.chmod(0o755)
    setting = Setting.chosen(seed, ask.major)
    return 0 if torture(setting, directory, ask.minutes * 60, keep=ask.keep) else 1


def torture(setting: Setting, directory: Path, seconds: float, *, keep: bool = False) -> bool:
    """Run once; tell whether all was well. After a failure the directory is kept."""
    journal = Journal(directory / "diary.txt")
    journal.say(f"{setting}")
    world = World(setting, find_binaries(setting.major), directory, journal)
    failed = True
    director = None
    try:
        world.begin()
        director = Director(world)
        director.run(seconds)
        failed = False
    except (Exception, KeyboardInterrupt):
        import traceback

        journal.say("FAILED\n" + traceback.format_exc())
    finally:
        if director is not None:
            journal.say(director.summary())
        world.close(keep=failed or keep)
    if failed:
        journal.say(f"seed {setting.seed} failed; everything is kept in {directory}")
    return not failed


if __name__ == "__main__":
    sys.exit(main())
