"""Files made of layers come back as the bytes that the last layer of each page holds."""

import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.repository.manifest.checks import check_tables
from pgkeep.repository.manifest.tables import ID, ChunkTable, LayerTable, PageTable
from pgkeep.restore.writing import tasks
from pgkeep.restore.writing.copy import FileWriter, NewFiles
from pgkeep.restore.writing.layout import Layout, Owners
from pgkeep.restore.writing.tasks import TaskPlan
from pgkeep.units import MIB
from support.manifests import manifest_of
from support.overlays import PAGE, StoredFiles, Version, store_files, versions

HISTORIES = st.lists(versions(), min_size=1, max_size=6)


def write_all(stored: StoredFiles, target: Path) -> TaskPlan:
    plan = TaskPlan(Layout(stored.tables, str(target), (), Owners({}, {})), 2)
    writer = FileWriter(stored.reader(), NewFiles(chown=False, sync=False))
    assert sum(writer.write(task).size for task in plan) == plan.size
    return plan


@settings(max_examples=80, deadline=None)
@given(HISTORIES, st.integers(1, 4))
def test_restored_bytes_are_those_of_the_last_layers(
    histories: list[list[Version]], limit: int
) -> None:
    stored = store_files(histories)
    check_tables(stored.tables, PAGE, "here")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as place:
        # Ranges of a few pages, so that these small files are divided too.
        patch.setattr(tasks, "_SMALLEST", limit * PAGE)
        patch.setattr(tasks, "_LARGEST", limit * PAGE)
        write_all(stored, Path(place))
        for path, content in stored.contents.items():
            assert Path(place, path).read_bytes() == content


def test_a_chunk_is_read_once_for_all_its_pages(tmp_path: Path) -> None:
    """Every other page of a chunk survives: three pieces, one read."""
    base = Version(6, frozenset(range(6)))
    stored = store_files([[base, Version(6, frozenset({1, 3, 5}))]])
    plan = TaskPlan(Layout(stored.tables, str(tmp_path), (), Owners({}, {})), 1)
    (task,) = plan
    assert len(task.chunks) == 3
    assert len(task.position) == 6
    assert np.all(np.diff(task.chunk) >= 0)
    write_all(stored, tmp_path)
    assert (tmp_path / "f000").read_bytes() == stored.contents["f000"]


def test_the_plan_of_many_overlaid_files_is_small() -> None:
    """64 files of 256 MiB, a quarter of each changed: half a million changed pages."""
    files, pages, changed = 64, 32768, 8192
    block = np.arange(changed, dtype=np.uint32) * 4
    chunks = np.tile([pages // 128, changed // 128], files)
    plain = np.full(int(chunks.sum()), MIB, np.uint32)
    whole = manifest_of(" ".join(f"f{number:03}=8kB" for number in range(files))).tables
    tables = replace(
        whole,
        file=replace(
            whole.file,
            size=np.full(files, pages * PAGE, np.uint64),
            layers=np.full(files, 2, np.uint32),
        ),
        layer=LayerTable(chunks.astype(np.uint32), np.tile([0, changed], files).astype(np.uint32)),
        page=PageTable(np.tile(block, files)),
        chunk=ChunkTable(
            np.zeros(len(plain), ID),
            np.zeros(len(plain), np.uint32),
            np.arange(len(plain), dtype=np.uint32),
            np.full(len(plain), 1000, np.uint32),
            plain,
        ),
    )
    layout = Layout(tables, "/new", (), Owners({}, {}))
    tracemalloc.start()
    try:
        size = sum(task.size for task in TaskPlan(layout, 2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == files * pages * PAGE
    assert peak < 12 * MIB
