"""How the restored server is told to recover: its settings, signal file, label and map.

Everything is worked out from texts and returned as texts: restore.py writes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgkeep.postgres.backup_label import (
    BadBackupLabel,
    parse_backup_label,
    parse_tablespace_map,
    remap_tablespaces,
)
from pgkeep.postgres.conf import (
    SPOOL_REMOVAL,
    append_settings,
    parse_conf,
    quote_value,
    strip_recovery_settings,
    strip_settings,
)
from pgkeep.repository.manifest.facts import Facts
from pgkeep.restore.plan import RestorePlan
from pgkeep.traces import SETTINGS_HEADING

# A hot standby refuses to start when one is lower than on the source: xlogrecovery.c,
# CheckRequiredParameterValues. On the source they may have come from its command line.
_MINIMUMS: Final[Mapping[str, int]] = {
    "max_connections": 100,  # PostgreSQL's own defaults
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
# In a configuration file that was kept elsewhere, what points out of the data directory.
_PLACES: Final = frozenset({"data_directory", "hba_file", "ident_file", "external_pid_file"})
_INCLUDES: Final = frozenset({"include", "include_if_exists", "include_dir"})
_TARGETS: Final = frozenset(
    {
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
    }
)
_CLEARABLE: Final = _TARGETS | {
    "archive_cleanup_command",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
}
_NO_ARCHIVING: Final = (
    "A copy must not write into its original's archive. To archive from here on, give this server "
    "a cluster of its own in pgkeep.toml, then take out this line"
)


@dataclass(frozen=True, slots=True)
class RecoveryOptions:
    """What the user chose about the restored server beside the target."""

    restore_command: str
    keep_archiving: bool = False
    primary_conninfo: str = ""
    primary_slot_name: str = ""


@dataclass(frozen=True, slots=True)
class ConfigTexts:
    """The configuration as the backup holds it."""

    main: str  # postgresql.conf
    auto: str  # postgresql.auto.conf


def auto_conf(
    before: ConfigTexts, plan: RestorePlan, options: RecoveryOptions, facts: Facts, when: str
) -> str:
    """Return the new postgresql.auto.conf: the old one without recovery settings, then ours.

    Every other line of it stays byte for byte.
    """
    kept = "".join(
        line
        for line in strip_recovery_settings(before.auto).text.splitlines(keepends=True)
        if not line.startswith(SETTINGS_HEADING)
    )
    ours = dict(plan.settings)
    cleared = {name: value for name, value in _cleared(before.main).items() if name not in ours}
    settings = {
        **cleared,
        "restore_command": options.restore_command,
        "recovery_end_command": SPOOL_REMOVAL,
    }
    if plan.standby:
        settings |= _standby(options)
    settings |= _raised(ConfigTexts(before.main, kept), facts)
    if any(not space.path.startswith("/") for space in facts.tablespaces):
        # else recovery takes their directories for rubbish (CheckTablespaceDirectory)
        settings["allow_in_place_tablespaces"] = "on"
    # The target comes last: a server that reads another one's '' after it complains of two targets.
    settings |= ours
    title = f"{SETTINGS_HEADING.removeprefix('# ')}{_title(plan, when)}"
    text = append_settings(kept, settings, title)
    if options.keep_archiving:
        return text
    return append_settings(text, {"archive_mode": "off"}, _NO_ARCHIVING)


def backup_label(facts: Facts) -> str:
    """Return backup_label as the server gave it. Raise BadBackupLabel when it cannot be right.

    Without it a server starts with plain crash recovery, and shows wrong data without a word.
    """
    label = parse_backup_label(facts.backup_label)
    if str(label.start) != facts.start_lsn or label.timeline != facts.timeline:
        why = f"it begins at {label.start}, timeline {label.timeline}, and the backup elsewhere"
        raise BadBackupLabel("backup_label", why)
    return facts.backup_label


def tablespace_map(facts: Facts, plan: RestorePlan) -> str:
    """Return tablespace_map with the tablespaces' new places; '' when there are none."""
    recorded = parse_tablespace_map(facts.tablespace_map)
    linked = {space.oid: space.path for space in facts.tablespaces if space.path.startswith("/")}
    if recorded != linked:
        raise BadBackupLabel("tablespace_map", "it does not name the tablespaces of the backup")
    return remap_tablespaces(
        facts.tablespace_map, {move.oid: move.new for move in plan.tablespaces}
    )


def adopted(text: str) -> str:
    """Return a postgresql.conf that was kept elsewhere, fit for the data directory itself.

    What points to its old surroundings is taken out: another server's data directory, or files
    that nobody backed up.
    """
    stripped = strip_settings(text, lambda name: name in _PLACES or name in _INCLUDES)
    gone = "".join(
        f"# taken out by pgkeep restore: {s.name} = {quote_value(s.name, s.value)}\n"
        for s in stripped.removed
    )
    ended = "" if not stripped.text or stripped.text.endswith("\n") else "\n"
    return stripped.text + ended + gone


def _title(plan: RestorePlan, when: str) -> str:
    what = "as a standby" if plan.standby else f"to {plan.asked}"
    return f"backup {plan.backup.id} of {plan.cluster} {what}, restored {when}"


def _cleared(main: str) -> dict[str, str]:
    """Return what silences recovery settings of postgresql.conf; '' means none to each."""
    found = {setting.name for setting in strip_recovery_settings(main).removed}
    if parse_conf(main).includes():
        found |= _TARGETS  # they may stand in a file that is not looked into
    cleared = dict.fromkeys(sorted(found & _CLEARABLE), "")
    if "recovery_min_apply_delay" in found:
        cleared["recovery_min_apply_delay"] = "0"
    return cleared


def _standby(options: RecoveryOptions) -> dict[str, str]:
    settings = {}
    if options.primary_conninfo:
        settings["primary_conninfo"] = options.primary_conninfo
    if options.primary_slot_name:
        settings["primary_slot_name"] = options.primary_slot_name
    return settings


def _raised(texts: ConfigTexts, facts: Facts) -> dict[str, str]:
    """Return the source's values of the settings that would be too low for a hot standby."""
    set_here = {**parse_conf(texts.main).values(), **parse_conf(texts.auto).values()}
    raised = {}
    for name, default in _MINIMUMS.items():
        needed = _number(facts.settings.get(name), default)
        if _number(set_here.get(name), default) < needed:
            raised[name] = str(needed)
    return raised


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else default
