"""Chunks of the dump before: found by their ids, but not in packs that are gone."""

import numpy as np

from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.pack import Placed
from pgkeep.repository.packs.known import ChunkIndex, KnownChunks
from support.manifests import manifest_of, with_column


def chunk_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def parent() -> Tables:
    """Five chunks, the first two and the last in other packs than the rest."""
    return with_column(manifest_of("a=4500kB").tables, "chunk.pack", [0, 0, 1, 1, 2])


def test_chunks_are_found_where_the_parent_has_them() -> None:
    known = KnownChunks.of(parent())
    assert len(known) == 5
    assert known.find(chunk_id(1)) == Placed(chunk_id(1), 0, 0, 1000)
    assert known.find(chunk_id(4)) == Placed(chunk_id(4), 1, 3000, 1000)
    assert known.find(chunk_id(6)) is None


def test_chunks_in_lost_packs_are_not_known() -> None:
    known = KnownChunks.of(parent(), {0, 2})
    found = [number for number in range(1, 6) if known.find(chunk_id(number))]
    assert found == [3, 4]


def test_nothing_is_known_without_a_parent() -> None:
    assert KnownChunks().find(chunk_id(1)) is None
    assert KnownChunks.of(Tables.empty()).find(chunk_id(1)) is None


def test_ids_that_share_one_half_are_told_apart_and_equal_ones_are_kept_once() -> None:
    halves = np.array([[5, 1], [7, 2], [7, 1], [5, 1], [7, 2]], np.uint64)
    index, places = ChunkIndex.of(np.frombuffer(halves.tobytes(), "V16"))

    def find(high: int, low: int) -> int | None:
        place = index.find(np.array([high, low], np.uint64).tobytes())
        return None if place is None else int(places[place])

    assert len(index) == 3
    assert [find(5, 1), find(7, 1), find(7, 2)] == [0, 2, 1]
    assert [find(5, 2), find(7, 3), find(8, 1), find(0, 0)] == [None] * 4
