"""The files of a repair: damage found by several processes, overwritten once it is kept."""

import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pgkeep.postgres.control import ControlFile
from pgkeep.postgres.layout import Fork, RelationFile
from pgkeep.postgres.pages import PageChecker
from pgkeep.progress import Silent
from pgkeep.repair import damage
from pgkeep.repair.damage import find_damage
from pgkeep.repair.plan import BadPage, Fate, Verdict
from pgkeep.repair.refused import CannotRepair, RepairFailed
from pgkeep.repair.write import PageWriter
from pgkeep.units import MIB

PAGE = 8192
# All that is asked of it here.
CONTROL = cast(ControlFile, SimpleNamespace(tablespace_folder="PG_18_1", segment_blocks=131072))
JUNK = b"\x07" * PAGE


def good_page(block: int) -> bytes:
    content = bytearray(struct.pack("<IIHHHHHHI", 0, 99, 0, 0, 24, 8192, 8192, 0x2004, 0))
    content += bytes(PAGE - len(content))
    checksum = int(PageChecker().checksums(bytes(content), block)[0])
    struct.pack_into("<H", content, 8, checksum)
    return bytes(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("global", "base/5", "pg_tblspc"):
        (root / name).mkdir(parents=True)
    (root / "PG_VERSION").write_text("18\n")
    (root / "global" / "pg_control").touch()
    return root


def test_damage_is_found_by_several_processes(root: Path) -> None:
    large, second = root / "base/5/16384", root / "base/5/16384.1"
    with large.open("wb") as file:
        file.truncate(300 * MIB)
        for position in (0, 256 * MIB - PAGE, 256 * MIB, 300 * MIB - PAGE):
            file.seek(position)
            file.write(JUNK)
    second.write_bytes(good_page(131072) + JUNK + good_page(131072 + 3) + b"cut off")
    (root / "base/5/16385").write_bytes(good_page(0))
    (root / "base/5/16390_init").write_bytes(good_page(0))
    (root / "base/5/16390").write_bytes(good_page(1))
    (root / "base/5/pg_filenode.map").write_bytes(JUNK)

    found = find_damage(str(root), CONTROL, 2, Silent())

    assert (found.files, found.pages) == (5, 300 * 128 + 3 + 3)
    assert [(p.path, p.block, p.position // PAGE, p.unlogged) for p in found.bad] == [
        ("base/5/16384", 0, 0, False),
        ("base/5/16384", 32767, 32767, False),
        ("base/5/16384", 32768, 32768, False),
        ("base/5/16384", 38399, 38399, False),
        ("base/5/16384.1", 131073, 1, False),
        ("base/5/16384.1", 131074, 2, False),
        ("base/5/16390", 0, 0, True),
    ]
    assert found.notes == [
        "base/5/16384.1 ends in the middle of a page, which is left alone",
    ]


def test_too_much_damage_is_no_case_for_single_pages(root: Path) -> None:
    (root / "base/5/16384").write_bytes(JUNK * (damage.MOST + 1))
    with pytest.raises(CannotRepair) as refused:
        find_damage(str(root), CONTROL, 1, Silent())
    assert str(refused.value) == (
        f"no page was repaired in {root}: more than 5,000 pages are damaged, too many to bring "
        "back one by one"
    )
    assert refused.value.hint == (
        f"bring the cluster back: pgkeep restore --delta --target-dir {root}"
    )


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRepair, match=r"it cannot be read whole: .*: it has no PG_VERSION"):
        find_damage(str(tmp_path), CONTROL, 1, Silent())


def verdict(content: bytes, block: int = 1) -> Verdict:
    relation = RelationFile(1663, 5, 16384, Fork.MAIN)
    page = BadPage("base/5/16384", relation, block, block * PAGE)
    return Verdict(page, Fate.BACKUP, "", content)


def test_the_damaged_page_is_kept_before_it_is_overwritten(root: Path) -> None:
    path = root / "base/5/16384"
    path.write_bytes(good_page(0) + JUNK + good_page(2))
    before = path.stat()
    wanted = f"{root}.kept"
    os.mkdir(wanted)
    writer = PageWriter(str(root), wanted)
    kept_in = writer.begin()
    assert kept_in == f"{wanted}-2"
    writer.write(verdict(good_page(1)))
    assert path.read_bytes() == good_page(0) + good_page(1) + good_page(2)
    kept = Path(kept_in, "base_5_16384.block-1")
    assert kept.read_bytes() == JUNK
    assert (kept.stat().st_mode & 0o777, Path(kept_in).stat().st_mode & 0o777) == (0o600, 0o700)
    assert (path.stat().st_mode, path.stat().st_uid) == (before.st_mode, before.st_uid)
    writer.write(verdict(good_page(1)))  # somebody was quicker: nothing to keep, nothing to do


def test_nothing_is_overwritten_that_cannot_be_kept(root: Path) -> None:
    path = root / "base/5/16384"
    path.write_bytes(good_page(0) + JUNK)
    writer = PageWriter(str(root), f"{root}.kept")
    kept_in = writer.begin()
    Path(kept_in, "base_5_16384.block-1").touch()
    with pytest.raises(RepairFailed) as failed:
        writer.write(verdict(good_page(1)))
    assert str(failed.value) == (
        f"the repair is not complete: cannot keep {kept_in}/base_5_16384.block-1: file exists"
    )
    assert path.read_bytes() == good_page(0) + JUNK
    with pytest.raises(RepairFailed, match=r"cannot make .*: no such file or directory"):
        PageWriter(str(root), f"{root}/nowhere/kept").begin()


def test_a_page_that_would_not_be_right_is_noticed(root: Path) -> None:
    path = root / "base/5/16384"
    path.write_bytes(good_page(0) + JUNK)
    writer = PageWriter(str(root), f"{root}.kept")
    writer.begin()
    with pytest.raises(RepairFailed, match="the new block 1 is not intact either"):
        writer.write(verdict(good_page(2)))
    assert path.read_bytes() == good_page(0) + JUNK
