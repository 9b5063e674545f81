"""The documents of docs/formats/repository.md and locks.md are what this code reads and writes."""

import json
from datetime import UTC, datetime

import pytest
from blake3 import blake3

from pgkeep.repository.claims import locks
from pgkeep.repository.marker import Marker, decode_document, encode_document, read_marker
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.memory import MemoryStore
from support.pages import json_example

NOW = datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)
MOMENT = "2026-11-23T04:42:25.000000+00:00"
REPOSITORY = "01" * 16


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Example: a marker without encryption", Marker(REPOSITORY, MOMENT, "none", None)),
        (
            "Example: a marker with encryption",
            Marker(
                REPOSITORY,
                MOMENT,
                "aes-256-gcm",
                "6b4eebc75ca5e6f6cc427bc62c81c0853c4080cb7481db4ac88aec056787c192",
            ),
        ),
    ],
)
def test_markers_are_read(title: str, expected: Marker) -> None:
    store = MemoryStore()
    store.put("pgkeep.json", [json_example("repository.md", title)])
    assert read_marker(store) == expected


def test_the_marker_is_written_again() -> None:
    store = MemoryStore()
    Repository.create(store, "none", None, now=NOW, random=lambda size: b"\1" * size)
    example = json_example("repository.md", "Example: a marker without encryption")
    assert store.get("pgkeep.json") == example


def test_the_check_by_the_page_alone() -> None:
    facts = json.loads(json_example("repository.md", "Example: a marker with encryption"))
    check = facts.pop("check")
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert blake3(text.encode()).hexdigest()[:32] == check


def test_unknown_fields_of_a_later_version_are_allowed() -> None:
    content = encode_document({"known": 1, "new": {"deep": ["ä", None]}})
    assert decode_document(content, "x")["new"] == {"deep": ["ä", None]}


def test_the_lock_is_read_and_written_again() -> None:
    example = json_example("locks.md", "Example")
    facts = decode_document(example, "x")
    del facts["format"]
    assert encode_document(facts) == example
    store = MemoryStore(clock=lambda: 100.0)
    store.put("clusters/main/locks/backup-5f1d0a7be2c94836.json", [example])
    (holder,) = locks.holders(Repository(store, "id", None).cluster("main"), 103.0)
    assert (holder.lock_id, holder.kind) == ("backup-5f1d0a7be2c94836", "backup")
    assert (holder.process.host, holder.process.pid, holder.silent_s) == ("db1", 4711, 3.0)
