"""Changed pages from here and there, gathered into chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.backup.copying.stage import PageStage
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository.manifest.tables import Array

Stored = tuple[int, list[int], list[int]]


def pages(blocks: list[int], entry: int) -> Array:
    """Return pages that tell whose they are."""
    made = np.zeros((len(blocks), PAGE_SIZE), np.uint8)
    made[:, 0], made[:, 1] = entry, np.array(blocks, np.int64) % 251
    return made


class Stage:
    """A stage, and what it has stored."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self._stage = PageStage(self._store)

    def add(self, entry: int, blocks: list[int]) -> None:
        self._stage.add(entry, np.array(blocks, np.uint32), pages(blocks, entry))

    def finish(self) -> list[Stored]:
        self._stage.flush()
        return self.stored

    def _store(self, entry: int, blocks: Array, content: memoryview) -> None:
        rows = np.frombuffer(content, np.uint8).reshape(-1, PAGE_SIZE)
        assert set(rows[:, 0].tolist()) == {entry}
        assert rows[:, 1].tolist() == (blocks.astype(np.int64) % 251).tolist()
        self.stored.append((entry, blocks.tolist(), rows[:, 1].tolist()))


@pytest.mark.parametrize(
    ("adds", "chunks"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(1, [])], [], id="no pages"),
        pytest.param([(1, [5])], [(1, 1)], id="one page"),
        pytest.param([(1, [5]), (1, [9, 10])], [(1, 3)], id="pages of one file together"),
        pytest.param([(1, [5]), (2, [5])], [(1, 1), (2, 1)], id="files apart"),
        pytest.param([(1, list(range(128)))], [(1, 128)], id="exactly a chunk"),
        pytest.param([(1, list(range(300)))], [(1, 128), (1, 128), (1, 44)], id="several chunks"),
        pytest.param(
            [(1, list(range(100))), (1, list(range(200, 250)))],
            [(1, 128), (1, 22)],
            id="over the border of a chunk",
        ),
    ],
)
def test_chunks_of_pages(adds: list[tuple[int, list[int]]], chunks: list[tuple[int, int]]) -> None:
    stage = Stage()
    for entry, blocks in adds:
        stage.add(entry, blocks)
    assert [(entry, len(blocks)) for entry, blocks, _ in stage.finish()] == chunks


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=8))
@settings(deadline=None)
def test_every_page_is_stored_once_and_in_order(adds: list[tuple[int, int]]) -> None:
    stage, wanted, nxt = Stage(), list[tuple[int, int]](), 0
    for entry, count in adds:
        blocks = list(range(nxt, nxt + 2 * count, 2))
        nxt += 2 * count
        stage.add(entry, blocks)
        wanted += [(entry, block) for block in blocks]
    got = [(entry, block) for entry, blocks, _ in stage.finish() for block in blocks]
    assert got == wanted
    assert all(len(blocks) <= 128 for _, blocks, _ in stage.stored)
