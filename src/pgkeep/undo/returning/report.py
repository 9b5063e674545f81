"""What was seen of a table, and what came of bringing it back."""

from dataclasses import dataclass
from typing import Any

from pgkeep.undo.returning.carry_out import Done, RestorePointMade
from pgkeep.undo.returning.compare import Difference
from pgkeep.undo.returning.found import Found
from pgkeep.undo.returning.plan import ReturnPlan


@dataclass(frozen=True, slots=True)
class Seen:
    """A table then and now."""

    then: Found
    now: Found | None  # None: it is gone
    difference: Difference | None  # None: it is gone, or has no key
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": str(self.then.name),
            "where": self.where,
            "then": found_facts(self.then),
            "now": None if self.now is None else found_facts(self.now),
            "difference": difference_facts(self.difference),
        }


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What was done on the live server, or into a file."""

    seen: Seen
    plan: ReturnPlan
    restore_point: RestorePointMade | None = None  # None: nothing was changed
    done: Done | None = None
    file: str = ""
    file_size: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return what --json shows: docs/undo.md."""
        done, point = self.done, self.restore_point
        return {
            **self.seen.to_dict(),
            "plan": self.plan.to_dict(),
            "restore_point": None if point is None else {"name": point.name, "lsn": str(point.lsn)},
            "rows": 0 if done is None else done.rows,
            "in_the_way": 0 if done is None else done.in_the_way,
            "not_valid": [] if done is None else [
                {"constraint": name, "violations": count} for name, count in done.not_valid
            ],
            "failed": [] if done is None else list(done.failed),
            "file": self.file,
            "file_size": self.file_size,
        }  # fmt: skip


def found_facts(found: Found) -> dict[str, Any]:
    """Return a table as --json shows it."""
    return {
        "kind": "partitioned table" if found.kind == "p" else "table",
        "owner": found.owner,
        "size": found.size,
        "rows": found.rows,
        "columns": [column._asdict() for column in found.columns],
        "key": list(found.key),
        "tablespace": found.tablespace,
        "comment": found.comment,
        "partitions": [f"{m.schema}.{m.name}" for m in found.members[1:] if found.kind == "p"],
        "heirs": [f"{one.schema}.{one.name}" for one in found.heirs],
        "parents": list(found.parents),
        "indexes": [one._asdict() for one in found.indexes],
        "constraints": [one._asdict() for one in found.constraints],
        "foreign_keys": [one._asdict() for one in found.foreign_keys],
        "referenced_by": [one._asdict() for one in found.incoming],
        "sequences": [one._asdict() for one in found.sequences],
        "triggers": [one._asdict() for one in found.triggers],
        "views": list(found.views),
        "grants": list(found.grants),
        "policies": [one._asdict() for one in found.policies],
        "row_security": found.row_security,
        "unlogged": found.unlogged,
        "first_rows": [list(row) for row in found.first_rows],
    }


def difference_facts(difference: Difference | None) -> dict[str, Any] | None:
    """Return a difference as --json shows it."""
    if difference is None:
        return None
    return {
        "key": list(difference.key),
        "rows_then": difference.rows_then,
        "rows_now": difference.rows_now,
        "missing": difference.missing,
        "changed": difference.changed,
        "new": difference.new,
        "same": difference.same,
        "missing_sample": [list(key) for key in difference.missing_sample],
        "changed_sample": [
            {"key": list(row.key), "changes": [change._asdict() for change in row.changes]}
            for row in difference.changed_sample
        ],
        "new_sample": [list(key) for key in difference.new_sample],
        "compared": list(difference.compared),
        "left_out": list(difference.left_out),
    }
