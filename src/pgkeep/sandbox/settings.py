"""With which settings the server of a sandbox runs, and why. Pure.

Its configuration is written anew. Of the source's comes what recovery needs and what changes the
answers of queries, and nothing that names commands, addresses, files or other servers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pgkeep.model.target import Action
from pgkeep.postgres.conf import RECOVERY_SETTINGS, parse_conf
from pgkeep.units import MIB

# What queries answer depends on these. Settings with a dot belong to extensions and applications.
# Not among them are names of what may be missing here: with an unknown lc_time no server starts.
_OF_SESSIONS: Final = frozenset(
    {
        "array_nulls",
        "backslash_quote",
        "bytea_output",
        "datestyle",
        "default_text_search_config",
        "escape_string_warning",
        "extra_float_digits",
        "intervalstyle",
        "quote_all_identifiers",
        "row_security",
        "search_path",
        "standard_conforming_strings",
        "timezone",
        "track_commit_timestamp",  # else commit times that are on record cannot be asked for
        "transform_null_equals",
        "xmlbinary",
        "xmloption",
    }
)
# What restore writes beside those that postgres.conf lists.
_OF_RECOVERY: Final = RECOVERY_SETTINGS | {
    "allow_in_place_tablespaces",
    "ignore_invalid_pages",
    "recovery_prefetch",
}
# A hot standby refuses lower values than the source's (CheckRequiredParameterValues).
# Beside that, recovery ends with prepared transactions only where they and their locks have room.
_LEAST: Final[Mapping[str, int]] = {
    "max_connections": 40,  # amcheck, pg_dump and sessions of ours
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 64,
    "max_locks_per_transaction": 128,  # pg_dump locks every table
}
# They start work of their own or reach out to other machines.
_REACHING_OUT: Final = frozenset(
    {
        "bdr",
        "pg_cron",
        "pg_failover_slots",
        "pg_net",
        "pg_partman_bgw",
        "pg_squeeze",
        "pg_timetable",
        "pgl_ddl_deploy",
        "pglogical",
        "repmgr",
        "spock",
    }
)
# They only watch: nothing in a table depends on them.
_WATCHING: Final = frozenset(
    {
        "auth_delay",
        "auto_explain",
        "credcheck",
        "logerrors",
        "passwordcheck",
        "pg_hint_plan",
        "pg_prewarm",
        "pg_qualstats",
        "pg_stat_kcache",
        "pg_stat_monitor",
        "pg_stat_statements",
        "pg_wait_sampling",
        "pgaudit",
        "plprofiler",
        "set_user",
    }
)
_SMALL, _LARGE = 16 * MIB, 512 * MIB  # shared_buffers
_SHARE: Final = 8  # of the free memory: others work on this machine


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of the server that was backed up."""

    major: int
    main: str  # postgresql.conf as it was restored
    auto: str  # postgresql.auto.conf as restore wrote it
    settings: Mapping[str, str]  # as the server told them, whatever file they came from
    control: Mapping[str, int]  # from pg_control: the least a hot standby needs
    segment_size: int


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine has."""

    free_memory: int  # bytes
    libraries: Collection[str]  # names that shared_preload_libraries would find
    socket_directory: str
    port: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The configuration of a sandbox's server."""

    settings: Mapping[str, str]
    notes: tuple[str, ...]  # what is otherwise than at the source and may matter


def decide(
    source: Source, here: Here, action: Action, more: Mapping[str, str] | None = None
) -> Decided:
    """Return the whole configuration; `more` wins over everything else."""
    found = parse_conf(source.main).values() | parse_conf(source.auto).values()
    libraries, notes = choose_libraries(
        found.get("shared_preload_libraries")
        or source.settings.get("shared_preload_libraries", ""),
        here.libraries,
    )
    settings = {
        **{name: value for name, value in found.items() if name in _OF_SESSIONS or "." in name},
        **_needed(source),
        **_alone(source.major),
        **_small(here, source.segment_size),
        "shared_preload_libraries": ", ".join(libraries),
        "unix_socket_directories": here.socket_directory,
        "port": str(here.port),
        # Without it the settings above need not be as large as at the source, which may have
        # raised them since; pausing at the target needs it.
        "hot_standby": "on" if action is Action.PAUSE else "off",
        **_recovery(source),
        **(more or {}),
    }
    return Decided(settings, tuple(notes))


def choose_libraries(wanted: str, there: Collection[str]) -> tuple[list[str], list[str]]:
    """Return which libraries are preloaded, and what to say of those that are not."""
    names = [word.strip().strip('"') for word in wanted.split(",")]
    chosen, notes = [], []
    for name in filter(None, names):
        bare = name.rpartition("/")[2].removesuffix(".so")
        if bare in _REACHING_OUT:
            notes.append(f"{bare} is not loaded: it would start work of its own")
        elif bare in _WATCHING:
            continue
        elif bare in there:
            chosen.append(bare)
        else:
            notes.append(f"{bare} is not loaded: it is not installed here")
    return chosen, notes


def _needed(source: Source) -> dict[str, str]:
    """Return the settings that must be as large as at the source."""
    return {
        name: str(max(least, source.control.get(name, 0), _number(source.settings.get(name))))
        for name, least in _LEAST.items()
    }


def _alone(major: int) -> dict[str, str]:
    """Return what keeps the server from doing anything that nobody asked for."""
    settings = {
        "listen_addresses": "",
        "ssl": "off",
        "archive_mode": "off",
        "archive_command": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",  # subscriptions would fetch, and move their slots
        "autovacuum": "off",  # evidence stays where it is
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        "jit": "off",
        "statement_timeout": "0",
        "default_transaction_read_only": "off",
        "cluster_name": "pgkeep sandbox",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
    }
    if major >= 17:
        settings["event_triggers"] = "off"  # those on login may do anything
    return settings


def _small(here: Here, segment_size: int) -> dict[str, str]:
    """Return what keeps it small, and quick where nothing has to last."""
    segment = segment_size // MIB
    buffers = min(_LARGE, max(_SMALL, here.free_memory // _SHARE))
    return {
        "shared_buffers": f"{buffers // MIB}MB",
        "huge_pages": "off",
        "dynamic_shared_memory_type": "mmap",  # files in the directory: removed with it
        "max_wal_size": f"{max(1024, 4 * segment)}MB",
        "min_wal_size": f"{max(80, 2 * segment)}MB",  # the server insists on two segments
        "checkpoint_timeout": "30min",
        "fsync": "off",  # a power cut loses it, and it is made to be lost
        "synchronous_commit": "off",
        "wal_level": "replica",
    }


def _recovery(source: Source) -> dict[str, str]:
    """Return what restore has decided of recovery."""
    values = parse_conf(source.auto).values()
    return {name: value for name, value in values.items() if name in _OF_RECOVERY and value}


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
