"""One worker's work: files that change under its hands, chunks, packs, and pages judged."""

import os
from collections.abc import Callable

import pytest

from pgkeep.backup.copying.copy import BUFFER, Copier, make_copier
from pgkeep.backup.copying.page_check import BadPage
from pgkeep.backup.copying.work import Copied, Reading, Work
from pgkeep.backup.source import BackupAborted
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK, Sealer
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import KIB, MIB
from support.backups import FakeReader, copier_setup, page

START_LSN = 0x3000028
BEFORE, SINCE = 0x1000, START_LSN + 5


@pytest.fixture
def cluster() -> ClusterFolder:
    return Repository.create(MemoryStore(), "none", None).cluster("main")


Copy = Callable[..., Copied]
Files = dict[str, bytes | list[bytes | None]]


def copier_of(cluster: ClusterFolder, files: Files, *, checksums: bool = True) -> Copier:
    reader = FakeReader(files)
    setup = copier_setup(cluster, reader, checksums=checksums)
    return make_copier(cluster, setup, sleep=lambda _: None)


@pytest.fixture
def copy(cluster: ClusterFolder) -> Copy:
    def run(files: Files, *readings: Reading, checksums: bool = True) -> Copied:
        copier = copier_of(cluster, files, checksums=checksums)
        wanted = readings or [Reading(i, path, 0) for i, path in enumerate(files)]
        copied = copier.copy(Work(wanted, START_LSN), lambda _: None, lambda: False)
        copier.settle()
        return copied

    return run


def stored_bytes(cluster: ClusterFolder, copied: Copied, entry: int) -> bytes:
    """Read back, straight from the packs, what was stored of one file."""
    stored = copied.stored
    rows = zip(
        *(stored.column(c) for c in ("file", "position", "pack", "offset", "sealed")), strict=True
    )
    found = sorted((int(p), int(k), int(o), int(n)) for f, p, k, o, n in rows if f == entry)
    sealer, pieces = Sealer(None), []
    for _, pack, offset, length in found:
        name = (
            f"clusters/main/packs/{stored.packs[pack].id.hex()[:2]}/{stored.packs[pack].id.hex()}"
        )
        pieces.append(sealer.unseal(CHUNK, cluster.store.get(name, offset, length), name))
    return b"".join(pieces)


@pytest.mark.parametrize(
    "size",
    [1, 8192, 8193, MIB - 1, MIB, MIB + 1, BUFFER, BUFFER + 8192, 2 * BUFFER + 3 * MIB + 17],
)
def test_a_file_comes_back_byte_for_byte(cluster: ClusterFolder, copy: Copy, size: int) -> None:
    content = os.urandom(size)
    copied = copy({"a": content}, Reading(0, "a", None))
    assert stored_bytes(cluster, copied, 0) == content


def test_files_of_all_sizes_share_buffer_and_pack(cluster: ClusterFolder, copy: Copy) -> None:
    sizes = [0, 1, 8192, 700 * KIB, 3 * MIB + 5, 900 * KIB, BUFFER + 1, 5, 8192, 2 * MIB]
    files: Files = {str(i): os.urandom(size) for i, size in enumerate(sizes)}
    copied = copy(files, *(Reading(i, str(i), None) for i in range(len(sizes))))
    assert [stored_bytes(cluster, copied, i) for i in range(len(sizes))] == list(files.values())
    assert len(copied.stored.packs) == 1


def test_equal_chunks_are_stored_once(cluster: ClusterFolder, copy: Copy) -> None:
    content = os.urandom(MIB)
    copied = copy({"a": content * 3, "b": content}, Reading(0, "a", None), Reading(1, "b", None))
    assert copied.stored.packs[0].size < 1.1 * MIB
    assert stored_bytes(cluster, copied, 0) == content * 3
    assert stored_bytes(cluster, copied, 1) == content


def test_a_part_is_read_from_its_place(cluster: ClusterFolder, copy: Copy) -> None:
    content = os.urandom(6 * MIB)
    copied = copy({"a": content}, Reading(7, "a", None, 2 * MIB, 4 * MIB))
    assert stored_bytes(cluster, copied, 7) == content[2 * MIB : 4 * MIB]
    assert list(copied.stored.column("position")) == [2 * MIB, 3 * MIB]


def test_scenario_12_a_file_that_grew_is_copied_to_the_size_at_opening(copy: Copy) -> None:
    small, grown = page(0), page(0) + page(1)
    copied = copy({"a": [grown]}, Reading(0, "a", 0))
    assert sum(copied.stored.column("plain")) == len(grown)
    copied = copy({"a": [grown]}, Reading(0, "a", 0, 0, len(small)))
    assert sum(copied.stored.column("plain")) == len(small)


def test_a_file_that_shrank_keeps_what_was_read(cluster: ClusterFolder, copy: Copy) -> None:
    copied = copy({"a": page(0)}, Reading(0, "a", 0, 0, 5 * MIB))
    assert stored_bytes(cluster, copied, 0) == page(0)


def test_scenario_10_vanished_files_are_told_and_nothing_else_suffers(
    cluster: ClusterFolder, copy: Copy
) -> None:
    copied = copy({"a": [None], "b": page(0)})
    assert list(copied.gone) == [0]
    assert stored_bytes(cluster, copied, 1) == page(0)


def test_a_later_part_that_vanished_is_not_the_whole_file(copy: Copy) -> None:
    assert copy({"a": [None]}, Reading(0, "a", 0, MIB, 2 * MIB)).gone == []


def test_scenario_73_an_odd_tail_is_kept_and_not_judged(cluster: ClusterFolder, copy: Copy) -> None:
    content = page(0) + b"\xff" * 777
    copied = copy({"a": content})
    assert stored_bytes(cluster, copied, 0) == content
    assert copied.bad_pages == []


def broken(block: int, lsn: int = BEFORE) -> bytes:
    return page(block, lsn)[:-1] + b"!"


def test_scenario_14_a_torn_page_is_read_again(cluster: ClusterFolder, copy: Copy) -> None:
    good = page(0) + page(1)
    copied = copy({"a": [page(0) + broken(1), good]})
    assert copied.bad_pages == []
    assert stored_bytes(cluster, copied, 0) == good


def test_scenario_14_a_page_that_changes_while_it_is_read_is_no_damage(copy: Copy) -> None:
    assert copy({"a": [broken(0), broken(0, SINCE)]}).bad_pages == []


def test_scenario_14_one_damaged_page_is_named_exactly(cluster: ClusterFolder, copy: Copy) -> None:
    content = b"".join(map(page, range(700))) + broken(700) + page(701)
    copied = copy({"a": content}, Reading(4, "a", 0))
    assert copied.bad_pages == [BadPage(4, 700, BEFORE)]
    assert stored_bytes(cluster, copied, 4) == content


def test_scenario_72_zero_pages_are_no_damage_but_half_zero_ones_are(copy: Copy) -> None:
    half_new = bytearray(8192)
    half_new[4000] = 1
    content = bytes(8192) + page(1) + bytes(8192) + bytes(half_new)
    assert copy({"a": content}).bad_pages == [BadPage(0, 3, 0)]


def test_blocks_are_counted_over_the_segments_of_a_relation(copy: Copy) -> None:
    content = page(131072) + broken(131073)
    assert copy({"a": content}, Reading(0, "a", 131072)).bad_pages == [BadPage(0, 131073, BEFORE)]


def test_pages_of_many_small_files_are_judged_with_their_own_blocks(copy: Copy) -> None:
    files: Files = {str(i): b"".join(page(block) for block in range(i % 4)) for i in range(200)}
    files["50"] = page(0) + broken(1)
    files["not pages"] = b"PG_VERSION"
    readings = [Reading(i, path, None if " " in path else 0) for i, path in enumerate(files)]
    assert copy(files, *readings).bad_pages == [BadPage(50, 1, BEFORE)]


def test_a_page_past_the_start_is_left_to_the_end_of_the_backup(copy: Copy) -> None:
    assert copy({"a": broken(0, SINCE)}).bad_pages == [BadPage(0, 0, SINCE)]


def test_a_damaged_page_that_is_dropped_meanwhile_is_forgotten(copy: Copy) -> None:
    assert copy({"a": [broken(0), None]}).bad_pages == []
    assert copy({"a": [broken(0), b""]}).bad_pages == []


def test_scenario_73_without_checksums_impossible_headers_are_noticed(copy: Copy) -> None:
    mad = bytearray(page(0))
    mad[12:14] = (9000).to_bytes(2, "little")  # pd_lower beyond pd_upper
    assert copy({"a": broken(0) + bytes(mad)}, checksums=False).bad_pages == [BadPage(0, 1, BEFORE)]


def test_it_stops_when_told(cluster: ClusterFolder) -> None:
    copier = copier_of(cluster, {"a": page(0)})
    with pytest.raises(BackupAborted, match="no backup was made: it was stopped"):
        copier.copy(Work([Reading(0, "a", 0)], START_LSN), lambda _: None, lambda: True)


def test_what_is_copied_is_counted(cluster: ClusterFolder) -> None:
    steps: list[int] = []
    copier = copier_of(cluster, {"a": bytes(9 * MIB), "b": b"12"})
    work = Work([Reading(0, "a", 0), Reading(1, "b", None)], START_LSN)
    copier.copy(work, steps.append, lambda: False)
    assert sum(steps) == 9 * MIB + 2
