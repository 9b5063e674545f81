"""Faults of a copy that no checksum shows are noticed right after the backup's end.

Replay further on would mend them: that is why the ledger's restores go there so often.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgkeep.model.lsn import Lsn
from support.backups import contents
from support.clusters import NewCluster, only
from support.ledger import Bank, Shot, make_bank
from support.ledger_judge import compare, observed
from support.ledger_script import Identity, Load
from support.ledger_wal import Branch
from support.load_writers import HeldOpen

PAGE = 8192
BETWEEN = 150  # transactions before a backup: several pages full


def with_old_page(copied: bytes, before: bytes) -> bytes:
    """The last page of an earlier backup, when it was not full yet."""
    start = len(before) - PAGE
    return copied[:start] + before[start:] + copied[start + PAGE :]


def with_empty_page(copied: bytes, before: bytes) -> bytes:
    start = len(before) - PAGE
    return copied[:start] + bytes(PAGE) + copied[start + PAGE :]


def cut_as_it_was(copied: bytes, before: bytes) -> bytes:
    """The size that the file had when it was listed is taken for the truth."""
    return copied[: len(before)]


def untouched(copied: bytes, before: bytes) -> bytes:
    assert len(copied) > len(before)
    return copied


@only(15, 18)
@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        pytest.param(untouched, False, id="nothing"),
        pytest.param(with_old_page, True, id="an old page"),
        pytest.param(with_empty_page, True, id="an empty page"),
        pytest.param(cut_as_it_was, True, id="a file without what it grew by"),
    ],
)
def test_a_wrong_page_is_noticed(
    new_cluster: NewCluster, tmp_path: Path, spoil: Callable[[bytes, bytes], bytes], lost: bool
) -> None:
    bank = make_bank(new_cluster, tmp_path, Load(1), settings={"autovacuum": "off"})
    enter(bank, 0, BETWEEN)
    before = bank.back_up(bank.pg)
    enter(bank, BETWEEN, 2 * BETWEEN)
    backup = bank.back_up(bank.pg)
    enter(bank, 2 * BETWEEN, 2 * BETWEEN + 1)
    at = str(bank.pg.value("SELECT pg_current_wal_insert_lsn()::text"))
    enter(bank, 2 * BETWEEN + 1, 2 * BETWEEN + 2)
    bank.archive(bank.pg)
    path = str(bank.pg.value("SELECT pg_relation_filepath('bank.ledger')"))
    report = bank.scene.restore(f"lsn:{at}", inclusive=False, backup=backup.id)
    file = Path(report.plan.target_dir, path)
    old = contents(bank.scene.folder, before.id)[path]
    file.write_bytes(spoil(file.read_bytes(), old))
    history = bank.witness.history(Branch(1))
    shot = Shot(f"lsn:{Lsn.parse(at)}", inclusive=False)
    events = history.replayed(shot.recovery, backup.start_lsn, backup.stop_lsn)
    assert events is not None
    with bank.scene.started(report) as (restored, _), restored.connect() as connection:
        told = compare(bank.state(history, events), observed(connection))
    assert any(words.startswith("ledger:") and "lost" in words for words in told) is lost
    assert bool(told) is lost


def enter(bank: Bank, start: int, end: int) -> None:
    """Commit transactions one by one, and leave their pages as replay will find them."""
    for seq in range(start, end):
        HeldOpen(bank.pg, bank.load, Identity(90, seq)).end("COMMIT")
    with bank.pg.connect() as connection:  # sets hint bits now: they would be logged later on
        connection.execute("SET enable_indexonlyscan = off")
        connection.execute("SELECT count(payload) FROM bank.ledger")
        connection.execute("CHECKPOINT")
