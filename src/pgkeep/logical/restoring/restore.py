"""Restores a dumped database: beside everything that is there, compared, and only then named.

Order: definitions, rows, keys and indexes, statistics, comparison, privileges of the database, its
name. Whatever stops it before the last step, the server is as it was.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pgkeep.logical import inventory
from pgkeep.logical.capture.scratch_space import scratch_space
from pgkeep.logical.encodings import readable
from pgkeep.logical.load.load import LoadRequest, LoadResult, load_tables
from pgkeep.logical.load.tables import TableData
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.logical.load.workers import warm_up
from pgkeep.logical.masks.keys import unique_columns
from pgkeep.logical.masks.plan import MaskPlan
from pgkeep.logical.masks.preflight import plan_masks
from pgkeep.logical.patterns import chosen
from pgkeep.logical.restoring.archive import (
    adapted,
    database_options,
    in_two_steps,
    restore_section,
    statements_for,
    write_archive,
)
from pgkeep.logical.restoring.compare import (
    RestoreDiffers,
    compare_objects,
    compare_rows,
    compare_sequences,
    objects_of,
)
from pgkeep.logical.restoring.place import DatabaseThere, Place
from pgkeep.logical.restoring.plan import EntryPlan, NothingChosen, plan_entries
from pgkeep.logical.restoring.preflight import Checked, Server, check, choose_database, look
from pgkeep.logical.restoring.report import RestoreReport, RestoreRequest
from pgkeep.logical.restoring.roles import role_statements
from pgkeep.logical.restoring.script import refuse_changes, restore_script
from pgkeep.logical.sample.sample import SampleReport, SampleRequest, make_sample
from pgkeep.postgres.archive.entries import SETTINGS, TABLES, encoding_of
from pgkeep.postgres.archive.sql import Name
from pgkeep.postgres.archive.toc import TocEntry, TocHeader, open_toc
from pgkeep.postgres.versions import major_of
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps
from pgkeep.repository.claims import locks
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import (
    GLOBALS,
    INVENTORY,
    TOC,
    DumpedDatabase,
    DumpFacts,
)
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.binaries import Binaries, PgToolsMissing
from pgkeep.server.client_programs import ProgramFailed, connecting, run_program
from pgkeep.server.client_tools import find_tools


class RestoreStopped(ProgramFailed):
    """PostgreSQL did not take a part of a dump. What was made till then is dropped again."""

    code = "restore-stopped"

    dump: str
    partly: str = ""  # what the dump holds, if that is not everything

    def __str__(self) -> str:
        return f"nothing was restored of {self.dump}: {super().__str__()}"

    @property
    def hint(self) -> str:
        if killed := super().hint:
            return killed
        if self.partly:
            return (
                f"the dump holds only {self.partly}: types, functions and tables that these need "
                "may not be in it; restore from a dump of everything with -t, or pgkeep dump "
                "export --format custom and pg_restore into a database that has them"
            )
        return "pgkeep dump export --format custom writes what pg_restore can take in part"


def restore(
    cluster: ClusterFolder, request: RestoreRequest, progress: Progress | None = None
) -> RestoreReport:
    """Restore one database; with `dry_run` say what would be done, and change nothing.

    Raise NotFit, DatabaseThere, NothingChosen, RestoreDiffers, what pg_restore or the server say:
    then nothing was changed on the server but roles that were made.
    """
    progress = progress or Silent()
    with ExitStack() as stack:
        locks.keep_from_expiring(cluster, "dump-restore", "pgkeep dump restore", progress, stack)
        manifest = dumps.read_manifest(cluster, request.dump)
        database = choose_database(manifest, request.database)
        space = stack.enter_context(scratch_space())
        place = stack.enter_context(
            Place(request.into, request.name or database.name, request.dump)
        )
        job = _Job(cluster, request, progress, manifest, database, place, space.directory)
        job.notes += _warnings(manifest.facts)
        try:
            return job.run()
        except ProgramFailed as failed:
            selection = manifest.facts.selection
            partly = "" if selection.holds_all else selection.words
            raise RestoreStopped(**failed.facts(), dump=request.dump, partly=partly) from failed


def _warnings(facts: DumpFacts) -> list[str]:
    """Say what a dump is, to whoever took the latest for a good one."""
    found = [f"this dump looks wrong: {why}" for why in facts.suspicions]
    if not facts.selection.holds_all:
        found.append(f"this dump is not of everything: it holds {facts.selection.words}")
    return found


@dataclass
class _Job:
    """One restore at work."""

    cluster: ClusterFolder
    request: RestoreRequest
    progress: Progress
    manifest: DumpManifest
    database: DumpedDatabase
    place: Place
    scratch: Path
    notes: list[str] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)
    settings: list[TocEntry] = field(default_factory=list)  # of the archive's text
    maker: TocEntry | None = None  # of the database
    known: list[Name] = field(default_factory=list)  # tables of the dump, restored or not

    def run(self) -> RestoreReport:
        began = time.monotonic()
        request, place = self.request, self.place
        self.progress.phase("looking at the dump and the server")
        with place.session() as session:
            server = look(session)
        tools = self._tools(server)
        self._demand_name_free()
        if self.database.script:
            refuse_changes(request)
            return self._script(server, tools, began)
        header, entries = self._entries()
        self.settings = [entry for entry in entries if entry.desc in SETTINGS]
        self.maker = next((entry for entry in entries if entry.desc == "DATABASE"), None)
        self.known = [Name(e.namespace or "", e.tag or "") for e in entries if e.desc in TABLES]
        plan = self._plan(entries)
        checked = check(request, plan, self.database, server, self.manifest.facts.selection)
        self.notes += checked.notes
        tables = self._tables(plan)
        report = RestoreReport(
            dump=request.dump,
            database=self.database.name,
            name=place.wanted,
            server=server.version,
            tables=plan.tables,
            rows=sum(table.rows or 0 for table in tables),
            left_out=plan.left_out,
            needed=plan.needed,
            roles_created=checked.roles_to_create,
            dry_run=request.dry_run,
        )
        if request.dry_run:
            return replace(report, notes=tuple(self.notes))
        self._make_roles(checked)
        return self._carry_out(report, header, plan, tables, (server, tools, began))

    def _carry_out(
        self,
        report: RestoreReport,
        header: TocHeader,
        plan: EntryPlan,
        tables: list[TableData],
        made_with: tuple[Server, Binaries, float],
    ) -> RestoreReport:
        server, tools, began = made_with
        request, place = self.request, self.place
        entries = adapted(plan.definitions, request.roles, request.tablespaces)
        own = adapted(plan.of_database, request.roles, request.tablespaces)
        archive = self.scratch / "definitions"
        first, last = in_two_steps(entries)
        write_archive(archive, header, first)
        write_archive(self.scratch / "late", header, last)
        options = database_options(
            self.maker,
            self.database.encoding,
            request.tablespaces,
            keep_spaces=request.keep_tablespaces and plan.whole,
            usual=server.encoding,
        )
        warm_up()
        with self._phase("making the database"):
            place.create(options)
        sections = _Sections(tools, archive, place.conninfo, request)
        with self._phase("definitions"):
            sections.restore("pre-data")
            sections.restore("data")  # large objects without content, sequences
        with self._phase("rows"):
            loaded = self._load(plan, tables)
        sample = self._sample(plan, tables, loaded)
        with self._phase("keys, indexes, triggers"):
            self.progress.phase("building keys, indexes and triggers")
            sections.restore("post-data", jobs=request.jobs)
            sections.of(self.scratch / "late").restore("post-data", jobs=request.jobs)
        with self._phase("statistics"):
            self._analyze(tools)
        with self._phase("comparison"):
            compared = self._compare(plan, tables, loaded, (tools, server, sample is not None))
        self._open(own)
        swapped = None
        if request.replace and place.exists():
            swapped = place.swap(force=request.force, drop_old=request.drop_old)
        else:
            place.finish()
        return replace(
            report,
            rows=sample.kept if sample else sum(loaded.rows.values()),
            bytes=loaded.bytes,
            large_objects=loaded.large_objects,
            compared=compared,
            swapped=swapped,
            masked=loaded.masked,
            sample=sample,
            phases=tuple(self.phases),
            duration_s=time.monotonic() - began,
            notes=(*self.notes, *loaded.notes),
        )

    @contextmanager
    def _phase(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        self.progress.phase(title)
        yield
        self.phases.append((title, time.monotonic() - began))

    def _tools(self, server: Server) -> Binaries:
        """Return programs that know the server as well as the archive."""
        newest = max(server.version, self.database.dump_version, key=major_of)
        return find_tools(newest, "the server", self.request.pg_bin or None)

    def _demand_name_free(self) -> None:
        for name, mark in self.place.leftovers():
            self.notes.append(
                f"database {name} was left by a restore that was killed ({mark or 'no mark'}); "
                f'remove it with: DROP DATABASE "{name}"'
            )
        if not self.place.exists():
            return
        if not self.request.replace:
            raise DatabaseThere(self.place.wanted)
        users = self.place.users()
        if users and not self.request.force:
            raise DatabaseThere(self.place.wanted, tuple(users))

    def _streams(self) -> FileStreams:
        return FileStreams(self.cluster, self.manifest.tables, of=self.request.dump)

    def _entries(self) -> tuple[TocHeader, list[TocEntry]]:
        streams, path = self._streams(), f"{self.database.folder}/{TOC}"
        toc = open_toc(lambda: streams.read(path), f"{path} of {self.request.dump}")
        return toc.header, list(toc.entries())

    def _plan(self, entries: list[TocEntry]) -> EntryPlan:
        selection, encoding = self.request.selection, encoding_of(entries)
        bare = replace(selection, schema_only=False)
        plan = plan_entries(
            entries,
            None if bare.whole else chosen(bare),
            schema_only=selection.schema_only,
            privileges=self.request.privileges,
            encoding=encoding or self.database.encoding,
        )
        if all(entry.desc in SETTINGS for entry in plan.definitions) and not bare.whole:
            raise NothingChosen(self.request.dump, self.database.name, bare.words)
        return plan

    def _tables(self, plan: EntryPlan) -> list[TableData]:
        """Return the rows to load, with the numbers that the inventory tells."""
        counts = dict[str, int]()
        pieces = self._streams().read(f"{self.database.folder}/{INVENTORY}")
        for item in inventory.decode(pieces, self.request.dump):
            if item.rows is not None:
                counts[item.file] = item.rows
        streams, found = self._streams(), []
        for entry in plan.data:
            if not entry.file_name:
                continue
            path = f"{self.database.folder}/{entry.file_name}"
            found.append(
                TableData(
                    entry.dump_id,
                    entry.namespace or "",
                    entry.tag or "",
                    entry.copy_statement or "",
                    path,
                    counts.get(entry.file_name),
                    streams.size(path),
                )
            )
        return found

    def _make_roles(self, checked: Checked) -> None:
        if not checked.roles_to_create:
            return
        streams = self._streams()
        text = b"".join(streams.read(GLOBALS)).decode("utf-8", "surrogateescape")
        statements = role_statements(text, checked.roles_to_create)
        with self.place.session() as session:
            for statement in statements:
                session.query(
                    statement.encode("utf-8", "surrogateescape"), doing="make the missing roles"
                )

    def _load(self, plan: EntryPlan, tables: list[TableData]) -> LoadResult:
        encoding = self.database.encoding
        masks: MaskPlan | None = None
        if self.request.masks:
            masks = plan_masks(
                self.request.masks,
                self.place.conninfo,
                encoding,
                tables=tables,
                elsewhere=self.known,
                foreign_keys=plan.foreign_keys,
                unique=unique_columns(plan.definitions),
            )
        folder = self.database.folder
        lists = [f"{folder}/{e.file_name}" for e in plan.large_objects if e.file_name]
        request = LoadRequest(
            cluster=self.cluster,
            dump_id=self.request.dump,
            files=self.manifest.tables,
            tables=tables,
            conninfo=self.place.conninfo,
            encoding=encoding,
            jobs=self.request.jobs,
            large_objects=lists,
            masks=masks,
        )
        return load_tables(request, self.progress)

    def _sample(
        self, plan: EntryPlan, tables: list[TableData], loaded: LoadResult
    ) -> SampleReport | None:
        if not self.request.sample:
            return None
        rows = {Name(t.schema, t.name): loaded.rows.get(t.dump_id, 0) for t in tables}
        with self._phase("sample"):
            return make_sample(
                SampleRequest(
                    conninfo=self.place.conninfo,
                    encoding=self.database.encoding,
                    share=self.request.sample,
                    rows=rows,
                    foreign_keys=plan.foreign_keys,
                    seed=self.request.seed,
                    jobs=self.request.jobs,
                ),
                self.progress,
            )

    def _analyze(self, tools: Binaries) -> None:
        """Give the planner its statistics; without them a restored database is slow at first."""
        if not self.request.analyze:
            return
        to = connecting(self.place.conninfo)
        try:
            argv = [
                tools.tool("vacuumdb"), "--analyze-only", "--quiet", "--no-password",
                f"--jobs={self.request.jobs}", f"--dbname={to.conninfo}",
            ]  # fmt: skip
            run_program("gather statistics", argv, environment=to.environment)
        except (PgToolsMissing, ProgramFailed) as error:
            # A foreign table whose server is away, say: nothing of the data is hit.
            self.notes.append(f"statistics are not complete: {error}")

    def _compare(
        self,
        plan: EntryPlan,
        tables: list[TableData],
        loaded: LoadResult,
        how: tuple[Binaries, Server, bool],
    ) -> int:
        tools, _server, sampled = how
        request, encoding = self.request, self.database.encoding
        alike = request.owners and request.privileges and not request.roles
        major = major_of(self.database.dump_version)
        there = objects_of(tools, connecting(self.place.conninfo), self.scratch)
        differences, compared = compare_objects(
            plan.definitions,
            there,
            privileges=alike and plan.whole and tools.major == major,
            encoding=encoding,
        )
        if not sampled:
            differences += compare_rows(tables, loaded.rows, encoding)
        try:
            with closing(Wire.open(self.place.conninfo, encoding)) as wire:
                differences += compare_sequences(plan.definitions, wire)
                enabled = wire.run(b"SELECT subname FROM pg_subscription WHERE subenabled").rows
        except Refused as no:
            differences.append(f"sequences could not be read: {no.why}")
            enabled = []
        differences += [f"subscription {name!r} is enabled" for (name,) in enabled]
        wanted = self.database.large_objects if plan.large_objects else 0
        if loaded.large_objects != wanted and plan.whole and not request.selection.schema_only:
            differences.append(f"{loaded.large_objects} large objects instead of {wanted}")
        if differences:
            self.place.keep = request.keep_failed
            if request.keep_failed:
                self.progress.note(f"database {self.place.name} is left to look at")
            raise RestoreDiffers(request.dump, self.database.name, tuple(differences))
        subscriptions = [e.tag or "" for e in plan.definitions if e.desc == "SUBSCRIPTION"]
        if subscriptions:
            names = ", ".join(readable(name, encoding) for name in subscriptions)
            self.notes.append(f"subscriptions are there, and not started: {names}")
        return compared

    def _open(self, own: list[TocEntry]) -> None:
        """Give the new database its owner, settings, privileges and comment."""
        # As the archive says of its own texts: a backslash in them may be an escape.
        settings = [e.definition or "" for e in self.settings if e.desc == "STDSTRINGS"]
        statements = [*settings, *statements_for(own, self.database.name, self.place.name)]
        maker = next((entry for entry in own if entry.desc == "DATABASE"), None)
        owner = maker.owner if maker is not None and self.request.owners else ""
        self.place.restore_visibility(statements, self.database.encoding, owner or "")

    def _script(self, server: Server, tools: Binaries, began: float) -> RestoreReport:
        report = RestoreReport(
            dump=self.request.dump,
            database=self.database.name,
            name=self.place.wanted,
            server=server.version,
            tables=self.database.tables,
            rows=self.database.rows,
            notes=tuple(self.notes),
            dry_run=self.request.dry_run,
        )
        if self.request.dry_run:
            return report
        encoding = self.database.encoding
        usual = server.encoding
        self.place.create(database_options(None, encoding, {}, keep_spaces=False, usual=usual))
        with self._phase("script"):
            restore_script(self.cluster, self.manifest, self.database, tools, self.place.conninfo)
        self._analyze(tools)
        self._open([])
        if self.request.replace and self.place.exists():
            swapped = self.place.swap(force=self.request.force, drop_old=self.request.drop_old)
            report = replace(report, swapped=swapped)
        else:
            self.place.finish()
        notes = (*self.notes, "a script's objects were not compared: it has no inventory of them")
        return replace(
            report,
            phases=tuple(self.phases),
            duration_s=time.monotonic() - began,
            notes=notes,
        )


@dataclass(frozen=True, slots=True)
class _Sections:
    """pg_restore on one archive."""

    tools: Binaries
    archive: Path
    conninfo: str
    request: RestoreRequest

    def of(self, archive: Path) -> Self:
        """Return the same, reading another archive."""
        return replace(self, archive=archive)

    def restore(self, section: str, jobs: int = 1) -> None:
        restore_section(
            self.tools,
            self.archive,
            section,
            connecting=connecting(self.conninfo),
            jobs=jobs,
            owners=self.request.owners,
            tablespaces=self.request.keep_tablespaces,
        )
