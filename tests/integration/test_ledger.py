"""Under load, a restore to any moment holds exactly what was committed then.

The load, the truth about it and the judge are in tests/support/ledger*.py. Longer runs:
PGKEEP_LEDGER_SEED, PGKEEP_LEDGER_TRANSACTIONS (between two events) and PGKEEP_LEDGER_RESTORES.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.restore.target.unreachable import BackupCannotReach, TargetNotFound, TargetTooEarly
from pgkeep.wal.takeover import take_over_archive
from support.clusters import NewCluster
from support.ledger import Bank, Scale, Shot, choose_shots, make_bank
from support.ledger_script import Identity, Load
from support.ledger_wal import Branch
from support.load_writers import HeldOpen
from support.wait import wait_for


def test_no_transaction_is_lost_and_none_is_too_many(
    new_cluster: NewCluster, postgres_version: int, tmp_path: Path
) -> None:
    """Scenarios 15 and 42: tables and catalogs are rewritten while they are copied."""
    scale = Scale.chosen(postgres_version, restores=4)
    bank = make_bank(new_cluster, tmp_path, Load(scale.seed))
    backups = []
    with bank.busy(bank.pg, 1, 2, 3) as load:
        for _ in range(2):
            load.wait_for(scale.transactions)
            backups.append(bank.back_up(bank.pg, lambda: load.wait_for(50)))
        load.wait_for(scale.transactions)
    bank.archive(bank.pg)
    history = bank.witness.history(Branch(1))
    bank.check_diaries(history, load.diary)
    for shot in choose_shots(history, load.diary, backups, scale.restores, scale.seed):
        bank.judge(history, shot)
    early = str(Lsn((backups[1].start_lsn + backups[1].stop_lsn) // 2))
    with pytest.raises(BackupCannotReach):
        bank.judge(history, Shot(f"lsn:{early}", backup=backups[1].id))
    bank.judge(history, Shot(f"lsn:{early}"))  # from the backup before
    with pytest.raises(TargetTooEarly):
        bank.judge(history, Shot(f"lsn:{backups[0].start_lsn}"))


def test_scenario_6_open_prepared_and_subtransactions_across_the_backup(
    new_cluster: NewCluster, postgres_version: int, tmp_path: Path
) -> None:
    """With a tablespace, unlogged tables and WAL segments of 16 MiB beside."""
    scale = Scale.chosen(postgres_version, restores=1)
    space, restored = tmp_path / "space", tmp_path / "restored_space"
    space.mkdir()
    bank = make_bank(
        new_cluster,
        tmp_path,
        Load(scale.seed, prepare=True, tablespace="side"),
        wal_segsize=None,
        more_tables=[
            f"CREATE TABLESPACE side LOCATION '{space}'",
            "ALTER TABLE bank.mirror SET TABLESPACE side",
            "ALTER TABLE bank.notes SET TABLESPACE side",
            "ALTER TABLE bank.scratch SET TABLESPACE side",
        ],
    )
    with bank.busy(bank.pg, 1, 2) as load:
        load.wait_for(scale.transactions)
        kept, dropped, prepared = (
            HeldOpen(bank.pg, bank.load, Identity(client, 1)) for client in (90, 91, 92)
        )
        prepared.prepare()
        backup = bank.back_up(bank.pg, lambda: load.wait_for(50))
        load.wait_for(50)
        kept.end("COMMIT")
        dropped.end("ROLLBACK")
        load.wait_for(50)
        prepared.end("COMMIT PREPARED")
        load.wait_for(scale.transactions)
    bank.archive(bank.pg)
    history = bank.witness.history(Branch(1))
    bank.check_diaries(history, load.diary)
    committed = history.committed(history.events)
    assert {Identity(90, 1), Identity(92, 1)} <= committed.keys()
    assert "92:1" in history.prepared(history.before(backup.stop_lsn))
    chosen = choose_shots(history, load.diary, [backup], scale.restores, scale.seed)
    # Scenario 50: without this transaction, but with all younger ones that committed before it.
    older = Shot(f"xid:{committed[Identity(90, 1)]}", inclusive=False)
    for shot in (Shot("immediate"), Shot("latest"), older, *chosen):
        bank.judge(history, shot, tablespaces=(f"{space}={restored}",))
        shutil.rmtree(restored)


def test_a_server_that_was_killed_keeps_its_truth(
    new_cluster: NewCluster, postgres_version: int, tmp_path: Path
) -> None:
    """Scenario 34: records that the crash cut off; and a push that it killed is done again."""
    scale = Scale.chosen(postgres_version, restores=2)
    bank = make_bank(new_cluster, tmp_path, Load(scale.seed))
    with bank.busy(bank.pg, 1, 2, 3) as before:
        before.wait_for(scale.transactions // 2)
        first = bank.back_up(bank.pg)
        before.wait_for(scale.transactions // 2)
        before.crash()
    bank.pg.start()
    with bank.busy(bank.pg, 4, 5) as after:
        after.wait_for(scale.transactions // 2)
        second = bank.back_up(bank.pg, lambda: after.wait_for(30))
        after.wait_for(scale.transactions // 2)
    bank.archive(bank.pg)
    history = bank.witness.history(Branch(1))
    bank.check_diaries(history, before.diary, after.diary)
    across = choose_shots(history, after.diary, [first], 1, scale.seed, far=True)
    for shot in (
        replace(across[0], backup=first.id),
        *choose_shots(history, after.diary, [second], scale.restores - 1, scale.seed),
    ):
        bank.judge(history, shot)


def test_scenario_28_sibling_branches_keep_their_own_truth(
    new_cluster: NewCluster, postgres_version: int, tmp_path: Path
) -> None:
    """A restored server archives a second timeline; both go on, and each can be restored."""
    scale = Scale.chosen(postgres_version, restores=1)
    bank = make_bank(new_cluster, tmp_path, Load(scale.seed))
    with bank.busy(bank.pg, 1, 2) as before:
        before.wait_for(scale.transactions // 2)
        first = bank.back_up(bank.pg)
        before.wait_for(scale.transactions // 2)
    bank.archive(bank.pg)
    (fork,) = choose_shots(bank.witness.history(Branch(1)), before.diary, [first], 1, scale.seed)
    report = bank.scene.restore(fork.to, "second", keep_archiving=True, **fork.options)
    with bank.scene.started(report) as (second, _):
        if fork.action == "pause":
            place = str(second.data_directory)
            second.server_tool("pg_ctl", "promote", "-w", "-D", place)
        with bank.busy(bank.pg, 3) as after, bank.busy(second, 11, 12) as beside:
            after.wait_for(50)
            beside.wait_for(scale.transactions // 2)
            backup = bank.back_up(second)
            beside.wait_for(scale.transactions // 2)
        bank.archive(second)
    # The archive is the restored server's by now: the original has to be told to go on.
    take_over_archive([bank.scene.folder], str(bank.pg.data_directory), "")
    bank.archive(bank.pg)
    trunk = bank.witness.history(Branch(1))
    branch = bank.witness.history(Branch(1, switch_point(bank)), Branch(2))
    bank.check_diaries(trunk, before.diary, after.diary)
    old = [first]
    for shot in [
        *choose_shots(trunk, after.diary, old, scale.restores, scale.seed, timeline=1, far=True),
        Shot("latest", timeline=1),
    ]:
        bank.judge(trunk, shot)
    for shot in [
        *choose_shots(branch, beside.diary, old, scale.restores, scale.seed, timeline=2, far=True),
        *choose_shots(branch, beside.diary, [backup], scale.restores, scale.seed),
    ]:
        bank.judge(branch, shot)
    with pytest.raises(BackupCannotReach):
        bank.judge(trunk, Shot("latest", timeline=1, backup=backup.id))
    with pytest.raises(TargetNotFound):
        bank.judge(trunk, Shot("name:never_made"))


def switch_point(bank: Bank) -> Lsn:
    """Return where timeline 2 left the first one, as its history file says."""
    file = bank.witness.directory / "00000002.history"
    wait_for(lambda: file.exists() and "\n" in file.read_text())
    *_, last = (line for line in file.read_text().split("\n") if line)
    return Lsn.parse(last.split("\t")[1])
