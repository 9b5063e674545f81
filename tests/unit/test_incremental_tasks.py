"""The fate of files, turned into work: every page once, moves in portions, known chunks at hand."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.backup.copying import tasks as tasks_module
from pgkeep.backup.copying.tasks import Tasks
from pgkeep.backup.copying.work import Reading, Work
from pgkeep.backup.incremental.base import LSN, SUMMARIES, Base
from pgkeep.backup.incremental.changes import Changes, Fate
from pgkeep.backup.source import Listing
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.repository.manifest.builder import Attributes
from support.layers import PAGE, Layered, Over, Whole, backup

SINCE = Lsn.parse("0/4000028")
START = 0x9000028
F, G, MAP, CONF = "base/5/1", "base/5/2", "base/5/2_fsm", "postgresql.conf"


def parent_of(*, checksums: bool = True) -> Backup:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    generation = Generation(7710983248089545577, 18, 16 << 20)
    return Backup(
        BackupId("parent"),
        BackupType.FULL,
        generation,
        1,
        SINCE,
        SINCE,
        at,
        at,
        checksums=checksums,
    )


def works(
    sizes: dict[str, int],
    made: Layered | None = None,
    fates: dict[str, tuple[Fate, list[int]]] | None = None,
    *,
    moving: list[int] | None = None,
    lost: frozenset[int] = frozenset(),
    checksums: bool = True,
    jobs: int = 2,
) -> list[Work]:
    """Return the work for files of these sizes; without a parent everything is whole."""
    listing = Listing()
    for path, size in sizes.items():
        first = 0 if path.startswith("base/") else None
        listing.add_file(path, size, Attributes(0o600, 0, 0, 0), first)
    base = None
    if made is not None:
        fates = fates or {}
        found = Changes(
            np.array([fates.get(path, (Fate.WHOLE, []))[0] for path in sizes], np.uint8),
            np.array([-1 if (row := made.tables.find(path)) is None else row for path in sizes]),
            {
                index: np.array(fates[path][1], np.uint32)
                for index, path in enumerate(sizes)
                if path in fates and fates[path][1]
            },
        )
        rows = np.array(moving or [], np.int64)
        base = Base(parent_of(checksums=checksums), made.tables, found, SUMMARIES, "", lost, rows)
    made_tasks = Tasks(listing, base, START)
    return list(made_tasks.works(made_tasks.plan(jobs)))


def readings(found: list[Work]) -> list[Reading]:
    return [reading for work in found for reading in work.readings]


def test_a_full_backup_reads_everything_whole_but_empty_relations() -> None:
    found = readings(works({F: 3 * PAGE, G: 0, CONF: 0, MAP: PAGE}))
    assert [(r.path, r.first_block, r.changed, r.known) for r in found] == [
        (F, 0, None, None),
        (CONF, None, None, None),
        (MAP, 0, None, None),
    ]


def test_kept_files_are_not_opened() -> None:
    made = backup({F: Whole(40), CONF: Whole(0, 9)})
    fates = {F: (Fate.KEPT, list[int]()), CONF: (Fate.KEPT, list[int]())}
    assert works({F: 40 * PAGE, CONF: 9}, made, fates) == []


def test_named_pages() -> None:
    made = backup({F: Whole(40)})
    (reading,) = readings(works({F: 40 * PAGE}, made, {F: (Fate.PAGES, [3, 30])}))
    assert reading.changed is not None
    assert (reading.changed.blocks.tolist(), reading.changed.since) == ([3, 30], None)


@pytest.mark.parametrize("checksums", [True, False])
def test_a_scan_ends_where_the_file_ended_when_it_was_listed(checksums: bool) -> None:
    made = backup({F: Whole(40)})
    fates = {F: (Fate.SCAN, [40, 41])}
    (reading,) = readings(works({F: 42 * PAGE}, made, fates, checksums=checksums))
    assert (reading.start, reading.end) == (0, 42 * PAGE)
    assert reading.changed is not None
    assert (reading.changed.blocks.tolist(), reading.changed.since) == ([40, 41], int(SINCE))


@given(
    size=st.integers(1, 6000),
    named=st.sets(st.integers(0, 5999), max_size=40),
    stretch=st.integers(0, 5000),
    fate=st.sampled_from([Fate.PAGES, Fate.SCAN]),
    jobs=st.integers(1, 4),
)
@settings(deadline=None, max_examples=50)
def test_the_parts_of_a_large_file_cover_it_once(
    size: int, named: set[int], stretch: int, fate: Fate, jobs: int
) -> None:
    blocks = sorted({b for b in named if b < size} | set(range(min(stretch, size))))
    made = backup({F: Whole(1)})
    if fate is Fate.PAGES and not blocks:
        return
    found = readings(works({F: size * PAGE}, made, {F: (fate, blocks)}, jobs=jobs))
    taken = Counter[int]()
    for reading in found:
        assert reading.changed is not None
        always = reading.changed.blocks.tolist()
        taken.update(always)
        if fate is Fate.SCAN:
            assert reading.end is not None
            assert all(reading.start <= block * PAGE < reading.end for block in always)
    assert taken == Counter(blocks)
    if fate is Fate.SCAN:
        ranges = sorted((reading.start, reading.end or 0) for reading in found)
        assert ranges[0][0] == 0
        assert [end for _, end in ranges] == [*(start for start, _ in ranges[1:]), size * PAGE]


def test_a_file_read_whole_knows_the_chunks_of_the_parent() -> None:
    made = backup({F: Over(300, [5]), G: Whole(3)}, backup({F: Whole(300), G: Whole(3)}))
    (reading,) = readings(works({F: 300 * PAGE}, made))
    assert reading.known is not None
    tables = made.tables
    assert {placed.id for placed in reading.known.values()} == {
        tables.chunk.id[row].tobytes() for row in range(4)
    }
    for name, placed in reading.known.items():
        (row,) = [r for r in range(4) if tables.chunk.id[r].tobytes() == name]
        assert placed[1:] == (
            tables.chunk.pack[row],
            tables.chunk.offset[row],
            tables.chunk.sealed[row],
        )


def test_chunks_in_lost_packs_are_not_known() -> None:
    made = backup({F: Over(300, [5])}, backup({F: Whole(300)}))
    (reading,) = readings(works({F: 300 * PAGE}, made, lost=frozenset({0})))
    assert reading.known is not None
    assert {placed.pack for placed in reading.known.values()} == {1}


def test_what_is_moved_comes_first_and_brings_only_its_packs() -> None:
    first = backup({F: Whole(300), G: Whole(3)})
    made = backup({F: Over(300, [5]), G: Whole(3)}, first)
    rows = [0, 1, 2]
    fates = {F: (Fate.KEPT, list[int]())}
    found = works({F: 300 * PAGE, CONF: 5}, made, fates, moving=rows)
    moves = found[0].moves
    assert moves is not None
    assert found[1].moves is None
    assert moves.rows.tolist() == rows
    assert moves.chunks.pack.tolist() == [0, 0, 0]
    assert [moves.packs.name(row) for row in range(len(moves.packs))] == [first.tables.pack.name(0)]
    assert moves.chunks.id.tolist() == made.tables.chunk.id[rows].tolist()


def test_moves_come_in_portions_and_equal_chunks_stay_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = backup({F: Whole(128 * 5)})
    offset = made.tables.chunk.offset
    offset[2] = offset[1]  # the same chunk twice
    monkeypatch.setattr(tasks_module, "_MOVED", 2000)
    fates = {F: (Fate.KEPT, list[int]())}
    found = works({F: 640 * PAGE}, made, fates, moving=[0, 1, 2, 3, 4])
    portions = [work.moves.rows.tolist() for work in found if work.moves is not None]
    assert portions == [[0, 1, 2], [3, 4]]


def test_what_goes_on_record() -> None:
    made = backup({F: Whole(40), G: Whole(40), MAP: Whole(2)})
    sizes = np.array([40, 42, 2, 7]) * PAGE
    found = Changes(
        np.array([Fate.KEPT, Fate.SCAN, Fate.WHOLE, Fate.WHOLE], np.uint8),
        np.array([2, 3, 4, -1]),
        {1: np.array([40, 41], np.uint32)},
        {1},
        {"new": 1},
    )
    base = Base(parent_of(), made.tables, found, LSN, "because", frozenset(), np.zeros(0, np.int64))
    taken = base.taken_over(sizes)
    assert taken.number.tolist() == [0, 1]
    assert taken.row.tolist() == [2, 3]
    assert taken.size.tolist() == [40 * PAGE, 42 * PAGE]
    assert taken.base_only.tolist() == [False, True]
    reuse = base.reuse(sizes)
    assert (reuse.parent, reuse.parent_lsn, reuse.method) == ("parent", str(SINCE), LSN)
    assert (reuse.unchanged_files, reuse.paged_files, reuse.whole_files) == (1, 1, 2)
    assert (reuse.unchanged_bytes, reuse.paged_bytes) == (40 * PAGE, 42 * PAGE)
    assert (reuse.whole_bytes, reuse.whole_reasons) == (9 * PAGE, {"new": 1})
