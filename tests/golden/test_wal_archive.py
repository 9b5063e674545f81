"""The WAL object of docs/formats/wal-object.md is what this code reads and writes."""

from datetime import UTC, datetime

from blake3 import blake3

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.wal_archive import WalArchive
from support.pages import block, hex_example, table

PAGE = "wal-object.md"
GENERATION = "18-7710983248089545577"
FILE = "00000002.history"
NAME = f"clusters/main/wal/{GENERATION}/{FILE}"
CONTENT = block(PAGE, "Example", "text").encode()
EXAMPLE = hex_example(PAGE, "Example")
NOW = datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)


def archive(store: MemoryStore) -> WalArchive:
    return Repository(store, "id", None).cluster("main").wal(GENERATION)


def test_the_example_is_read() -> None:
    store = MemoryStore()
    store.put(NAME, [EXAMPLE])
    assert b"".join(archive(store).fetch(FILE)) == CONTENT
    found = archive(store).describe(FILE)
    assert (found.size, found.stored_at, found.blocks) == (len(CONTENT), NOW, 1)


def test_the_example_is_written_again() -> None:
    store = MemoryStore()
    archive(store).push(FILE, CONTENT, now=NOW)
    assert store.get(NAME) == EXAMPLE


def test_the_table_of_offsets_is_the_header() -> None:
    rows = table(PAGE, "Layout")
    assert [offset for offset, _, _ in rows] == [
        sum(size for _, size, _ in rows[:n]) for n in range(len(rows))
    ]
    fields = {name: EXAMPLE[offset : offset + size] for offset, size, name in rows}
    numbers = {name: int.from_bytes(value, "little") for name, value in fields.items()}
    assert fields["magic"] == b"PGKW"
    assert (numbers["version"], numbers["header length"], numbers["key id"]) == (1, 128, 0)
    assert (numbers["blocks"], numbers["plain length"]) == (1, len(CONTENT))
    assert numbers["object length"] == len(EXAMPLE)
    ids = blake3(CONTENT).digest()[:16]  # of its only block
    assert fields["content id"] == blake3(ids + len(CONTENT).to_bytes(8, "little")).digest()[:16]
    assert (numbers["system identifier"], numbers["major version"]) == (7710983248089545577, 18)
    assert datetime.fromtimestamp(numbers["stored at"] / 1e6, UTC) == NOW
    assert fields["file name"].rstrip(b"\0") == FILE.encode()
    assert fields["check"] == blake3(EXAMPLE[:112]).digest()[:16]
