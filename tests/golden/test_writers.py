"""The document of docs/formats/writers.md is read, and written again byte for byte."""

from pgkeep.repository import names
from pgkeep.repository.claims.writers import (
    Server,
    Writer,
    WriterFacts,
    parse_writer,
    read_writer,
    write_writer,
)
from support.manifests import cluster_folder
from support.pages import json_example

GENERATION = "18-7710983248089545577"
SERVER = Server("db1", "/var/lib/postgresql/18/main")
WRITER = Writer(1, 1, "d7599a76631d9d35")
FACTS = WriterFacts(SERVER, "2026-01-15T10:00:00.000000+00:00", "postgres", "")
NAME = names.writer("main", GENERATION, "000001-00000001-d7599a76631d9d35")


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    cluster.store.put(NAME, [json_example("writers.md", "Worked example")])
    assert cluster.archiving().writers == {GENERATION: WRITER}
    assert read_writer(cluster, GENERATION, WRITER) == FACTS
    assert SERVER.token == WRITER.token


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    write_writer(cluster, GENERATION, WRITER, FACTS)
    assert cluster.store.get(NAME) == json_example("writers.md", "Worked example")


def test_what_is_no_writers_name() -> None:
    assert parse_writer("000001-00000001-d7599a76631d9d35") == WRITER
    for text in ("1-1-d7599a76631d9d35", "000001-00000001", "", "x-y-z", "000001-00000001-d759"):
        assert parse_writer(text) is None
