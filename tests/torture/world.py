"""The cluster under load, its repository, and the witness of its WAL."""

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgkeep.model.backup import Backup
from pgkeep.model.lsn import Lsn
from pgkeep.repository import catalog
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.server.binaries import Binaries
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.command import PGKEEP_WAL, write_config
from support.ledger import SETTINGS, Bank
from support.ledger_script import Identity, Load, Outcome, script
from support.ledger_wal import Branch, History, Witness
from support.load_writers import Diary, RunningLoad, prepare_tables
from support.restores import CLUSTER, Scene
from support.wait import wait_for
from torture import shed
from torture.commands import LIMIT_S, Commands
from torture.disk import Disk
from torture.journal import Journal
from torture.setting import Setting

PASSPHRASE = "a secret of the torture test"
BACKLOG_MB = 6  # of WAL that waits for the archiver, before the load slows down
PACE = 4.0  # slow enough for two cores to do the rest as well
Line = tuple[Branch, ...]  # of history: timelines up to where the next one leaves them


@dataclass(frozen=True)
class GrowingWitness(Witness):
    """Reads only what is new each time."""

    _read: dict[int, "_Read"] = field(default_factory=dict)

    def _interesting(self, timeline: int) -> list[tuple[str, int, Lsn, str]]:
        read = self._read.setdefault(timeline, _Read())
        names = sorted(self.directory.glob(f"{timeline:08X}" + "?" * 16))
        # Two segments are read again: a record may have begun there.
        start = max(0, read.segments - 2)
        chosen = [f"--rmgr={name}" for name in ("Transaction", "XLOG", "LogicalMessage")]
        last = read.lines[-1][2] if read.lines else Lsn(0)
        found = self._dump(*chosen, str(names[start]), str(names[-1]))
        read.lines += [line for line in found if line[2] > last]
        read.segments = len(names)
        return read.lines


@dataclass
class _Read:
    segments: int = 0
    lines: list[tuple[str, int, Lsn, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Round:
    """A stretch of load between two stops of the server, on one timeline."""

    timeline: int
    load: RunningLoad


class World:
    """All of it; a context manager that removes it, or keeps it after a failure."""

    def __init__(
        self, setting: Setting, binaries: Binaries, directory: Path, journal: Journal
    ) -> None:
        self.setting = setting
        self.directory = directory
        self.journal = journal
        self.rounds: list[Round] = []
        self.line: Line = (Branch(1),)
        self.siblings: list[Line] = []
        self.disk = Disk(directory / "disk")
        self.space = directory / "space"
        self.space.mkdir()
        self.secret = {"PGKEEP_PASSPHRASE": PASSPHRASE} if setting.encrypted else {}
        config = directory / "pgkeep.toml"
        self.pg = self._cluster(binaries, config)
        self._write_config(config)
        self.commands = Commands(config, self.secret, journal)
        self._client = 0
        self._running = ExitStack()

    def _cluster(self, binaries: Binaries, config: Path) -> ScratchCluster:
        copies = self.directory / "witness"
        copies.mkdir()
        push = f"{PGKEEP_WAL} --config {config} --cluster {CLUSTER} push %p"
        # The witness has what the archive has said it has, and no half segments.
        command = f"{push} && cp %p {copies}/.%f && mv {copies}/.%f {copies}/%f"
        settings: dict[str, str | int | None] = {
            **SETTINGS,
            "wal_level": "replica",
            "archive_mode": "on",
            "archive_command": command,
            "allow_in_place_tablespaces": "on",
        }
        if self.setting.summarize:
            settings["summarize_wal"] = "on"
        pg = ScratchCluster(
            binaries,
            self.directory / "main",
            settings=settings,
            wal_segsize=self.setting.segment_mb,
        )
        pg.environment = dict(self.secret)
        return pg

    def _write_config(self, config: Path) -> None:
        repository = self.disk.place / "repository"
        write_config(config, repository, {}, "")
        encryption = "passphrase" if self.setting.encrypted else "none"
        main = [
            f"encryption = '{encryption}'",
            "[clusters.main]",
            "conninfo = '@'",
            f"jobs = {self.setting.jobs}",
            f"pg_bin = '{self.pg.binaries.directory}'",
            "wal_timeout = '60s'",
            self.setting.config(),
        ]
        config.write_text(config.read_text().rstrip() + "\n" + "\n".join(main))

    def begin(self) -> None:
        """Make the cluster and the repository, and start the load."""
        self.pg.create()
        config = self.directory / "pgkeep.toml"
        config.write_text(config.read_text().replace("'@'", f"'{self.pg.conninfo}'"))
        self.pg.start()
        self.commands.run("init").ok()
        store = make_store(str(self.disk.place / "repository"))
        folder = Repository.open(store, self.secret.get("PGKEEP_PASSPHRASE")).cluster(CLUSTER)
        scene = Scene(self.pg, folder, self.directory, self.secret)
        load = Load(self.setting.seed, prepare=True, tablespace="side")
        witness = GrowingWitness(self.directory / "witness", self.pg.binaries)
        self.bank = Bank(scene, witness, load)
        prepare_tables(
            self.pg,
            [
                f"CREATE TABLESPACE side LOCATION '{self.space}'",
                "ALTER TABLE bank.mirror SET TABLESPACE side",
                *shed.SCHEMA,
            ],
        )
        self.start_load()

    # The load

    @property
    def timeline(self) -> int:
        return self.line[-1].timeline

    @property
    def load(self) -> RunningLoad:
        return self.rounds[-1].load

    def start_load(self) -> None:
        clients: list[int] = []
        while len(clients) < self.setting.writers:
            self._client += 1
            if not Identity(self._client, 1).quiet:
                clients.append(self._client)
        seed = f"{self.setting.seed}:shed:{clients[0]}"
        changers = [shed.Changer(f"{seed}:{n}", self.setting.major).run for n in range(2)]
        load = RunningLoad(self.pg, self.bank.load, clients, [*changers, self._brake])
        load.pace = PACE
        self._running.enter_context(load.running())
        self.rounds.append(Round(self.timeline, load))

    def _brake(self, load: RunningLoad) -> None:
        """Slow the load down for as long as its WAL is not archived as fast as it is written."""
        waiting = self.pg.data_directory / "pg_wal/archive_status"
        going_on = True
        while going_on:
            backlog = len(list(waiting.glob("*.ready"))) * self.setting.segment_mb
            load.pace = PACE * max(1, backlog / BACKLOG_MB)
            going_on = load.pause(0.5 / load.pace)

    def stop_load(self) -> None:
        self._running.close()

    def crash(self) -> None:
        """Kill the server and start it again."""
        self.load.crash()
        self.stop_load()
        self.pg.start()
        self.settle()
        self.start_load()

    def settle(self) -> None:
        """End the transactions that somebody prepared who is gone."""
        for (gid,) in self.pg.sql("SELECT gid FROM pg_prepared_xacts"):
            outcome = script(self.bank.load, Identity.parse(gid)).outcome
            how = "COMMIT" if outcome is Outcome.PREPARE else "ROLLBACK"
            self.pg.sql(f"{how} PREPARED '{gid}'")

    def wait_promoted(self, pg: ScratchCluster) -> None:
        """Wait until a server's recovery has ended; its pid file says `ready` long before."""
        wait_for(lambda: not pg.value("SELECT pg_is_in_recovery()"), 120, "the end of recovery")

    # What is known

    def archive(self) -> None:
        """Wait until all that was written so far is in the archive, and with the witness."""
        segment = self.pg.switch_wal()
        archived = "SELECT coalesce(last_archived_wal, '') >= %s FROM pg_stat_archiver"
        wait_for(lambda: self.pg.value(archived, segment), LIMIT_S, f"{segment} in the archive")

    def history(self, line: Line | None = None) -> History:
        return self.bank.witness.history(*(line or self.line))

    def diary(self, line: Line) -> Diary:
        """Return the moments that were noted on a line of history."""
        until = {branch.timeline: branch.until for branch in line}
        found = Diary()
        for each in self.rounds:
            if each.timeline in until:
                end = until[each.timeline]
                moments = list(each.load.diary.moments)
                found.moments += [m for m in moments if end is None or Lsn.parse(m.lsn) < end]
        return found

    def check_diaries(self) -> None:
        """I1: on the timeline in use, what clients were told must be what its WAL says."""
        history = self.history()
        everything = history.committed(history.events)
        for each in self.rounds:
            if each.timeline != self.timeline:
                continue
            diary, mine = each.load.diary, set(each.load.clients)
            committed = {who for who in everything if who.client in mine}
            told = set(diary.acknowledged)
            assert told <= committed, f"told but not in WAL: {sorted(told - committed)[:5]}"
            rest = committed - told - set(diary.unknown.values())
            # What was prepared is ended after a crash, by us.
            prepares = {who for who in rest if script(self.bank.load, who).prepares}
            assert rest == prepares, f"in WAL but not told: {sorted(rest - prepares)[:5]}"
            assert not set(diary.refused) & committed

    def backups(self) -> list[Backup]:
        """Return what is listed, oldest first; nothing may be unreadable."""
        listed: dict[str, Any] = self.commands.run("list", "--json").ok().json
        assert listed["unreadable"] == [], listed["unreadable"]
        found = catalog.backups(self.bank.scene.folder)
        assert {b.id for b in found.backups} == {b["id"] for b in listed["backups"]}
        return sorted(found.backups, key=lambda backup: (backup.stopped_at, backup.id))

    def usable(self, line: Line, backups: list[Backup]) -> list[Backup]:
        """Return the backups from which a line of history can be restored."""
        until = {branch.timeline: branch.until for branch in line}
        return [
            backup
            for backup in backups
            if backup.timeline in until
            and ((end := until[backup.timeline]) is None or backup.stop_lsn <= end)
        ]

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Stop the load for a while."""
        self.stop_load()
        try:
            yield
        finally:
            self.start_load()

    # The end

    def close(self, *, keep: bool) -> None:
        """Stop everything; remove it, unless it is to be looked at."""
        try:
            self.load.crash()
            self.stop_load()
        except Exception as error:  # a load that failed was the reason for the end
            self.journal.say(f"the load ended with {error!r}")
        for place in [*self.directory.glob("restored*"), self.pg.data_directory]:
            server = ServerProcess.attach(place, log_file=f"{place}.log")
            if server is not None:
                server.kill()
        if keep and self.pg.directory.exists():
            self.disk.keep(self.directory / "disk.kept")
            self.pg.directory.rename(self.directory / "main.kept")
        self.pg.destroy()
        self.disk.remove()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)


def chance_of(seed: int, use: str) -> random.Random:
    return random.Random(f"{seed}:{use}")
