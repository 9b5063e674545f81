"""Writes a dump as what PostgreSQL's own programs read. Changes nothing in the repository.

A file or directory gets its name when it is whole and durable; until then it has another one.
"""

import time
from contextlib import ExitStack

from pgkeep.logical.export.archives import write_custom, write_tar
from pgkeep.logical.export.directory import write_directory
from pgkeep.logical.export.formats import ExportFormat
from pgkeep.logical.export.place import new_file, told
from pgkeep.logical.export.plain import write_globals, write_plain
from pgkeep.logical.export.plan import ExportPlan, ExportRequest, plan_export
from pgkeep.logical.export.reading import Content
from pgkeep.logical.export.report import ExportReport
from pgkeep.logical.export.tally import Tally
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps
from pgkeep.repository.claims import locks
from pgkeep.repository.repository import ClusterFolder


def export(
    cluster: ClusterFolder, request: ExportRequest, progress: Progress | None = None
) -> ExportReport:
    """Write a dump, or a database of it. Raise CannotExport, BrokenPipeError if nobody reads.

    Whatever is raised, the output is what it was before; what went to a stream went there.
    """
    progress = progress or Silent()
    began = time.monotonic()
    with ExitStack() as stack:
        lock = locks.keep_from_expiring(
            cluster, "dump-restore", "pgkeep dump export", progress, stack
        )
        manifest = dumps.read_manifest(cluster, request.dump)
        plan = plan_export(manifest.facts, request)
        tally = Tally(progress, lock.beat if lock is not None else lambda: None)
        _write(Content(cluster, manifest, request), plan, tally)
    return ExportReport(
        dump=request.dump,
        format=request.format,
        output=request.output,
        databases=tuple(part.database.name for part in plan.parts),
        globals=plan.globals,
        compression=plan.compress,
        read=tally.bytes,
        duration_s=time.monotonic() - began,
    )


def _write(content: Content, plan: ExportPlan, tally: Tally) -> None:
    request = plan.request
    if request.format is ExportFormat.DIRECTORY:
        write_directory(content, plan.parts[0].database, request, tally)
        return
    with told(request), new_file(request) as sink:
        match request.format:
            case ExportFormat.GLOBALS:
                write_globals(content, sink, tally)
            case ExportFormat.PLAIN:
                write_plain(content, plan, sink, tally)
            case ExportFormat.CUSTOM:
                write_custom(content, plan.parts[0].database, sink, plan.compression, tally)
            case ExportFormat.TAR:
                write_tar(content, plan.parts[0].database, sink, tally)
