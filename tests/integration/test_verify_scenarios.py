"""verify on real clusters: it tells exactly what a damage hits, and what it does not."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgkeep.backup import backup
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.cli.render import verify as render_verify
from pgkeep.cli.text import Look
from pgkeep.coverage.listing import list_cluster
from pgkeep.repository import catalog, names
from pgkeep.repository.pack import read_contents
from pgkeep.repository.proofs import Level, read_proofs
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.plan import Manner, Sample
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import run
from support.clusters import NewCluster, only
from support.command import run_pgkeep
from support.restores import Scene, make_scene


@dataclass
class Place:
    """Where a repository keeps one chunk of a file."""

    path: Path  # of the pack
    name: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass
class Kept:
    """A stopped cluster that has backups, and the files of its repository."""

    scene: Scene
    goods: str  # a table of database shop, by its file
    directory: Path

    @property
    def ids(self) -> list[str]:
        return [str(backup.id) for backup in catalog.backups(self.scene.folder).backups]

    def verify(self, level: str = "objects", *wanted: str, **more: Any) -> VerifyReport:
        return run(self.scene.folder, VerifyOptions(Level(level), wanted, **more))

    def verdicts(self, level: str) -> list[str]:
        """Return the verdicts of all backups, oldest first."""
        return [found.verdict.value for found in self.verify(level).backups]

    def place(self, backup_id: str, path: str, chunk: int = 0) -> Place:
        tables = catalog.read_manifest(self.scene.folder, backup_id).tables
        number = tables.find(path)
        assert number is not None
        row = tables.chunk_rows(number)[chunk]
        name = names.pack("main", tables.pack.name(int(tables.chunk.pack[row])))
        offset, length = int(tables.chunk.offset[row]), int(tables.chunk.sealed[row])
        return Place(self.directory / name, name, offset, length)

    def wal(self, file: str) -> Path:
        (found,) = (self.directory / "clusters/main/wal").rglob(file)
        return found

    def segments_archived(self) -> list[str]:
        generation = catalog.backups(self.scene.folder).backups[0].generation
        listing = self.scene.folder.wal(generation.id).list(generation.segment_size)
        return sorted(file for file in listing.stats if len(file) == 24)

    def segments(self, backup_id: str) -> list[str]:
        """Return the segments that make a backup consistent."""
        (one,) = (b for b in catalog.backups(self.scene.folder).backups if b.id == backup_id)
        numbers = range(one.first_segment.number, one.last_segment.number + 1)
        return [one.first_segment._replace(number=number).name for number in numbers]


def take(scene: Scene, kind: str = "full") -> str:
    with DataDirectorySource.connect(scene.pg.conninfo) as source:
        options = backup.BackupOptions(kind=backup.Kind(kind), jobs=1)
        return str(backup.run(source, scene.folder, options).id)


def cluster_with_shop(
    new_cluster: NewCluster, directory: Path, place: Path, **more: Any
) -> tuple[Scene, str]:
    scene = make_scene(new_cluster, directory, place, **more)
    scene.pg.sql("CREATE DATABASE shop")
    scene.pg.sql("CREATE TABLE goods AS SELECT generate_series(1, 60000) AS id", dbname="shop")
    return scene, scene.pg.value("SELECT pg_relation_filepath('goods')", dbname="shop")


@pytest.fixture
def kept(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Kept:
    """Two full backups, which share no chunk, and some WAL behind each."""
    scene, goods = cluster_with_shop(new_cluster, repository_directory, tmp_path)
    for entry in ("a", "b"):
        take(scene)
        scene.enter(entry)
        scene.archive()
        scene.archive()
    scene.pg.stop()
    return Kept(scene, goods, repository_directory)


@contextmanager
def changed(path: Path, edit: Callable[[bytes], bytes]) -> Iterator[None]:
    """Damage an object so that its times stay what they were; heal it in the end."""
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(edit(before))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        yield
    finally:
        path.write_bytes(before)


def flipped(offset: int) -> Callable[[bytes], bytes]:
    return lambda content: (
        content[:offset] + bytes([content[offset] ^ 0x40]) + content[offset + 1 :]
    )


@contextmanager
def taken_away(path: Path, aside: Path) -> Iterator[None]:
    """Take an object, or a folder, out of the repository; bring it back in the end."""
    shutil.move(path, aside)
    try:
        yield
    finally:
        shutil.move(aside, path)


def test_scenario_80_damage_that_keeps_size_and_time(kept: Kept) -> None:
    first, second = kept.ids
    assert kept.verdicts("bytes") == ["good", "good"]
    place = kept.place(first, kept.goods, 1)
    with changed(place.path, flipped(place.offset + 60)):
        quick = run(kept.scene.folder, VerifyOptions())
        assert quick.problem is None
        assert quick.proof.words == "objects"
        assert quick.unproven == (
            "the content of packs and WAL was not read: damage that leaves an object's size as it "
            "was is found by --level bytes only"
        )
        full = kept.verify("bytes")
        assert [found.verdict.value for found in full.backups] == ["damaged", "good"]
        (hit,) = full.backups[0].files.first
        assert (hit.path, hit.database, hit.packs) == (kept.goods, "shop", (place.name,))
        assert hit.blocks == ((128, 255),)  # the second MiB of the table
        (fault,) = full.damaged
        assert (fault.name, fault.backups, fault.files) == (place.name, (first,), True)
        assert full.problem is not None
        assert str(full.problem) == (
            f"the repository of cluster main has 1 fault; backups that cannot be restored whole: "
            f"{first}"
        )
        assert read_proofs(kept.scene.folder).damaged_packs("main") == {
            bytes.fromhex(place.path.name)
        }
        # What is known to be damaged is read again, even by a look at objects alone.
        assert kept.verdicts("objects") == ["damaged", "good"]
        assert kept.verify("objects", second).problem is None
        assert list(read_proofs(kept.scene.folder).damaged_backups()) == [first]
    assert kept.verify("objects").problem is None  # it was put back
    assert read_proofs(kept.scene.folder).damaged_packs("main") == set()


@only(18)
def test_scenario_80_what_becomes_of_a_pack_and_what_it_hits(kept: Kept, tmp_path: Path) -> None:
    """Each damage in turn, and healed again: what is hit is told, and nothing else."""
    first, second = kept.ids
    ours, theirs = kept.place(first, kept.goods, 1), kept.place(second, "global/pg_control")

    with changed(ours.path, lambda content: content[: ours.offset + 9]):  # cut off
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["damaged", "good"]
        assert kept.goods in {hit.path for hit in done.backups[0].files.first}
        assert all(hit.packs == (ours.name,) for hit in done.backups[0].files.first)
        before = kept.place(first, kept.goods, 0)
        if before.name == ours.name:  # what lies before the cut is not lost
            (goods,) = (h for h in done.backups[0].files.first if h.path == kept.goods)
            assert goods.blocks[0][0] == 128

    with changed(ours.path, lambda content: content + b"more"):
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["good", "good"]
        assert done.damaged[0].why.startswith(f"it has {ours.path.stat().st_size} bytes instead of")
        assert done.damaged[0].backups == ()

    with taken_away(ours.path, tmp_path / "aside"):
        for level in ("objects", "bytes"):
            done = kept.verify(level)
            assert [found.verdict.value for found in done.backups] == ["damaged", "good"]
            assert [(d.name, d.why) for d in done.damaged] == [(ours.name, "it is missing")]

    mine, other = ours.path.read_bytes(), theirs.path.read_bytes()
    with changed(ours.path, lambda _: other), changed(theirs.path, lambda _: mine):  # swapped
        done = kept.verify("bytes")
        assert [found.verdict.value for found in done.backups] == ["damaged", "damaged"]
        assert {damaged.name for damaged in done.damaged} == {ours.name, theirs.name}

    pack_id = bytes.fromhex(ours.path.name)
    rows = read_contents(kept.scene.folder, kept.scene.folder.repository.sealer(), pack_id)
    contents = int(rows["offset"][-1] + rows["length"][-1])
    with changed(ours.path, flipped(contents + 80)):  # its own table of contents
        done = kept.verify("bytes")
        assert [found.verdict.value for found in done.backups] == ["good", "good"]
        assert [d.name for d in done.damaged] == [ours.name]
        assert done.damaged[0].why.startswith("its table of contents: ")
        assert done.problem is not None
        assert str(done.problem).endswith("has 1 fault; no backup is hit")
        assert read_proofs(kept.scene.folder).damaged_packs("main") == set()

    assert kept.verify("bytes").problem is None


@only(18)
def test_scenario_80_damaged_and_missing_wal(kept: Kept, tmp_path: Path) -> None:
    first, second = kept.ids
    needed, other = kept.segments(first)[-1], kept.segments(second)[0]
    between = next(file for file in kept.segments_archived() if needed < file < other)

    with changed(kept.wal(needed), flipped(300)):
        assert kept.verify("objects").problem is None  # its header is intact
        done = kept.verify("bytes")
        assert [found.verdict.value for found in done.backups] == ["not-restorable", "good"]
        assert done.backups[0].why == f"WAL segment {needed}, needed to make it consistent, is lost"
        (fault,) = done.damaged
        assert (fault.name.rpartition("/")[2], fault.backups) == (needed, (first,))

    with changed(kept.wal(needed), lambda content: content[:-10]):
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["not-restorable", "good"]
        assert "bytes instead of" in done.damaged[0].why

    with taken_away(kept.wal(needed), tmp_path / "aside"):
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["not-restorable", "good"]
        assert [(loss.first, loss.why, loss.stranded) for loss in done.wal] == [
            (needed, "missing", (first,))
        ]

    # What lies between two backups makes neither inconsistent, but moments are out of reach.
    for damage in (
        changed(kept.wal(between), flipped(300)),
        taken_away(kept.wal(between), tmp_path / "aside"),
    ):
        with damage:
            done = kept.verify("bytes", window_s=86400)
            assert [found.verdict.value for found in done.backups] == ["good", "good"]
            assert [(loss.first, loss.stranded, loss.cut) for loss in done.wal] == [
                (between, (), (first,))
            ]
            assert [proven.span.backups for proven in done.proven] == [(first,), (second,)]
            assert str(done.proven[0].span.end) == done.wal[0].at
            assert done.problem is not None
    with taken_away(kept.wal(between), tmp_path / "aside"):
        # Nothing is to be restorable behind the window: this is what expiring leaves.
        done = kept.verify("objects")
        assert done.problem is None
        gone = f"WAL segment {between} between two backups is not there, as expiring leaves it"
        assert done.notes == (gone,)
    assert kept.verify("bytes").problem is None


@only(18)
def test_scenario_81_the_catalog_is_lost_in_parts(kept: Kept, tmp_path: Path) -> None:
    """Manifests are the catalog: what one of them has lost is told, the others stay good."""
    first, second = kept.ids
    manifest = kept.directory / names.manifest("main", first)
    kept.verify("bytes")

    with changed(manifest, flipped(2000)):
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["damaged", "good"]
        assert [(d.name, d.backups, d.files) for d in done.damaged] == [
            (names.manifest("main", first), (first,), True)
        ]
        assert first in done.backups[0].why
        assert kept.verify("objects", first).problem is not None
    with changed(manifest, lambda _: b""):
        assert [found.verdict.value for found in kept.verify().backups] == ["damaged", "good"]

    with taken_away(manifest.parent, tmp_path / "aside"):
        done = kept.verify("objects")
        assert [found.id for found in done.backups] == [second]
        assert done.gone == (first,)
        assert done.orphans is not None
        assert done.orphans[0] > 0
        assert done.problem is None  # to delete a backup is no fault, and nobody can tell
        shown = render_verify.report(done, Look())
        assert f"note: gone since the last proof: {first}, there on " in shown
        assert "no backup and no dump names: left by one that was interrupted, or of one" in shown

    (generation,) = kept.scene.folder.generation_ids()
    document = kept.directory / names.generation("main", generation)
    with taken_away(document, tmp_path / "aside"):
        done = kept.verify("objects")
        assert [found.verdict.value for found in done.backups] == ["good", "good"]
        assert [d.name for d in done.damaged] == [names.generation("main", generation)]

    (kept.directory / "clusters/main/notes.txt").write_text("remember the milk")
    (kept.directory / "clusters/main/wal/old").mkdir()
    (kept.directory / "clusters/main/wal/old/thing").write_text("")
    (kept.directory / "clusters/main/proofs/zz.json").write_text("{")
    done = kept.verify("objects")
    assert done.problem is None
    assert set(done.unexplained) == {"clusters/main/notes.txt", "clusters/main/wal/old/thing"}
    assert "clusters/main/proofs/zz.json is no proof" in done.notes[0]
    assert (kept.directory / "clusters/main/notes.txt").exists()


@only(18)
def test_scenario_79_a_control_file_that_is_not_the_backups_own(kept: Kept) -> None:
    folder = kept.scene.folder
    first, _ = kept.ids
    place = kept.place(first, "global/pg_control")
    with changed(place.path, flipped(place.offset + 60)):
        done = kept.verify("bytes")
        assert [found.verdict.value for found in done.backups] == ["damaged", "good"]
        assert "global/pg_control" in {hit.path for hit in done.backups[0].files.first}
        # In a sample too: it is looked at for every backup.
        done = kept.verify("bytes", sample=Sample(0.1, "seed"))
        assert [found.verdict.value for found in done.backups] == ["damaged", "good"]
    assert kept.verify("bytes").problem is None
    assert folder.generation_ids()


@only(18)
def test_a_sample_reads_less_and_says_so(kept: Kept) -> None:
    whole = kept.verify("bytes").proof
    part = kept.verify("bytes", sample=Sample(5, "seed"))
    assert part.proof.words == "bytes, sample of 5 %"
    assert part.unproven == "the content of the other 95 % of packs and WAL was not read"
    assert 0 < part.proof.read < whole.read
    assert kept.verify("bytes", sample=Sample(5, "seed")).proof.read == part.proof.read
    listing = list_cluster(kept.scene.folder)
    assert [p.words for p in listing.proofs.of(kept.ids[0])] == ["bytes, sample of 5 %", "bytes"]


@only(18)
def test_since_leaves_out_what_is_older(kept: Kept) -> None:
    second = catalog.backups(kept.scene.folder).backups[1]
    done = kept.verify("bytes", since=second.stopped_at)
    assert [found.id for found in done.backups] == [second.id]
    assert not done.proof.everything
    assert done.orphans is None
    assert 0 < done.proof.wal_files < len(kept.segments_archived())
    assert kept.verify("objects", since=datetime.now(UTC)).backups == ()


@only(18)
def test_workers_find_what_one_process_finds(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """In an encrypted repository, where nothing that was changed can pass."""
    scene, goods = cluster_with_shop(
        new_cluster,
        repository_directory,
        tmp_path,
        passphrase="correct horse battery",
        wal_segsize=16,
    )
    scene.pg.sql("CREATE TABLE noise AS SELECT md5(g::text) FROM generate_series(1, 600000) g")
    take(scene)
    scene.archive()
    scene.pg.stop()
    kept = Kept(scene, goods, repository_directory)
    (only_one,) = kept.ids
    place = kept.place(only_one, goods)
    with changed(place.path, flipped(place.end - 1)):
        alone = kept.verify("bytes")
        together = kept.verify("bytes", manner=Manner(jobs=2, nice=1, rate=1 << 30))
    assert alone.proof.read == together.proof.read > 32 << 20
    assert alone.backups == together.backups
    assert alone.damaged == together.damaged
    assert "its encryption tag does not fit its content" in alone.damaged[0].why


@only(18)
def test_scenario_77_damage_in_one_backup_of_five(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """There are no chains: hit are the backups that use the very chunk, whenever it was stored."""
    scene, goods = cluster_with_shop(new_cluster, repository_directory, tmp_path)
    for number in range(5):
        scene.pg.sql(f"CREATE TABLE of_{number} AS SELECT generate_series(1, 9000) AS id")
        take(scene, "auto")
    third = scene.pg.value("SELECT pg_relation_filepath('of_2')")
    scene.archive()
    scene.pg.stop()
    kept = Kept(scene, goods, repository_directory)
    place = kept.place(kept.ids[2], third)
    assert place == kept.place(kept.ids[4], third)  # later ones did not store it again
    with changed(place.path, flipped(place.offset + 100)):
        done = kept.verify("bytes")
        found = {b.id: b for b in done.backups}
        verdicts = [found[id].verdict.value for id in kept.ids]
        assert verdicts == ["good"] * 2 + ["damaged"] * 3
        assert all([hit.path for hit in found[id].files.first] == [third] for id in kept.ids[2:])
        for backup_id, verdict in zip(kept.ids, verdicts, strict=True):
            name = f"restored-{backup_id}"
            command = ["restore", backup_id, "--target-dir", str(tmp_path / name)]
            result = run_pgkeep("--repository", repository_directory, *command, "--to", "immediate")
            assert (result.exit == 0) is (verdict == "good"), result.stderr
    assert kept.verdicts("bytes") == ["good"] * 5


@only(18)
def test_scenario_78_a_backup_on_top_of_one_that_is_known_to_be_damaged(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """Once a verify has told, the next backup does not build on what is lost."""
    scene, goods = cluster_with_shop(new_cluster, repository_directory, tmp_path)
    take(scene)
    kept = Kept(scene, goods, repository_directory)
    place = kept.place(kept.ids[0], goods)
    place.path.write_bytes(flipped(place.offset + 70)(place.path.read_bytes()))
    assert kept.verdicts("bytes") == ["damaged"]
    take(scene, "auto")
    scene.archive()
    assert kept.verdicts("bytes") == ["damaged", "good"]
    assert kept.place(kept.ids[1], goods).name != place.name
    command = ["restore", "--target-dir", str(tmp_path / "restored")]
    run_pgkeep("--repository", repository_directory, *command).ok()
    assert (tmp_path / "restored" / goods).stat().st_size > 0
    scene.pg.stop()


@only(18)
def test_the_command_shows_and_records_what_it_found(kept: Kept) -> None:
    first, second = kept.ids
    place = kept.place(first, kept.goods)

    def pgkeep(*arguments: str) -> Any:
        return run_pgkeep("--repository", kept.directory, *arguments)

    listed = pgkeep("list").ok().stdout
    assert "never" in listed
    good = pgkeep("verify", "--level", "bytes").ok()
    assert good.stdout.startswith("2 backups of cluster main: no fault found\n")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"bytes {today}" in pgkeep("list").ok().stdout
    with changed(place.path, flipped(place.offset + 60)):
        bad = pgkeep("verify", "--level", "bytes", "--json")
        assert bad.exit == 230
        assert bad.json["error"]["code"] == "verify-failed"
        assert bad.json["backups"][0]["files"][0] == {
            "path": kept.goods,
            "database": "shop",
            "size": (kept.scene.pg.data_directory / kept.goods).stat().st_size,
            "lost": 1 << 20,
            "ranges": [[0, 1 << 20]],
            "blocks": [[0, 127]],
            "packs": [place.name],
        }
        text = pgkeep("verify", "--level", "bytes")
        assert text.stdout.startswith("1 of 2 backups of cluster main cannot be restored whole\n")
        assert (
            "error: the repository of cluster main has 1 fault; backups that cannot be"
            in text.stderr
        )
        state = pgkeep("list").ok().stdout
        assert "DAMAGED, 1 file has lost something" in state
        facts = pgkeep("list", "--json").ok().json["backups"]
        assert [f["damaged"] for f in facts] == ["1 file has lost something", None]
        assert facts[1]["proofs"][0]["level"] == "bytes"
    pgkeep("verify", "--since", "1d", "--rate", "1GB/s").ok()
    assert pgkeep("verify", "--sample", "5%").exit == 231
    assert pgkeep("verify", "nonsense").exit == 31
    assert pgkeep("verify", second[:-2]).ok().stdout.startswith("1 backup of cluster main: no")
