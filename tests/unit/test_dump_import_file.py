"""Files that are imported: what they are, what is packed in them, what archives tell."""

import gzip
import io
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pgkeep.logical.importing.described import Described, created_at, not_later
from pgkeep.logical.importing.opening import Kind, opened
from pgkeep.logical.importing.roles import globals_of, read_globals
from pgkeep.logical.importing.script import stem
from pgkeep.logical.importing.unpacking import PACKINGS, CannotImport, Source, Unpacked
from pgkeep.model.dump import EVERYTHING, Selection
from pgkeep.postgres.archive.tar import tar_header
from pgkeep.postgres.archive.toc import TocEntry
from pgkeep.repository.manifest.facts import Extension

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = os.urandom(100_000) + bytes(2 << 20)
# As the zstd program does.
CHECKED: dict[int, int] = {int(zstd.CompressionParameter.checksum_flag): 1}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda content: zstd.compress(content, options=CHECKED),
}


def entry(desc: str, tag: str = "", definition: str = "", owner: str = "ann") -> TocEntry:
    return TocEntry(
        1, False, "0", "0", tag, desc, 2, definition, "", None, "", "", "", 0, owner, "f", ()
    )  # fmt: skip


def recognised(path: Path, content: bytes) -> Kind:
    path.write_bytes(content)
    with opened(str(path)) as found:
        return found.kind


def test_kinds(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert recognised(file, b"PGDMP\x01\x10") is Kind.CUSTOM
    assert recognised(file, tar_header("toc.dat", 80, 1_700_000_000) + bytes(80)) is Kind.TAR
    assert recognised(file, b"--\n-- PostgreSQL database dump\n") is Kind.SCRIPT
    assert recognised(file, b"\xef\xbb\xbf-- x\n") is Kind.SCRIPT
    for pack in PACK.values():
        assert recognised(file, pack(b"PGDMP\x01\x10" + CONTENT)) is Kind.CUSTOM
    (tmp_path / "toc.dat").touch()
    with opened(str(tmp_path)) as found:
        assert found.kind is Kind.DIRECTORY
    with (
        pytest.raises(CannotImport, match="it is a directory without") as refused,
        opened(str(tmp_path.parent)),
    ):
        pass
    assert refused.value.hint == f"did you mean {tmp_path.parent}/{tmp_path.name}?"


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 100, 1 << 18, 1 << 22])
def test_unpacking(name: str, size: int) -> None:
    packing = next(packing for packing in PACKINGS if packing.name == name)

    def unpacked(content: bytes, size: int = 1 << 18) -> bytes:
        found = Unpacked("/x", Source("/x", io.BytesIO(content)), packing)
        parts = list(iter(lambda: found.read(size), b""))
        assert all(len(part) <= size for part in parts)
        return b"".join(parts)

    content = CONTENT if size > 1 else CONTENT[:500]
    packed = PACK[name](content)
    assert unpacked(packed, size) == content
    assert unpacked(packed + packed + bytes(1000), size) == content * 2
    for cut in (3, len(packed) // 2, len(packed) - 1):
        with pytest.raises(CannotImport, match="it is cut off"):
            unpacked(packed[:cut], size)
    with pytest.raises(CannotImport, match="is something else"):
        unpacked(packed + b"x", size)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    with pytest.raises(CannotImport):
        unpacked(bytes(broken), size)


def test_what_an_archive_tells() -> None:
    described = Described()
    entries = [
        entry("ENCODING", "ENCODING", "SET client_encoding = 'LATIN1';\n"),
        entry(
            "DATABASE",
            "shop",
            "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'LATIN1' "
            "LOCALE_PROVIDER = icu LC_COLLATE = 'de_DE' LC_CTYPE = 'C' ICU_LOCALE = 'de' "
            'TABLESPACE = "fast one";\n',
            owner=b"Andr\xe9".decode("utf-8", "surrogateescape"),
        ),
        entry(
            "DATABASE PROPERTIES",
            "shop",
            "ALTER DATABASE shop CONNECTION LIMIT = 5;\n"
            "ALTER DATABASE shop SET \"TimeZone\" TO 'UTC';\n"
            "ALTER DATABASE shop SET search_path TO 'public', 'Odd \"x\"';\n"
            "ALTER DATABASE shop SET \"a.b\" TO E'it''s \\\\';\n"
            "ALTER ROLE ann IN DATABASE shop SET work_mem TO '5MB';\n",
        ),
        entry("EXTENSION", "pgcrypto"),
        entry("TABLE", "orders"),
        entry("TABLE DATA", "orders"),
    ]
    assert list(described.watch(entries)) == entries
    assert (described.encoding, described.owner) == ("LATIN1", "André")
    assert (described.collate, described.ctype) == ("de_DE", "C")
    assert (described.provider, described.locale) == ("icu", "de")
    assert described.clauses["TABLESPACE"] == "fast one"
    assert described.settings == (
        "TimeZone=UTC",
        'search_path=public, "Odd ""x"""',
        "a.b=it's \\",
    )
    assert described.extension_facts("shop") == (Extension("shop", "pgcrypto", ""),)
    assert described.selection == EVERYTHING


@pytest.mark.parametrize(
    ("kinds", "selection"),
    [
        ("", EVERYTHING),
        ("TABLE|TABLE DATA", EVERYTHING),
        ("TABLE", Selection(schema_only=True)),
        ("TABLE DATA", Selection(data_only=True)),
    ],
)
def test_selection(kinds: str, selection: Selection) -> None:
    described = Described()
    list(described.watch(entry(kind) for kind in kinds.split("|")))
    assert described.selection == selection


def test_when_an_archive_was_made() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer = created_at((21, 47, 15, 1, 6, 126, 1), berlin)
    assert summer == datetime(2026, 7, 1, 13, 47, 21, tzinfo=UTC)
    # Twice in the night on which summer time ends.
    assert created_at((0, 30, 2, 25, 9, 126, 1), berlin) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert created_at((0, 30, 2, 25, 9, 126, 0), berlin) == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )
    assert created_at((0, 0, 0, 0, 0, 0, 0), UTC) is None
    assert created_at((0, 0, 0, 1, 0, 70, 0), UTC) is None
    assert created_at((0, 0, 0, 1, 99, 126, 0), UTC) is None
    now = datetime(2026, 7, 1, tzinfo=UTC)
    assert not_later(None, now) == now
    assert not_later(now - timedelta(days=900), now) == now - timedelta(days=900)
    assert not_later(now + timedelta(hours=5), now) == now
    assert not_later(now + timedelta(days=5), now) == now


def test_roles(tmp_path: Path) -> None:
    end = "--\n-- PostgreSQL database cluster dump complete\n--\n\n"
    script = (
        "CREATE ROLE ann;\nALTER ROLE ann WITH LOGIN PASSWORD 'SCRAM-SHA-256$x';\n"
        'CREATE ROLE "Böse ""x""";\nCREATE TABLESPACE fast OWNER ann LOCATION \'/x\';\n'
    ) + end
    (tmp_path / "roles").write_bytes(gzip.compress(script.encode()))
    found = globals_of(read_globals(str(tmp_path / "roles")))
    assert found.roles == ("ann", 'Böse "x"')
    assert (found.tablespaces, found.passwords) == (("fast",), True)
    (tmp_path / "roles").write_text("COPY a (b) FROM stdin;\n\\.\n" + end)
    with pytest.raises(CannotImport, match="it holds more than roles and tablespaces"):
        read_globals(str(tmp_path / "roles"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/shop.sql.gz", "shop"),
        ("shop.dump", "shop"),
        ("/a/shop-2026.01.sql", "shop-2026.01"),
        ("/a/b/", "b"),
        (".sql", ".sql"),
        ("x.TAR.GZ", "x"),
    ],
)
def test_a_database_that_nobody_names(path: str, name: str) -> None:
    assert stem(path) == name
