"""What the config says of pushing ahead, read as lightly as the WAL commands read it."""

import os
from typing import Final, NamedTuple

from pgkeep import config_file
from pgkeep.units import BadUnit, parse_size
from pgkeep.wal.place import Place

JOBS: Final = 4  # enough to hide an object store's latency; each holds up to 64 MiB


class Settings(NamedTuple):
    """The cluster's options for archiving."""

    config: str  # the absolute path it came from; '' without a config
    jobs: int = JOBS
    limit: int = 0  # bytes of WAL that may wait before it is given up; 0: never


def read_settings(place: Place) -> Settings:
    """Raise what is wrong with the config; without one, the defaults are used."""
    try:
        path, config = config_file.load(place.config)
    except config_file.ConfigMissing:
        if place.config is not None or place.repository is None:
            raise
        return Settings("")
    if place.repository is not None and place.cluster is not None and place.config is None:
        return Settings("")  # place.open_cluster() doesn't look at it either
    table = config_file.cluster_table(path, config, place.cluster)
    jobs = table.get("archive_jobs", JOBS)
    if not isinstance(jobs, int) or not 1 <= jobs <= 64:
        raise config_file.ConfigValue(path, "archive_jobs", "it must be 1 to 64")
    return Settings(path, jobs, _limit(path, table))


def _limit(path: str, table: config_file.Table) -> int:
    """Return how much may wait: WAL is given up only where both options say so."""
    if table.get("on_archive_failure", "protect-chain") == "protect-chain":
        return 0
    given = table.get("archive_backlog_limit")
    try:
        limit = parse_size(given) if isinstance(given, str) else 0
    except BadUnit:
        limit = 0
    if table["on_archive_failure"] != "protect-database" or limit <= 0:
        raise config_file.ConfigValue(path, "archive_backlog_limit", "it must be a size like 20GB")
    return limit


def signature(path: str) -> tuple[int, ...]:
    """Return what is another one when the config has been changed. Raise OSError."""
    if not path:
        return ()
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
