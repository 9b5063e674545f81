"""The document of docs/formats/acts.md is read, and written again byte for byte."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime

from msgspec.structs import replace

from pgkeep.repository import names
from pgkeep.repository.acts.act import RUNBOOK, Act, Outcome
from pgkeep.repository.acts.storing import Acts, acts, record_act
from pgkeep.repository.marker import encode_document
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.memory import MemoryStore
from support.pages import json_example

ACT = Act(
    id="20261128T005242.230407Z-953a65ff",
    at=datetime(2026, 11, 28, 0, 52, 42, 230407, tzinfo=UTC),
    who="kim",
    what=RUNBOOK,
    outcome=Outcome.DONE,
    cluster="main",
    words=("pgkeep", "runbook", "--output", "/srv/runbook.md"),
    host="backup1",
    facts={"file": "/srv/runbook.md", "config": "7f3a9c01d2e84b56"},
)
NAME = names.act("main", ACT.id, ACT.what)


def test_the_worked_example_is_read() -> None:
    repository = Repository.create(MemoryStore(), "none", None)
    repository.store.put(NAME, [json_example("acts.md", "Worked example")])
    assert acts(repository, "main") == Acts((ACT,))


def test_the_worked_example_is_what_is_written() -> None:
    repository = Repository.create(MemoryStore(), "none", None)
    record_act(repository, ACT)
    assert repository.store.get(NAME) == json_example("acts.md", "Worked example")


def test_in_an_encrypted_repository_it_tells_nothing_and_must_be_sealed() -> None:
    repository = Repository.create(MemoryStore(), "passphrase", "a secret that is long")
    record_act(repository, ACT)
    document = json.loads(repository.store.get(NAME))
    assert set(document) == {"format", "id", "cluster", "sealed", "check"}
    assert acts(repository, "main").found == (ACT,)
    forged = replace(ACT, id="20261128T005242.230407Z-00000000")
    plain = json_example("acts.md", "Worked example")
    repository.store.put(names.act("main", forged.id, forged.what), [plain])
    (bad,) = acts(repository, "main").unreadable
    assert isinstance(bad.error, Damaged)
    assert "not encrypted, but this repository is" in str(bad.error)
    torn = {key: document[key] for key in ("id", "cluster")}
    block = bytearray(b64decode(document["sealed"]))
    block[-1] ^= 1
    torn["sealed"] = b64encode(block).decode()
    repository.store.put(NAME, [encode_document(torn)])
    whys = [str(one.error) for one in acts(repository, "main").unreadable]
    assert any("its encryption tag does not fit" in why for why in whys)


def test_one_that_was_moved_to_another_name_is_no_evidence() -> None:
    """Else the test of one cluster's kit, or an old one, could stand in for another."""
    repository = Repository.create(MemoryStore(), "none", None)
    content = json_example("acts.md", "Worked example")
    moved = (
        names.act("other", ACT.id, ACT.what),
        names.act("main", ACT.id, "alert-test"),
        names.act("main", "20271128T005242.230407Z-953a65ff", ACT.what),
        names.act("", ACT.id, ACT.what),
    )
    for name in moved:
        repository.store.put(name, [content])
    for cluster in ("main", "other", ""):
        assert acts(repository, cluster).found == ()
        assert all("it holds act" in str(b.error) for b in acts(repository, cluster).unreadable)
