"""Decides by the seed what is done next, does it, and has the judge look at it."""

import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pgkeep.model.lsn import Lsn
from pgkeep.server.processes import all_pids
from support.ledger_wal import Branch
from support.wait import wait_for
from torture.commands import send, works_for
from torture.judging import Judge
from torture.world import World, chance_of

Act = Callable[[], None]
NO_PARENT = 68  # the exit status: there is nothing to which a backup could be incremental


class Director:
    """One run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance: random.Random = chance_of(world.setting.seed, "director")
        self.judge = Judge(world, chance_of(world.setting.seed, "judge"))
        self.counts: dict[str, int] = {}
        self._offers = {
            name: world.commands.run(name, "--help").exit == 0 for name in ("expire", "delete")
        }
        self._acts: dict[Act, int] = {
            self.back_up: 20,
            self.kill_a_backup: 12,
            self.restore: 18,
            self.restore_again: 8,
            self.verify: 4,
            self.expire: 9 if self._offers["expire"] else 0,
            self.delete: 5 if self._offers["delete"] else 0,
            self.crash: 5,
            self.checkpoint: 4,
            self.full_disk: 3 if world.disk.mounted else 0,
            self.read_only_disk: 3 if world.disk.mounted else 0,
            self.freeze: 3,
            self.kill_pushes: 4,
            self.refused: 3,
            self.at_once: 4,
            self.fork: 6,
            self.idle: 3,
        }

    def run(self, seconds: float) -> None:
        """Act until the time is over, then look at everything once more."""
        journal = self.world.journal
        until = journal.seconds + seconds
        self.world.load.wait_for(30)
        self.back_up()
        while journal.seconds < until:
            (act,) = self.chance.choices(list(self._acts), list(self._acts.values()))
            self.act(act)
        self.act(self.back_up)
        self.act(self.restore)
        self.act(self.verify)
        self.world.stop_load()
        self.world.archive()
        self.world.check_diaries()

    def act(self, act: Act) -> None:
        name = act.__name__.replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        self.world.journal.say(f"- {name}")
        act()
        self.world.load.wait_for(0)  # raises what a client met

    def summary(self) -> str:
        """Say how much was done."""
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        judge = self.judge
        return f"{judge.restores} restores were exact, {judge.refusals} refused; {counts}"

    # Backups

    def _kind(self) -> str:
        return self.chance.choice(["auto", "auto", "incremental", "full"])

    def back_up(self) -> None:
        result = self.world.commands.run("backup", "--type", self._kind())
        if result.exit == NO_PARENT:
            result = self.world.commands.run("backup")
        result.ok()
        if self.chance.random() < 0.5:
            self._restore_from_newest()

    def kill_a_backup(self) -> None:
        self.world.commands.killed(self.chance, "backup", "--type", self._kind())
        self._all_is_well()

    def _all_is_well(self) -> None:
        """I15: after every kill all that is listed verifies, and nothing is left behind."""
        self.world.backups()
        self.world.commands.run("verify", "--level", "bytes").ok()
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^pgkeep'"
        wait_for(lambda: self.world.pg.value(ours) == 0, 30, "the end of pgkeep's sessions")

    def at_once(self) -> None:
        """A backup while a restore or a verify is at work."""
        with self.world.commands.started("backup") as command:
            self.chance.choice([self.restore, self.verify])()
        ended = command.end()
        self.world.commands.tell(ended, command.seconds, "at once")
        ended.ok()

    def freeze(self) -> None:
        """All processes of a backup stand still for a while."""
        with self.world.commands.started("backup") as command:
            time.sleep(self.chance.uniform(0.2, 2))
            command.freeze(self.chance.uniform(0.5, 3))
        ended = command.end()
        self.world.commands.tell(ended, command.seconds, "frozen")
        ended.ok()

    # Restores

    def restore(self) -> None:
        line = self.world.line
        if self.world.siblings and self.chance.random() < 0.15:
            line = self.chance.choice(self.world.siblings)
        self.world.archive()
        backups = self.world.backups()
        usable = self.world.usable(line, backups)
        if not usable:
            return
        backup = self.chance.choice([*usable, *usable[-2:]])
        shot = self.judge.choose(line, backup, near=self.chance.random() < 0.5)
        if shot is None:
            self.world.journal.say(f"no moment is known behind {backup.id}")
            return
        proven = self.judge.judge(shot, line, backups)
        others = [b for b in usable if proven and b.stop_lsn <= proven.stop and b != proven.backup]
        if proven and others and self.chance.random() < 0.4:
            self.judge.again(proven, backups, by=self.chance.choice(others))

    def _restore_from_newest(self) -> None:
        """Right behind a new backup, where nothing has mended it yet."""
        self.world.load.wait_for(5)
        self.world.archive()
        backups = self.world.backups()
        newest = max(self.world.usable(self.world.line, backups), key=lambda b: b.stop_lsn)
        shot = self.judge.choose(self.world.line, newest, near=True)
        if shot is not None:
            self.judge.judge(shot, self.world.line, backups)

    def restore_again(self) -> None:
        """I16: what was exact once stays so."""
        if not self.judge.proven:
            return
        proven = self.chance.choice(self.judge.proven)
        backups = self.world.backups()
        if any(backup.id == proven.backup.id for backup in backups):
            self.judge.again(proven, backups)

    def refused(self) -> None:
        """A target before a backup's end: refused, before anything is written."""
        backup = self.chance.choice(self.world.backups())
        place = self.world.directory / "refused"
        to = f"lsn:{Lsn((backup.start_lsn + backup.stop_lsn) // 2)}"
        words = ("restore", backup.id, "--target-dir", place, "--to", to)
        result = self.world.commands.run(*words)
        assert 0 < result.exit < 255, result
        assert not place.exists()

    # Housekeeping

    def verify(self) -> None:
        level = self.chance.choice(["objects", "bytes"])
        if self.chance.random() < 0.3:
            self.world.commands.killed(self.chance, "verify", "--level", level)
        self.world.commands.run("verify", "--level", level).ok()

    def expire(self) -> None:
        if self.chance.random() < 0.3:
            now = datetime.now(UTC)
            self.world.commands.killed(self.chance, "expire")
            self.judge.expired({}, now + timedelta(seconds=10))
            self._all_is_well()
        result = self.world.commands.run("expire", "--json").ok()
        self.judge.expired(result.json, datetime.now(UTC))
        self._all_is_well()

    def delete(self) -> None:
        backups = self.world.backups()
        if len(backups) < 3:
            return
        backup = self.chance.choice(backups[:-1])
        words = ["delete", backup.id]
        if self.chance.random() < 0.3:
            self.world.commands.killed(self.chance, *words)
        else:
            self.world.commands.run(*words)
        gone = {b.id for b in self.world.backups()} ^ {b.id for b in backups}
        assert gone <= {backup.id}, f"{gone} went, not {backup.id}"
        if gone:
            promises = self.judge.promises
            promises.deleted = max(backup.stopped_at, promises.deleted or backup.stopped_at)
        self._all_is_well()

    # The server and the disk

    def crash(self) -> None:
        self.world.crash()

    def checkpoint(self) -> None:
        self.world.pg.sql("CHECKPOINT")

    def idle(self) -> None:
        time.sleep(self.chance.uniform(0.5, 4))

    def kill_pushes(self) -> None:
        """Whatever pushes or fetches WAL is killed, again and again, for some seconds."""
        config, killed = str(self.world.directory / "pgkeep.toml").encode(), 0
        until = time.monotonic() + self.chance.uniform(1, 4)
        while time.monotonic() < until:
            for pid in all_pids():
                if works_for(pid, b"pgkeep-wal", config):
                    killed += send(pid, signal.SIGKILL)
            time.sleep(self.chance.uniform(0.01, 0.2))
        self.world.journal.say(f"killed {killed} processes of pgkeep-wal")
        self.world.archive()
        self._all_is_well()

    def full_disk(self) -> None:
        """A backup meets a full repository: it fails or not, and harms nothing."""
        with self.world.disk.full():
            self.world.commands.run("backup", "--type", self._kind())
            self.world.backups()
        self.world.archive()
        self._all_is_well()
        self.world.commands.run("backup").ok()

    def read_only_disk(self) -> None:
        """Nothing can be stored, but what is there can be restored."""
        self.world.archive()
        with self.world.disk.read_only() as happened:
            if happened:
                self.world.commands.run("backup", "--type", self._kind())
                backups = self.world.backups()
                usable = self.world.usable(self.world.line, backups)
                backup = self.chance.choice(usable) if usable else None
                shot = backup and self.judge.choose(self.world.line, backup, near=True)
                if shot:
                    self.judge.judge(shot, self.world.line, backups)
        self._all_is_well()

    def fork(self) -> None:
        """Restore the cluster itself to an earlier moment; it goes on from there."""
        world = self.world
        usable = world.usable(world.line, world.backups())
        world.archive()
        backup = self.chance.choice(usable[-3:]) if usable else None
        shot = backup and self.judge.choose(world.line, backup, near=self.chance.random() < 0.5)
        if not shot or not backup or not self.judge.promises.hold(backup, usable):
            return
        world.stop_load()
        world.settle()
        world.archive()
        world.check_diaries()
        world.pg.stop()
        words = ["restore", backup.id, "--target-dir", str(world.pg.data_directory)]
        words += ["--to", shot.to, "--timeline", str(shot.timeline)]
        words += [] if shot.inclusive else ["--exclusive"]
        words += ["--delta", "--discard-wal", "--keep-archiving"]
        if self.chance.random() < 0.3:
            world.commands.killed(self.chance, *words)
        world.commands.run(*words).ok()
        trunk = world.line
        world.pg.start()
        world.wait_promoted(world.pg)
        world.line = self._new_line()
        world.siblings.append(trunk)
        world.journal.say(f"timelines now: {world.line}")
        world.archive()
        history = world.history()
        world.bank.compare(world.pg, shot, world.bank.state(history, history.events))
        world.settle()
        world.start_load()

    def _new_line(self) -> tuple[Branch, ...]:
        pg = self.world.pg
        name = str(pg.value("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))
        text = (pg.data_directory / f"pg_wal/{name}.history").read_text()
        parts = [line.split("\t") for line in text.splitlines() if line.strip()]
        older = [Branch(int(part[0]), Lsn.parse(part[1])) for part in parts]
        return (*older, Branch(int(name, 16)))
