"""The drill of a dump: every database of it restored into a server made for that, and compared."""

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from pgkeep.drill.finding import Finding, failed, passed, untested
from pgkeep.drill.looking.connecting import look
from pgkeep.drill.looking.queries import Query, ask
from pgkeep.drill.request import DrillRequest
from pgkeep.drill.story import Story
from pgkeep.drill.troubles import judged
from pgkeep.errors import PgkeepError
from pgkeep.logical.restoring.compare import RestoreDiffers
from pgkeep.logical.restoring.report import RestoreReport, RestoreRequest
from pgkeep.logical.restoring.restore import restore
from pgkeep.postgres.versions import major_of
from pgkeep.progress import Progress
from pgkeep.repository import dumps
from pgkeep.repository.catalog import LATEST
from pgkeep.repository.drills.report import CheckKind, Measures, Status
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, DumpFacts
from pgkeep.repository.repository import ClusterFolder
from pgkeep.sandbox.place import check_directory, usual_directory
from pgkeep.sandbox.request import SandboxTooSmall
from pgkeep.server.binaries import find_binaries
from pgkeep.server.scratch import ScratchCluster
from pgkeep.units import MIB, format_size, plural
from pgkeep.workers.pool import default_jobs

_CHECKS: Final = (CheckKind.RESTORE, CheckKind.CONNECT, CheckKind.EXPECTED)
_ESSENTIAL: Final = frozenset({CheckKind.RESTORE, CheckKind.CONNECT})
_OWN: Final = ("postgres", "template0", "template1")  # every new server has them
_PREFIX: Final = "pgkeep_drill_"  # of such a database's name in the drill's server
_ROOM: Final = 256 * MIB  # a new server, and what it writes itself


def drill_dump(
    cluster: ClusterFolder,
    request: DrillRequest,
    story: Story,
    progress: Progress,
    started_at: datetime,
) -> None:
    """Restore a dump, look, and remove all of it. Raise only what was wrong with the question."""
    story.essential = _ESSENTIAL
    found = dumps.find_dump(dumps.dumps(cluster), request.wanted or LATEST)
    story.of, story.target = str(found.id), str(found.id)
    with story.checks.others(*_CHECKS, why="nothing was restored"), ExitStack() as stack:
        try:
            facts = dumps.read_facts(cluster, found.id)
            if not facts.selection.lists_tables:
                words = "it holds rows without the tables they belong to: alone it restores nothing"
                story.checks.note(CheckKind.RESTORE, untested(words))
                return
            server = stack.enter_context(_server(cluster, request, facts, progress))
        except PgkeepError as error:
            kind, finding = judged(error)
            story.checks.note(kind, finding, story.seconds)
            return
        story.server = server.binaries.version
        job = _Job(cluster, request, facts, server, progress)
        job.restore()
        job.tell(story, started_at)
        if job.done:
            story.checks.make(CheckKind.CONNECT, job.connect)
            story.is_ready()
            job.ask(story)


def _server(
    cluster: ClusterFolder, request: DrillRequest, facts: DumpFacts, progress: Progress
) -> ScratchCluster:
    """Return a server of the dump's version, to be made. Raise PgToolsMissing, SandboxTooSmall."""
    versions = [database.dump_version for database in facts.databases if database.dump_version]
    major = max(map(major_of, versions), default=None)
    directory = os.path.abspath(request.sandbox.directory or usual_directory())
    url = cluster.store.url
    check_directory(directory, url if url.startswith("/") else None)
    os.makedirs(directory, exist_ok=True)
    # Rows as text take about as much as rows in a table; indexes come on top.
    needed, free = _ROOM + 2 * facts.size, shutil.disk_usage(directory).free
    if needed > free:
        why = f"{format_size(needed)} are needed, twice the dump's size and a new server"
        raise SandboxTooSmall(why, directory, needed, free)
    progress.phase("making a server")
    place = Path(directory, f"pgkeep-drill-{os.urandom(8).hex()}")
    settings: Mapping[str, str | int | None] = {
        "max_connections": 30 + 2 * (request.sandbox.jobs or default_jobs()),
        "max_locks_per_transaction": 1024,  # a schema is restored in few transactions
        "max_wal_size": "1GB",
        "maintenance_work_mem": "256MB",
    }
    return ScratchCluster(find_binaries(major, request.sandbox.pg_bin), place, settings=settings)


@dataclass
class _Job:
    """The databases of one dump, on their way into a server."""

    cluster: ClusterFolder
    request: DrillRequest
    facts: DumpFacts
    server: ScratchCluster
    progress: Progress
    done: list[RestoreReport] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    problems: list[tuple[str, Finding]] = field(default_factory=list)

    def restore(self) -> None:
        """Restore one database after the other; one that fails does not stop the others."""
        for database in self.facts.databases:
            try:
                self.done.append(restore(self.cluster, self._asked(database), self.progress))
            except RestoreDiffers as error:
                self.differs += [f"{database.name}: {one}" for one in error.differences]
            except PgkeepError as error:
                _, finding = judged(error)
                self.problems.append((database.name, finding))

    def _asked(self, database: DumpedDatabase) -> RestoreRequest:
        roles = self.facts.globals is not None
        return RestoreRequest(
            dump=self.facts.id,
            into=self.server.conninfo,
            database=database.name,
            name=self._name(database.name),
            jobs=self.request.sandbox.jobs or default_jobs(),
            create_roles=roles,
            owners=roles,  # without the roles nobody can own anything
            privileges=roles,
            keep_tablespaces=False,
            analyze=False,
            pg_bin=self.request.sandbox.pg_bin or "",
        )

    def _name(self, database: str) -> str:
        return f"{_PREFIX}{database}" if database in _OWN else database

    def tell(self, story: Story, started_at: datetime) -> None:
        tables, rows = (sum(getattr(one, what) for one in self.done) for what in ("tables", "rows"))
        size = sum(one.bytes for one in self.done)
        seconds = sum(one.duration_s for one in self.done)
        story.measures = Measures(
            restored_bytes=size,
            restore_s=round(seconds, 3),
            tables=tables,
            rows=rows,
            newest_commit=self.facts.taken_at,
            age_s=(started_at - self.facts.taken_at).total_seconds(),
        )
        story.reached = f"as it was at {self.facts.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        story.notes = tuple(note for one in self.done for note in one.notes)
        many = f"{len(self.done)} of {plural(len(self.facts.databases), 'database')}"
        story.checks.note(CheckKind.RESTORE, self._restored(many, size), seconds)
        compared = sum(one.compared for one in self.done)
        if self.differs:
            words = "what was restored differs from the dump's inventory"
            story.checks.note(CheckKind.EXPECTED, failed(words, self.differs))
        elif self.done and not self.problems:
            words = (
                f"{plural(compared, 'object')} and {plural(rows, 'row')} of "
                f"{plural(tables, 'table')} are as the dump's inventory says"
            )
            story.checks.note(CheckKind.EXPECTED, passed(words))

    def _restored(self, many: str, size: int) -> Finding:
        if not self.problems:
            return passed(f"{many} restored, {format_size(size)} of rows")
        bad = [one for one in self.problems if one[1].status is Status.FAILED] or self.problems
        evidence = [f"{name}: {finding.words}" for name, finding in self.problems]
        return Finding(bad[0][1].status, f"{many} could be restored", tuple(evidence))

    def connect(self) -> Finding:
        found = look(self.server.conninfo, [one.name for one in self.done])[0]
        return replace(found, words=found.words.replace(_PREFIX, ""))

    def ask(self, story: Story) -> None:
        """Ask the user's queries of the databases that are in the dump."""
        there = {one.database: one.name for one in self.done}
        for query in self.request.wishes.queries:
            story.checks.make(CheckKind.QUERY, partial(self._ask, query, there), query.name)

    def _ask(self, query: Query, there: Mapping[str, str]) -> Finding:
        if query.database not in there:
            return untested(f"database {query.database} is not in this dump, or was not restored")
        asked = replace(query, database=there[query.database])
        return ask(self.server.conninfo, asked, self.request.wishes.query_timeout_s)
