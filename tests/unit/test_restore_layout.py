"""Where entries go, and that the tasks together write every byte of every file once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.repository.manifest.codec import Manifest
from pgkeep.restore.tablespaces import TablespaceMove
from pgkeep.restore.writing.layout import Layout, Owners
from pgkeep.restore.writing.tasks import Task, TaskPlan, control_task
from pgkeep.units import MIB
from support.manifests import manifest_of

MOVES = (TablespaceMove(16384, "/mnt/a", "/n/a", ""), TablespaceMove(16385, "/mnt/b", "/n/b", ""))


def layout_of(manifest: Manifest, **more: Any) -> Layout:
    return Layout(manifest.tables, "/new", MOVES, more.pop("owners", Owners({}, {})), **more)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("base/1/1259", "/new/base/1/1259"),
        ("pg_tblspc/16384", "/new/pg_tblspc/16384"),
        ("pg_tblspc/16384/PG_18_1/5/9", "/n/a/PG_18_1/5/9"),
        ("pg_tblspc/16385/x", "/n/b/x"),
        ("pg_tblspc/163850/x", "/new/pg_tblspc/163850/x"),
        ("pg_tblspc/16390/PG_18_1", "/new/pg_tblspc/16390/PG_18_1"),  # in place
    ],
)
def test_place(path: str, place: str) -> None:
    assert layout_of(manifest_of("base/")).place(path) == place


def test_what_a_restore_writes_itself_is_not_copied() -> None:
    ours = "backup_label=1kB recovery.signal=1kB standby.signal=1kB"
    sketch = f"{ours} global/ global/pg_control=8kB x=1kB"
    layout = layout_of(manifest_of(sketch))
    assert [layout.tables.entry(n).path for n in layout.files().tolist()] == ["x"]
    last = control_task(layout)
    assert last is not None
    assert [part.path for part in last.parts] == ["/new/global/pg_control"]


def test_links_are_those_of_the_moves() -> None:
    sketch = "conf>/etc/x pg_tblspc/ pg_tblspc/16384>/mnt/a pg_tblspc/16385>/mnt/b"
    layout = layout_of(manifest_of(sketch))
    assert list(layout.links()) == [
        ("/new/pg_tblspc/16384", "/n/a"),
        ("/new/pg_tblspc/16385", "/n/b"),
    ]
    assert layout.foreign_links() == ("conf",)


def test_sizes_are_counted_by_tree() -> None:
    sketch = "base/ base/1=100kB pg_tblspc/ pg_tblspc/16384>/mnt/a pg_tblspc/16384/x=1MB"
    sizes = layout_of(manifest_of(sketch)).sizes()
    assert sizes["/n/a"] == MIB + 4096
    assert sizes["/n/b"] == 0
    assert 100 * 1024 <= sizes["/new"] <= 120 * 1024


def test_owners_and_modes() -> None:
    layout = layout_of(manifest_of("x=1kB"), owners=Owners({26: 1026}, {}))
    part = layout.part(layout.tables.entry(0))
    assert (part.uid, part.gid, part.mode) == (1026, 27, 0o600)


def written_by(tasks: list[Task]) -> dict[str, list[tuple[int, int]]]:
    """Return the ranges that tasks write, by path."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for task in tasks:
        for part in task.parts:
            ranges.setdefault(part.path, [])
        columns = (task.part, task.position, task.length)
        for owner, position, length in zip(*(c.tolist() for c in columns), strict=True):
            ranges[task.parts[owner].path].append((position, position + length))
    return {path: sorted(found) for path, found in ranges.items()}


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=30),
    jobs=st.integers(1, 8),
    large=st.integers(0, 300),
)
def test_every_byte_is_written_once(sizes: list[int], jobs: int, large: int) -> None:
    words = [f"f{number:03}={size * 100}kB" for number, size in enumerate(sizes)]
    manifest = manifest_of(" ".join([*words, f"large={large}MB"]))
    plan = TaskPlan(layout_of(manifest), jobs)
    tasks = list(plan)
    assert len(tasks) == len(plan)
    ranges = written_by(tasks)
    expected = {f"/new/f{n:03}": size * 102400 for n, size in enumerate(sizes)}
    expected["/new/large"] = large * MIB
    assert ranges.keys() == expected.keys()
    for path, size in expected.items():
        position = 0
        for start, end in ranges[path]:
            assert start == position
            position = end
        assert position == size
    assert sum(task.size for task in tasks) == plan.size == sum(expected.values())


def test_a_large_file_is_shared_by_the_workers() -> None:
    tasks = list(TaskPlan(layout_of(manifest_of("large=1GB small=1kB")), 2))
    assert len(tasks) > 10
    assert max(task.size for task in tasks) <= 128 * MIB
    assert np.all(np.diff([task.size for task in tasks]) <= 0)
