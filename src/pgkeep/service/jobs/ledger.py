"""What became of jobs, and how much was stored when: a small SQLite file that may be lost.

The truth is in the repositories. A file that is damaged is put aside, and a new one begun; where
none can be opened, the record is in memory until the service ends. All methods may be called by any
thread.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Final

import msgspec

from pgkeep.health.forecast import Sample
from pgkeep.schedule.due import Key
from pgkeep.service.errors import ServiceFailed
from pgkeep.service.jobs.job import JobRun, JobState

FILE: Final = "jobs.sqlite"
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    asked_at REAL NOT NULL, run BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (asked_at);
CREATE INDEX IF NOT EXISTS runs_by_kind ON runs (cluster, kind, state, asked_at);
CREATE TABLE IF NOT EXISTS settled (
    cluster TEXT, kind TEXT, due_at REAL NOT NULL, PRIMARY KEY (cluster, kind)
);
CREATE TABLE IF NOT EXISTS sizes (
    cluster TEXT, repository TEXT, at REAL, size INTEGER NOT NULL, free INTEGER,
    PRIMARY KEY (cluster, repository, at)
) WITHOUT ROWID;
"""
# A row that is replaced gets a new rowid: the highest is the one that was written last.
_PUT: Final = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)"
_FORGET: Final = """
DELETE FROM runs WHERE state NOT IN ('waiting', 'running') AND (asked_at < ? OR rowid IN (
    SELECT row FROM (
        SELECT rowid AS row, row_number() OVER (
            PARTITION BY cluster, kind ORDER BY rowid DESC
        ) AS place FROM runs
    ) WHERE place > ?
)) RETURNING id
"""
_PATIENCE_S: Final = 1.0  # nobody else writes; who does all the same must not hold jobs up
MOST: Final = 300  # runs of a kind and cluster: 200 clusters with all kinds fill 0.5 GB at the most
_REPORT_LIMIT: Final = 4 << 20  # bytes of a run that are kept
KEPT: Final = timedelta(days=400)  # of sizes: a year, and the month before to compare with


class NoSuchJob(ServiceFailed):
    """No job has this id, or it is too long ago."""

    code = "no-such-job"


class Ledger:
    """The runs on record, and how far each entry of the schedule is settled."""

    def __init__(self, directory: Path) -> None:
        self.notes: list[str] = []  # what was and is wrong with the file, each once
        self._lock = RLock()
        self._owed: dict[str, JobRun] = {}  # what the disk has not taken yet, by the job's id
        self._path = directory / FILE
        try:
            self._connection = self._open_sound()
        except (sqlite3.Error, OSError) as error:
            self._note(f"the record of jobs cannot be kept, and ends with this service: {error}")
            self._connection = self._open(":memory:")
        self._settled = self._read_settled()

    def _open_sound(self) -> sqlite3.Connection:
        """Open the file, or a new one in place of one that is damaged."""
        try:
            _make_private(self._path)
            return self._open(self._path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            aside = self._path.with_suffix(".damaged")
            os.replace(self._path, aside)
            for ending in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._path}{ending}")
            self._note(
                f"the record of jobs was damaged ({error}) and is now {aside}; "
                "a new one was begun, nothing that can be restored depends on it"
            )
            return self._open(self._path)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _open(self, path: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, _PATIENCE_S, check_same_thread=False, isolation_level=None
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # A power cut may cost the last entries, as it does the jobs: no wait for the disk.
            connection.execute("PRAGMA synchronous = NORMAL")
            _demand_sound(connection)
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A full disk must not end the service: what cannot be recorded is noted."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                self._note(f"the record of jobs cannot be written: {error}")

    def put(self, run: JobRun) -> None:
        """Record a run in place of what was known of it.

        What cannot be written is remembered, without its report, and written with the next one: a
        job that has ended must not be on record as running.
        """
        row = _row(run)
        with self._writing() as connection:
            self._owed[run.job.id] = replace(run, report=None)
            connection.execute(_PUT, row)
            del self._owed[run.job.id]
            for id, owed in list(self._owed.items()):
                connection.execute(_PUT, _row(owed))
                del self._owed[id]

    def get(self, id: str) -> JobRun:
        """Return a run. Raise NoSuchJob."""
        with self._lock:
            if id in self._owed:
                return self._owed[id]
        for run in self._runs("WHERE id = ?", (id,)):
            return run
        why = "no job on record has this id"
        raise NoSuchJob(f"find job {id}", why, "see: pgkeep jobs list")

    def newest(self, cluster: str | None = None, limit: int = 100) -> list[JobRun]:
        """Return runs, the newest first, without their reports: each may have megabytes."""
        where = "WHERE cluster = ?" if cluster is not None else ""
        given = (cluster,) if cluster is not None else ()
        order = f"{where} ORDER BY asked_at DESC, id DESC LIMIT ?"
        found = self._runs(order, (*given, limit), reports=False)
        runs = {run.job.id: run for run in (*found, *self._owed_of(cluster))}
        newest = sorted(runs.values(), key=lambda one: (one.job.asked_at, one.job.id), reverse=True)
        return newest[:limit]

    def newest_of_each(
        self, states: Collection[JobState], cluster: str | None = None
    ) -> list[JobRun]:
        """Return, of each cluster and kind, the run that came last into one of these states.

        By the order in which they were written: asked_at may be of a clock that was wrong. Without
        their reports.
        """
        wanted = json.dumps([state.value for state in states])
        of = "cluster = ? AND" if cluster is not None else ""
        newest = (
            f"SELECT max(rowid) FROM runs WHERE {of} "  # noqa: S608 - our own words
            "state IN (SELECT value FROM json_each(?)) GROUP BY cluster, kind"
        )
        given = (cluster, wanted) if cluster is not None else (wanted,)
        found = self._runs(f"WHERE rowid IN ({newest})", given, reports=False)
        owed = [run for run in self._owed_of(cluster) if run.state in states]
        return list({(run.job.cluster, run.job.kind): run for run in (*found, *owed)}.values())

    def not_over(self) -> list[JobRun]:
        """Return the runs that wait or run."""
        states = (JobState.WAITING.value, JobState.RUNNING.value)
        return self._runs("WHERE state IN (?, ?) ORDER BY asked_at", states)

    def _owed_of(self, cluster: str | None) -> list[JobRun]:
        with self._lock:
            return [run for run in self._owed.values() if cluster in (None, run.job.cluster)]

    def _runs(self, rest: str, given: tuple[object, ...], *, reports: bool = True) -> list[JobRun]:
        found = []
        with self._lock:
            try:
                # Row by row: all reports at once may be more than there is memory for.
                for (content,) in self._connection.execute(f"SELECT run FROM runs {rest}", given):  # noqa: S608 - our own words
                    with contextlib.suppress(msgspec.MsgspecError):
                        run = msgspec.json.decode(content, type=JobRun)
                        found.append(run if reports else replace(run, report=None))
            except sqlite3.Error as error:
                self._note(f"the record of jobs cannot be read: {error}")
                return []
        return found

    def settled(self) -> dict[Key, datetime]:
        """Return up to which due moment each entry of the schedule is settled."""
        with self._lock:
            return dict(self._settled)

    def _read_settled(self) -> dict[Key, datetime]:
        found = {}
        try:
            rows = self._connection.execute("SELECT cluster, kind, due_at FROM settled").fetchall()
            for cluster, kind, at in rows:
                found[Key(cluster, kind)] = datetime.fromtimestamp(at, UTC)
        except (sqlite3.Error, ValueError, TypeError, OverflowError, OSError) as error:
            self._note(f"the record of jobs cannot be read: {error}")
        return found

    def settle(self, key: Key, due_at: datetime) -> None:
        """Record that an entry was started, or passed over, for a due moment."""
        with self._writing() as connection:
            # In memory first: on a full disk a job must not be due again as soon as it ends.
            self._settled[key] = due_at
            row = (*key, due_at.timestamp())
            connection.execute("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", row)

    def add_size(self, cluster: str, repository: str, sample: Sample) -> None:
        """Record how much was stored; what is older than KEPT goes."""
        with self._writing() as connection:
            row = (cluster, repository, *sample)
            connection.execute("INSERT OR REPLACE INTO sizes VALUES (?, ?, ?, ?, ?)", row)
            before = sample.at - KEPT.total_seconds()
            connection.execute("DELETE FROM sizes WHERE at < ?", (before,))

    def sizes(self, cluster: str, since: datetime) -> dict[str, list[Sample]]:
        """Return how much was stored since then, by repository, the oldest first."""
        wanted = "SELECT repository, at, size, free FROM sizes WHERE cluster = ? AND at >= ?"
        found: dict[str, list[Sample]] = {}
        with self._lock:
            try:
                given = (cluster, since.timestamp())
                rows = self._connection.execute(f"{wanted} ORDER BY repository, at", given)
                for repository, *sample in rows:
                    found.setdefault(repository, []).append(Sample(*sample))
            except sqlite3.Error as error:
                self._note(f"what was stored cannot be read: {error}")
        return found

    def forget_before(self, moment: datetime, most: int = MOST) -> list[str]:
        """Remove runs that were over before, and all but the newest of many; return their ids."""
        with self._writing() as connection:
            self._owed = {i: run for i, run in self._owed.items() if run.job.asked_at >= moment}
            rows = connection.execute(_FORGET, (moment.timestamp(), most)).fetchall()
            return [id for (id,) in rows]
        return []


def _row(run: JobRun) -> tuple[object, ...]:
    content = msgspec.json.encode(run)
    if len(content) > _REPORT_LIMIT:
        content = msgspec.json.encode(replace(run, report=None))
    job = run.job
    of = (job.cluster, job.kind, run.state.value)
    return (job.id, *of, job.asked_at.timestamp(), content)


class _Damaged(sqlite3.DatabaseError):
    """The file can be read, and is not what it should be."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell damage from a full disk, a file of another user, a lock: those may pass."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # without its extension
    return isinstance(error, _Damaged) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _make_private(path: Path) -> None:
    """Have a file there that others cannot read, for reports hold rows; SQLite's own follow it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _demand_sound(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        raise _Damaged(f"it is of version {version}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _Damaged(verdict)
