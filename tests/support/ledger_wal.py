"""What was committed when: read from the WAL by PostgreSQL's own pg_waldump.

Nothing of pgkeep is used for it but how it writes WAL positions. The rules for where recovery
stops are those of xlogrecovery.c, recoveryStopsBefore and recoveryStopsAfter.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from pgkeep.model.lsn import Lsn
from pgkeep.model.target import AtLsn, AtName, AtTime, AtXid, Immediate, Latest, RecoveryTarget
from pgkeep.server.binaries import Binaries
from support.ledger_script import PREFIX, Identity

_LINE = re.compile(r"rmgr: (\S+) .*?, tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*?desc: (.*)")
_ENDED = re.compile(r"(COMMIT|ABORT)(?:_PREPARED (\d+):)? (\d{4}-\d\d-\d\d [0-9:.]+) UTC")
_PREPARED = re.compile(r"PREPARE gid (\S+): ")
_MESSAGE = re.compile(rf'MESSAGE transactional, prefix "{PREFIX}"; payload \(\d+ bytes\): (.*)')


class Kind(Enum):
    """What an event in the WAL means."""

    COMMIT = "commit"
    ABORT = "abort"
    PREPARE = "prepare"
    POINT = "restore point"


@dataclass(frozen=True, slots=True)
class Event:
    """A record at which recovery may stop, or that decides what is committed."""

    lsn: Lsn  # where the record starts
    kind: Kind
    xid: int = 0
    time: datetime | None = None  # of commits and aborts only
    name: str = ""  # of a restore point; of a prepared transaction

    @property
    def ends(self) -> bool:
        return self.kind in (Kind.COMMIT, Kind.ABORT)


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of history: a timeline up to where the next one leaves it."""

    timeline: int
    until: Lsn | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that happened along a line of timelines, in the order of the WAL."""

    events: tuple[Event, ...]
    identities: Mapping[int, Identity]  # by transaction id
    witness: "Witness"
    branches: tuple[Branch, ...]

    def first_record(self, lsn: Lsn) -> Lsn | None:
        """Return where the first record at or after a position starts."""
        for branch in self.branches:
            if branch.until is None or lsn < branch.until:
                found = self.witness.records(branch.timeline, lsn, 1)
                if found and (branch.until is None or found[0] < branch.until):
                    return found[0]
        return None

    def replayed(self, recovery: RecoveryTarget, start: Lsn, end: Lsn) -> tuple[Event, ...] | None:
        """Return what a recovery applies from a backup that began and ended at these positions.

        None: it never stops, or would stop before the backup is consistent; either is an error.
        """
        match recovery.target:
            case Latest():
                return self.events
            case Immediate():
                return self.before(end)
        found = self._stop(recovery, start)
        if found is None or found[0] < end:
            return None
        lsn, applied = found
        return self.up_to(lsn) if applied else self.before(lsn)

    def _stop(self, recovery: RecoveryTarget, start: Lsn) -> tuple[Lsn, bool] | None:
        """Return the record at which recovery stops, and whether it is applied."""
        inclusive = recovery.inclusive
        later = [event for event in self.events if event.lsn >= start]
        ends = [event for event in later if event.ends]
        match recovery.target:
            case AtLsn(lsn):
                record = self.first_record(lsn)
                return None if record is None else (record, inclusive)
            case AtTime(time):
                passed = (e for e in ends if e.time and (e.time, not inclusive) > (time, False))
                return next(((event.lsn, False) for event in passed), None)
            case AtXid(xid):
                own = (event for event in ends if event.xid == xid & 0xFFFFFFFF)
                return next(((event.lsn, inclusive) for event in own), None)
            case AtName(name):
                points = (e for e in later if e.kind is Kind.POINT and e.name == name)
                return next(((event.lsn, True) for event in points), None)
        return None

    def before(self, lsn: Lsn) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.lsn < lsn)

    def up_to(self, lsn: Lsn) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.lsn <= lsn)

    def committed(self, events: Iterable[Event]) -> dict[Identity, int]:
        """Return the transactions of the load that these events commit, with their ids."""
        return {
            self.identities[event.xid]: event.xid
            for event in events
            if event.kind is Kind.COMMIT and event.xid in self.identities
        }

    def prepared(self, events: Iterable[Event]) -> set[str]:
        """Return the names of the transactions that these events leave prepared."""
        found: dict[int, str] = {}
        for event in events:
            if event.kind is Kind.PREPARE:
                found[event.xid] = event.name
            else:
                found.pop(event.xid, None)
        return set(found.values())


@dataclass(frozen=True, slots=True)
class Witness:
    """Copies of all WAL that was archived, as the server handed it over."""

    directory: Path
    binaries: Binaries

    def history(self, *branches: Branch) -> History:
        """Read what happened along these timelines, the oldest first."""
        events: list[Event] = []
        identities: dict[int, Identity] = {}
        begin = Lsn(0)
        for branch in branches:
            for rmgr, xid, lsn, text in self._interesting(branch.timeline):
                if lsn < begin or (branch.until is not None and lsn >= branch.until):
                    continue
                who = _MESSAGE.match(text) if rmgr == "LogicalMessage" else None
                if who is not None:
                    identities[xid] = Identity.parse(bytes.fromhex(who[1]).decode())
                event = parse_event(rmgr, xid, lsn, text)
                if event is not None:
                    events.append(event)
            begin = branch.until or begin
        return History(tuple(events), identities, self, branches)

    def records(self, timeline: int, lsn: Lsn, count: int) -> list[Lsn]:
        """Return where the first records at or after a position start."""
        where = ("--path", str(self.directory), "--timeline", str(timeline))
        lines = self._dump(*where, "--start", str(lsn), "--limit", str(count))
        return [lsn for _, _, lsn, _ in lines]

    def _interesting(self, timeline: int) -> list[tuple[str, int, Lsn, str]]:
        names = sorted(self.directory.glob(f"{timeline:08X}" + "?" * 16))
        chosen = [f"--rmgr={name}" for name in ("Transaction", "XLOG", "LogicalMessage")]
        if self.binaries.major < 15:  # it would heed the last one alone
            chosen = []
        return self._dump(*chosen, str(names[0]), str(names[-1]))

    def _dump(self, *words: str) -> list[tuple[str, int, Lsn, str]]:
        command = [self.binaries.tool("pg_waldump"), *words]
        environment = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        # Where it is told to start, there may be fewer records left than were asked for.
        assert done.returncode == 0 or "--limit" in words, f"{command}: {done.stderr}"
        found = (_LINE.match(line) for line in done.stdout.splitlines())
        return [(m[1], int(m[2]), Lsn.parse(m[3]), m[4]) for m in found if m]


def parse_event(rmgr: str, xid: int, lsn: Lsn, text: str) -> Event | None:
    """Return the event in a line of pg_waldump, if it is one."""
    if rmgr == "XLOG":
        point = text.removeprefix("RESTORE_POINT ")
        return None if point == text else Event(lsn, Kind.POINT, name=point)
    if rmgr != "Transaction":
        return None
    ended = _ENDED.match(text)
    if ended is not None:
        kind = Kind.COMMIT if ended[1] == "COMMIT" else Kind.ABORT
        time = datetime.fromisoformat(ended[3]).replace(tzinfo=UTC)
        return Event(lsn, kind, int(ended[2] or xid), time)
    prepared = _PREPARED.match(text)
    return Event(lsn, Kind.PREPARE, xid, name=prepared[1]) if prepared else None
