"""Which holes in archived WAL expiring has made, and which are a loss."""

from datetime import UTC, datetime

import pytest

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History
from pgkeep.verify.plan import holes

SIZE = 1 << 20
GENERATION = Generation(system_identifier=42, major=18, segment_size=SIZE)
LATER = datetime(2026, 2, 1, tzinfo=UTC)


def backup(name: str, start: float, timeline: int) -> Backup:
    """Make a backup that begins and ends in one segment."""
    return Backup(
        id=BackupId(name),
        type=BackupType.FULL,
        generation=GENERATION,
        timeline=timeline,
        start_lsn=Lsn(int(start * SIZE)),
        stop_lsn=Lsn(int((start + 0.3) * SIZE)),
        started_at=datetime(2026, 1, 1, int(start), tzinfo=UTC),
        stopped_at=datetime(2026, 1, 1, int(start), 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("trunk", "child", "lost", "let_go"),
    [
        pytest.param("SSSSSS", "...SSSSSS", 0, 0, id="none"),
        pytest.param("SSSSSS", ".......SS", 0, 1, id="a child's beginning, its parent in use"),
        pytest.param("SS....", ".......SS", 0, 1, id="from an island on"),
        pytest.param("SSSSSS", "....SS.SS", 2, 0, id="not up to a backup, and in the middle"),
        pytest.param("SSSSSS", "...S...SS", 1, 0, id="after neither a backup nor a beginning"),
    ],
)
def test_holes(trunk: str, child: str, lost: int, let_go: int) -> None:
    """Timeline 2 leaves the first one in segment 3; its only backup begins in segment 7."""
    backups = [backup("old", 1.5, 1), backup("new", 7.5, 2)]
    archived = {
        number: [n for n, mark in enumerate(sketch) if mark == "S"]
        for number, sketch in ((1, trunk), (2, child))
    }
    histories = {2: History(2, (Branch(1, Lsn(int(3.5 * SIZE))),))}
    found = holes(coverage(GENERATION, backups, archived, histories), backups, LATER)
    assert tuple(map(len, found)) == (lost, let_go)
