"""What lists and the timeline tell, as JSON has it. Positions and segments are text. Pure."""

from typing import Any

from pgkeep.coverage.listing import Dated, Listing
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Span
from pgkeep.repository.drills.report import Report
from pgkeep.retention.delete import DatedLoss, Preview
from pgkeep.retention.judging.deletion import DeletePlan
from pgkeep.retention.judging.dump_deletion import DumpDeletion


def backup_facts(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.id,
        "type": backup.type,
        "label": backup.label,
        "parent": backup.parent,
        "generation": backup.generation.id,
        "major": backup.generation.major,
        "timeline": backup.timeline,
        "start_lsn": str(backup.start_lsn),
        "stop_lsn": str(backup.stop_lsn),
        "started_at": backup.started_at,
        "stopped_at": backup.stopped_at,
        "files": backup.files,
        "size": backup.size,
        "stored": backup.stored,
        "corrupt_pages": backup.corrupt_pages,
    }


def backups_facts(listing: Listing, pinned: dict[str, str]) -> dict[str, Any]:
    """Return all backups, with what is known of each."""
    damaged = listing.proofs.damaged_backups()
    stranded = {
        one.backup: one.missing.name
        for part in listing.record.generations
        for one in part.coverage.stranded
    }
    return {
        "cluster": listing.cluster,
        "repository": listing.repository,
        "backups": [
            {
                **backup_facts(backup),
                "restorable": backup.id not in stranded,
                "missing_segment": stranded.get(backup.id),
                "damaged": damaged.get(backup.id),
                "pinned": pinned.get(backup.id),
            }
            for backup in listing.backups
        ],
        "unreadable": [
            {"id": bad.id, "code": bad.error.code, "message": bad.why}
            for bad in listing.record.unreadable
        ],
    }


def timeline_facts(listing: Listing) -> dict[str, Any]:
    """Return what the axis of time shows: coverage, holes, backups and drills."""
    return {
        "cluster": listing.cluster,
        "newest": listing.newest,
        "coverage": [
            {
                "generation": part.generation.id,
                "timeline": line.timeline,
                "spans": [
                    _span_facts(s, listing.dates[part.generation.id, line.timeline, s])
                    for s in line.spans
                ],
                "holes": [
                    {"first": h.first.name, "last": h.last.name, "segments": h.segments}
                    for h in line.holes
                ],
            }
            for part in listing.record.generations
            for line in part.coverage.timelines
        ],
        "backups": [
            {"id": b.id, "type": b.type, "started_at": b.started_at, "stopped_at": b.stopped_at}
            for b in listing.backups
        ],
    }


def drill_facts(report: Report) -> dict[str, Any]:
    return {
        "id": report.id,
        "status": report.status,
        "of": report.of,
        "asked": report.asked,
        "target": report.target,
        "reached": report.reached,
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "ready_s": report.measures.ready_s,
        "restored_bytes": report.measures.restored_bytes,
        "failed": [check.words for check in report.failed],
        "untested": report.untested,
    }


def deletion_facts(found: Preview) -> dict[str, Any]:
    """Return what deleting a backup or dump would lose."""
    plan = found.plan
    dump = plan if isinstance(plan, DumpDeletion) else None
    after = plan.after.timelines if isinstance(plan, DeletePlan) else ()
    return {
        "cluster": found.cluster,
        "repository": found.repository,
        "id": found.id,
        "readable": plan is not None,
        "lost": [_loss_facts(loss) for loss in found.losses],
        "lost_databases": list(dump.lost) if dump else [],
        "left": [
            {"timeline": line.timeline, "from_lsn": str(span.start), "to_lsn": str(span.end)}
            for line in after
            for span in line.spans
        ],
        "left_dumps": [one.id for one in dump.left] if dump else [],
        "wal_segments": len(found.wal_files),
        "bytes": found.freed,
    }


def _loss_facts(loss: DatedLoss) -> dict[str, Any]:
    return {
        "timeline": loss.timeline,
        "from": loss.start,
        "to": loss.end,
        "from_lsn": str(loss.lost.start),
        "to_lsn": str(loss.lost.end),
    }


def _span_facts(span: Span, dated: Dated) -> dict[str, Any]:
    return {
        "from": dated.start,
        "to": dated.end,
        "from_lsn": str(span.start),
        "to_lsn": str(span.end),
        "backups": list(span.backups),
    }
