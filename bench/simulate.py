"""A year of daily backups of a changing cluster: does the repository stay bounded, and a restore?

Bytes are counted, not seconds: a busy machine changes nothing. The cluster is small (its pages are
real, its changes are shares), the code is that of pgkeep backup, expire and restore planning.

python -m bench.simulate [--days 365] [--mebibytes 100] [--out /dev/shm/pgkeep-simulation]
                         [--stories 50/50,25/50,...] [--svg docs/simulation.svg] [--json FILE]
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from bench.simulation.chart import chart
from bench.simulation.cluster import SimulatedCluster
from bench.simulation.record import Story
from pgkeep.backup.backup import Kind
from pgkeep.backup.incremental.base import Cleaning
from pgkeep.units import MIB

_NEVER = 10**9  # percent of a file that overlays may reach: they are never cleaned away
STORIES = ("50/50", "25/50", "75/50", "50/25", "50/75", "50/off", "off/off", "full")


def main() -> int:
    options = _options()
    out = Path(options.out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    stories = [_story(name, out) for name in options.stories.split(",")]
    cluster = SimulatedCluster(out / "cluster", options.mebibytes * MIB, options.seed)
    for day in range(options.days):
        closely = day % 30 == 0 or day == options.days - 1
        for story in stories:
            story.live_through(cluster, closely=closely)
        if closely:
            print(f"day {day}: {_progress(stories)}", file=sys.stderr, flush=True)
            _keep(stories, options)
        cluster.next_day()
    print(_by_day(stories[0]), "", _by_story(stories), sep="\n")
    shutil.rmtree(out)
    return 0


def _keep(stories: list[Story], options: argparse.Namespace) -> None:
    """Write down what is known so far."""
    if options.json:
        days = {story.name: [day._asdict() for day in story.days] for story in stories}
        Path(options.json).write_text(json.dumps(days))
    if options.svg:
        Path(options.svg).write_text(chart(stories[0].days))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--mebibytes", type=int, default=100, help="of the cluster, at first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stories", default=",".join(STORIES), help="thresholds: overlays/live")
    parser.add_argument("--out", default="/dev/shm/pgkeep-simulation")
    parser.add_argument("--svg", help="draw the first story")
    parser.add_argument("--json", help="every day of every story")
    return parser.parse_args()


def _story(name: str, out: Path) -> Story:
    """Make '50/50', 'off/off' or 'full': overlays, then live, in percent."""
    folder = out / name.replace("/", "-")
    if name == "full":
        return Story(name, folder, Cleaning(), Kind.FULL)
    overlays, _, live = name.partition("/")
    return Story(
        name,
        folder,
        Cleaning(_NEVER if overlays == "off" else int(overlays), 0 if live == "off" else int(live)),
    )


def _progress(stories: list[Story]) -> str:
    return ", ".join(f"{s.name} {s.days[-1].repository / MIB:.0f} MiB" for s in stories)


def _by_day(story: Story) -> str:
    """Return a Markdown table of the days that were looked at closely."""
    lines = [
        "| day | live MiB | a full MiB | stored MiB | backups | packs | repository MiB "
        "| of it in use | repository / full | restore reads MiB | / full | requests "
        "| layers mean, most |",
        "|---" * 13 + "|",
    ]
    for day in story.days:
        if day.full:
            share = 100 * day.needed / day.repository
            lines.append(
                f"| {day.day} | {_mib(day.live)} | {_mib(day.full)} | {_mib(day.stored)} "
                f"| {day.backups} | {day.packs} | {_mib(day.repository)} | {share:.0f} % "
                f"| {day.repository / day.full:.2f} | {_mib(day.restore.size)} "
                f"| {day.restore.size / day.full:.2f} | {day.restore.requests} "
                f"| {day.layers:.1f}, {day.most_layers} |"
            )
    return "\n".join(lines)


def _by_story(stories: list[Story]) -> str:
    """Return a Markdown table that compares the thresholds."""
    lines = [
        "| overlays/live | stored in the year MiB | of it moved | repository at the end MiB "
        "| at most / full | in use | restore reads / full: mean, most | requests: mean, most "
        "| layers: mean, most |",
        "|---" * 9 + "|",
    ]
    for story in stories:
        days = story.days[1:] or story.days
        last, full = story.days[-1], _full_by_day(story)
        reads = [day.restore.size / full[day.day] for day in days]
        requests = [day.restore.requests for day in days]
        lines.append(
            f"| {story.name} | {_mib(sum(day.stored for day in days))} "
            f"| {_mib(sum(day.moved for day in days))} | {_mib(last.repository)} "
            f"| {max(day.repository / full[day.day] for day in days):.2f} "
            f"| {100 * last.needed / last.repository:.0f} % "
            f"| {sum(reads) / len(reads):.2f}, {max(reads):.2f} "
            f"| {sum(requests) / len(requests):.0f}, {max(requests)} "
            f"| {sum(day.layers for day in days) / len(days):.1f}, "
            f"{max(day.most_layers for day in days)} |"
        )
    return "\n".join(lines)


def _full_by_day(story: Story) -> dict[int, float]:
    """Return what a full backup would store each day, by the size of the live data."""
    ratio = next(day.full / day.live for day in reversed(story.days) if day.full)
    return {day.day: day.live * ratio for day in story.days}


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f}" if size < 10 * MIB else f"{size / MIB:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
