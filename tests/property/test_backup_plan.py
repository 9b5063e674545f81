"""Dividing the work of a backup: nothing left out, nothing twice, whatever the files."""

import itertools
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.backup.plan import CHUNK, FileToCopy, plan_copy
from pgkeep.units import GIB, MIB

SIZES = st.one_of(
    st.sampled_from([0, 1, 8192, CHUNK, CHUNK + 1, 128 * MIB, 128 * MIB + 8192, GIB]),
    st.integers(0, 2 * GIB),
    st.integers(0, 64 * 1024),
)
FILES = st.lists(st.tuples(SIZES, st.booleans()), max_size=60).map(
    lambda pairs: [FileToCopy(i * 3, size, split) for i, (size, split) in enumerate(pairs)]
)


@given(FILES, st.integers(1, 16))
def test_every_byte_is_copied_once(files: list[FileToCopy], jobs: int) -> None:
    plan = plan_copy(files, jobs)
    ranges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    sizes = {file.entry: file.size for file in files}
    for task in plan.tasks:
        assert (task.part is None) == bool(task.files)
        for entry in task.files:
            ranges[entry].append((0, sizes[entry]))
        if task.part:
            ranges[task.part.entry].append((task.part.start, task.part.end))
    assert ranges.keys() == sizes.keys()
    for entry, pieces in ranges.items():
        pieces.sort()
        assert pieces[0][0] == 0
        assert pieces[-1][1] == sizes[entry]
        assert all(left[1] == right[0] for left, right in itertools.pairwise(pieces))
        assert all(start % CHUNK == 0 for start, _ in pieces)
    assert plan.size == sum(sizes.values()) == sum(task.size for task in plan.tasks)
    assert plan.files == len(files)


@given(FILES, st.integers(1, 16))
def test_only_splittable_files_are_split_and_tasks_stay_bounded(
    files: list[FileToCopy], jobs: int
) -> None:
    plan = plan_copy(files, jobs)
    whole = {file.entry: file for file in files}
    for task in plan.tasks:
        if task.part:
            assert whole[task.part.entry].splittable
            assert task.size <= 257 * MIB
        elif len(task.files) > 1:
            assert task.size <= 256 * MIB
    assert [task.size for task in plan.tasks] == sorted(
        (task.size for task in plan.tasks), reverse=True
    )


@given(st.integers(1, 40), st.integers(1, 8))
def test_workers_finish_together(gigabytes: int, jobs: int) -> None:
    plan = plan_copy([FileToCopy(i, GIB, True) for i in range(gigabytes)], jobs)
    busy = [0] * jobs
    for task in plan.tasks:  # whoever is free takes the next
        busy[busy.index(min(busy))] += task.size
    assert max(busy) - min(busy) <= 65 * MIB
