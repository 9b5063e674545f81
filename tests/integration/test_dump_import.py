"""pgkeep dump import: every file that pg_dump writes becomes a dump like any other."""

import gzip
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.logical import inventory
from pgkeep.logical.create.checks import IncompleteDump
from pgkeep.logical.importing.importing import ImportOptions, import_file
from pgkeep.logical.importing.unpacking import CannotImport
from pgkeep.logical.inventory import Item
from pgkeep.model.dump import Origin
from pgkeep.repository import dumps
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.compare import assert_same_database
from support.dumps import DumpScene
from support.rental import load_rental

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SHOP = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT g, 'it''s ' || g FROM generate_series(1, 50) g;
CREATE TABLE customers (id serial PRIMARY KEY, name text);
INSERT INTO customers (name) VALUES ('ann'), (E'a\\tb\\n\\\\.\\n'), (NULL);
SELECT lo_from_bytea(4711, 'large'), lo_from_bytea(4712, '');
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_$ SELECT 1 /* it's
COPY nothing FROM stdin;
*/ $_$;
"""


@pytest.fixture
def scene(pg: ScratchCluster, tmp_path: Path) -> DumpScene:
    return DumpScene.make(pg, tmp_path)


@pytest.fixture
def shop(scene: DumpScene) -> DumpScene:
    scene.cluster.sql("CREATE DATABASE shop TEMPLATE template0")
    scene.cluster.sql(SHOP, dbname="shop")
    return scene


def dumped(scene: DumpScene, to: Path, *words: str, database: str = "shop") -> Path:
    scene.cluster.tool("pg_dump", *words, "-f", str(to), database)
    return to


def taken(scene: DumpScene, file: Path, *words: str) -> Any:
    return scene.run("dump", "import", "--json", file, *words).ok().json


def items(scene: DumpScene, dump: str) -> Iterator[Item]:
    manifest = dumps.read_manifest(scene.folder, dump)
    streams = FileStreams(scene.folder, manifest.tables, of=dump)
    return inventory.decode(streams.read("1/inventory"), dump)


def exported(scene: DumpScene, dump: str, form: str, to: Path, *words: str) -> Path:
    scene.run("dump", "export", dump, "--format", form, "-o", to, *words).ok()
    return to


def kinds_of_archives(major: int) -> dict[str, tuple[str, ...]]:
    """Return all that pg_dump can be asked for, of what this version can."""
    kinds: dict[str, tuple[str, ...]] = {
        "custom": ("-Fc", "-Z0"),
        "custom gzip": ("-Fc",),
        "custom gzip 9": ("-Fc", "-Z9"),
        "tar": ("-Ft",),
        "directory": ("-Fd", "-Z0", "-j2"),
        "directory gzip": ("-Fd",),
    }
    if major == 17:  # the build of 18 has no zstd
        kinds |= {"custom zstd": ("-Fc", "-Zzstd"), "directory zstd": ("-Fd", "-Zzstd:3")}
    return kinds


def test_every_archive_becomes_the_same_dump(scene: DumpScene, tmp_path: Path) -> None:
    pg = scene.cluster
    load_rental(pg)
    native = scene.create("-d", "rental")
    (database,) = native["databases"]
    counted = (
        *("tables", "rows", "data_bytes", "sequences", "large_objects", "large_object_bytes"),
        *("name", "owner", "encoding", "collate", "ctype", "settings", "objects", "dump_version"),
    )
    own_items = list(items(scene, native["id"]))
    # As pgkeep asks for it: names are quoted in rows as well, where they are of type regclass.
    quoted = "--quote-all-identifiers"
    for kind, words in kinds_of_archives(pg.binaries.major).items():
        file = dumped(scene, tmp_path / kind, *words, quoted, database="rental")
        made = taken(scene, file, "--label", kind)
        (found,) = made["databases"]
        for name in counted:
            assert found[name] == database[name], (kind, name)
        assert made["parent"]
        assert made["known"] > made["size"] * 0.9, kind
        assert list(items(scene, made["id"])) == own_items, kind
    into = exported(scene, made["id"], "directory", tmp_path / "exported")
    own = tmp_path / "directory"
    assert sorted(path.name for path in into.iterdir()) == sorted(p.name for p in own.iterdir())
    pg.sql("CREATE DATABASE again TEMPLATE template0")
    # Not -j: the domain that breaks its unchecked constraint may then come too early.
    done = pg.tool("pg_restore", "--exit-on-error", "--dbname=again", str(into))
    assert done.stderr == ""
    assert_same_database((pg, "rental"), (pg, "again"), properties=False)
    listed = scene.dumps()
    assert {dump["origin"] for dump in listed[1:]} == {"file"}
    assert all(dump["globals"] is False for dump in listed[1:])
    assert scene.is_clean()


def test_a_directory_comes_back_byte_for_byte(scene: DumpScene, tmp_path: Path) -> None:
    load_rental(scene.cluster)
    own = dumped(scene, tmp_path / "own", "-Fd", "-Z0", database="rental")
    made = taken(scene, own)
    into = exported(scene, made["id"], "directory", tmp_path / "exported")
    for path in own.iterdir():
        assert (into / path.name).read_bytes() == path.read_bytes()
    for form in ("custom", "tar"):
        file = exported(scene, made["id"], form, tmp_path / form)
        twice = exported(scene, taken(scene, file)["id"], "directory", tmp_path / f"twice {form}")
        for path in own.iterdir():
            assert (twice / path.name).read_bytes() == path.read_bytes()


def test_scripts_are_kept_as_they_are(shop: DumpScene, tmp_path: Path) -> None:
    pg = shop.cluster
    plain = dumped(shop, tmp_path / "shop.sql")
    zipped = tmp_path / "zipped.sql.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    packed = tmp_path / "packed.sql.zst"
    pack(plain, packed)
    for file in (plain, zipped, packed):
        made = taken(shop, file, "--database", "shop")
        (database,) = made["databases"]
        assert (database["script"], database["connects"]) == (True, [])
        assert (database["tables"], database["rows"], database["large_objects"]) == (2, 53, 2)
        assert database["name"] == "shop"
        rows = {i.name: i.rows for i in items(shop, made["id"]) if i.type == "TABLE DATA"}
        assert rows == {"orders": 50, "customers": 3}
        into = exported(shop, made["id"], "plain", tmp_path / f"{file.name}.out")
        assert into.read_bytes() == plain.read_bytes()
        for form in ("custom", "directory", "tar", "globals"):
            refused = shop.run("dump", "export", made["id"], "--format", form, "-o", tmp_path / "x")
            assert refused.exit == 227
    for words, why in (
        (["-t", "orders"], "with a choice of tables, schemas or data: it is a script of SQL"),
        (["--no-owner", "-x"], "with --no-owner, --no-privileges: it is a script of SQL"),
    ):
        refused = shop.run("dump", "restore", made["id"], "-d", "part", *words)
        assert refused.exit == 222
        assert f"error: cannot restore {made['id']} {why}" in refused.stderr
    whole = shop.run("dump", "restore", made["id"], "-d", "whole").ok().stdout
    assert "compared" not in whole.split("note:")[0]
    pg.sql("CREATE DATABASE again TEMPLATE template0")
    pg.tool("psql", "-X", "-q", "--set=ON_ERROR_STOP=1", "--dbname=again", f"--file={into}")
    assert_same_database((pg, "shop"), (pg, "again"), properties=False)


def pack(file: Path, to: Path) -> None:
    to.write_bytes(zstd.compress(file.read_bytes()))


@only(15, 18)
def test_scripts_of_whole_clusters_and_of_roles(shop: DumpScene, tmp_path: Path) -> None:
    pg = shop.cluster
    everything, roles = tmp_path / "night.sql", tmp_path / "roles.sql"
    pg.tool("pg_dumpall", "-f", str(everything))
    pg.tool("pg_dumpall", "--globals-only", "-f", str(roles))
    made = taken(shop, everything)
    (database,) = made["databases"]
    assert database["name"] == "night"
    assert set(database["connects"]) == {"template1", "postgres", "shop"}
    assert database["rows"] == 53
    into = exported(shop, made["id"], "plain", tmp_path / "out.sql")
    assert into.read_bytes() == everything.read_bytes()

    made = taken(shop, roles)
    assert (made["databases"], made["globals"]) == ([], True)
    into = exported(shop, made["id"], "globals", tmp_path / "globals.sql")
    assert into.read_bytes() == roles.read_bytes()
    for words in ([], ["--all"]):
        refused = shop.run("dump", "restore", made["id"], *words)
        assert refused.exit == 221
        assert "into a database: it holds roles and tablespaces" in refused.stderr
        assert f"hint: pgkeep dump export {made['id']} --format globals" in refused.stderr

    file = dumped(shop, tmp_path / "shop.dump", "-Fc")
    made = taken(shop, file, "--globals", str(roles))
    assert made["globals"]
    facts = dumps.read_facts(shop.folder, made["id"])
    assert facts.globals is not None
    assert facts.globals.roles == ("postgres",)
    into = exported(shop, made["id"], "globals", tmp_path / "again.sql")
    assert into.read_bytes() == roles.read_bytes()
    for wrong in (everything, file, tmp_path / "nothing"):
        refused = shop.run("dump", "import", file, "--globals", wrong)
        assert refused.exit in (228, 246)


@only(15, 18)
def test_what_goes_on_record(shop: DumpScene, tmp_path: Path) -> None:
    pg = shop.cluster
    pg.sql("ALTER DATABASE shop SET TimeZone = 'Asia/Tokyo'")
    pg.sql('ALTER DATABASE shop SET search_path = public, "Odd"')
    before = datetime.now(UTC) - timedelta(seconds=2)
    file = dumped(shop, tmp_path / "a.dump", "-Fc")
    pg.sql(f"COMMENT ON DATABASE shop IS '{pg.binaries.version}'")
    made = taken(shop, file, "--label", "from the old host")
    facts = dumps.read_facts(shop.folder, made["id"])
    assert facts.origin is Origin.FILE
    assert facts.source == str(file)
    assert facts.label == "from the old host"
    assert before <= facts.taken_at <= datetime.now(UTC)
    assert facts.server_version.split(".")[0] == str(pg.binaries.major)
    (database,) = facts.databases
    assert database.name == "shop"
    assert database.owner == "postgres"
    assert database.encoding == "UTF8"
    assert database.collate == database.ctype == "C.UTF-8"
    assert set(database.settings) == {"TimeZone=Asia/Tokyo", 'search_path=public, "Odd"'}
    assert not database.script
    other = taken(shop, file, "-d", "other", "--taken-at", "2024-05-06 07:08:09+00")
    assert other["databases"][0]["name"] == "other"
    assert other["taken_at"] == "2024-05-06T07:08:09+00:00"
    schema = taken(shop, dumped(shop, tmp_path / "s", "-Fc", "-s"))
    assert schema["selection"] == "schema only"
    data = taken(shop, dumped(shop, tmp_path / "d", "-Fc", "-a"))
    assert data["selection"] == "data only"
    shown = shop.run("dump", "show", made["id"]).ok().stdout
    assert f"file {file}" in shown


@only(15, 18)
def test_rows_that_are_inserts(shop: DumpScene, tmp_path: Path) -> None:
    pg = shop.cluster
    file = dumped(shop, tmp_path / "a.dump", "-Fc", "--inserts")
    made = taken(shop, file)
    (database,) = made["databases"]
    assert (database["tables"], database["rows"]) == (2, 0)
    assert "its rows are INSERT statements" in made["notes"][0]
    assert database["data_bytes"] > 50 * len("INSERT INTO public.orders VALUES (1, 'it''s 1');\n")
    into = exported(shop, made["id"], "custom", tmp_path / "out")
    pg.sql("CREATE DATABASE again TEMPLATE template0")
    pg.tool("pg_restore", "--exit-on-error", "--dbname=again", str(into))
    assert_same_database((pg, "shop"), (pg, "again"), properties=False)
    shop.run("dump", "restore", made["id"], "--into", pg.conninfo, "-d", "third").ok()
    assert_same_database((pg, "shop"), (pg, "third"), properties=False)
    script = taken(shop, dumped(shop, tmp_path / "a.sql", "--inserts"))
    assert script["databases"][0]["tables"] == 2


@only(15, 18)
def test_a_dry_run_tells_and_stores_nothing(shop: DumpScene, tmp_path: Path) -> None:
    def stored() -> list[str]:
        return sorted(str(path) for path in shop.repository.rglob("*"))

    before = stored()
    for name, words in (("a", ("-Fc",)), ("b", ("-Fd",)), ("c.sql", ())):
        file = dumped(shop, tmp_path / name, *words)
        told = taken(shop, file, "--dry-run")
        assert (told["id"], told["dry_run"]) == (None, True)
        (database,) = told["databases"]
        assert (database["tables"], database["rows"]) == (2, 53)
    said = shop.run("dump", "import", tmp_path / "a", "--dry-run").ok().stdout
    assert "nothing was stored (--dry-run)" in said
    assert "2 tables, 53 rows" in said
    assert stored() == before


def attempt(folder: ClusterFolder, file: Path) -> PgkeepError | None:
    try:
        import_file(folder, ImportOptions(file=str(file), zone=UTC, dry_run=True))
    except (CannotImport, IncompleteDump) as error:
        return error
    return None


@only(18)
@pytest.mark.parametrize("kind", ["custom", "gzip", "tar", "plain", "plain gzip"])
def test_cut_off_files_are_refused(shop: DumpScene, tmp_path: Path, kind: str) -> None:
    words = {"custom": ["-Fc", "-Z0"], "gzip": ["-Fc"], "tar": ["-Ft"]}.get(kind, [])
    whole = dumped(shop, tmp_path / "whole", *words).read_bytes()
    if kind == "plain gzip":
        whole = gzip.compress(whole)
    cut = tmp_path / "cut"
    cut.write_bytes(whole)
    folder = shop.folder
    assert attempt(folder, cut) is None
    end = len(whole)
    if kind == "tar":
        end -= 512  # the last of two blocks of zeros holds nothing
    if kind == "plain":
        end = whole.index(b"\n--\n\n", whole.rindex(b"dump complete"))
        if b"\\unrestrict" in whole:
            end = len(whole) - len("\n\n")
    sizes = {*range(0, end, max(end // 200, 1)), *range(end - 40, end)}
    for size in sorted(sizes):
        cut.write_bytes(whole[:size])
        assert attempt(folder, cut) is not None, size
    # And what is refused leaves nothing that is listed.
    for size in sorted(sizes)[:: len(sizes) // 8]:
        cut.write_bytes(whole[:size])
        refused = shop.run("dump", "import", cut)
        assert refused.exit in (228, 246), refused
        assert "hint: " in refused.stderr
    assert shop.dumps() == []
    assert shop.is_clean()


@only(17)
def test_damaged_files_never_crash(shop: DumpScene, tmp_path: Path) -> None:
    folder = shop.folder
    for words in (["-Fc", "-Z0"], ["-Fc"], ["-Ft"], []):
        whole = dumped(shop, tmp_path / "whole", *words).read_bytes()
        for position in range(0, len(whole), max(len(whole) // 150, 1)):
            broken = bytearray(whole)
            broken[position] ^= 0xFF
            (tmp_path / "broken").write_bytes(broken)
            attempt(folder, tmp_path / "broken")
        (tmp_path / "whole").unlink()


@only(17)
def test_damaged_directories(shop: DumpScene, tmp_path: Path) -> None:
    own = dumped(shop, tmp_path / "own", "-Fd", "-Z0")
    folder, copy = shop.folder, tmp_path / "copy"

    def refused(message: str) -> None:
        error = attempt(folder, copy)
        assert error is not None
        assert message in str(error)
        shutil.rmtree(copy)
        shutil.copytree(own, copy)

    shutil.copytree(own, copy)
    assert attempt(folder, copy) is None
    data = max(own.glob("*.dat"), key=lambda path: path.stat().st_size * path.name[0].isdigit())
    (copy / data.name).unlink()
    refused(f"there is no {data.name}, which its table of contents names")
    (copy / data.name).write_bytes(data.read_bytes()[:-3])
    refused(f"{data.name} ends without its end mark")
    (copy / "blob_4711.dat").unlink()
    refused("there is no blob_4711.dat")
    (copy / "toc.dat").write_bytes((own / "toc.dat").read_bytes()[:-100])
    refused("it ends at byte")
    (copy / "toc.dat").unlink()
    refused("it is a directory without toc.dat")
    (copy / data.name).unlink()
    (copy / data.name).mkdir()
    refused("is a directory")


@only(17)
def test_strangers(shop: DumpScene, tmp_path: Path) -> None:
    def refused(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        done = shop.run("dump", "import", tmp_path / name)
        assert done.exit == 228, done
        return done.stderr

    whole = dumped(shop, tmp_path / "a.dump", "-Fc").read_bytes()
    assert "it is empty" in refused("a", b"")
    assert "it is compressed with xz" in refused("a", b"\xfd7zXZ\x00....")
    assert "it is encrypted with age" in refused("a", b"age-encryption.org/v1\n-> X25519 x\n")
    assert "it is text in UTF-16" in refused("a", "-- PostgreSQL".encode("utf-16"))
    assert "it is HTML or XML" in refused("a", b"<!DOCTYPE html><html>")
    assert "it is neither an archive of pg_dump nor SQL" in refused("a", bytes(range(256)) * 9)
    assert "its archive version is 1.17" in refused("a", whole[:6] + b"\x11" + whole[7:])
    assert "it was cut off, or is not of pg_dump" in refused("a", b"CREATE TABLE a (b int);\n")
    assert "there is a NUL before byte" in refused("a", b"-- x\n" * 1000 + b"\0")
    assert "no such file or directory" in shop.run("dump", "import", tmp_path / "none").stderr
    done = shop.run("dump", "import", "--accept-incomplete", tmp_path / "a")
    assert done.exit == 228  # not even then: a NUL is no text
    (tmp_path / "mine.sql").write_bytes(b"CREATE TABLE a (b int);\n")
    made = taken(shop, tmp_path / "mine.sql", "--accept-incomplete")
    assert made["suspicions"] == [
        "it is incomplete: it does not end with '-- PostgreSQL database dump complete'"
    ]
    assert shop.dumps()[0]["suspicions"] == made["suspicions"]


@only(17)
def test_lz4_is_refused_with_what_to_do(shop: DumpScene, tmp_path: Path) -> None:
    file = dumped(shop, tmp_path / "a.dump", "-Fc", "-Zlz4")
    refused = shop.run("dump", "import", file)
    assert refused.exit == 228
    assert "it is compressed with LZ4, which is not supported" in refused.stderr
    assert "--compress=zstd" in refused.stderr
    folder = dumped(shop, tmp_path / "dir", "-Fd", "-Zlz4")
    assert "lz4 -d --rm" in shop.run("dump", "import", folder).stderr


@only(18)
def test_an_archive_within_gzip(shop: DumpScene, tmp_path: Path) -> None:
    for words in (["-Fc", "-Z0"], ["-Ft"]):
        whole = dumped(shop, tmp_path / "whole", *words).read_bytes()
        half = len(whole) // 2
        # As `cat a.gz b.gz` makes it.
        parts = gzip.compress(whole[:half]) + gzip.compress(whole[half:])
        (tmp_path / "a.gz").write_bytes(parts)
        made = taken(shop, tmp_path / "a.gz")
        assert made["packed"] == "gzip"
        assert made["databases"][0]["rows"] == 53
        (tmp_path / "a.gz").write_bytes(parts + b"more")
        assert "is something else" in shop.run("dump", "import", tmp_path / "a.gz").stderr
