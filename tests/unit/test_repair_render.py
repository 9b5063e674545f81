"""What pgkeep repair says, word for word."""

from pgkeep.cli.render.repair import report
from pgkeep.cli.text import Look
from pgkeep.model.backup import BackupId
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.layout import Fork, RelationFile
from pgkeep.repair.plan import BadPage, Fate, Verdict
from pgkeep.repair.repair import RepairReport

BACKUP = BackupId("20261123T084211Z-81c2")


def verdict(fate: Fate, why: str, *, database: int = 5, fork: Fork = Fork.MAIN) -> Verdict:
    relation = RelationFile(1663 if database else 1664, database, 16402, fork)
    folder = f"base/{database}" if database else "global"
    page = BadPage(f"{folder}/16402", relation, 9, 9 * 8192)
    backup = BACKUP if fate is Fate.BACKUP else None
    changes = (Lsn(4096),) if fate is Fate.CANNOT else ()
    return Verdict(page, fate, why, b"", backup, changes, "do this" if changes else "")


def made(*verdicts: Verdict, dry_run: bool = False, kept_in: str = "") -> RepairReport:
    return RepairReport(
        cluster="main",
        directory="/data",
        dry_run=dry_run,
        files=1204,
        pages=482113,
        verdicts=verdicts,
        databases={5: "shop"},
        kept_in=kept_in,
        notes=("a note",),
        seconds=1.4,
    )


def test_nothing_is_damaged() -> None:
    assert report(made(), Look()) == (
        "no page of /data is damaged\nchecked 482,113 pages of 1,204 files in 1.4 s\nnote: a note"
    )


def test_all_kinds_of_pages() -> None:
    done = made(
        verdict(Fate.BACKUP, "nothing changed it"),
        verdict(Fate.WAL, "it is whole", database=0),
        verdict(Fate.ZEROED, "it may be", fork=Fork.VM),
        verdict(Fate.CANNOT, "it changed", database=6),
        kept_in="/data.kept",
    )
    assert (
        report(done, Look())
        == """\
3 of 4 damaged pages of /data are repaired
checked 482,113 pages of 1,204 files in 1.4 s
what was overwritten is kept in /data.kept

base/5/16402 block 9 (database shop): repaired from backup 20261123T084211Z-81c2
  because nothing changed it

global/16402 block 9 (shared by all databases): repaired from WAL
  because it is whole

base/5/16402 block 9 (database shop, its visibility map): zeroed
  because it may be

base/6/16402 block 9 (database 6): still damaged
  because it changed
  do this
note: a note"""
    )
    assert done.cannot == 1
    assert [page["changes"] for page in done.to_dict()["found"]][3] == (Lsn(4096),)


def test_a_dry_run() -> None:
    done = made(verdict(Fate.BACKUP, "nothing changed it"), dry_run=True)
    text = report(done, Look())
    assert text.startswith("1 of 1 damaged page of /data can be repaired\n")
    assert ": can be repaired from backup 20261123T084211Z-81c2\n" in text
    assert text.endswith("\n\nnothing was written")
    assert done.to_dict()["repaired"] == 0
