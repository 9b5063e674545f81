"""What a manifest of 2 TiB in 500,000 files costs: time and memory, each step in a fresh process.

python -m bench.manifest [--files 500000] [--large 2000] [--out bench/out-manifest] [--keep]
                         [--only STEP,STEP]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.large import Shape, generate
from bench.measure import CommandFailed, measure
from bench.steps import STEPS
from pgkeep.units import MIB

BUDGET = 400  # MiB
_COMMANDS = {
    "list": ["list"],
    "show": ["show", "latest"],
    "verify --level objects": ["verify", "--level", "objects"],
}


def main() -> int:
    options = _options()
    out = Path(options.out).absolute()
    if not (out / "listing.npz").exists():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        print("generating", file=sys.stderr, flush=True)
        generate(out, Shape(options.files, options.large))
    size = next((out / "repository").rglob("manifest")).stat().st_size
    packs = sum(1 for _ in (out / "repository/clusters/big/packs").rglob("*"))
    print(f"manifest of {size / MIB:,.0f} MiB, {packs:,} packs and folders\n", flush=True)
    print("| step | wall s | CPU s | memory MiB |\n|---|---|---|---|", flush=True)
    wanted = options.only.split(",") if options.only else [*_COMMANDS, *STEPS]
    for name in wanted:
        print(_measured(name, out), flush=True)
    if not options.keep:
        shutil.rmtree(out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.manifest", description=__doc__)
    parser.add_argument("--files", type=int, default=500_000)
    parser.add_argument("--large", type=int, default=2_000, help="files of 1 GiB")
    parser.add_argument("--out", default="bench/out-manifest")
    parser.add_argument("--only", help="these steps, separated by commas")
    parser.add_argument("--keep", action="store_true", help="leave the repository for next time")
    return parser.parse_args()


def _measured(name: str, out: Path) -> str:
    """Return one line of the table: of a command, or of a step in a process of its own."""
    _forget_newer(out)
    if name in _COMMANDS:
        command = [str(Path(sys.executable).parent / "pgkeep"), "--config", _config(out)]
        command += _COMMANDS[name]
    else:
        command = [sys.executable, "-m", "bench.steps", name, str(out)]
    try:
        cost = measure(command)
    except (CommandFailed, subprocess.SubprocessError) as error:
        return f"| {name} | failed: {str(error)[-300:]} |"
    memory, wall, cpu = cost.memory, cost.wall, cost.cpu
    if name in STEPS:  # its own figures: without the start of Python, and with the true peak
        facts = json.loads((out / "result.json").read_text())
        memory, wall, cpu = facts["memory"], facts["wall"], facts["cpu"]
    mark = " (over)" if memory > BUDGET * MIB else ""
    return f"| {name} | {wall:.2f} | {cpu:.2f} | {memory / MIB:.0f}{mark} |"


def _forget_newer(out: Path) -> None:
    """Remove what another step has written."""
    for folder in sorted((out / "repository/clusters/big/backups").iterdir())[1:]:
        shutil.rmtree(folder)


def _config(out: Path) -> str:
    path = out / "pgkeep.toml"
    path.write_text(
        f'[repository]\nurl = "{out}/repository"\n[clusters.big]\nconninfo = "host={os.devnull}"\n'
    )
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
