"""The options that benchmarks over the usual data set have in common."""

import argparse
import os


def usual_options(module: str, about: str | None) -> argparse.Namespace:
    """Read rounds, gigabytes, jobs, major, out and keep from the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{module}", description=about)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--major", type=int, default=15)
    parser.add_argument("--out", default="bench/out")
    parser.add_argument("--keep", action="store_true", help="leave the data set for the next run")
    return parser.parse_args()
