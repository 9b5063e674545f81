"""What expire, delete and pin print."""

import json
from datetime import UTC, timedelta

from pgkeep.cli.render import retention as render
from pgkeep.cli.text import Look, plain
from pgkeep.model.backup import BackupId
from pgkeep.retention.delete import preview_delete
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.pins import add_pin, read_pins
from pgkeep.retention.policy import KeepPolicy
from support.shelves import NOW, Shelf


def shelf_of_two() -> Shelf:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("a", 9, 1)
    shelf.backup("b", 2, 5)
    shelf.at(0)
    return shelf


def test_the_plan_and_the_outcome_of_expire() -> None:
    shelf = shelf_of_two()
    wish = Wish(KeepPolicy(timedelta(days=1), minimum=1), UTC, NOW)
    expired = expire(shelf.cluster, wish)
    text = render.decision(expired.decision, Look())
    assert "the window begins at 2026-02-28 12:00:00 UTC" in text
    assert "DROP  older than the window" in text
    assert "timeline 1: restorable from 2026-02-27 12:00:00 UTC on, to any moment" in text
    assert "to go: 1 backup, 1 pack, 5 WAL segments" in text
    assert expired.outcome is not None
    assert render.outcome(expired.outcome).startswith("deleted: 1 backup, 1 pack, 5 WAL files")
    facts = plain(render.decision_facts(expired.decision, expired.outcome, dry_run=False))
    json.dumps(facts)
    assert [(b["id"], b["keep"]) for b in facts["backups"]] == [("a", False), ("b", True)]
    assert facts["deleted"]["backups"] == ["a"]
    assert facts["error"] is None


def test_the_preview_of_a_deletion() -> None:
    found = preview_delete(shelf_of_two().cluster, "a", NOW)
    text = render.preview(found, Look())
    assert "deleting it loses, for good:\n  every moment from 2026-02-20 12:00:00 UTC to" in text
    facts = plain(render.preview_facts(found, None, dry_run=True))
    assert json.loads(json.dumps(facts))["lost"][0]["timeline"] == 1


def test_pins() -> None:
    shelf = shelf_of_two()
    assert render.pins((), NOW, Look()) == "nothing is pinned"
    pin = add_pin(shelf.cluster, BackupId("a"), "audit\x1b[2J", None, NOW)
    assert render.pinned(pin, Look()) == ("backup a stays until its pin is removed: audit\\x1b[2J")
    assert "for ever" in render.pins(read_pins(shelf.cluster), NOW, Look())
    json.dumps(plain(render.pin_facts(pin, NOW)))
