"""The schedule that a config says, entry by entry. Pure."""

from datetime import tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from pgkeep.config.sections import ClusterConfig
from pgkeep.config.service import JOBS, ScheduleConfig
from pgkeep.config.whole import Config
from pgkeep.schedule.due import Entry
from pgkeep.schedule.windows import parse_windows
from pgkeep.schedule.words import parse_times

_COMMANDS: Final = {
    "dump": ("dump", "create", "--all"),
    "census": ("census", "take"),
    "checklist": ("checklist", "--record"),
}


def entries_of(config: Config) -> list[Entry]:
    """Return every entry of every cluster's schedule."""
    return [
        entry for name, cluster in config.clusters.items() for entry in _of(name, cluster, config)
    ]


def kinds_of(config: Config, cluster: str) -> set[str]:
    """Return the kinds of jobs that are on a cluster's schedule."""
    return {entry.kind for entry in _of(cluster, config.clusters[cluster], config)}


def _of(name: str, cluster: ClusterConfig, config: Config) -> list[Entry]:
    schedule = cluster.schedule
    zone = _zone(schedule.zone or config.timezone)
    found = []
    for kind in JOBS:
        times = parse_times(getattr(schedule, kind))
        for label, words in _commands(kind, schedule, config) if times else ():
            found.append(
                Entry(
                    name,
                    label,
                    words,
                    times,
                    zone,
                    float(schedule.jitter),
                    parse_windows(schedule.not_during),
                    schedule.catch_up,
                    float(schedule.time_limit),
                )
            )
    return found


def _commands(
    kind: str, schedule: ScheduleConfig, config: Config
) -> list[tuple[str, tuple[str, ...]]]:
    """Return what an option of the schedule runs: one command, or one for each repository.

    Each repository has its own policy, and may be away: a job of its own holds up no other, and
    goes on being told as failed until it succeeds there.
    """
    first, *others = config.repository
    if kind == "copy":
        # What expires at the copy by its own rule must not be brought back each time.
        more = ("--policy",) if parse_times(schedule.expire) else ()
        return [(f"copy {other.name}", ("copy", "--to", other.name, *more)) for other in others]
    if kind == "expire" and others:
        return [
            (kind if one is first else f"{kind} {one.name}", (kind, "--repository", one.name))
            for one in config.repository
        ]
    return [(kind, _COMMANDS.get(kind, (kind,)))]


@lru_cache(maxsize=256)  # one of each: calendars are kept by it
def _zone(name: str) -> tzinfo:
    from pgkeep.zone import SessionZone

    return ZoneInfo(name) if name else SessionZone()
