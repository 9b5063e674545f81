"""verify of dumps, in memory: beside backups in one pass, and where there are dumps alone."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pgkeep.cli.render import verify as render_verify
from pgkeep.cli.text import Look, plain
from pgkeep.errors import PgkeepError
from pgkeep.repository import dumps, names
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.dumps import UnknownDump
from pgkeep.repository.manifest.builder import ManifestBuilder
from pgkeep.repository.manifest.codec import DumpManifest, encode
from pgkeep.repository.manifest.dump_facts import DumpedDatabase
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.proofs import Level, read_proofs
from pgkeep.repository.store.base import BlobMissing
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.verify.archives import check_dump
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.plan import Sample
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import run
from support.dump_shelf import (
    FILE,
    FOLDER,
    SHOP,
    TOC,
    build,
    databases,
    some_dump_facts,
    store_dump,
)
from support.manifests import KEY
from support.small_repository import FIRST, Small

FILES = {"base/5/16384": bytes(range(256)) * 96}
BLOG = {"toc.dat": TOC, "7.dat": b"2\thello\n" * 3000, "inventory": b"{}\n"}
BYTES = VerifyOptions(Level.BYTES)


@pytest.fixture
def small() -> Small:
    made = Small().begin()
    made.backup(FILES)
    store_dump(made, day=1)
    store_dump(made, {"shop": SHOP, "blog": BLOG}, day=2, packs=2)
    return made


def verdicts(report: VerifyReport) -> dict[str, str]:
    return {found.id[:9]: found.verdict.value for found in report.found}


def packs_of(small: Small, dump_id: str) -> list[str]:
    found = dumps.read_packs(small.folder, dump_id)
    return [names.pack("main", found.name(row)) for row in range(len(found))]


def flip(small: Small, name: str, at: int = 100) -> None:
    content = bytearray(small.store.get(name))
    content[at] ^= 1
    small.store.put(name, [bytes(content)])


def forge(small: Small, dump_id: str, **facts: Any) -> None:
    """Write a manifest anew, with every hash right."""
    old = dumps.read_manifest(small.folder, dump_id)
    changed = DumpManifest(msgspec.structs.replace(old.facts, **facts), old.tables)
    sealer = small.folder.repository.sealer()
    small.store.put(names.dump("main", dump_id), encode(changed, sealer))


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("level", Level)
def test_good_dumps_are_proven_good(level: Level, key: Any) -> None:
    small = Small(key=key).begin()
    small.backup(FILES)
    store_dump(small, day=1)
    store_dump(small, {"shop": SHOP, "blog": BLOG}, day=2, packs=3)
    before = small.blobs()
    done = run(small.folder, VerifyOptions(level))
    assert list(verdicts(done).values()) == ["good"] * 3
    assert (done.problem, done.orphans, done.unexplained) == (None, (0, 0), ())
    assert done.proof.packs == 5
    assert [b.id for b in done.proof.backups] == [found.id for found in done.found]
    assert (len(done.backups), len(done.dumps)) == (1, 2)
    assert {n for n in small.blobs() if n not in before} == {names.proof("main", done.proof.id)}
    text = render_verify.report(done, Look())
    assert text.startswith("1 backup and 2 dumps of cluster main: no fault found")
    assert "\nDUMP                    VERDICT  PROVEN, OR WHAT IS LOST\n" in text


def test_a_cluster_with_dumps_alone() -> None:
    small = Small()
    store_dump(small)
    done = run(small.folder, BYTES)
    assert (done.problem, done.backups) == (None, ())
    assert render_verify.report(done, Look()).startswith("1 dump of cluster main: no fault found")


def test_a_pack_is_read_once_for_all_that_need_it(small: Small) -> None:
    read: list[str] = []

    class Watching(MemoryStore):
        def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
            if "/packs/" in name and (length is None or length > 1000):
                read.append(name)
            return super().get(name, start, length)

    # The same pack for both dumps: the second one took over all that the first one had stored.
    manifest = dumps.read_manifest(small.folder, (first := store_dump(small, day=3)))
    facts = msgspec.structs.replace(manifest.facts, id="D20261130T000000Z-0001", parent=first)
    dumps.shelf(small.folder).write(DumpManifest(facts, manifest.tables))
    store = Watching()
    assert isinstance(small.store, MemoryStore)
    store._blobs = small.store._blobs
    done = run(Small(store).folder, BYTES)
    assert done.problem is None
    (pack,) = packs_of(small, first)
    windows = [name for name in read if name == pack]
    assert len(windows) == 1  # but for its table of contents, and the beginning of toc.dat
    assert done.proof.packs == 5


def test_lost_bytes_are_told_by_file_and_database(small: Small) -> None:
    backup, first, second = (found.id for found in run(small.folder, VerifyOptions()).found)
    (pack,) = packs_of(small, first)
    flip(small, pack)
    assert run(small.folder, VerifyOptions()).problem is None  # its size is as it was
    done = run(small.folder, BYTES)
    assert [f.verdict.value for f in done.found] == ["good", "damaged", "good"]
    hit = done.dumps[0].files
    lost = {found.path: (found.database, found.lost, found.blocks) for found in hit.first}
    assert lost == {"1/3421.dat": ("shop", 8192, ())}
    assert str(done.problem).endswith(f"1 fault; dumps that cannot be restored whole: {first}")
    assert done.problem is not None
    assert done.problem.hint.startswith("bring the named objects back from another copy")
    assert "or take a new dump, and verify again" in done.problem.hint
    assert done.damaged[0].backups == (first,)
    text = render_verify.report(done, Look())
    assert f"dump {first} has lost something of 1 file:" in text
    assert re.search("\n1/3421.dat +shop +8 KiB of ", text)
    assert text.startswith("1 of 2 dumps of cluster main cannot be restored whole")
    facts: Any = plain(done.to_dict())
    json.dumps(facts)
    assert [(d["id"], d["verdict"]) for d in facts["dumps"]] == [
        (first, "damaged"), (second, "good")
    ]  # fmt: skip
    assert [b["id"] for b in facts["backups"]] == [backup]
    # On record, until it heals.
    standing = read_proofs(small.folder)
    assert standing.damaged_backups() == {first: "1 file has lost something"}
    assert standing.damaged_packs("main") == {bytes.fromhex(pack[-32:])}
    flip(small, pack)
    assert run(small.folder, VerifyOptions()).problem is None
    assert read_proofs(small.folder).damaged_backups() == {}


def test_globals_belong_to_all_databases() -> None:
    small = Small()
    dump_id = store_dump(small, {})
    (pack,) = packs_of(small, dump_id)
    small.store.delete(pack)
    (found,) = run(small.folder, VerifyOptions()).dumps
    assert [(hit.path, hit.database) for hit in found.files.first] == [
        ("globals.sql", "all databases")
    ]


def test_the_last_dump_that_is_lost_asks_for_a_new_one() -> None:
    small = Small()
    dump_id = store_dump(small)
    for pack in packs_of(small, dump_id):
        small.store.delete(pack)
    done = run(small.folder, VerifyOptions())
    assert done.problem is not None
    assert done.problem.hint.startswith("take a new dump now; bring the named objects back")
    assert "what is left" not in render_verify.report(done, Look())


def test_what_is_left_counts_dumps(small: Small) -> None:
    for pack in packs_of(small, run(small.folder, VerifyOptions()).backups[0].id):
        small.store.delete(pack)
    done = run(small.folder, VerifyOptions())
    assert "what is left:\n  2 dumps, up to D2026" in render_verify.report(done, Look())


# which ones


def test_chosen_dumps_alone(small: Small) -> None:
    _, first, second = (found.id for found in run(small.folder, VerifyOptions()).found)
    done = run(small.folder, VerifyOptions(Level.BYTES, wanted=(second,)))
    assert [found.id for found in done.found] == [second]
    assert (done.proof.everything, done.proof.packs, done.orphans) == (False, 2, None)
    done = run(small.folder, VerifyOptions(wanted=("2026", first)))
    assert list(verdicts(done).values()) == ["good", "good"]
    with pytest.raises(UnknownDump) as dump:
        run(small.folder, VerifyOptions(wanted=("D1999",)))
    assert dump.value.nearest
    with pytest.raises(UnknownBackup):
        run(small.folder, VerifyOptions(wanted=("1999",)))


def test_dumps_since_a_moment(small: Small) -> None:
    done = run(small.folder, VerifyOptions(since=FIRST + timedelta(days=1.5)))
    assert list(verdicts(done)) == ["20261108T", "D20261103"]


def test_a_sample_reads_a_share_of_the_packs_of_dumps(small: Small) -> None:
    whole = run(small.folder, BYTES).proof.read
    done = run(small.folder, VerifyOptions(Level.BYTES, sample=Sample(1, "seed")))
    assert done.problem is None
    assert 0 < done.proof.read < whole


# what no dump looks like


def rows(content: bytes) -> Mapping[str, bytes]:
    return {**SHOP, "toc.dat": content}


def test_an_archive_that_is_none_is_found_by_its_bytes() -> None:
    small = Small()
    dump_id = store_dump(small, {"shop": rows(b"-- PostgreSQL database dump\n")})
    assert run(small.folder, VerifyOptions()).problem is None
    done = run(small.folder, BYTES)
    (found,) = done.dumps
    assert (found.verdict.value, found.why) == (
        "damaged",
        "its 1/toc.dat is no archive of pg_dump: it begins with 2d2d20506f",
    )
    assert done.damaged[0].name == names.dump("main", dump_id)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"databases": databases("a", "b", "c")}, "it holds no 3/toc.dat; it holds no 3/inventory"),
        ({"databases": databases("shop")}, "it holds 2/7.dat, which is of none of its databases"),
        (
            {"databases": (*databases("shop"), DumpedDatabase(number=2, name="x", script=True))},
            "it holds no 2/script.sql",
        ),
        ({"globals": None}, ""),
    ],
)  # fmt: skip
def test_facts_that_no_restore_would_take(small: Small, facts: dict[str, Any], why: str) -> None:
    dump_id = run(small.folder, VerifyOptions()).dumps[1].id
    forge(small, dump_id, **facts)
    found = run(small.folder, VerifyOptions()).dumps[1]
    assert (found.verdict.value, found.why) == ("damaged" if why else "good", why)


def test_an_imported_script_is_whole_without_an_archive() -> None:
    small = Small()
    script = DumpedDatabase(number=1, name="shop", script=True)
    store_dump(small, {"shop": {"script.sql": b"SELECT 1;\n"}}, databases=(script,))
    assert run(small.folder, BYTES).problem is None


def test_the_empty_folder_of_a_database_that_was_given_up_is_no_fault() -> None:
    builder = ManifestBuilder()
    builder.add_directory("7", FOLDER)
    assert check_dump(build(builder, some_dump_facts(databases=()))) == []


def test_a_symlink_is_of_no_dump() -> None:
    builder = ManifestBuilder()
    builder.add_directory("1", FILE)
    builder.add_symlink("1/toc.dat", "/etc/passwd", FILE)
    manifest = DumpManifest(some_dump_facts(), builder.tables())
    assert "it holds a symlink, 1/toc.dat" in check_dump(manifest)


def cut(content: bytes) -> bytes:
    return content[:-1]


def another(content: bytes) -> bytes:
    return b"PGKX" + content[4:]


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, another, empty])
def test_a_manifest_that_cannot_be_read_hits_its_dump_alone(
    small: Small, damage: Callable[[bytes], bytes]
) -> None:
    _, first, second = (found.id for found in run(small.folder, VerifyOptions()).found)
    name = names.dump("main", first)
    content = small.store.get(name)
    small.store.put(name, [damage(content)])
    for options in (VerifyOptions(), VerifyOptions(wanted=(first,))):
        done = run(small.folder, options)
        assert {f.id for f in done.found if f.verdict.value == "damaged"} == {first}
        assert [(d.name, d.backups, d.files) for d in done.damaged] == [(name, (first,), True)]
    small.store.put(name, [content])
    assert run(small.folder, VerifyOptions()).problem is None
    assert second in {b.id for b in read_proofs(small.folder).found[0].backups}


# what is no fault


def test_attempts_and_dumps_are_explained(small: Small) -> None:
    small.store.put(names.attempt("main", "D20261103T000000Z-dead"), [b"{}"])
    small.store.put("clusters/main/dumps/readme.txt", [b"?"])
    done = run(small.folder, VerifyOptions())
    assert done.unexplained == ("clusters/main/dumps/readme.txt",)
    assert done.problem is None


def test_a_dump_that_is_gone_without_its_packs_is_mentioned(small: Small) -> None:
    last = run(small.folder, VerifyOptions()).dumps[-1].id
    small.store.delete(names.dump("main", last))
    done = run(small.folder, VerifyOptions())
    assert (done.gone, done.orphans is not None and done.orphans[0]) == ((last,), 2)
    assert "that no backup and no dump names" in render_verify.report(done, Look())


def test_every_damage_to_a_pack_hits_exactly_the_files_that_cannot_be_read(small: Small) -> None:
    """Flip every 97th byte of a dump's packs, one at a time."""
    dump_id = run(small.folder, VerifyOptions()).dumps[1].id
    for pack in packs_of(small, dump_id):
        for at in range(0, len(small.store.get(pack)), 97):
            flip(small, pack, at)
            done = run(small.folder, VerifyOptions(Level.BYTES, wanted=(dump_id,)))
            (found,) = done.found
            assert {hit.path for hit in found.files.first} == set(unreadable(small, dump_id)), at
            flip(small, pack, at)


def unreadable(small: Small, dump_id: str) -> list[str]:
    tables = dumps.read_manifest(small.folder, dump_id).tables
    streams = FileStreams(small.folder, tables, of=dump_id)
    lost = []
    for entry in tables.entries():
        try:
            b"".join(streams.read(entry.path))
        except (PgkeepError, BlobMissing):
            lost.append(entry.path)
    return lost
