"""backup_label and tablespace_map: what a backup's end returns, and what recovery begins with.

Source: xlogbackup.c (build_backup_content), xlogrecovery.c (read_backup_label,
read_tablespace_map), xlog.c (do_pg_backup_start). The label is stored and restored byte for
byte; parsing it only checks it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.layout import is_oid

_LSN: Final = r"([0-9A-F]{1,8}/[0-9A-F]{1,8})"
_START: Final = re.compile(rf"START WAL LOCATION: {_LSN} \(file ([0-9A-F]{{24}})\)")
_CHECKPOINT: Final = re.compile(rf"CHECKPOINT LOCATION: {_LSN}")


class BadBackupLabel(PgkeepError):
    """A backup_label or tablespace_map that recovery could not use."""

    code = "bad-backup-label"
    exit_status = 53

    file: str
    why: str

    def __str__(self) -> str:
        return f"cannot restore with this {self.file}: {self.why}"

    @property
    def hint(self) -> str:
        return "the backup is damaged: restore another one, and take a new backup now"


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """What a backup_label says."""

    start: Lsn
    start_file: str
    checkpoint: Lsn
    from_standby: bool
    start_time: str  # in the server's log_timezone: for showing only
    label: str
    timeline: int

    def __str__(self) -> str:
        """Return the file's text, as a server of version 15 or later writes it."""
        return (
            f"START WAL LOCATION: {self.start} (file {self.start_file})\n"
            f"CHECKPOINT LOCATION: {self.checkpoint}\n"
            "BACKUP METHOD: streamed\n"
            f"BACKUP FROM: {'standby' if self.from_standby else 'primary'}\n"
            f"START TIME: {self.start_time}\n"
            f"LABEL: {self.label}\n"
            f"START TIMELINE: {self.timeline}\n"
        )


def parse_backup_label(text: str) -> BackupLabel:
    """Read a backup_label. Raise BadBackupLabel unless a server could recover with it."""
    lines = text.split("\n")
    start = _START.fullmatch(lines[0])
    checkpoint = _CHECKPOINT.fullmatch(lines[1]) if len(lines) > 1 else None
    if start is None or checkpoint is None or "\r" in text:
        raise BadBackupLabel("backup_label", "it does not begin with the start of WAL")
    named = dict(line.split(": ", 1) for line in lines[2:] if ": " in line)
    timeline = named.get("START TIMELINE", "")
    if not re.fullmatch(r"[1-9][0-9]{0,9}", timeline) or named.get("BACKUP FROM") not in {
        "primary",
        "standby",
    }:
        raise BadBackupLabel("backup_label", "it does not say from where the backup is")
    if any(line.startswith("INCREMENTAL FROM ") for line in lines):
        raise BadBackupLabel("backup_label", "it belongs to pg_basebackup's incremental backup")
    return BackupLabel(
        start=Lsn.parse(start[1]),
        start_file=start[2],
        checkpoint=Lsn.parse(checkpoint[1]),
        from_standby=named["BACKUP FROM"] == "standby",
        start_time=named.get("START TIME", ""),
        label=named.get("LABEL", ""),
        timeline=int(timeline),
    )


def clean_label(text: str) -> str:
    """Return a backup's label fit for the file: one line of at most 1024 bytes."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line.encode()[:1000].decode(errors="ignore")


def parse_tablespace_map(text: str) -> dict[int, str]:
    """Read a tablespace_map: directories by object id. Raise BadBackupLabel."""
    found: dict[int, str] = {}
    for line in _unescaped_lines(text):
        oid, blank, path = line.partition(" ")
        if not blank or not is_oid(oid) or not path.startswith("/") or "\0" in path:
            raise BadBackupLabel("tablespace_map", f"it has an unreadable line {line[:60]!r}")
        if int(oid) in found:
            raise BadBackupLabel("tablespace_map", f"it names tablespace {oid} twice")
        found[int(oid)] = path
    return found


def format_tablespace_map(directories: Mapping[int, str]) -> str:
    """Return a tablespace_map's text; without tablespaces there must be no such file."""
    return "".join(f"{oid} {_escaped(path)}\n" for oid, path in directories.items())


def remap_tablespaces(text: str, moved: Mapping[int, str]) -> str:
    """Return a tablespace_map with some tablespaces elsewhere. Raise BadBackupLabel.

    At its first start the server makes the links in pg_tblspc from this file, whatever links
    are there: a restore that moves a tablespace without it would open production's directory.
    """
    directories = parse_tablespace_map(text)
    for oid in moved.keys() - directories.keys():
        raise BadBackupLabel("tablespace_map", f"it does not name tablespace {oid}")
    return format_tablespace_map({**directories, **moved})


def _escaped(path: str) -> str:
    return re.sub(r"([\n\r\\])", r"\\\1", path)


def _unescaped_lines(text: str) -> list[str]:
    """Split at line ends that no backslash precedes, and take the backslashes away."""
    lines, line, escaped = [], "", False
    for character in text:
        if not escaped and character == "\\":
            escaped = True
        elif not escaped and character in "\n\r":
            if line:
                lines.append(line)
            line = ""
        else:
            line += character
            escaped = False
    if line or escaped:
        raise BadBackupLabel("tablespace_map", "its last line is cut off")
    return lines
