"""What we read and write of pg_dump's archives, against the real programs of every version."""

import io
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.copy_data import RowCount
from pgkeep.postgres.archive.custom_write import write_custom
from pgkeep.postgres.archive.directory import Directory
from pgkeep.postgres.archive.entries import (
    copy_target,
    encoding_of,
    foreign_key,
    large_objects,
    priority,
    sequence_value,
    settings_of,
    subject,
)
from pgkeep.postgres.archive.sql import Name, always_quoted, parse_identifier, quote_identifier
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.postgres.archive.tar import tar_header, write_tar
from pgkeep.postgres.archive.toc import Algorithm, Toc, TocEntry, read_toc
from pgkeep.server.scratch import ScratchCluster
from support.clusters import only, require_binaries, versions_here
from support.pg_archives import DiskFiles, Pipe, encoded, everything, toc

SHOP = r"""
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, name text, note text);
CREATE TABLE shop."Or""ders" (
    id bigserial PRIMARY KEY, "Customer Id" int REFERENCES shop.customers ON DELETE CASCADE,
    "select" text);
CREATE TABLE shop."line
feed" (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE shop."größe" ("ä,)" int, "x)y" int,
    FOREIGN KEY ("ä,)", "x)y") REFERENCES shop."line
feed" DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE shop.parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE shop.parts_2026 PARTITION OF shop.parts
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.nothing (a int);
CREATE TABLE shop.nocolumns ();
CREATE TABLE shop.computed (
    a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS IDENTITY);
INSERT INTO shop.customers SELECT i, 'name ' || i, repeat(md5(i::text), 5)
    FROM generate_series(1, 6000) i;
INSERT INTO shop.customers VALUES (-1, E'tab\there\\.\nline', NULL);
INSERT INTO shop."Or""ders" ("Customer Id") SELECT generate_series(1, 500);
INSERT INTO shop."line
feed" VALUES (1, 2);
INSERT INTO shop."größe" VALUES (1, 2);
INSERT INTO shop.parts SELECT i, date '2026-01-01' + i FROM generate_series(1, 100) i;
INSERT INTO shop.nocolumns DEFAULT VALUES;
INSERT INTO shop.computed (a) VALUES (1), (2);
CREATE VIEW shop.v AS SELECT id FROM shop.customers;
CREATE MATERIALIZED VIEW shop.mv AS SELECT count(*) FROM shop.customers;
CREATE INDEX ON shop.customers (name);
CREATE SEQUENCE shop."S'q";
SELECT setval('shop."S''q"', 77, false);
COMMENT ON TABLE shop."Or""ders" IS 'it''s';
COMMENT ON COLUMN shop."Or""ders"."Customer Id" IS 'whose';
COMMENT ON CONSTRAINT customers_pkey ON shop.customers IS 'key';
GRANT SELECT ON shop.customers TO PUBLIC;
CREATE FUNCTION shop.f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION shop.f FROM PUBLIC;
CREATE TYPE shop.mood AS ENUM ('good', 'bad');
CREATE POLICY mine ON shop.customers USING (true);
CREATE PUBLICATION news FOR TABLE shop.customers;
SELECT lo_from_bytea(100000 + i, convert_to(repeat('x' || i, 9999), 'UTF8'))
    FROM generate_series(1, 3) i;
SELECT lo_from_bytea(4294967290, 'high');
SELECT lo_from_bytea(200000, '');
GRANT SELECT ON LARGE OBJECT 100002 TO PUBLIC;
"""
ROWS = {
    "customers": 6001, 'Or"ders': 500, "line\nfeed": 1, "größe": 1, "parts_2026": 100,
    "nothing": 0, "nocolumns": 1, "computed": 2,
}  # fmt: skip
OIDS = [100001, 100002, 100003, 200000, 4294967290]
GZIP, ZSTD = Compression(Algorithm.GZIP), Compression(Algorithm.ZSTD)
_RESTRICT = re.compile(rb"^\\(un)?restrict .*$", re.MULTILINE)


@dataclass(frozen=True)
class Shop:
    """A database, and what pg_dump made of it."""

    pg: ScratchCluster
    directory: Path
    files: DiskFiles

    def dump(self, name: str, *arguments: str) -> Path:
        path = self.directory / name
        self.pg.tool("pg_dump", "--dbname=shop", f"--file={path}", *arguments)
        return path

    def has(self, name: str, *arguments: str) -> Path | None:
        """Dump, unless these programs are built without such a compression."""
        path = self.directory / name
        command = ("pg_dump", "--dbname=shop", f"--file={path}", *arguments)
        done = self.pg.tool(*command, check=False)
        assert done.returncode == 0 or "this build does not support" in done.stderr
        return path if done.returncode == 0 else None

    def restore(self, archive: Path, *arguments: str) -> str:
        """Restore into a new database, and say what its rows are."""
        self.pg.sql('DROP DATABASE IF EXISTS "again"')
        self.pg.sql('CREATE DATABASE "again" TEMPLATE template0')
        self.pg.tool("pg_restore", "--exit-on-error", "--dbname=again", *arguments, str(archive))
        return contents(self.pg, "again")


@pytest.fixture
def shop(pg: ScratchCluster, tmp_path: Path) -> Shop:
    pg.sql("CREATE DATABASE shop ENCODING 'UTF8' TEMPLATE template0")
    with pg.connect(dbname="shop") as connection:
        connection.execute(SHOP.encode())
    found = Shop(pg, tmp_path, DiskFiles(tmp_path / "plain"))
    found.dump("plain", "--format=directory", "--compress=0")
    return found


def contents(pg: ScratchCluster, database: str) -> str:
    """Return all rows and large objects."""
    tables = pg.sql(
        "SELECT format('%I.%I', nspname, relname) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = 'shop' AND relkind IN ('r', 'm') ORDER BY 1",
        dbname=database,
    )
    all_rows = "string_agg(t::text, chr(10) ORDER BY t::text)"
    lines = [
        f"{table} {pg.value(f'SELECT md5({all_rows}) FROM {table} t', dbname=database)}"
        for (table,) in tables
    ]
    objects = pg.sql(
        "SELECT oid::text, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
        dbname=database,
    )
    return "\n".join([*lines, str(objects)])


def script(major: int, archive: Path, *arguments: str, piped: bool = False) -> bytes:
    """Return what pg_restore makes of an archive: everything in it as one script."""
    command = [require_binaries(major).tool("pg_restore"), "--file=-", *arguments]
    with archive.open("rb") if piped else open("/dev/null", "rb") as source:
        named = [] if piped else [str(archive)]
        done = subprocess.run([*command, *named], stdin=source, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return _RESTRICT.sub(b"", done.stdout)


def readers(major: int) -> list[int]:
    return [other for other in versions_here() if other >= major]


def tables_of(contents: Toc) -> Iterator[TocEntry]:
    return (entry for entry in contents.entries() if entry.desc == "TABLE DATA")


def test_tables_of_contents_come_back_byte_for_byte(shop: Shop) -> None:
    for arguments in ("-Fd", "-Fc", "-Fd -Z0 -j2", "-Fd --quote-all-identifiers", "-Fd --clean"):
        path = shop.dump(f"dump {arguments}", *arguments.split())
        content = (path / "toc.dat" if path.is_dir() else path).read_bytes()
        header, entries = read_toc(io.BytesIO(content))
        again = encoded(toc(entries, header))
        assert content[: len(again)] == again
        assert path.is_file() or len(content) == len(again)


def test_entries_are_understood(shop: Shop) -> None:
    for arguments in ((), ("--quote-all-identifiers",)):
        path = shop.dump(f"dump{len(arguments)}", "-Fd", "-Z0", *arguments)
        files = DiskFiles(path)
        entries = list(files.toc().entries())
        assert encoding_of(entries) == "UTF8"
        assert settings_of(entries).standard_strings
        assert {entry.desc for entry in entries if priority(entry.desc) == priority("?")} == set()
        rows = {}
        for entry in tables_of(files.toc()):
            target = copy_target(entry)
            assert target is not None
            assert target.table.schema == "shop"
            count = RowCount()
            for piece in files.read(entry.file_name or ""):
                count.add(piece)
            assert count.complete
            rows[target.table.name] = count.rows
        assert rows == ROWS
        keys = {key.table.name: key for entry in entries if entry.desc == "FK CONSTRAINT"
                for key in [foreign_key(entry)]}  # fmt: skip
        assert keys['Or"ders'][2:] == (
            ("Customer Id",), Name("shop", "customers"), ("id",), "ON DELETE CASCADE",
        )  # fmt: skip
        assert keys["größe"].columns == ("ä,)", "x)y")
        assert keys["größe"].referenced == Name("shop", "line\nfeed")
        values = [sequence_value(e) for e in entries if e.desc == "SEQUENCE SET"]
        assert (Name("shop", "S'q"), 77, False) in values
        oids = [oid for e in entries if e.desc in {"BLOB", "BLOB METADATA"}
                for oid in large_objects(e)]  # fmt: skip
        assert sorted(oids) == OIDS
        by_id = {entry.dump_id: entry for entry in entries}
        for entry in entries:
            of = subject(entry)
            if of is not None and entry.tag != 'SCHEMA "public"':  # itself not in the archive
                assert of.kind in f"{by_id[of.dump_id or 0].desc} LARGE OBJECT COLUMN", entry


def test_every_format_holds_the_same(shop: Shop) -> None:
    wanted = shop.files.all()
    kinds = {
        "custom": ["-Fc"], "custom 0": ["-Fc", "-Z0"], "custom 9": ["-Fc", "-Z9"], "tar": ["-Ft"],
    }  # fmt: skip
    for name, arguments in kinds.items():
        with shop.dump(name, *arguments).open("rb") as file:
            toc_dat, files = everything(read_stream(file, name))
        assert files == wanted, name
        found, plain = read_toc(io.BytesIO(toc_dat)), shop.files.toc()
        assert list(found[1]) == list(plain.entries())
        assert found[0]._replace(created=()) == plain.header._replace(created=())
    assert directory_files(shop.dump("packed", "-Fd")) == wanted


@only(17)
def test_every_compression_holds_the_same(shop: Shop) -> None:
    wanted = shop.files.all()
    custom = shop.has("custom zstd", "-Fc", "-Zzstd:3")
    packed = shop.has("directory zstd", "-Fd", "-Zzstd")
    if custom is None or packed is None:
        pytest.skip("NOT TESTED: pg_dump is built without zstd")
    with custom.open("rb") as file:
        assert everything(read_stream(file, "it"))[1] == wanted
    assert directory_files(packed) == wanted
    sink = io.BytesIO()
    write_custom(sink, shop.files.toc(), shop.files, ZSTD)
    ours = shop.directory / "ours"
    ours.write_bytes(sink.getvalue())
    assert script(17, ours) == script(17, shop.files.directory)


def directory_files(path: Path) -> dict[str, bytes]:
    directory = Directory(lambda name: (path / name).open("rb"), str(path))
    return {file.name: b"".join(file.pieces) for file in directory.files()}


def test_our_archives_are_what_pg_restore_takes_for_the_directory(
    shop: Shop, postgres_version: int
) -> None:
    contents, plain = shop.files.toc(), shop.files.directory
    for make in (io.BytesIO, Pipe):
        for compression in (Compression(), GZIP, Compression(Algorithm.GZIP, 1)):
            sink = make()
            write_custom(sink, contents, shop.files, compression)
            ours = shop.directory / "ours"
            ours.write_bytes(sink.getvalue())
            for major in readers(postgres_version):
                wanted = script(major, plain)
                assert script(major, ours) == wanted
                assert script(major, ours, piped=True) == wanted
    table = ("--table=customers", "--schema=shop")
    assert script(postgres_version, ours, *table) == script(postgres_version, plain, *table)
    assert listing(postgres_version, ours) == listing(postgres_version, plain)
    tar = written_tar(shop)
    for major in readers(postgres_version):
        assert script(major, tar) == script(major, plain)


def listing(major: int, archive: Path) -> list[bytes]:
    lines = script(major, archive, "--list").splitlines()
    return [line for line in lines if not line.startswith(b";")]


def written_tar(shop: Shop) -> Path:
    path = shop.directory / "ours.tar"
    with path.open("wb") as sink:
        write_tar(sink, shop.files.toc(), shop.files, 1_795_881_967)
    return path


def test_our_archives_are_restored(shop: Shop) -> None:
    wanted = contents(shop.pg, "shop")
    ours = shop.directory / "ours"
    with ours.open("wb") as file:
        write_custom(file, shop.files.toc(), shop.files, GZIP)
    assert shop.restore(ours, "--jobs=4") == wanted
    sink = Pipe()
    write_custom(sink, shop.files.toc(), shop.files)
    ours.write_bytes(sink.getvalue())
    assert shop.restore(ours, "--jobs=4") == wanted
    assert shop.restore(written_tar(shop)) == wanted


@only(15, 18)
def test_names_in_other_encodings_keep_their_bytes(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE DATABASE shop ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pg.connect(dbname="shop", client_encoding="utf8") as connection:
        connection.execute('CREATE TABLE public."größe" ("ä" text)')
    found = Shop(pg, tmp_path, DiskFiles(tmp_path / "plain"))
    found.dump("plain", "-Fd", "-Z0")
    contents = found.files.toc()
    assert encoded(contents) == (tmp_path / "plain" / "toc.dat").read_bytes()
    assert encoding_of(contents.entries()) == "LATIN1"
    target = copy_target(next(tables_of(contents)))
    assert target is not None
    raw = [name.encode("utf-8", "surrogateescape") for name in (target.table.name, *target.columns)]
    assert [name.decode("latin-1") for name in raw] == ["größe", "ä"]


def test_tar_headers_are_pg_dumps_own(shop: Shop) -> None:
    content = shop.dump("tar", "-Ft").read_bytes()
    at, seen = 0, 0
    while any(header := content[at : at + 512]):
        name = header[:100].rstrip(b"\0").decode()
        size, now = int(header[124:135], 8), int(header[136:147], 8)
        assert tar_header(name, size, now) == header
        at += 512 + -(-size // 512) * 512
        seen += 1
    assert content[at:] == bytes(1024)
    assert seen == len(shop.files.all()) + 2


def test_names_are_quoted_as_the_server_does(pg: ScratchCluster, postgres_version: int) -> None:
    words = [word for (word,) in pg.sql("SELECT word FROM pg_get_keywords()")]
    names = [*words, "a", "A", "a b", 'a"b', "1a", "a1", "_", "größe", "a$", "x\ny", "a.b"]
    for name in names:
        quoted = pg.value("SELECT quote_ident(%s)", name)
        ours = quote_identifier(name)
        assert parse_identifier(ours)[0] == name
        # Words that other versions reserve are quoted, too.
        assert ours in {quoted, always_quoted(name)}, (postgres_version, name)


def without_access_method(output: bytes) -> list[bytes]:
    """Return all but what archives before 1.14 cannot say, and blank lines."""
    lines = (line for line in output.splitlines() if line)
    return [line for line in lines if not line.startswith(b"SET default_table_access_method")]


@pytest.mark.parametrize("version", [(1, 12, 0), (1, 13, 0)])
@only(15)
def test_old_versions_are_written_as_pg_restore_reads_them(
    shop: Shop, version: tuple[int, int, int]
) -> None:
    """No pg_dump before 14 is at hand: pg_restore, which reads them all, is the judge."""
    plain = shop.files.toc()
    old = Toc(plain.header._replace(version=version), plain.count, plain.entries)
    path = shop.directory / "old"
    with path.open("wb") as sink:
        write_custom(sink, old, shop.files, GZIP)
    for major in readers(15):
        wanted = script(major, shop.files.directory)
        assert without_access_method(script(major, path)) == without_access_method(wanted)
