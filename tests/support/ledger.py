"""A cluster under load, its backups, and restores that are compared with the truth in its WAL."""

import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from pgkeep.backup.report import BackupReport
from pgkeep.model.backup import Backup
from pgkeep.model.lsn import Lsn
from pgkeep.model.target import RecoveryTarget, TimelineChoice, parse_target
from pgkeep.restore.start import Ending, RecoveryOutcome
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.backups import back_up
from support.clusters import NewCluster
from support.command import PGKEEP_WAL
from support.ledger_judge import State, compare, expected, observed
from support.ledger_script import QUIET, Identity, Load
from support.ledger_wal import Event, History, Kind, Witness
from support.load_writers import Diary, HeldOpen, Moment, RunningLoad, prepare_tables
from support.restores import CLUSTER, Scene, make_scene
from support.wait import wait_for

SETTINGS: Mapping[str, str | int | None] = {
    "shared_buffers": "2MB",  # pages are written, and torn, while they are read
    "max_wal_size": "32MB",
    "checkpoint_timeout": 30,
    "autovacuum_naptime": 1,
    "max_prepared_transactions": 10,
    "log_checkpoints": "on",
}
_NEAR = 40  # commits and aborts after a backup's end: WAL further on mends what was copied wrongly


@dataclass(frozen=True, slots=True)
class Scale:
    """How long one run is; the default suits `make test`."""

    seed: int
    transactions: int
    restores: int

    @classmethod
    def chosen(cls, major: int, restores: int) -> "Scale":
        """Read what the environment asks for: PGKEEP_LEDGER_SEED, _TRANSACTIONS, _RESTORES."""
        ask = os.environ.get
        scale = cls(
            int(ask("PGKEEP_LEDGER_SEED", major)),
            int(ask("PGKEEP_LEDGER_TRANSACTIONS", 150)),
            int(ask("PGKEEP_LEDGER_RESTORES", restores)),
        )
        print(scale)  # pytest shows it with a failure
        return scale


@dataclass(frozen=True, slots=True)
class Shot:
    """One restore that is to be tried."""

    to: str
    inclusive: bool = True
    backup: str | None = None
    timeline: TimelineChoice = "latest"
    action: str = "promote"

    @property
    def recovery(self) -> RecoveryTarget:
        return RecoveryTarget(parse_target(self.to, UTC), self.inclusive, self.timeline)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "inclusive": self.inclusive,
            "backup": self.backup,
            "timeline": self.timeline,
            "action": self.action,
        }


@dataclass
class Bank:
    """The cluster, and all that is needed to know what it held when."""

    scene: Scene
    witness: Witness
    load: Load

    @property
    def pg(self) -> ScratchCluster:
        return self.scene.pg

    @contextmanager
    def busy(self, pg: ScratchCluster, *clients: int) -> Iterator[RunningLoad]:
        """Run the load on a server."""
        running = RunningLoad(pg, self.load, clients)
        with running.running():
            yield running

    def back_up(
        self, pg: ScratchCluster, after_listing: Callable[[], object] | None = None
    ) -> Backup:
        report: BackupReport = back_up(pg, self.scene.folder, after_listing=after_listing)
        assert report.problem is None
        return report.backup

    def archive(self, pg: ScratchCluster) -> None:
        """Wait until all that was written so far is in the archive, and with the witness."""
        segment = pg.switch_wal()
        archived = "SELECT coalesce(last_archived_wal, '') >= %s FROM pg_stat_archiver"
        wait_for(lambda: pg.value(archived, segment), 120, f"{segment} in the archive")

    def check_diaries(self, history: History, *diaries: Diary) -> None:
        """What clients were told must be what the WAL says: else the judge cannot be trusted."""
        told = {who for diary in diaries for who in diary.acknowledged}
        refused = {who for diary in diaries for who in diary.refused}
        unknown = {who for diary in diaries for who in diary.unknown.values()}
        committed = {who for who in history.committed(history.events) if not who.quiet}
        assert told <= committed <= told | unknown
        assert not refused & committed
        print(f"{len(committed)} committed, {len(refused)} rolled back, as the clients know")

    def judge(self, history: History, shot: Shot, **more: Any) -> RecoveryOutcome:
        """Restore, start, and compare exactly; then let PostgreSQL's own tools look at it."""
        report = self.scene.restore(shot.to, "judged", jobs=2, **shot.options, **more)
        backup = report.plan.backup
        events = history.replayed(shot.recovery, backup.start_lsn, backup.stop_lsn)
        assert events is not None, f"{shot}: recovery would not get there"
        assert shot.backup in (None, backup.id)
        with self.scene.started(report) as (restored, outcome):
            assert outcome.ending == {"promote": "promoted", "pause": "paused"}[shot.action]
            if outcome.ending is Ending.PAUSED:
                # Not by a query: what an unfinished DDL has locked is locked for readers as well.
                place = str(restored.data_directory)
                restored.server_tool("pg_ctl", "promote", "-w", "-D", place)
            self.judge_running(restored, shot, history, events)
            examine(restored)
        print(f"exact: {shot}, {len(history.committed(events))} transactions")
        shutil.rmtree(report.plan.target_dir)
        return outcome

    def judge_running(
        self, restored: ScratchCluster, what: object, history: History, events: tuple[Event, ...]
    ) -> None:
        """Compare a server with what these events must have left, and go on working with it."""
        found = self.compare(restored, what, self.state(history, events))
        self._bite(found, history, events)
        after = self._finish_prepared(restored, history, events)
        self.compare(restored, what, after)
        self._use(restored)

    def state(self, history: History, events: tuple[Event, ...]) -> State:
        return expected(self.load, history.committed(events), history.prepared(events))

    def compare(self, pg: ScratchCluster, what: object, wanted: State) -> State:
        with pg.connect(options="-c statement_timeout=60s") as connection:
            found = observed(connection)
        differences = compare(wanted, found)
        assert not differences, f"seed {self.load.seed}, {what}:\n" + "\n".join(differences)
        return found

    def _bite(self, found: State, history: History, events: tuple[Event, ...]) -> None:
        """Prove that the comparison would have noticed one transaction more or less."""
        ours = [e.lsn for e in events if e.kind is Kind.COMMIT and e.xid in history.identities]
        less = self.state(history, tuple(event for event in events if event.lsn < ours[-1]))
        assert any("too many" in words for words in compare(less, found))
        assert any("lost" in words for words in compare(self.state(history, events), less))

    def _use(self, pg: ScratchCluster) -> None:
        """Write to the restored server: emptied tables and sequences must work."""
        pg.sql("INSERT INTO bank.scratch (body) VALUES ('again')")
        HeldOpen(pg, self.load, Identity(QUIET + 9, 1)).end("COMMIT")
        twice = "SELECT count(*) - count(DISTINCT ticket) FROM bank.ledger"
        assert pg.value(twice) == 0

    def _finish_prepared(
        self, pg: ScratchCluster, history: History, events: tuple[Event, ...]
    ) -> State:
        """Commit and roll back what was left prepared, in turn; return what must be there then."""
        committed = history.committed(events)
        xids = {event.name: event.xid for event in events if event.kind is Kind.PREPARE}
        for number, gid in enumerate(sorted(history.prepared(events))):
            how = "COMMIT" if number % 2 == 0 else "ROLLBACK"
            pg.sql(f"{how} PREPARED '{gid}'")
            if how == "COMMIT":
                committed[Identity.parse(gid)] = xids[gid]
        return expected(self.load, committed)


def make_bank(
    new_cluster: NewCluster,
    tmp_path: Path,
    load: Load,
    *,
    settings: Mapping[str, str | int | None] | None = None,
    wal_segsize: int | None = 1,
    more_tables: Sequence[str] = (),
) -> Bank:
    """Return a cluster that archives into a new repository and to a witness of its WAL."""
    repository, copies = tmp_path / "repository", tmp_path / "witness"
    copies.mkdir()
    push = f"{PGKEEP_WAL} --repository {repository} --cluster {CLUSTER} push %p"
    archiving = {"archive_command": f"{push} && cp %p {copies}/%f"}
    scene = make_scene(
        new_cluster,
        repository,
        tmp_path,
        {**SETTINGS, **archiving, **(settings or {})},
        wal_segsize=wal_segsize,
    )
    prepare_tables(scene.pg, more_tables)
    return Bank(scene, Witness(copies, scene.pg.binaries), load)


def choose_shots(
    history: History,
    diary: Diary,
    backups: list[Backup],
    count: int,
    seed: int,
    *,
    timeline: TimelineChoice = "latest",
    far: bool = False,
) -> list[Shot]:
    """Choose restores: every second one to right after a backup's end, the others anywhere."""
    chance = random.Random(f"{seed}:{count}:{timeline}:{far}")
    kinds = [(kind, incl) for kind in ("lsn", "time", "xid", "name") for incl in (True, False)]
    chance.shuffle(kinds)
    shots = []
    for number in range(count):
        kind, inclusive = kinds[number % len(kinds)]
        backup = chance.choice(backups)
        choose = _far if far or number % 2 else _near
        to = choose(history, diary, backup, kind, chance)
        named = None if choose is _far and chance.random() < 0.5 else backup.id
        action = chance.choice(["promote", "pause"])
        shots.append(Shot(to, inclusive, named, timeline, action))
    return shots


def _near(history: History, diary: Diary, backup: Backup, kind: str, chance: random.Random) -> str:
    """Return a target among the first commits after a backup, or at any record there."""
    ends = [event for event in history.events if event.ends and event.lsn >= backup.stop_lsn]
    match kind:
        case "name":
            return _far(history, diary, backup, kind, chance, first=True)
        case "lsn" if chance.random() < 0.5:
            records = history.witness.records(backup.timeline, backup.stop_lsn, _NEAR)
            return f"lsn:{chance.choice(records) + chance.choice([0, 0, 1])}"
        case "lsn":
            return f"lsn:{chance.choice(ends[:_NEAR]).lsn}"
        case "xid":
            return f"xid:{chance.choice(ends[:_NEAR]).xid}"
    times = [event.time for event in ends if event.time and event.time > backup.stopped_at]
    return str(chance.choice(times[:_NEAR]))


def _far(
    history: History,
    diary: Diary,
    backup: Backup,
    kind: str,
    chance: random.Random,
    *,
    first: bool = False,
) -> str:
    """Return a moment that was noted after a backup."""

    moments = [moment for moment in diary.moments if _kind(moment) == kind]
    if not first:
        chance.shuffle(moments)
    for moment in moments:
        reached = history.replayed(Shot(moment.to).recovery, backup.start_lsn, backup.stop_lsn)
        if Lsn.parse(moment.lsn) > backup.stop_lsn and reached is not None:
            return moment.to
    raise AssertionError(f"no {kind} was noted after backup {backup.id}")


def _kind(moment: Moment) -> str:
    kind, colon, _ = moment.to.partition(":")
    return kind if colon and kind.isalpha() else "time"


def examine(pg: ScratchCluster) -> None:
    """Let pg_amcheck look at a running server, and pg_checksums at it when it is stopped."""
    options = ("--install-missing", "--heapallindexed", "--parent-check", "--jobs=2")
    pg.tool("pg_amcheck", *options, "--database=postgres")
    server = ServerProcess.attach(pg.data_directory, log_file=pg.log_path)
    assert server is not None
    server.stop("fast")
    checked = pg.server_tool("pg_checksums", "--check", "-D", str(pg.data_directory))
    assert "Bad checksums:  0" in checked.stdout
