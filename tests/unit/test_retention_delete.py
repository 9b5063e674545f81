"""Deleting one backup by hand, and pins that forbid it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pgkeep.model.backup import BackupId
from pgkeep.repository import names
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockTaken
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.retention.delete import Preview, delete, preview_delete
from pgkeep.retention.judging.deletion import BackupPinned, LastBackup
from pgkeep.retention.pins import (
    BadEnd,
    NotPinned,
    add_pin,
    find_pins,
    holding,
    parse_end,
    read_pins,
    remove_pins,
)
from pgkeep.retention.survey import Unprovable
from support.shelves import NOW, SIZE, Shelf

A, B, C = BackupId("a"), BackupId("b"), BackupId("c")


def shelf_of_three() -> Shelf:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("a", 9, 1, packs="ax")
    shelf.backup("b", 8, 4, packs="bxy")
    shelf.backup("c", 7, 7, packs="cy")
    shelf.at(0)
    return shelf


def look(shelf: Shelf, name: str) -> Preview:
    return preview_delete(shelf.cluster, name, NOW)


def lost(found: Preview) -> list[tuple[int, float, float]]:
    """Return timelines and where on them something is lost, in segments."""
    return [(loss.timeline, loss.lost.start / SIZE, loss.lost.end / SIZE) for loss in found.losses]


def test_the_oldest_backup_takes_the_moments_up_to_the_next_one_with_it() -> None:
    shelf = shelf_of_three()
    found = look(shelf, "a")
    assert lost(found) == [(1, 1.5, 4.5)]
    assert found.losses[0].start == NOW - timedelta(days=9)
    assert found.packs is not None
    assert len(found.packs.freed) == 1
    assert [file.segment.number for file in found.wal_files] == [1, 2, 3]
    before = shelf.everything()
    shown: list[Preview] = []
    again, done = delete(shelf.cluster, "a", shown.append, now=NOW)
    assert shown == [again]
    assert (done.backups, done.packs.objects, done.wal.objects) == (("a",), 1, 3)
    assert (shelf.ids(), shelf.packs()) == ("b c", "bcxy")
    assert shelf.segments() == [0, *range(4, 10)]
    assert len(before - shelf.everything()) == 5


def test_a_backup_between_others_costs_no_moment() -> None:
    shelf = shelf_of_three()
    assert lost(look(shelf, "b")) == []
    delete(shelf.cluster, "b", now=NOW)
    assert (shelf.ids(), shelf.packs()) == ("a c", "acxy")
    assert shelf.segments() == list(range(10))


def test_the_newest_backup_costs_no_moment_while_an_older_one_reaches_them() -> None:
    assert lost(look(shelf_of_three(), "c")) == []


def test_an_island_goes_with_its_wal() -> None:
    shelf = Shelf()
    shelf.wal(1, 2, 40)
    shelf.wal(7, 9, 0)
    shelf.backup("i", 40, 1.5, 2.5)
    shelf.backup("c", 7, 7)
    assert lost(look(shelf, "i")) == [(1, 2.5, 3)]
    delete(shelf.cluster, "i", now=NOW)
    assert shelf.segments() == [7, 8, 9]


def test_wal_behind_a_hole_stays_though_only_the_deleted_backup_reached_it() -> None:
    shelf = Shelf()
    shelf.wal(0, 3, 9)
    shelf.wal(5, 9, 0)
    shelf.backup("a", 9, 1)
    shelf.backup("b", 1, 6)
    assert lost(look(shelf, "b")) == [(1, 6.5, 10)]
    delete(shelf.cluster, "b", now=NOW)
    assert shelf.segments() == [0, 1, 2, 3, *range(5, 10)]


def test_scenario_112_the_last_good_backup_cannot_be_deleted() -> None:
    shelf = shelf_of_three()
    shelf.backup("bad", 1, 8, packs="z", corrupt_pages=2)
    for name in "ab":
        delete(shelf.cluster, name, now=NOW)
    with pytest.raises(LastBackup, match="backup c: it is the last one without damaged pages"):
        delete(shelf.cluster, "c", now=NOW)
    delete(shelf.cluster, "bad", now=NOW)
    before = shelf.everything()
    with pytest.raises(LastBackup, match="backup c: it is the last one that can be restored"):
        delete(shelf.cluster, "c", now=NOW)
    assert shelf.everything() == before


def test_a_stranded_backup_beside_the_last_good_one_can_be_deleted() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("good", 9, 1, packs="g")
    shelf.backup("stranded", 8, 30, packs="s")
    delete(shelf.cluster, "str", now=NOW)  # the beginning of an id is enough
    assert shelf.ids() == "good"


def test_scenario_112_a_pinned_backup_cannot_be_deleted() -> None:
    shelf = shelf_of_three()
    pin = add_pin(shelf.cluster, A, "audit", None, NOW)
    with pytest.raises(BackupPinned, match="cannot delete backup a, it is pinned: audit"):
        delete(shelf.cluster, "a", now=NOW)
    remove_pins(shelf.cluster, [pin])
    delete(shelf.cluster, "a", now=NOW)
    assert shelf.ids() == "b c"


def test_deleting_refuses_beside_a_restore() -> None:
    shelf = shelf_of_three()
    with (
        locks.hold(shelf.cluster, "restore", "pgkeep restore", ()),
        pytest.raises(LockTaken),
    ):
        delete(shelf.cluster, "a", now=NOW)


def test_scenario_113_an_unreadable_backup_goes_by_its_whole_id_alone() -> None:
    shelf = shelf_of_three()
    shelf.damage_manifest("a")
    with pytest.raises(Unprovable, match="backup a cannot be read"):
        delete(shelf.cluster, "b", now=NOW)
    shelf.store.put(names.manifest("main", "long-id"), [b"not a manifest"])
    with pytest.raises(BadManifest):
        delete(shelf.cluster, "long", now=NOW)
    found, done = delete(shelf.cluster, "long-id", now=NOW)
    assert found.unreadable is not None
    assert (done.backups, done.packs.objects, done.wal.objects) == (("long-id",), 0, 0)
    delete(shelf.cluster, "a", now=NOW)
    assert shelf.ids() == "b c"
    with pytest.raises(UnknownBackup):
        delete(shelf.cluster, "a", now=NOW)


def test_scenario_113_a_backup_with_damaged_tables_can_be_given_up() -> None:
    shelf = shelf_of_three()
    name = names.manifest("main", "a")
    content = bytearray(shelf.store.get(name))
    content[-1] ^= 1
    shelf.store.put(name, [bytes(content)])
    with pytest.raises(Unprovable, match="backup a cannot be read"):
        delete(shelf.cluster, "b", now=NOW)
    delete(shelf.cluster, "a", now=NOW)
    assert (shelf.ids(), shelf.packs()) == ("b c", "abcxy")  # expire sweeps what is left


# Pins


def test_a_backup_may_have_several_pins() -> None:
    shelf = shelf_of_three()
    add_pin(shelf.cluster, A, "audit", NOW + timedelta(days=1), NOW)
    add_pin(shelf.cluster, A, "migration", None, NOW)
    add_pin(shelf.cluster, B, "ends", NOW + timedelta(hours=1), NOW)
    pins = read_pins(shelf.cluster)
    held = holding(pins, NOW)
    assert held.keys() == {A, B}
    assert set(held[A].split("; ")) == {"audit, until 2026-03-02 12:00 UTC", "migration"}
    assert holding(pins, NOW + timedelta(hours=1)).keys() == {A}
    assert {pin.made_by for pin in pins} == {f"{(here := locks.this_process()).user}@{here.host}"}
    remove_pins(shelf.cluster, find_pins(shelf.cluster, "a"))
    assert [pin.backup for pin in read_pins(shelf.cluster)] == [B]


def test_only_a_backup_that_is_there_can_be_pinned() -> None:
    shelf = shelf_of_three()
    with pytest.raises(UnknownBackup):
        add_pin(shelf.cluster, BackupId("z"), "why", None, NOW)
    with pytest.raises(NotPinned, match="cannot remove the pin of backup 'a'"):
        find_pins(shelf.cluster, "a")


def test_nobody_pins_what_is_just_being_deleted() -> None:
    shelf = shelf_of_three()
    with (
        locks.hold(shelf.cluster, "expire", "pgkeep expire", ()),
        pytest.raises(LockTaken),
    ):
        add_pin(shelf.cluster, A, "too late", None, NOW)
    assert read_pins(shelf.cluster) == ()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 1, "check": "x"}'])
def test_a_pin_that_cannot_be_read_holds(content: bytes) -> None:
    shelf = shelf_of_three()
    shelf.store.put(names.pin("main", "a", "00"), [content])
    assert holding(read_pins(shelf.cluster), NOW) == {A: "a pin that cannot be read"}
    with pytest.raises(BackupPinned):
        delete(shelf.cluster, "a", now=NOW)


def test_a_pin_for_another_backup_cannot_be_put_in_its_place() -> None:
    shelf = shelf_of_three()
    pin = add_pin(shelf.cluster, A, "audit", NOW + timedelta(days=1), NOW)
    moved = shelf.store.get(names.pin("main", "a", pin.id))
    shelf.store.put(names.pin("main", "b", pin.id), [moved])
    assert holding(read_pins(shelf.cluster), NOW)[B] == "a pin that cannot be read"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("2026-03-02", datetime(2026, 3, 2, 23, tzinfo=UTC)),  # that day belongs to it
        ("2026-03-29", datetime(2026, 3, 29, 22, tzinfo=UTC)),  # the day has 23 hours
        ("2026-03-02 10:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02T10:00Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_pin(text: str, expected: datetime) -> None:
    assert parse_end(text, NOW, ZoneInfo("Europe/Berlin")) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", "it is neither a date nor a duration"),
        ("2026-02-28", "that has passed"),
        ("0d", "that has passed"),
        ("9999999999d", "that is after the year 9999"),
        ("9999-12-31", "that is after the year 9999"),
    ],
)
def test_ends_that_are_none(text: str, why: str) -> None:
    with pytest.raises(BadEnd, match=why):
        parse_end(text, NOW, UTC)
