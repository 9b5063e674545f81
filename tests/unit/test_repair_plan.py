"""What becomes of a damaged page: proven from a backup, from WAL, or left alone with the reason."""

import struct
from collections import deque

import pytest

from pgkeep.model.backup import BackupId
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.layout import Fork, RelationFile
from pgkeep.postgres.pages import PageChecker
from pgkeep.postgres.wal_blocks.scan import Block, Change, PageLog
from pgkeep.repair.plan import BadPage, Base, Fate, WalProof, decide, is_intact

BACKUP = BackupId("20261123T044225Z-7f3a")
START = Lsn(1000)
ALL = WalProof(Lsn(900), "")
CHECKER = PageChecker()


def bad(fork: Fork = Fork.MAIN, *, unlogged: bool = False) -> BadPage:
    relation = RelationFile(1663, 5, 16384, fork, segment=1)
    return BadPage("base/5/16384.1", relation, 131072 + 3, 3 * 8192, unlogged)


def page(lsn: int, block: int = 131072 + 3) -> bytes:
    content = bytearray(struct.pack("<IIHHHHHHI", 0, lsn, 0, 0, 24, 8192, 8192, 0x2004, 0))
    content += bytes(8192 - len(content))
    struct.pack_into("<H", content, 8, int(CHECKER.checksums(bytes(content), block)[0]))
    return bytes(content)


def base(lsn: int = 800) -> Base:
    return Base(BACKUP, START, page(lsn))


def log(
    *ends: int, image: bytes | None = None, image_end: int = 0, what: str = "changed"
) -> PageLog:
    changes = deque((Change(Lsn(end - 10), Lsn(end), what) for end in ends), maxlen=20)
    return PageLog(image, Lsn(image_end) if image else None, len(ends), changes)


def test_a_page_is_named_as_wal_names_it() -> None:
    assert bad().wal_block == Block((1663, 5, 16384), 0, 131072 + 3)
    assert bad(Fork.INIT).wal_block.fork == 3


def test_nothing_changed_since_the_backup() -> None:
    verdict = decide(bad(), base(), "", log(), ALL)
    assert (verdict.fate, verdict.content, verdict.backup) == (Fate.BACKUP, page(800), BACKUP)
    assert verdict.why == f"nothing changed it since backup {BACKUP}"


def test_changes_that_the_backups_page_has_already_do_not_matter() -> None:
    assert decide(bad(), base(1500), "", log(1200, 1500), ALL).fate is Fate.BACKUP
    assert decide(bad(), base(1500), "", log(1200, 1501), ALL).fate is Fate.CANNOT


def test_wal_need_only_reach_back_to_the_page() -> None:
    late = WalProof(Lsn(1400), "segment x is missing")
    assert decide(bad(), base(1500), "", log(), late).fate is Fate.BACKUP
    assert decide(bad(), base(800), "", log(), late).fate is Fate.CANNOT
    assert decide(bad(), base(1500), "", log(), WalProof(None, "")).fate is Fate.CANNOT


def test_a_whole_page_in_wal_is_sealed_as_the_server_would() -> None:
    image = bytearray(page(1))
    image[8:10] = b"\0\0"
    verdict = decide(bad(), base(), "", log(image=bytes(image), image_end=2000), ALL)
    assert verdict.fate is Fate.WAL
    assert verdict.why == "WAL holds it whole at 0/7D0, and nothing changed it since"
    assert verdict.content == page(2000)
    assert is_intact(verdict.content, bad().block, CHECKER)
    no_backup = decide(bad(), None, "none", log(image=bytes(image), image_end=2000), ALL)
    assert no_backup.content == verdict.content


def test_a_new_page_in_wal_stays_zeros() -> None:
    verdict = decide(bad(), None, "none", log(image=bytes(8192), image_end=2000), ALL)
    assert (verdict.fate, verdict.content) == (Fate.WAL, bytes(8192))


def test_a_whole_page_that_changed_again_is_not_enough() -> None:
    verdict = decide(bad(), base(), "", log(2100, image=page(1), image_end=2000), ALL)
    assert verdict.fate is Fate.CANNOT
    assert verdict.why == f"since backup {BACKUP} WAL changed it once, last at 0/82A"
    assert verdict.changes == (Lsn(2090),)


@pytest.mark.parametrize(
    ("found", "proof", "why"),
    [
        pytest.param(
            log(2000, 3000, 4000, 5000), ALL,
            f"since backup {BACKUP} WAL changed it 4 times, last at 0/BAE, 0/F96, 0/137E",
            id="often",
        ),
        pytest.param(
            log(2000, what="its relation was truncated"), ALL,
            f"since backup {BACKUP} WAL changed it once, last at 0/7C6 "
            "(its relation was truncated)",
            id="truncated",
        ),
        pytest.param(
            log(), WalProof(Lsn(1001), "0001 is not archived"),
            f"WAL since backup {BACKUP} is not all there: 0001 is not archived",
            id="gap",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_proven_says_why(found: PageLog, proof: WalProof, why: str) -> None:
    verdict = decide(bad(), base(), "", found, proof)
    assert (verdict.fate, verdict.why, verdict.content) == (Fate.CANNOT, why, b"")
    assert verdict.advice.startswith(
        "bring the whole cluster back with all changes: pgkeep restore"
    )


def test_more_changes_than_are_remembered() -> None:
    many = log(*range(2000, 2020))
    many.count = 5000
    assert "WAL changed it more than 20 times" in decide(bad(), base(), "", many, ALL).why


def test_no_backup_has_it() -> None:
    verdict = decide(bad(), None, "backup x does not have the file", log(2000), ALL)
    assert (verdict.fate, verdict.why) == (Fate.CANNOT, "backup x does not have the file")
    assert verdict.changes == (Lsn(1990),)


@pytest.mark.parametrize("fork", [Fork.FSM, Fork.VM])
def test_maps_are_zeroed(fork: Fork) -> None:
    verdict = decide(bad(fork), None, "", PageLog(), WalProof(None, ""))
    assert (verdict.fate, verdict.content) == (Fate.ZEROED, bytes(8192))
    assert verdict.why.endswith("PostgreSQL zeroes such a page itself when it meets it")


def test_unlogged_tables_are_nowhere() -> None:
    verdict = decide(bad(unlogged=True), None, "", PageLog(), ALL)
    assert verdict.why == "the table is unlogged: neither backups nor WAL hold it"
    assert verdict.advice == "TRUNCATE the table, and load it again"


def test_what_is_intact() -> None:
    good = page(1)
    assert is_intact(good, 131072 + 3, CHECKER)
    assert not is_intact(good, 3, CHECKER)
    assert is_intact(bytes(8192), 3, CHECKER)
    assert not is_intact(good[:-1], 131072 + 3, CHECKER)
    huge = page((1 << 32) - 1)
    assert not is_intact(huge[:5000] + b"\1" + huge[5001:], 131072 + 3, CHECKER)
