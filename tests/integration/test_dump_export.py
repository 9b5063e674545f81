"""pgkeep dump export: what PostgreSQL's own programs make of the files, and what must not stay."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pgkeep.logical.export.export import export as export_dump
from pgkeep.logical.export.formats import ExportFormat
from pgkeep.logical.export.plan import ExportRequest
from pgkeep.repository import dumps
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only, require_binaries
from support.command import PGKEEP, Result
from support.compare import assert_same_database, globals_of
from support.dumps import DumpScene
from support.dying_store import DyingStore, Killed, forget_locks
from support.many import encoded_database
from support.rental import create_roles, load_rental
from support.wait import wait_for

ODD = 'odd "name" %s'


@pytest.fixture
def scene(pg: ScratchCluster, tmp_path: Path) -> DumpScene:
    return DumpScene.make(pg, tmp_path)


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[ScratchCluster]:
    with ScratchCluster(require_binaries(18), tmp_path / "newer") as cluster:
        yield cluster


def export(scene: DumpScene, form: str, output: Path | str, *words: str) -> Result:
    return scene.run("dump", "export", "latest", "--format", form, "-o", str(output), *words)


def empty(pg: ScratchCluster, name: str) -> str:
    """Make a database to restore into; return the option that chooses it."""
    pg.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    return f"--dbname={name}"


def run_script(pg: ScratchCluster, script: Path, *words: str) -> None:
    pg.tool("psql", "-X", "-q", "--set=ON_ERROR_STOP=1", f"--file={script}", *words)


def shop(pg: ScratchCluster, rows: int = 1000, database: str = "postgres") -> None:
    pg.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);"
        f"INSERT INTO orders SELECT g, md5(g::text) FROM generate_series(1, {rows}) g;"
        "CREATE TABLE customers (id serial PRIMARY KEY, name text)",
        dbname=database,
    )


def left_over(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def stock_restore(pg: ScratchCluster, words: Sequence[str], database: str, archive: Path) -> str:
    """Restore with PostgreSQL's own pg_restore, and return what it said; `words` are for rows.

    Definitions are made one after the other: between some of them, as an index's partition and a
    foreign key, or the rights on a schema and on its tables, archives name no dependency, and
    several jobs get in each other's way now and then.
    """
    into = empty(pg, database)
    said = ""
    for section, how in (("pre-data", ()), ("data", words), ("post-data", ())):
        command = ("pg_restore", "--exit-on-error", f"--section={section}", *how, into)
        said += pg.tool(*command, str(archive)).stderr
    return said


def test_every_format_comes_back_equal(scene: DumpScene, tmp_path: Path) -> None:
    pg = scene.cluster
    load_rental(pg)
    # pg_restore -j may make a domain's unchecked constraint before the rows that break it come:
    # no dependency in the archive tells it not to.
    pg.sql("ALTER DOMAIN rental.sloppy DROP CONSTRAINT of_late", dbname="rental")
    scene.create("-d", "rental")
    place = tmp_path / "out"
    place.mkdir()
    for form in ("custom", "directory", "tar", "plain"):
        export(scene, form, place / form).ok()
    export(scene, "custom", place / "zipped", "--compress", "gzip:1").ok()
    listed = pg.tool("pg_restore", "--list", str(place / "custom")).stdout
    assert "TABLE DATA rental film rental_owner" in listed
    assert listed.count("\n") > 300
    for name, words in (
        ("custom", ["-j", "4"]),
        ("directory", ["-j", "4"]),
        ("tar", []),
        ("zipped", ["-j", "4"]),
    ):
        assert stock_restore(pg, words, f"from_{name}", place / name) == ""
        assert_same_database((pg, "rental"), (pg, f"from_{name}"), properties=False)
    run_script(pg, place / "plain", empty(pg, "from_plain"))
    assert_same_database((pg, "rental"), (pg, "from_plain"), properties=False)
    assert (place / "directory").stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in (place / "directory").iterdir()}
    assert modes == {(place / "custom").stat().st_mode & 0o777} == {0o600}
    assert scene.is_clean()


def test_a_database_is_created_with_all_that_belongs_to_it(
    scene: DumpScene, tmp_path: Path
) -> None:
    pg = scene.cluster
    load_rental(pg, ODD)
    scene.create("-d", ODD)
    export(scene, "custom", tmp_path / "custom").ok()
    export(scene, "plain", tmp_path / "plain", "--create").ok()
    pg.sql('ALTER DATABASE "odd ""name"" %s" RENAME TO before')
    pg.tool("pg_restore", "--create", "--dbname=postgres", str(tmp_path / "custom"))
    assert_same_database((pg, "before"), (pg, ODD))
    pg.sql('ALTER DATABASE "odd ""name"" %s" RENAME TO restored')
    run_script(pg, tmp_path / "plain")
    assert_same_database((pg, "before"), (pg, ODD))


@only(15, 17)
def test_a_newer_server_takes_every_format(
    scene: DumpScene, newer: ScratchCluster, tmp_path: Path
) -> None:
    load_rental(scene.cluster)
    create_roles(newer)
    scene.create("-d", "rental")
    # What some words of the older version mean to the newer one is PostgreSQL's own affair.
    own = tmp_path / "own"
    scene.cluster.tool("pg_dump", "-Fc", "-f", str(own), "rental")
    newer.tool("pg_restore", "--exit-on-error", empty(newer, "own"), str(own))
    assert_same_database((scene.cluster, "rental"), (newer, "own"), properties=False, schema=False)
    for form in ("custom", "directory", "tar", "plain"):
        path, into = tmp_path / form, empty(newer, f"from_{form}")
        export(scene, form, path).ok()
        if form == "plain":
            run_script(newer, path, into)
        else:
            done = newer.tool("pg_restore", "--exit-on-error", into, str(path))
            assert done.stderr == ""
        assert_same_database((newer, "own"), (newer, f"from_{form}"), properties=False)


def test_one_table_by_name(scene: DumpScene, tmp_path: Path) -> None:
    pg = scene.cluster
    shop(pg)
    scene.create("-d", "postgres")
    for form in ("custom", "directory", "tar"):
        export(scene, form, tmp_path / form).ok()
        into = empty(pg, f"from_{form}")
        pg.tool("pg_restore", "-t", "orders", into, str(tmp_path / form))
        assert pg.value("SELECT count(*) FROM orders", dbname=f"from_{form}") == 1000
        assert pg.value("SELECT to_regclass('customers')", dbname=f"from_{form}") is None
    export(scene, "plain", tmp_path / "orders.sql", "-t", "orders", "--no-owner").ok()
    script = (tmp_path / "orders.sql").read_text()
    assert "COPY" in script
    assert "customers" not in script
    assert "OWNER TO" not in script
    failed = export(scene, "plain", tmp_path / "none.sql", "-t", "oders")
    assert failed.exit == 227
    assert 'no matching tables were found for pattern "oders"' in failed.stderr or (
        'table "oders" not found' in failed.stderr
    )
    assert not (tmp_path / "none.sql").exists()


@only(15, 18)
def test_a_script_of_everything_makes_a_whole_cluster(
    scene: DumpScene, new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = scene.cluster
    load_rental(pg)
    load_rental(pg, ODD)
    shop(pg)
    scene.create()
    export(scene, "plain", tmp_path / "all.sql").ok()
    export(scene, "globals", tmp_path / "roles.sql").ok()
    assert "CREATE ROLE" in (tmp_path / "roles.sql").read_text()
    assert (tmp_path / "roles.sql").stat().st_mode & 0o777 == 0o600
    other = new_cluster("other")
    done = other.tool("psql", "-X", "-q", f"--file={tmp_path}/all.sql", "postgres")
    # As with pg_dumpall: whoever runs it is there already.
    errors = [line for line in done.stderr.splitlines() if "ERROR:" in line]
    assert [error.partition("ERROR:  ")[2] for error in errors] == [
        'role "postgres" already exists'
    ]
    for name in ("rental", ODD):
        assert_same_database((pg, name), (other, name))
    assert_same_database((pg, "postgres"), (other, "postgres"))
    assert globals_of(pg) == globals_of(other)


@only(15, 18)
def test_streams(scene: DumpScene, tmp_path: Path) -> None:
    pg = scene.cluster
    shop(pg, 20_000)
    scene.create("-d", "postgres")
    tool = pg.binaries.tool
    command = f"{PGKEEP} --config {scene.config} -q dump export latest --format"
    custom = tmp_path / "custom"
    shell(f"{command} custom -o - > {custom}")
    # Nothing is compressed: offsets are there although nobody could go back.
    pg.tool("pg_restore", "-j", "4", empty(pg, "again"), str(custom))
    assert_same_database((pg, "postgres"), (pg, "again"), properties=False)
    listed = shell(f"{command} tar -o - | {tool('pg_restore')} --list")
    assert "TABLE DATA public orders" in listed
    packed = shell(f"{command} plain --compress zstd:3 -o - | zstd -dc | tail -n 20")
    assert "PostgreSQL database dump complete" in packed
    packed = shell(f"{command} plain --compress gzip -o {tmp_path}/x.sql.gz; zcat {tmp_path}/x*")
    assert packed.count("\n") > 20_000
    for form in ("custom", "plain", "tar"):
        head = shell(f"{command} {form} -o - | head -c 100 > /dev/null; echo ${{PIPESTATUS[0]}}")
        assert head == "141\n"
    told = shell(f"{command} custom -o >(cat > {tmp_path}/process); wait $!")
    assert told.startswith("wrote /dev/fd/")
    wait_for(lambda: (tmp_path / "process").stat().st_size == custom.stat().st_size)
    assert scene.is_clean()


def shell(command: str) -> str:
    """Run a line of shell; what any part of it says on stderr fails the test."""
    words = ["bash", "-c", command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert done.stderr == "", done
    return done.stdout


@only(17)
def test_what_is_refused(scene: DumpScene, tmp_path: Path) -> None:
    scene.cluster.sql("CREATE DATABASE shop")
    shop(scene.cluster, database="shop")
    scene.create()
    place = tmp_path / "out"
    place.mkdir()

    def refused(form: str, output: Path | str, *words: str) -> str:
        done = export(scene, form, output, *words)
        assert done.exit == 227, done
        assert left_over(place) == kept
        return done.stderr

    kept: list[str] = []
    told = refused("custom", place / "x")
    assert "it holds 3 databases, and format custom takes one" in told
    assert "choose one with -d: postgres, shop, template1" in told
    assert "it has no database shpo" in refused("custom", place / "x", "-d", "shpo")
    assert "pgkeep does not compress format tar" in refused(
        "tar", place / "x", "-d", "shop", "--compress", "gzip"
    )
    assert "there is no compression 'gzip:99'" in refused(
        "custom", place / "x", "-d", "shop", "--compress", "gzip:99"
    )
    told = refused("directory", place / "x", "-d", "shop", "--clean", "--if-exists")
    assert "--clean, --if-exists is for --format plain" in told
    assert "tables and schemas are chosen of one database" in refused(
        "plain", place / "x", "-t", "orders"
    )
    assert "a directory cannot be written to stdout" in refused("directory", "-", "-d", "shop")
    assert "no such file or directory" in refused("custom", place / "no/where", "-d", "shop")
    assert "there is a directory of that name" in refused("custom", place, "-d", "shop")
    (place / "x").write_text("mine")
    (place / "d").mkdir()
    (place / "d/mine").write_text("mine")
    kept = ["d", "x"]
    assert "it exists" in refused("custom", place / "x", "-d", "shop")
    assert "it exists" in refused("directory", place / "d", "-d", "shop")
    assert "is not the directory of a dump" in refused(
        "directory", place / "d", "-d", "shop", "--force"
    )
    assert (place / "d/mine").read_text() == (place / "x").read_text() == "mine"
    done = export(scene, "custom", place / "x", "-d", "shop", "--json", "--force").ok().json
    assert (done["format"], done["databases"], done["output"]) == (
        "custom",
        ["shop"],
        str(place / "x"),
    )
    (place / "empty").mkdir()
    export(scene, "directory", place / "empty", "-d", "shop").ok()
    export(scene, "directory", place / "empty", "-d", "shop", "--force").ok()
    assert left_over(place) == ["d", "empty", "x"]
    assert "toc.dat" in left_over(place / "empty")
    assert export(scene, "custom", "-", "-d", "shop", "--json").exit == 2


def test_a_directory_is_what_pg_dump_wrote(scene: DumpScene, tmp_path: Path) -> None:
    pg = scene.cluster
    load_rental(pg)
    scene.create("-d", "rental")
    export(scene, "directory", tmp_path / "exported").ok()
    none = "none" if pg.binaries.major >= 16 else "0"
    own = tmp_path / "own"
    pg.tool("pg_dump", "-Fd", f"-Z{none}", "--quote-all-identifiers", "-f", str(own), "rental")
    files = left_over(own)
    assert files == left_over(tmp_path / "exported")
    assert len(files) > 50
    for name in files:
        before, after = (own / name).read_bytes(), (tmp_path / "exported" / name).read_bytes()
        if name == "toc.dat":  # it holds the time
            assert len(before) == len(after)
        else:
            assert before == after


@only(17)
@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
def test_other_encodings(scene: DumpScene, tmp_path: Path, encoding: str) -> None:
    pg = scene.cluster
    encoded_database(pg, "coded", encoding)
    pg.tool("pg_dump", "-Fc", "-f", str(tmp_path / "own"), "coded")
    scene.run("dump", "import", tmp_path / "own").ok()
    pg.sql("ALTER DATABASE coded RENAME TO before")
    for form in ("custom", "tar", "directory"):
        export(scene, form, tmp_path / form).ok()
        pg.sql("DROP DATABASE IF EXISTS coded")
        pg.tool("pg_restore", "-C", "--exit-on-error", "--dbname=postgres", str(tmp_path / form))
        assert_same_database((pg, "before"), (pg, "coded"))
    export(scene, "plain", tmp_path / "plain", "--create", "--clean", "--if-exists").ok()
    run_script(pg, tmp_path / "plain")
    assert_same_database((pg, "before"), (pg, "coded"))


@only(17)
def test_damage_is_told_by_table_and_leaves_nothing(scene: DumpScene, tmp_path: Path) -> None:
    shop(scene.cluster, 50_000)
    made = scene.create("-d", "postgres")
    place = tmp_path / "out"
    place.mkdir()
    damage_largest_file(scene.folder, scene.repository, made["id"])
    for form in ("custom", "directory", "tar", "plain"):
        failed = export(scene, form, place / form)
        assert failed.exit == 227
        assert "table public.orders of database postgres: " in failed.stderr
        assert left_over(place) == []
    export(scene, "globals", place / "roles.sql").ok()


def damage_largest_file(folder: ClusterFolder, repository: Path, dump: str) -> None:
    """Change a byte in the middle of a chunk of the largest table."""
    tables = dumps.read_manifest(folder, dump).tables
    number = int(tables.file.size.argmax())
    row = tables.chunk_rows(number)[-1]
    pack = tables.pack.name(int(tables.chunk.pack[row])).hex()
    (path,) = repository.rglob(pack)
    content = bytearray(path.read_bytes())
    content[int(tables.chunk.offset[row]) + int(tables.chunk.sealed[row]) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


@only(17)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_leaves_nothing(scene: DumpScene, tmp_path: Path) -> None:
    shop(scene.cluster, 100_000)
    scene.create("-d", "postgres")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        for form in ("custom", "directory", "tar", "plain"):
            failed = export(scene, form, place / form)
            assert failed.exit == 227, failed
            assert "no space left on device" in failed.stderr.lower()
            assert "hint: nothing of it was left there: make room" in failed.stderr
            assert left_over(place) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def dying(scene: DumpScene, deadly: int, error: type[BaseException]) -> DyingStore:
    return DyingStore(open_store(str(scene.repository)), deadly, after=False, error=error)


def exported_from(store: DyingStore, dump: str, form: str, output: Path) -> None:
    cluster = Repository.open(store, None).cluster("main")
    request = ExportRequest(dump=dump, output=str(output), format=ExportFormat(form))
    export_dump(cluster, request)


@only(17)
@pytest.mark.parametrize("form", ["custom", "directory", "plain"])
def test_what_is_stopped_leaves_nothing(scene: DumpScene, tmp_path: Path, form: str) -> None:
    shop(scene.cluster)
    dump = scene.create("-d", "postgres")["id"]
    place = tmp_path / "out"
    place.mkdir()
    for deadly in itertools.count(1):
        store = dying(scene, deadly, Killed)
        try:
            exported_from(store, dump, form, place / "dump")
        except Killed:
            # Only the last call, which gives back the lock, comes when all is done.
            assert left_over(place) in ([], ["dump"])
            assert left_over(place) == [] or store.seen[-1].startswith("delete ")
            forget_locks(store.inner)
            shutil.rmtree(place)
            place.mkdir()
        else:
            break
    assert deadly > 8
    assert left_over(place) == ["dump"]


KILLED = """
import os, pathlib, signal
from integration.test_dump_export import *
from pgkeep.repository.store.base import StoreFailed
class Sigkill(StoreFailed):
    def __init__(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)
scene = DumpScene(None, None, pathlib.Path({repository!r}))
exported_from(dying(scene, {deadly}, Sigkill), {dump!r}, {form!r}, pathlib.Path({output!r}))
"""


@only(17)
@pytest.mark.parametrize("form", ["custom", "directory", "plain"])
def test_what_is_killed_never_looks_whole(scene: DumpScene, tmp_path: Path, form: str) -> None:
    shop(scene.cluster)
    dump = scene.create("-d", "postgres")["id"]
    place = tmp_path / "out"
    place.mkdir()
    partial = 0
    for deadly in itertools.count(1, 2):
        child = KILLED.format(
            repository=str(scene.repository),
            deadly=deadly,
            dump=dump,
            form=form,
            output=str(place / "dump"),
        )
        tests = str(Path(__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-c", child], check=False, env={**os.environ, "PYTHONPATH": tests}
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        if left_over(place) != ["dump"]:
            assert all(name.endswith(".partial") for name in left_over(place))
            partial += len(left_over(place))
        forget_locks(open_store(str(scene.repository)))
        shutil.rmtree(place)
        place.mkdir()
    assert partial > 1
    assert left_over(place) == ["dump"]


@only(17)
def test_a_read_only_repository_is_exported(scene: DumpScene, tmp_path: Path) -> None:
    shop(scene.cluster)
    scene.create("-d", "postgres")
    locks = scene.repository / "clusters/main/locks"
    locks.rmdir()
    locks.touch()  # no lock can be made here, not even by root
    done = export(scene, "custom", tmp_path / "dump").ok()
    assert "without a lock, so nothing must be deleted meanwhile" in done.stderr
    scene.cluster.tool("pg_restore", "--list", str(tmp_path / "dump"))


@only(17)
def test_a_large_dump_goes_through_a_pipe(new_cluster: NewCluster, tmp_path: Path) -> None:
    pg = new_cluster(settings={"shared_buffers": "64MB"}, wal_segsize=None)
    scene = DumpScene.make(pg, tmp_path)
    rows = "SELECT k AS id, repeat(md5(k::text), 20) AS v FROM generate_series(1, 470000) k"
    pg.sql(f"CREATE TABLE large AS {rows}")
    made = scene.create("-d", "postgres")
    assert made["size"] > 300_000_000
    tool = pg.binaries.tool("pg_restore")
    command = f"{PGKEEP} --config {scene.config} -q dump export latest --format"
    listed = shell(f"{command} custom -o - | {tool} --list")
    assert "TABLE DATA public large" in listed
    counted = shell(f"{command} custom -o - | {tool} --file=- | wc -l")
    assert int(counted) > 470_000
    counted = shell(f"{command} custom --compress zstd:1 -o - | {tool} --file=- | wc -l")
    assert int(counted) > 470_000
