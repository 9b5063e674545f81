"""Decides a restore and checks everything it needs. Nothing is written here."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pgkeep.coverage.record import ClusterRecord, Record, read_record
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupId, in_order
from pgkeep.model.coverage import TimelineCoverage
from pgkeep.model.target import Immediate, RecoveryTarget
from pgkeep.model.timeline import history_name
from pgkeep.postgres.control import parse_control
from pgkeep.progress import Progress, Silent
from pgkeep.repository import catalog
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore import preflight, settings
from pgkeep.restore.databases import Database
from pgkeep.restore.delta.existing import Existing, generation_in, look
from pgkeep.restore.delta.ground import DeltaPlan, check_spaces, find_wal, missing_room, plan_ground
from pgkeep.restore.plan import (
    Question,
    RestorePlan,
    candidates,
    choose_timeline,
    plan_restore,
    with_databases,
    with_tablespaces,
)
from pgkeep.restore.preflight import Need, TargetNotEmpty
from pgkeep.restore.tablespaces import (
    Tablespace,
    TablespaceMove,
    all_below,
    parse_mapping,
    place_tablespaces,
)
from pgkeep.restore.target.archived_wal import ArchivedWal
from pgkeep.restore.target.found import Search
from pgkeep.restore.target.locate import Stretch, locate
from pgkeep.restore.target.unreachable import (
    NothingToRestore,
    TargetNotFound,
    TargetTooLate,
    WrongTimeline,
)
from pgkeep.restore.writing.layout import CONTROL, Layout
from pgkeep.units import GIB, BadUnit, parse_size

_DEFAULT_MAX_WAL: Final = GIB  # PostgreSQL's own max_wal_size
_TO_THE_END: Final = RecoveryTarget()


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What the user asks for."""

    target_dir: str
    recovery: RecoveryTarget = _TO_THE_END
    backup: str | None = None  # an id, the beginning of one, or 'latest'; None: pgkeep chooses
    tablespaces: tuple[str, ...] = ()  # OLD=NEW, as typed
    tablespaces_below: str = ""  # a directory for all that are not mapped, each by its oid
    standby: bool = False
    primary_conninfo: str = ""
    primary_slot_name: str = ""
    keep_archiving: bool = False
    server_name: str = ""  # with it: what the archive calls this server, if not by its host
    stop_at_hole: bool = False  # with 'latest': accept that WAL behind a hole is lost
    delta: bool = False  # over an older state of this cluster: write only what differs
    discard_wal: bool = False  # with delta: do without its WAL that is not archived
    databases: tuple[str, ...] = ()  # restore the content of these only; none: of all
    jobs: int = 0  # 0: one per core
    rate: int = 0  # bytes compared and written per second, all workers together; 0: no limit
    spare: int = 0  # bytes that must be free beside all this
    # The words of restore_command before NAME and DEST: pgkeep-wal, its options, "fetch". The
    # restored server runs it, perhaps as another user and for weeks: absolute paths.
    fetch_command: tuple[str, ...] = ("pgkeep-wal", "fetch")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A restore that has been decided and checked, before anything was written."""

    plan: RestorePlan
    manifest: Manifest
    layout: Layout
    request: RestoreRequest
    over: DeltaPlan | None = None  # what is there already, and what becomes of it


def prepare(
    cluster: ClusterFolder, request: RestoreRequest, progress: Progress | None = None
) -> Prepared:
    """Decide and check a restore without writing anything: `--dry-run` shows its plan.

    Raise why the target cannot be reached, or what is wrong with the place or the backup.
    """
    progress = progress or Silent()
    request = replace(request, target_dir=os.path.abspath(request.target_dir))
    repository = _local_path(cluster)
    # The place first: it is the cheaper check, and no search makes a full directory empty.
    existing = _look(cluster, request, repository)
    progress.phase("looking for the target in the archived WAL")
    record = read_record(cluster)
    archived, named = _choose_record(record, request)
    question = Question(
        cluster.name,
        archived.coverage,
        archived.backups,
        request.recovery,
        named,
        request.standby,
        request.stop_at_hole,
    )
    _refuse_bad_history(archived, question)
    plan = _decide(cluster, question, request.target_dir)
    manifest = catalog.read_manifest(cluster, plan.backup.id)
    facts = manifest.facts
    plan = with_tablespaces(plan, _moves(facts, request))
    if request.databases:
        plan = with_databases(
            plan, _databases(facts), request.databases, images=_has_images(cluster, manifest)
        )
    # Both are checked again here: a copy without its label starts, and shows wrong data.
    settings.backup_label(facts)
    settings.tablespace_map(facts, plan)
    layout = _layout(manifest, plan)
    needs, over = _needs(layout, plan, facts), None
    if request.spare:
        needs.append(Need(layout.target_dir, request.spare, "room to work in"))
    if existing is None:
        preflight.check_tablespaces(plan.tablespaces, repository)
    else:
        wal = find_wal(cluster, existing, plan, request.recovery, discard=request.discard_wal)
        over = plan_ground(existing, plan, facts, wal)
        check_spaces(existing, plan.tablespaces, facts, repository)
        needs = missing_room(needs)
        plan = replace(plan, delta=True, local_wal=wal.kept)
    preflight.check_room(needs)
    warnings = (
        *plan.warnings,
        *(over.warnings if over else ()),
        *_bad_histories(archived),
        *_unreadable(record, plan),
        *_machine_warnings(facts, layout),
    )
    return Prepared(replace(plan, warnings=warnings), manifest, layout, request, over)


def _look(
    cluster: ClusterFolder, request: RestoreRequest, repository: str | None
) -> Existing | None:
    """Check the target directory; return what a delta restore finds in it."""
    directory = request.target_dir
    try:
        preflight.check_target(directory, repository, over=request.delta)
    except TargetNotEmpty as error:
        error.ours = generation_in(directory) in cluster.generation_ids()
        raise
    return look(directory) if request.delta else None


def _moves(facts: Facts, request: RestoreRequest) -> tuple[TablespaceMove, ...]:
    linked = [Tablespace(t.oid, t.path) for t in facts.tablespaces if t.path.startswith("/")]
    mappings = [parse_mapping(text) for text in request.tablespaces]
    if request.tablespaces_below:
        mappings += all_below(request.tablespaces_below, linked, mappings)
    return place_tablespaces(
        linked,
        mappings,
        target_dir=request.target_dir,
        source_dir=facts.data_directory,
    )


def _layout(manifest: Manifest, plan: RestorePlan) -> Layout:
    facts = manifest.facts
    return Layout(
        manifest.tables,
        plan.target_dir,
        plan.tablespaces,
        preflight.owners_here(facts.users, facts.groups),
        facts.data_directory_mode & 0o750,
        facts.generation.block_size,
        frozenset(database.oid for database in plan.shells),
    )


def _has_images(cluster: ClusterFolder, manifest: Manifest) -> bool:
    """Tell whether WAL begins every page with an image of it: then pages of zeros replay."""
    tables, facts = manifest.tables, manifest.facts
    number = tables.find(CONTROL)
    if number is None:
        return False
    rows = np.asarray(tables.chunk_rows(number))
    reader = ChunkReader(cluster, cluster.repository.sealer(), tables.pack, backup=facts.id)
    (content,) = (plain for _, plain in reader.read(tables.chunk.take(rows), lambda _: CONTROL))
    control = parse_control(content, f"{CONTROL} of backup {facts.id}")
    return control.full_page_writes and (control.checksums or control.wal_log_hints)


def _databases(facts: Facts) -> list[Database]:
    return [Database(database.oid, database.name) for database in facts.databases]


def _choose_record(
    record: ClusterRecord, request: RestoreRequest
) -> tuple[Record, BackupId | None]:
    """Return the generation to restore from, and the backup that was named."""
    if request.backup is not None:
        everything = in_order(b for archived in record.generations for b in archived.backups)
        known = catalog.Catalog(record.cluster, tuple(everything), record.unreadable)
        backup = catalog.find_backup(known, request.backup)
        owner = next(a for a in record.generations if a.generation.id == backup.generation.id)
        return owner, backup.id
    newest = record.newest
    if newest is None or not newest.backups:
        why = "there is no backup of it in this repository"
        if record.unreadable:
            why = f"none of its {len(record.unreadable)} backups can be read: "
            why += record.unreadable[-1].why
        raise NothingToRestore(record.cluster, why)
    return newest, None


def _refuse_bad_history(archived: Record, question: Question) -> None:
    """Raise what is wrong with the history file of the timeline that is asked for.

    The server reads it from the archive, whatever a backup knows of that timeline.
    """
    wanted = question.recovery.timeline
    number = choose_timeline(question).timeline if isinstance(wanted, str) else wanted
    for error in archived.bad_histories:
        if history_name(number) in str(error) or getattr(error, "timeline", None) == number:
            raise error


def _bad_histories(archived: Record) -> Iterator[str]:
    for error in archived.bad_histories:
        yield f"a timeline is left out: {error}"


def _decide(cluster: ClusterFolder, question: Question, target_dir: str) -> RestorePlan:
    line = choose_timeline(question)
    try:
        return _plan_along(cluster, question, line, target_dir)
    except (TargetTooLate, TargetNotFound) as error:
        if question.recovery.timeline != "latest":
            raise
        other = _timeline_with(cluster, question, line)
        if other is None:
            raise
        left = line.history.switch_of(other)
        where = f", which timeline {line.timeline} left at {left}" if left else ""
        why = f"it lies on timeline {other}{where}"
        raise WrongTimeline(question.target, why, f"add --timeline {other}") from error


def _timeline_with(
    cluster: ClusterFolder, question: Question, tried: TimelineCoverage
) -> int | None:
    """Return another timeline on which the target can be reached: the newest one."""
    for line in reversed(question.coverage.timelines):
        if line.timeline == tried.timeline or not line.reaches or not line.history_known:
            continue
        along = replace(question, recovery=replace(question.recovery, timeline=line.timeline))
        try:
            _plan_along(cluster, along, line, "")
        except PgkeepError:
            continue  # not there either: the first answer stands
        return line.timeline
    return None


def _plan_along(
    cluster: ClusterFolder, question: Question, line: TimelineCoverage, target_dir: str
) -> RestorePlan:
    size = question.coverage.generation.segment_size
    stretches = [
        Stretch(line, size, question.backup(reach.backup).start_lsn, reach.end)
        for reach in candidates(question, line)
    ]
    search = Search()
    if not isinstance(question.recovery.target, Immediate):
        archive = cluster.wal(question.coverage.generation.id)
        search = locate(question.recovery, stretches, ArchivedWal(archive, line, size))
    return plan_restore(question, line, search, target_dir)


def _local_path(cluster: ClusterFolder) -> str | None:
    """Return where on this machine the repository is, if it is on this machine."""
    url = cluster.store.url
    return url if url.startswith("/") else None


def _needs(layout: Layout, plan: RestorePlan, facts: Facts) -> list[Need]:
    sizes = layout.sizes()
    needs = [Need(layout.target_dir, sizes[layout.target_dir], "data files")]
    needs += [Need(move.new, sizes[move.new], f"tablespace {move.oid}") for move in layout.moves]
    # Recovery removes fetched segments again at its restartpoints: max_wal_size is about the most.
    most = _max_wal(facts) + 2 * plan.first_segment.size
    needs.append(Need(layout.target_dir, min(plan.wal_bytes, most), "WAL to replay"))
    return needs


def _max_wal(facts: Facts) -> int:
    try:
        return parse_size(facts.settings.get("max_wal_size", ""))
    except BadUnit:
        return _DEFAULT_MAX_WAL


def _unreadable(record: ClusterRecord, plan: RestorePlan) -> Iterator[str]:
    for broken in record.unreadable:
        if broken.id > plan.backup.id:
            yield f"the newer backup {broken.id} cannot be used: {broken.why}"


def _machine_warnings(facts: Facts, layout: Layout) -> Iterator[str]:
    uid = os.geteuid()
    yield from preflight.ownership_warnings(facts.users, as_root=uid == 0, uid=uid)
    yield from preflight.settings_warnings(facts.settings)
    for path in layout.foreign_links():
        yield f"the symbolic link {path} is not restored: what it pointed to is in no backup"
