"""The config as a whole: one tree of frozen models that declares every option of pgkeep.toml.

pgkeep.config_file finds and parses the file; this module turns the parsed table into a `Config` or
stops, naming file, line and key. docs/configuration.md is made from these declarations by
tools/docs.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from msgspec import Meta

from pgkeep.config.options import Options
from pgkeep.config.sections import (
    ClusterConfig,
    ClusterDrillConfig,
    DrillConfig,
    DumpConfig,
    RetentionConfig,
    SandboxConfig,
)
from pgkeep.config.service import (
    JOBS,
    LEAST_LIMIT,
    LEVELS,
    AlertsConfig,
    ChannelConfig,
    ScheduleConfig,
    ServiceConfig,
)
from pgkeep.config_reader import Reader
from pgkeep.model.expectation import FORMS, parse_expectation
from pgkeep.repository.names import BadName, cluster_prefix
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.schedule import windows, words
from pgkeep.schedule.windows import parse_windows
from pgkeep.schedule.words import parse_times


class Config(Options, frozen=True, kw_only=True):
    """The whole file."""

    repository: tuple[RepositoryConfig, ...]
    write: Annotated[
        list[str],
        Meta(
            description="The repositories that get every backup, dump and WAL segment, by name. "
            "Empty: each goes to the first that works, in the order of this file.",
            examples=[["local", "offsite"]],
        ),
    ] = []
    timezone: Annotated[
        str,
        Meta(
            description="In which zone times are shown and times without a zone are read: a name "
            "like Europe/Berlin. Empty: the zone of the session.",
            examples=["Europe/Berlin"],
        ),
    ] = ""
    clusters: dict[str, ClusterConfig] = {}
    retention: dict[str, RetentionConfig] = {}  # by repository, where it is not the clusters'
    dump: DumpConfig = DumpConfig()
    drill: DrillConfig = DrillConfig()
    sandbox: SandboxConfig = SandboxConfig()
    service: ServiceConfig = ServiceConfig()
    alerts: AlertsConfig = AlertsConfig()


def read_config(table: Mapping[str, Any], file: str, text: str = "") -> Config:
    """Return the config that a parsed `file` holds, or raise BadConfig (`text` tells the line)."""
    reader = Reader(file, text)
    config = reader.section(Config, table, ())
    for name in config.clusters:
        try:
            cluster_prefix(name)
        except BadName as error:
            raise reader.error(("clusters", name), "is no name for a cluster", error.hint) from None
    _check_repositories(reader, config, single=isinstance(table["repository"], Mapping))
    for name, cluster in config.clusters.items():
        _check_archiving(reader, ("clusters", name), cluster)
        _check_drill(reader, ("clusters", name, "drill"), cluster.drill)
        _check_schedule(reader, ("clusters", name, "schedule"), cluster.schedule)
    _check_service(reader, config.service)
    _check_alerts(reader, config.alerts, config.clusters)
    if config.timezone and not _is_zone(config.timezone):
        why = f"is no time zone: {config.timezone!r}"
        raise reader.error(("timezone",), why, "write a name like Europe/Berlin or UTC")
    return config


def _check_repositories(reader: Reader, config: Config, *, single: bool) -> None:
    names: list[str] = []
    for number, repository in enumerate(config.repository, 1):
        section = "repository" if single else f"repository[{number}]"
        if repository.passphrase_file and repository.passphrase_command:
            key = (section, "passphrase_command")
            raise reader.error(key, "is set, and passphrase_file too", "keep one of the two")
        name = repository.name
        if name or len(config.repository) > 1:
            try:
                cluster_prefix(name)
            except BadName as error:
                why = f"is no name for a repository: {name!r}" if name else "is missing"
                raise reader.error((section, "name"), why, error.hint) from None
        if name and name in names:
            why = f"is taken: repository[{names.index(name) + 1}] is {name!r} too"
            raise reader.error((section, "name"), why, "give each its own")
        if repository.lock_ahead > repository.lock_maximum:
            why = "is longer than lock_maximum"
            raise reader.error((section, "lock_ahead"), why, "make it shorter")
        names.append(name)
    known = ", ".join(filter(None, names)) or "none that has a name"
    for name in config.retention:
        if name not in names:
            raise reader.error(("retention", name), "names no repository", f"there is {known}")
    for wanted in config.write:
        if wanted not in names or not wanted:
            raise reader.error(("write",), f"names no repository: {wanted!r}", f"there is {known}")


def _check_archiving(reader: Reader, path: tuple[str, ...], cluster: ClusterConfig) -> None:
    """Giving WAL up takes a limit, and somebody who makes up for it."""
    if cluster.on_archive_failure == "protect-chain":
        if cluster.archive_backlog_limit:
            why = "is for protect-database alone"
            raise reader.error((*path, "archive_backlog_limit"), why, "leave it out")
        return
    key = (*path, "on_archive_failure")
    if not cluster.archive_backlog_limit:
        raise reader.error(key, "needs archive_backlog_limit", 'write how much may wait: "20GB"')
    if cluster.archive == "sync":
        raise reader.error(key, 'needs archive = "ahead"', "only a pusher gives WAL up")


def _check_drill(reader: Reader, path: tuple[str, ...], drill: ClusterDrillConfig) -> None:
    for number, check in enumerate(drill.checks, 1):
        try:
            parse_expectation(check.expect)
        except ValueError as error:
            key = (*path, f"checks[{number}]", "expect")
            raise reader.error(key, str(error), f"it takes {FORMS}") from None
    for pattern in drill.may_be_empty:
        if pattern.count(".") < 2:
            why = f"names no table: {pattern!r}"
            raise reader.error((*path, "may_be_empty"), why, "write DATABASE.SCHEMA.TABLE")


def _check_schedule(reader: Reader, path: tuple[str, ...], schedule: ScheduleConfig) -> None:
    for kind in JOBS:
        try:
            parse_times(getattr(schedule, kind))
        except ValueError as error:
            raise reader.error((*path, kind), str(error), f"it takes {words.FORMS}") from None
    try:
        parse_windows(schedule.not_during)
    except ValueError as error:
        advice = f"it takes {windows.FORMS}"
        raise reader.error((*path, "not_during"), str(error), advice) from None
    if schedule.zone and not _is_zone(schedule.zone):
        why = f"is no time zone: {schedule.zone!r}"
        raise reader.error((*path, "zone"), why, "write a name like Europe/Berlin or UTC")
    if schedule.time_limit < LEAST_LIMIT:
        why = "is too short for any job"
        raise reader.error((*path, "time_limit"), why, "a minute is the least")


def _check_service(reader: Reader, service: ServiceConfig) -> None:
    """A folder that the page may restore into must be one, and not all of them."""
    for folder in service.restore_directories:
        parts = folder.rstrip("/").split("/")
        if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
            why = f"has no absolute path of a folder: {folder!r}"
            raise reader.error(("service", "restore_directories"), why, "write one: /srv/restore")


def _check_alerts(reader: Reader, alerts: AlertsConfig, clusters: Collection[str]) -> None:
    try:
        parse_times(alerts.digest)
    except ValueError as error:
        raise reader.error(("alerts", "digest"), str(error), f"it takes {words.FORMS}") from None
    if alerts.ping and not alerts.ping.reveal().startswith(("http://", "https://")):
        raise reader.error(("alerts", "ping"), "is no address of the web", "write https://...")
    taken: set[str] = set()
    for number, channel in enumerate(alerts.channels, 1):
        path = ("alerts", f"channels[{number}]")
        if channel.name in taken:
            advice = "give each channel a name of its own"
            raise reader.error((*path, "name"), f"is taken: {channel.name!r}", advice)
        taken.add(channel.name)
        _check_channel(reader, path, channel, clusters)


def _check_channel(
    reader: Reader, path: tuple[str, ...], channel: ChannelConfig, clusters: Collection[str]
) -> None:
    # Names are joined by commas where a test of channels is put on record.
    if not channel.name.strip() or not channel.name.isprintable() or "," in channel.name:
        why = f"is no name for a channel: {channel.name!r}" if channel.name else "is empty"
        raise reader.error((*path, "name"), why, 'write a word, as in name = "dba-mail"')
    if bool(channel.url) == bool(channel.url_file):
        why = "and url_file are both given" if channel.url else "is missing"
        raise reader.error((*path, "url"), why, "write url, or url_file")
    if channel.url and "://" not in channel.url.reveal():
        raise reader.error((*path, "url"), "has no ://", "docs/alerts.md shows addresses")
    for level in channel.levels:
        if level not in LEVELS:
            why = f"are no such thing: {level!r}"
            raise reader.error((*path, "levels"), why, f"there is {', '.join(LEVELS)}")
    for cluster in channel.clusters:
        if cluster not in clusters:
            why = f"are not configured: {cluster!r}"
            raise reader.error((*path, "clusters"), why, f"there is {', '.join(sorted(clusters))}")
    try:
        parse_windows(channel.quiet)
    except ValueError as error:
        raise reader.error((*path, "quiet"), str(error), f"it takes {windows.FORMS}") from None


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
