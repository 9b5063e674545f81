"""Restores by the real command line, and what is there afterwards against the witness."""

import random
import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pgkeep.model.backup import Backup
from pgkeep.model.lsn import Lsn
from pgkeep.model.target import TimelineChoice
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.command import Result
from support.ledger import Shot, choose_shots, examine
from support.ledger_wal import Event, History
from torture.shed import fingerprint
from torture.world import Line, World

MARKER = "pgkeep-restore-in-progress"


@dataclass(frozen=True, slots=True)
class Proven:
    """A restore that was exact once, and must be for as long as the policy keeps it."""

    shot: Shot
    line: Line
    backup: Backup  # from which it came
    stop: Lsn
    fingerprint: str


@dataclass
class Promises:
    """What retention has let go so far: only that may be refused."""

    floor: datetime | None = None  # where the window began when expire ran last
    deleted: datetime | None = None  # the newest backup that was deleted by name

    def hold(self, backup: Backup, backups: list[Backup]) -> bool:
        """Tell whether everything from a backup on must be restorable."""
        if self.deleted is not None and backup.stopped_at < self.deleted:
            return False
        if self.floor is None or backup.stopped_at > self.floor:
            return True
        # The newest backup before the window carries it: its WAL is kept from there on.
        older = [b.stopped_at for b in backups if b.stopped_at <= self.floor]
        return backup.stopped_at >= max(older, default=self.floor)


class Judge:
    """Knows one world; `proven` grows."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.proven: list[Proven] = []
        self.promises = Promises()
        self.old: list[Path] = []  # directories for delta restores
        self.restores = 0
        self.refusals = 0
        self._chance = chance
        self._count = 0

    def choose(self, line: Line, backup: Backup, *, near: bool) -> Shot | None:
        """Return a restore near a backup's end, or anywhere behind it; None: nothing is known."""
        history, seed = self.world.history(line), self._chance.randrange(1 << 30)
        diary = self.world.diary(line)
        current = line == self.world.line and self._chance.random() < 0.5
        timeline: TimelineChoice = "latest" if current else line[-1].timeline
        try:
            (shot,) = choose_shots(
                history, diary, [backup], 1, seed, timeline=timeline, far=not near
            )
        except (AssertionError, IndexError):
            return None
        return shot

    def judge(self, shot: Shot, line: Line, backups: list[Backup]) -> Proven | None:
        """Restore and compare; None: refused, as it may be. Anything else is a failure."""
        history = self.world.history(line)
        usable = [b for b in self.world.usable(line, backups) if shot.backup in (None, b.id)]
        reached = {b.id: _replayed(history, shot, b) for b in usable}
        candidates = [b for b in usable if reached[b.id] is not None]
        place, delta = self._place()
        result = self._restore(shot, place, delta=delta)
        if result.exit != 0:
            self._may_be_refused(result, candidates, line, backups)
            self._forget(place)
            return None
        report = result.json
        backup = next((b for b in candidates if b.id == report["backup"]), None)
        assert backup is not None, f"{shot} was restored from {report['backup']}, which cannot be"
        events = reached[backup.id]
        assert events is not None
        mark = self._compare(shot, history, events, place, report["recovery"])
        stop = events[-1].lsn if events else backup.stop_lsn
        proven = Proven(shot, line, backup, stop, mark)
        self.proven.append(proven)
        self.restores += 1
        self.world.journal.say(
            f"exact: {shot} from {backup.type} {backup.id}, "
            f"{len(history.committed(events))} transactions"
        )
        self.old.append(place)
        for directory in self.old[:-2]:
            self._forget(directory)
        return proven

    def again(self, proven: Proven, backups: list[Backup], *, by: Backup | None = None) -> None:
        """Restore what was exact once again, from the same backup or `by` another."""
        shot = replace(
            proven.shot, backup=(by or proven.backup).id, timeline=proven.line[-1].timeline
        )
        found = self.judge(shot, proven.line, backups)
        if found is not None:
            assert found.fingerprint == proven.fingerprint, f"{shot} was different before"

    def _place(self) -> tuple[Path, bool]:
        """Return where to restore: half of the time into the directory of an earlier restore."""
        if self.old and self._chance.random() < 0.5:
            return self.old.pop(self._chance.randrange(len(self.old))), True
        self._count += 1
        return self.world.directory / f"restored{self._count}", False

    def _restore(self, shot: Shot, place: Path, *, delta: bool) -> Result:
        self._port = self._chance.randrange(20000, 60000)
        words: list[str | Path] = ["restore", *([shot.backup] if shot.backup else [])]
        words += ["--target-dir", place, "--to", shot.to, "--timeline", str(shot.timeline)]
        words += [] if shot.inclusive else ["--exclusive"]
        words += ["--action", shot.action, "--tablespace", f"{self.world.space}={place}.space"]
        words += ["--delta", "--discard-wal"] if delta else []
        started = ["--start", "--port", str(self._port), "--json"]
        commands = self.world.commands
        if self._chance.random() < 0.15:
            struck = commands.killed(self._chance, *words)  # without --start
            assert _never_half(place, delta=delta), f"half a restore would start: {place}"
            if struck.exit == 0 or place.exists():
                words += [] if delta else ["--delta", "--discard-wal"]
        return commands.run(*words, *started)

    def _may_be_refused(
        self, result: Result, candidates: list[Backup], line: Line, backups: list[Backup]
    ) -> None:
        usable = self.world.usable(line, backups)
        held = [b.id for b in candidates if self.promises.hold(b, usable)]
        assert not held, f"{result.command}: refused, though {held} must reach it:\n{result.stderr}"
        self.refusals += 1

    def _compare(
        self,
        shot: Shot,
        history: History,
        events: tuple[Event, ...],
        place: Path,
        recovery: dict[str, Any],
    ) -> str:
        pg = self.world.pg
        restored = ScratchCluster.over(pg.binaries, place)
        restored.create()  # its watchdog ends the server, should we be killed
        restored.port, own = self._port, restored.socket_directory
        restored.socket_directory = pg.socket_directory
        try:
            if recovery["ending"] == "paused":
                restored.server_tool("pg_ctl", "promote", "-w", "-D", str(place))
            else:
                assert recovery["ending"] == "promoted", recovery
            return self._look(restored, shot, history, events)
        finally:
            server = ServerProcess.attach(place, log_file=f"{place}.log")
            if server is not None:
                server.kill()
            restored.destroy()
            shutil.rmtree(own, ignore_errors=True)

    def _look(
        self, restored: ScratchCluster, shot: Shot, history: History, events: tuple[Event, ...]
    ) -> str:
        mark, wrong = fingerprint(restored)
        assert not wrong, f"{shot}: {'; '.join(wrong)}"
        self.world.bank.judge_running(restored, shot, history, events)
        examine(restored)
        return mark

    def _forget(self, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(f"{place}.space", ignore_errors=True)
        self.old = [each for each in self.old if each != place]

    def expired(self, report: dict[str, Any], now: datetime) -> None:
        """Note what expire was allowed to remove."""
        floor = now - timedelta(seconds=self.world.setting.window_s)
        self.promises.floor = max(floor, self.promises.floor or floor)


def _never_half(place: Path, *, delta: bool) -> bool:
    """Tell whether a killed restore left nothing that starts, or all of it, or all that was."""
    if not (place / "global/pg_control").exists():
        return True
    whole = all((place / name).exists() for name in ("backup_label", "recovery.signal"))
    return whole or (delta and not (place / MARKER).exists())


def _replayed(history: History, shot: Shot, backup: Backup) -> tuple[Event, ...] | None:
    return history.replayed(shot.recovery, backup.start_lsn, backup.stop_lsn)
