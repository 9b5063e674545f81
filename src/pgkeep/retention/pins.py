"""Pins: backups and dumps that stay whatever the policy says. On disk: docs/formats/pins.md."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from pgkeep.errors import PgkeepError
from pgkeep.model.dump import noun_of
from pgkeep.model.target import BadTarget, parse_time
from pgkeep.repository import names
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.claims import locks
from pgkeep.repository.dumps import UnknownDump, is_dump_id, manifest_name
from pgkeep.repository.marker import encode_document, format_moment, parse_moment, read_document
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.units import BadUnit, parse_duration


class BadEnd(PgkeepError):
    """The end of a pin that cannot be read, or that has passed."""

    code = "bad-pin-end"
    exit_status = 210

    text: str
    why: str

    def __str__(self) -> str:
        return f"cannot pin until {self.text!r}: {self.why}"

    @property
    def hint(self) -> str:
        return "write a date like 2027-01-31, a time, or how long from now, like 90d"


class NotPinned(PgkeepError):
    """A pin that should be removed is not there."""

    code = "not-pinned"
    exit_status = 211

    backup: str

    def __str__(self) -> str:
        noun = noun_of(self.backup)
        return f"cannot remove the pin of {noun} {self.backup!r}: no one {noun} like it has any"

    @property
    def hint(self) -> str:
        return "pgkeep pin without a backup lists all pins"


@dataclass(frozen=True, slots=True)
class Pin:
    """Why a backup or dump stays, and how long."""

    backup: str  # its id; that of a dump tells so
    id: str
    reason: str
    until: datetime | None = None  # None: until it is removed
    made_at: datetime | None = None  # None when the pin cannot be read
    made_by: str = ""

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until

    @property
    def words(self) -> str:
        if self.until is None:
            return self.reason
        return f"{self.reason}, until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def read_pins(cluster: ClusterFolder) -> tuple[Pin, ...]:
    """Return all pins, ended ones too. One that cannot be read holds until it is removed."""
    prefix = names.pins_prefix(cluster.name)
    found = []
    for blob in cluster.store.list(prefix):
        backup_id, _, file = blob.name.removeprefix(prefix).partition("/")
        pin_id = file.removesuffix(".json")
        if blob.name != names.pin(cluster.name, backup_id, pin_id):
            continue  # not one of ours
        pin = _read(cluster, backup_id, pin_id)
        if pin is not None:
            found.append(pin)
    return tuple(found)


def holding(pins: Iterable[Pin], now: datetime) -> dict[str, str]:
    """Return what is pinned now, by id, and why."""
    found: dict[str, str] = {}
    for pin in pins:
        if pin.holds(now):
            known = found.get(pin.backup)
            found[pin.backup] = f"{known}; {pin.words}" if known else pin.words
    return found


def add_pin(
    cluster: ClusterFolder,
    backup_id: str,
    reason: str,
    until: datetime | None,
    now: datetime,
) -> Pin:
    """Pin a backup or dump, durably.

    Raise UnknownBackup, UnknownDump, or LockTaken while something is being deleted.
    """
    process = locks.this_process()
    pin = Pin(backup_id, os.urandom(8).hex(), reason, until, now, f"{process.user}@{process.host}")
    # Expire looks for pins after it has its lock: one that comes later must not find it at work.
    with locks.hold(cluster, "pin", "pgkeep pin", {"expire"}):
        try:
            cluster.store.stat(manifest_name(cluster.name, backup_id))
        except BlobMissing:
            unknown = UnknownDump if is_dump_id(backup_id) else UnknownBackup
            raise unknown(cluster.name, backup_id, ()) from None
        cluster.store.create(names.pin(cluster.name, backup_id, pin.id), [encode_pin(pin)])
    return pin


def find_pins(cluster: ClusterFolder, text: str) -> list[Pin]:
    """Return the pins of the one thing that `text` means, there or not. Raise NotPinned."""
    pins = read_pins(cluster)
    ids = {pin.backup for pin in pins if pin.backup == text}
    ids = ids or {pin.backup for pin in pins if text and pin.backup.startswith(text)}
    if len(ids) != 1:
        raise NotPinned(text)
    return [pin for pin in pins if pin.backup in ids]


def remove_pins(cluster: ClusterFolder, pins: Iterable[Pin]) -> None:
    for pin in pins:
        cluster.store.delete(names.pin(cluster.name, pin.backup, pin.id))


def encode_pin(pin: Pin) -> bytes:
    facts = {
        "backup": pin.backup,
        "reason": pin.reason,
        "until": format_moment(pin.until) if pin.until else None,
        "made_at": format_moment(pin.made_at) if pin.made_at else None,
        "made_by": pin.made_by,
    }
    return encode_document(facts)


def parse_end(text: str, now: datetime, zone: tzinfo) -> datetime:
    """Read '90d' from now on, a time, or a date, which belongs to the pin as a whole."""
    try:
        end = now + timedelta(seconds=parse_duration(text))
    except BadUnit:
        end = _parse_date(text, zone)
    except OverflowError:
        raise BadEnd(text, "that is after the year 9999") from None
    if end <= now:
        raise BadEnd(text, "that has passed")
    return end


def _parse_date(text: str, zone: tzinfo) -> datetime:
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        try:
            return parse_time(text, zone)
        except (BadTarget, OverflowError) as error:
            raise BadEnd(text, "it is neither a date nor a duration") from error
    try:
        day += timedelta(days=1)
        # Midnight in the zone, which is not 24 hours away when clocks are put back.
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise BadEnd(text, "that is after the year 9999") from None


def _read(cluster: ClusterFolder, backup_id: str, pin_id: str) -> Pin | None:
    """Return a pin; None when it was removed since it was listed."""
    name = names.pin(cluster.name, backup_id, pin_id)
    try:
        return _decoded(read_document(cluster.store, name), backup_id, pin_id)
    except BlobMissing:
        return None
    except (Damaged, FormatTooNew, ShortRead, KeyError, TypeError, ValueError):
        # It protects its backup all the same: what it said may have been the reason of somebody.
        return Pin(backup_id, pin_id, "a pin that cannot be read")


def _decoded(facts: Mapping[str, Any], backup_id: str, pin_id: str) -> Pin:
    until, made_at = facts["until"], facts["made_at"]
    if facts["backup"] != backup_id:
        raise ValueError(f"it pins backup {facts['backup']}")
    return Pin(
        backup_id,
        pin_id,
        str(facts["reason"]),
        None if until is None else parse_moment(until),
        None if made_at is None else parse_moment(made_at),
        str(facts["made_by"]),
    )
