"""`pgkeep repair` on real clusters with real damage, with and without changes since the backup."""

import json
import os
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pgkeep.backup import backup
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.postgres.control import ControlFile, read_control
from pgkeep.postgres.datadir import Entry, walk
from pgkeep.postgres.layout import Fork
from pgkeep.postgres.pages import PageChecker
from pgkeep.progress import Silent
from pgkeep.repair.damage import Damage
from pgkeep.repair.plan import BadPage, Fate, Verdict, is_intact
from pgkeep.repair.refused import CannotRepair
from pgkeep.repair.repair import RepairReport, RepairRequest, _decide, _Stopped, run
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import run_pgkeep
from support.restores import CLUSTER, Scene, make_scene
from support.wait import wait_for

PAGE = 8192
FULL = backup.BackupOptions(kind=backup.Kind.FULL, jobs=1)


@dataclass
class Site:
    """A cluster with a table of 200 pages, a backup of it, and ways to hurt it."""

    scene: Scene

    @property
    def pg(self) -> ScratchCluster:
        return self.scene.pg

    @property
    def root(self) -> Path:
        return self.pg.data_directory

    def file(self, table: str = "t") -> Path:
        return self.root / str(self.pg.value(f"SELECT pg_relation_filepath('{table}')"))

    def rows(self, table: str = "t") -> list[tuple[object, ...]]:
        return self.pg.sql(f"SELECT * FROM {table} ORDER BY g")

    def repair(self, *, dry_run: bool = False, backup: str | None = None) -> RepairReport:
        request = RepairRequest(str(self.root), backup, dry_run)
        return run(self.scene.folder, request, now=datetime.now(UTC))

    def bad_checksums(self) -> int:
        done = self.pg.server_tool("pg_checksums", "--check", "-D", str(self.root), check=False)
        line = next(line for line in done.stdout.splitlines() if line.startswith("Bad"))
        return int(line.split()[-1])


@pytest.fixture
def site(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Site:
    settings: dict[str, str | int | None] = {"autovacuum": "off"}
    scene = make_scene(new_cluster, repository_directory, tmp_path, settings, ledger=False)
    scene.pg.sql(
        "CREATE TABLE t AS SELECT g, repeat('x', 300) AS s FROM generate_series(1, 5000) g"
    )
    scene.pg.sql("CREATE INDEX ON t (g)")
    scene.pg.sql("VACUUM FREEZE t")
    return Site(scene)


def flip(path: Path, block: int, at: int = 5000) -> bytes:
    """Damage a page; return what it was."""
    with path.open("r+b") as file:
        file.seek(block * PAGE)
        page = bytearray(file.read(PAGE))
        before = bytes(page)
        page[at] ^= 0x55
        file.seek(block * PAGE)
        file.write(page)
    return before


def page_of(path: Path, block: int) -> bytes:
    return path.read_bytes()[block * PAGE :][:PAGE]


def fates(report: RepairReport) -> dict[int, Fate]:
    return {verdict.page.block: verdict.fate for verdict in report.verdicts}


def only_one(report: RepairReport) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def test_an_unchanged_page_comes_back_from_the_backup(site: Site) -> None:
    before, path = site.rows(), site.file()
    taken = site.scene.backup()
    index = site.file("t_g_idx")
    site.pg.sql("UPDATE t SET s = 'new' WHERE g = 4000")
    before = site.rows()
    site.pg.stop()
    old = {block: flip(path, block) for block in (0, 7)}
    old_index = flip(index, 1)
    assert site.bad_checksums() == 3

    shown = site.repair(dry_run=True)
    assert (len(shown.verdicts), shown.cannot, shown.kept_in) == (3, 0, "")
    assert site.bad_checksums() == 3
    done = site.repair()

    assert {v.fate for v in done.verdicts} == {Fate.BACKUP}
    assert {v.backup for v in done.verdicts} == {taken}
    assert only_one_of(done, path, 7).why == f"nothing changed it since backup {taken}"
    assert {block: page_of(path, block) for block in old} == old
    assert page_of(index, 1) == old_index
    kept = sorted(os.listdir(done.kept_in))
    assert len(kept) == 3
    assert all(name.startswith("base_") and ".block-" in name for name in kept)
    assert site.bad_checksums() == 0
    assert site.repair().verdicts == ()  # again: nothing to do, nothing done
    site.pg.start()
    assert site.rows() == before


def only_one_of(report: RepairReport, path: Path, block: int) -> Verdict:
    return next(v for v in report.verdicts if path.match(v.page.path) and v.page.block == block)


def test_a_page_that_wal_holds_whole_comes_back_from_there(site: Site) -> None:
    site.scene.backup()
    path = site.file()
    site.pg.sql("CHECKPOINT")
    before = [row for row in site.rows() if row[0] != 1]
    site.pg.sql("DELETE FROM t WHERE g = 1")  # the page's first change: whole in WAL
    site.scene.archive()
    site.pg.stop()
    old = flip(path, 0)
    done = site.repair()
    verdict = only_one(done)
    assert verdict.fate is Fate.WAL, verdict.why
    assert verdict.why.startswith("WAL holds it whole at ")
    new = page_of(path, 0)
    assert new[:8] + new[10:] == old[:8] + old[10:]  # but for its checksum, which fits again
    assert new == old
    assert site.bad_checksums() == 0
    site.pg.start()
    assert site.rows() == before


@only(15, 18)
def test_a_page_that_changed_since_is_left_and_told_why(site: Site) -> None:
    taken = site.scene.backup()
    path = site.file()
    site.pg.sql("CHECKPOINT")
    site.pg.sql("UPDATE t SET s = 'one' WHERE g = 1")
    site.pg.sql("UPDATE t SET s = 'two' WHERE g = 2")
    site.pg.stop()
    flip(path, 0)
    flip(path, 9)
    done = site.repair()
    assert fates(done) == {0: Fate.CANNOT, 9: Fate.BACKUP}
    left = only_one_of(done, path, 0)
    assert left.why.startswith(f"since backup {taken} WAL changed it ")
    assert str(left.changes[-1]) in left.why
    assert "pgkeep restore --delta" in left.advice
    assert site.bad_checksums() == 1
    assert fates(site.repair()) == {0: Fate.CANNOT}


@only(17)
def test_without_its_wal_a_page_is_not_believed(site: Site) -> None:
    taken = site.scene.backup()
    path = site.file()
    lost = site.pg.switch_wal()
    for _ in range(3):
        site.pg.switch_wal()
        site.pg.sql("CHECKPOINT")
    site.scene.archive()
    site.pg.stop()
    old = flip(path, 0)
    generation = read_control(str(site.root)).generation
    archived = next(Path(site.scene.folder.store.url).rglob(f"*{lost}*"))
    content = archived.read_bytes()
    archived.unlink()
    (site.root / "pg_wal" / lost).unlink(missing_ok=True)
    verdict = only_one(site.repair())
    assert verdict.fate is Fate.CANNOT
    assert verdict.why == (
        f"WAL since backup {taken} is not all there: {lost} is neither in pg_wal nor archived"
    )
    archived.write_bytes(content[:-200] + bytes(200))
    assert "not all there" in only_one(site.repair()).why
    archived.write_bytes(content)
    assert only_one(site.repair()).fate is Fate.BACKUP
    assert page_of(path, 0) == old
    assert generation.id in str(archived)


def full_backup(site: Site) -> str:
    with DataDirectorySource.connect(site.pg.conninfo) as source:
        return str(backup.run(source, site.scene.folder, FULL).id)


@only(18)
def test_a_page_damaged_in_the_newest_backup_comes_from_an_older_one(site: Site) -> None:
    first = site.scene.backup()
    path = site.file()
    site.pg.stop()
    old = flip(path, 3)
    site.pg.start()
    second = full_backup(site)
    site.pg.stop()
    verdict = only_one(site.repair(backup=second))
    assert verdict.fate is Fate.CANNOT
    assert verdict.why == f"backup {second} has the page damaged as well"
    verdict = only_one(site.repair())
    assert (verdict.fate, verdict.backup) == (Fate.BACKUP, first)
    assert page_of(path, 3) == old
    # The next backup builds on the damaged one, and must not bring the damage back.
    site.pg.start()
    third = site.scene.backup()
    report = site.scene.restore("immediate", backup=third)
    back = Path(report.plan.target_dir) / path.relative_to(site.root)
    assert page_of(back, 3) == old


@only(15, 18)
def test_maps_are_zeroed_as_the_server_would(site: Site) -> None:
    path = site.file()
    site.scene.backup()
    rows = site.rows()
    site.pg.stop()
    for fork in ("_fsm", "_vm"):
        flip(path.with_name(path.name + fork), 0, 100)
    done = site.repair()
    assert [v.fate for v in done.verdicts] == [Fate.ZEROED] * 2
    assert site.bad_checksums() == 0
    site.pg.start()
    site.pg.sql("VACUUM t")
    assert site.rows() == rows


@only(18)
def test_pages_that_no_backup_and_no_wal_can_have(site: Site) -> None:
    site.pg.sql("CREATE UNLOGGED TABLE u AS SELECT * FROM t")
    taken = site.scene.backup()
    site.pg.sql("CREATE TABLE later AS SELECT * FROM t LIMIT 2000")
    site.pg.sql("VACUUM FREEZE later")  # logged without the whole page
    site.pg.sql("TRUNCATE t")
    site.pg.sql("INSERT INTO t SELECT g FROM generate_series(1, 9) g")
    site.pg.sql("INSERT INTO t SELECT g FROM generate_series(1, 9) g")
    unlogged, later, emptied = site.file("u"), site.file("later"), site.file("t")
    site.pg.stop()
    for path in (unlogged, later, emptied):
        flip(path, 0)
    done = site.repair()
    why = {site.root / v.page.path: v.why for v in done.verdicts if v.fate is Fate.CANNOT}
    assert why == {
        unlogged: "the table is unlogged: neither backups nor WAL hold it",
        later: f"backup {taken} does not have the file: it is newer",
        emptied: f"backup {taken} does not have the file: it is newer",
    }
    assert site.bad_checksums() == 3


@only(17)
def test_a_page_of_an_incremental_backup(site: Site) -> None:
    site.scene.backup()
    path = site.file()
    site.pg.sql("UPDATE t SET s = 'new' WHERE g % 50 = 0")
    site.pg.sql("CHECKPOINT")
    second = site.scene.backup()
    site.pg.stop()
    blocks = (0, 5, 100)
    old = {block: flip(path, block) for block in blocks}
    done = site.repair()
    assert fates(done) == dict.fromkeys(blocks, Fate.BACKUP)
    assert {v.backup for v in done.verdicts} == {second}
    assert {block: page_of(path, block) for block in blocks} == old


@only(18)
def test_shared_catalogs_are_relations_too(site: Site) -> None:
    site.scene.backup()
    path = site.root / str(site.pg.value("SELECT pg_relation_filepath('pg_database')"))
    site.pg.stop()
    old = flip(path, 0)
    verdict = only_one(site.repair())
    assert verdict.fate in (Fate.BACKUP, Fate.WAL)
    assert page_of(path, 0) == old


@only(18)
def test_clusters_that_cannot_be_repaired_now(site: Site, new_cluster: NewCluster) -> None:
    with pytest.raises(CannotRepair, match="a server is using it") as refused:
        site.repair()
    assert refused.value.hint == f"stop it first: pg_ctl stop -D {site.root}"
    site.pg.kill9()
    with pytest.raises(CannotRepair, match="it was not stopped cleanly"):
        site.repair()
    plain = new_cluster("plain", checksums=False)
    plain.stop()
    with pytest.raises(CannotRepair, match="it has no data checksums"):
        run(site.scene.folder, RepairRequest(str(plain.data_directory)), now=datetime.now(UTC))


@only(18)
def test_another_cluster_is_refused(site: Site, new_cluster: NewCluster) -> None:
    other = new_cluster("other", fresh_identity=True)
    path = other.data_directory / str(other.value("SELECT pg_relation_filepath('pg_class')"))
    other.stop()
    old = flip(path, 0)
    with pytest.raises(CannotRepair, match="is another one: it does not know 18-"):
        run(site.scene.folder, RepairRequest(str(other.data_directory)), now=datetime.now(UTC))
    assert page_of(path, 0) != old


@only(18)
def test_the_command(site: Site, tmp_path: Path) -> None:
    site.scene.backup()
    path = site.file()
    site.pg.sql("CHECKPOINT")
    site.pg.sql("UPDATE t SET s = 'one' WHERE g = 1")
    site.pg.sql("UPDATE t SET s = 'two' WHERE g = 2")
    site.pg.stop()
    flip(path, 0)
    flip(path, 9)
    place = ("--repository", site.scene.folder.store.url, "--cluster", CLUSTER)
    command = (*place, "repair", "--target-dir", site.root)
    shown = run_pgkeep(*command, "--dry-run")
    assert shown.exit == 3
    assert f"1 of 2 damaged pages of {site.root} can be repaired\n" in shown.stdout
    assert "nothing was written" in shown.stdout
    done = run_pgkeep(*command, "--json")
    assert done.exit == 3
    facts = done.json
    assert (facts["damaged"], facts["repaired"], facts["dry_run"]) == (2, 1, False)
    assert [page["fate"] for page in facts["found"]] == ["cannot", "from-backup"]
    assert facts["found"][0]["database_name"] == "postgres"
    assert facts["found"][0]["changes"]
    assert Path(facts["kept_in"]).is_dir()
    json.dumps(facts)
    text = run_pgkeep(*command).stdout
    assert "block 0 (database postgres): still damaged" in text
    assert run_pgkeep(*place, "repair", "--target-dir", tmp_path / "nowhere").exit == 52


@only(17)
def test_a_backup_from_before_a_promotion(site: Site) -> None:
    taken = site.scene.backup()
    path = site.file()
    site.pg.stop()
    (site.root / "recovery.signal").touch()
    site.pg.configure(restore_command="false")
    site.pg.start()
    wait_for(lambda: not site.pg.value("SELECT pg_is_in_recovery()"), what="promotion")
    site.pg.sql("UPDATE t SET s = 'new' WHERE g = 5000")
    site.pg.sql("CHECKPOINT")
    site.pg.stop()
    assert read_control(str(site.root)).timeline == 2
    old = flip(path, 9)
    with pytest.raises(UnknownBackup):
        site.repair(backup="x")
    verdict = only_one(site.repair())
    assert (verdict.fate, verdict.backup) == (Fate.BACKUP, taken), verdict.why
    assert page_of(path, 9) == old


@only(18)
def test_a_stopped_standby(site: Site) -> None:
    site.scene.backup()
    number = site.file().relative_to(site.root)
    site.pg.sql("UPDATE t SET s = 'new' WHERE g = 5000")
    site.scene.archive()
    report = site.scene.restore(name="standby", standby=True)
    root = Path(report.plan.target_dir)
    restored = ScratchCluster.over(site.pg.binaries, root)
    restored.create()
    try:
        restored.start()
        wait_for(lambda: restored.value("SELECT count(*) FROM t WHERE s = 'new'") == 1)
        restored.stop()
        old = flip(root / number, 9)
        repaired = run(site.scene.folder, RepairRequest(str(root)), now=datetime.now(UTC))
        verdict = only_one(repaired)
        assert verdict.fate is Fate.BACKUP, verdict.why
        assert page_of(root / number, 9) == old
    finally:
        restored.destroy()


def every_page(root: Path, control: ControlFile) -> list[BadPage]:
    """Return all pages of main forks, as if each were damaged."""
    found = []
    for item in walk(str(root), control.tablespace_folder):
        if isinstance(item, Entry) and item.relation and item.relation.fork is Fork.MAIN:
            first = item.relation.first_block(control.segment_blocks)
            found += [
                BadPage(item.path, item.relation, first + block, block * PAGE)
                for block in range(item.size // PAGE)
            ]
    return found


@only(15, 18)
def test_whatever_would_be_written_is_what_is_there(site: Site) -> None:
    """Every page of a cluster with a past: the verdict is either right, or that nobody can tell."""
    site.pg.fill(1)
    site.scene.backup()
    site.pg.work(50)
    site.pg.sql("CHECKPOINT")
    site.pg.sql("DELETE FROM t WHERE g % 7 = 0 OR g > 4000")
    site.pg.sql("CREATE TABLE late AS SELECT * FROM t")
    site.pg.sql("VACUUM t")  # which truncates it
    site.pg.sql("INSERT INTO t SELECT g, 'again' FROM generate_series(1, 300) g")
    site.pg.sql("CHECKPOINT")
    site.scene.backup()
    site.pg.work(50)
    site.pg.sql("UPDATE t SET s = 'new' WHERE g % 300 = 0")
    site.pg.sql("CREATE INDEX ON late (g)")
    site.pg.sql("CHECKPOINT")
    site.pg.work(20)
    site.pg.stop()
    control = read_control(str(site.root))
    pages = every_page(site.root, control)

    stopped = _Stopped(site.scene.folder, str(site.root), control)
    verdicts, _ = _decide(stopped, None, Damage(bad=pages), Silent())

    fates = Counter(verdict.fate for verdict in verdicts)
    assert fates[Fate.BACKUP] > 1000
    assert fates[Fate.WAL] > 10
    assert fates[Fate.CANNOT] > 10
    checker, contents = PageChecker(), dict[str, bytes]()
    for verdict in verdicts:
        if verdict.fate is Fate.CANNOT:
            continue
        page = verdict.page
        content = contents.get(page.path) or (site.root / page.path).read_bytes()
        contents[page.path] = content
        there = content[page.position :][:PAGE]
        assert is_intact(verdict.content, page.block, checker)
        assert_same(verdict.content, there, verdict)


def assert_same(new: bytes, there: bytes, verdict: Verdict) -> None:
    """Allow what WAL does not carry: hints, and what is left between rows and line pointers."""
    lower, upper = struct.unpack_from("<HH", there, 12)
    assert (new[:8], new[12:20]) == (there[:8], there[12:20]), verdict  # changed last by the same
    used = np.r_[20:lower, upper:PAGE] if upper else np.arange(PAGE)
    different = np.frombuffer(new, np.uint8)[used] != np.frombuffer(there, np.uint8)[used]
    assert np.count_nonzero(different) <= 2 * 291, verdict  # a row's hints are in two bytes
