"""Reports of drills that nobody made."""

from datetime import UTC, datetime
from typing import Any

from pgkeep.repository.drills.report import Check, CheckKind, Report, Status

MOMENT = datetime(2026, 11, 28, 0, 52, 42, tzinfo=UTC)


def a_report(
    id: str = "20261128T005242.000000Z-00000001", status: Status = Status.PASSED, **more: Any
) -> Report:
    facts: dict[str, Any] = {
        "id": id,
        "cluster": "main",
        "status": status,
        "of": "20261128T005226Z-700e",
        "asked": "latest",
        "target": "latest",
        "checks": (Check(kind=CheckKind.RESTORE, status=status, words="12 files restored"),),
        "host": "backup1",
        "pgkeep_version": "0.1.0",
        "started_at": MOMENT,
        "finished_at": MOMENT,
    }
    return Report(**{**facts, **more})
