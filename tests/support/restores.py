"""A cluster that archives and is backed up, a ledger of what it held when, and restores of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgkeep.backup import backup
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.model.cluster import generation_id
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import Action, RecoveryTarget, TimelineChoice, parse_target
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.restore.prepare import RestoreRequest
from pgkeep.restore.restore import RestoreReport, run
from pgkeep.restore.start import RecoveryOutcome, StartOptions, start
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster
from support.command import PGKEEP_WAL
from support.wait import wait_for

if TYPE_CHECKING:
    from pgkeep.repository.repository import Encryption

CLUSTER = "main"


@dataclass
class Scene:
    """One cluster and its repository."""

    pg: ScratchCluster
    folder: ClusterFolder
    place: Path  # where restores go
    environment: Mapping[str, str] = field(default_factory=dict)

    def backup(self) -> str:
        """Take a full backup; return its id."""
        with DataDirectorySource.connect(self.pg.conninfo) as source:
            report = backup.run(source, self.folder, backup.BackupOptions(jobs=1))
        return str(report.id)

    def create_ledger(self) -> None:
        self.pg.sql("CREATE TABLE ledger (entry text)")

    def enter(self, *entries: str) -> None:
        """Commit each entry in a transaction of its own."""
        for entry in entries:
            self.pg.sql("INSERT INTO ledger VALUES (%s)", entry)

    def entries(self) -> str:
        return read_ledger(self.pg)

    def now(self) -> str:
        """Return the server's time as `--to` takes it."""
        text = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
        return f"{self.pg.value(text)}+00"

    def lsn(self) -> str:
        """Return where the next record will be written."""
        return str(self.pg.value("SELECT pg_current_wal_insert_lsn()::text"))

    def archive(self) -> None:
        """Switch WAL, and wait until all before is in the repository."""
        lsn = Lsn.parse(self.pg.value("SELECT pg_current_wal_lsn()::text"))
        timeline, size, major, identifier = self.pg.sql(
            "SELECT timeline_id, (SELECT setting::int FROM pg_settings WHERE name ="
            " 'wal_segment_size'), current_setting('server_version_num')::int / 10000,"
            " system_identifier FROM pg_control_checkpoint(), pg_control_system()"
        )[0]
        self.pg.sql("SELECT pg_switch_wal()")
        archive = self.folder.wal(generation_id(major, identifier))
        segment = Segment.ending(lsn, timeline, size)
        wait_for(lambda: archive.has(segment.name), what=f"{segment} in the archive")

    def request(
        self,
        to: str = "latest",
        name: str = "restored",
        *,
        timeline: TimelineChoice = "latest",
        inclusive: bool = True,
        action: str = "promote",
        **more: Any,
    ) -> RestoreRequest:
        recovery = RecoveryTarget(parse_target(to, UTC), inclusive, timeline, Action(action))
        command = (str(PGKEEP_WAL), "--repository", self.folder.store.url, "--cluster", CLUSTER)
        more.setdefault("jobs", 1)
        return RestoreRequest(
            str(self.place / name), recovery, fetch_command=(*command, "fetch"), **more
        )

    def restore(self, to: str = "latest", name: str = "restored", **more: Any) -> RestoreReport:
        return run(self.folder, self.request(to, name, **more), now=datetime.now(UTC))

    @contextmanager
    def started(
        self, report: RestoreReport, settings: Mapping[str, str] | None = None
    ) -> Iterator[tuple[ScratchCluster, RecoveryOutcome]]:
        """Start a restored server as `--start` does; yield it and how its recovery ended."""
        target = Path(report.plan.target_dir)
        restored = ScratchCluster.over(self.pg.binaries, target)
        restored.create()
        try:
            options = StartOptions(
                f"{target}.log",
                restored.port,
                str(restored.socket_directory),
                tuple(f"{name}={value}" for name, value in (settings or {}).items()),
                tuple(self.environment.items()),
            )
            yield restored, start(report.plan, self.pg.binaries, options)
        finally:
            server = ServerProcess.attach(target, log_file=f"{target}.log")
            if server is not None:
                server.kill()
            restored.destroy()

    def content_at(self, to: str, name: str = "restored", **more: Any) -> str:
        """Restore, start, wait for the end of recovery, and return the ledger's entries."""
        with self.started(self.restore(to, name, **more)) as (restored, _):
            return read_ledger(restored)


def make_scene(
    new_cluster: NewCluster,
    repository_directory: Path,
    place: Path,
    settings: Mapping[str, str | int | None] | None = None,
    *,
    ledger: bool = True,
    passphrase: str | None = None,
    **more: Any,
) -> Scene:
    """Return a running cluster that archives into a new repository, with an empty ledger."""
    store = make_store(str(repository_directory))
    encryption: Encryption = "none" if passphrase is None else "passphrase"
    folder = Repository.create(store, encryption, passphrase).cluster(CLUSTER)
    command = f"{PGKEEP_WAL} --repository {store.url} --cluster {CLUSTER} push %p"
    archiving: dict[str, str | int | None] = {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": command,
    }
    secret = {"PGKEEP_PASSPHRASE": passphrase} if passphrase else {}
    start = more.pop("start", True)
    pg = new_cluster(settings={**archiving, **(settings or {})}, start=False, **more)
    pg.environment = dict(secret)
    if start:
        pg.start()
    scene = Scene(pg, folder, place, secret)
    if ledger:
        scene.create_ledger()
    return scene


def read_ledger(pg: ScratchCluster) -> str:
    """Return all entries in order, with blanks between them."""
    return str(pg.value("SELECT coalesce(string_agg(entry, ' ' ORDER BY entry), '') FROM ledger"))


SceneMaker = Callable[..., Scene]
