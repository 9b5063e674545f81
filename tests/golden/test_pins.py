"""The document of docs/formats/pins.md is read, and written again byte for byte."""

from datetime import UTC, datetime

from pgkeep.model.backup import BackupId
from pgkeep.repository import names
from pgkeep.retention.pins import Pin, encode_pin, read_pins
from support.manifests import cluster_folder
from support.pages import json_example

PIN = Pin(
    BackupId("20261123T044225Z-7f3a"),
    "5f1d0a7be2c94836",
    "before the audit",
    until=datetime(2027, 2, 1, tzinfo=UTC),
    made_at=datetime(2026, 11, 23, 5, tzinfo=UTC),
    made_by="ann@db1",
)


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    name = names.pin("main", PIN.backup, PIN.id)
    cluster.store.put(name, [json_example("pins.md", "Worked example")])
    assert read_pins(cluster) == (PIN,)


def test_the_worked_example_is_what_is_written() -> None:
    assert encode_pin(PIN) == json_example("pins.md", "Worked example")
