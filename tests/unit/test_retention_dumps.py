"""What expire, delete and pin do about dumps, beside backups and without any."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgkeep.cli.render import retention as render
from pgkeep.cli.text import Look, plain
from pgkeep.model.dump import DumpId, Origin, Selection
from pgkeep.repository import dumps, names
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockTaken
from pgkeep.repository.dumps import UnknownDump
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.marker import timed_id
from pgkeep.repository.packs import attempts
from pgkeep.repository.proofs import (
    BackupProof,
    DamagedObject,
    Level,
    Proof,
    Verdict,
    write_proof,
)
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.retention.delete import delete, preview_delete
from pgkeep.retention.expire import Wish, expire, preview
from pgkeep.retention.judging.deletion import BackupPinned
from pgkeep.retention.judging.dump_deletion import LastDump
from pgkeep.retention.packs import PacksMissing
from pgkeep.retention.pins import NotPinned, add_pin, find_pins, read_pins, remove_pins
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.report import Expired, Outcome
from pgkeep.retention.survey import NothingListed, PinnedMissing, Unprovable
from support.dump_shelf import damage_dump, dump_ids, put_dump
from support.shelves import NOW, Shelf

DAILY_1 = KeepPolicy(daily=1, minimum=1)


def policy(window_days: float = 0, minimum: int = 1, **counts: int) -> KeepPolicy:
    return KeepPolicy(timedelta(days=window_days), minimum=minimum, **counts)


def run(shelf: Shelf, wanted: KeepPolicy = DAILY_1) -> Expired:
    shelf.at(0)
    return expire(shelf.cluster, Wish(wanted, UTC, NOW))


def left(shelf: Shelf) -> str:
    return dump_ids(shelf.cluster)


def why(shelf: Shelf, wanted: KeepPolicy = DAILY_1) -> dict[str, str]:
    """Return 'keep' or 'drop' with all reasons, by dump."""
    plan = preview(shelf.cluster, Wish(wanted, UTC, NOW)).dumps
    return {
        str(v.dump.id): f"{'keep' if v.keep else 'drop'}: {'; '.join(v.why)}" for v in plan.dumps
    }


def three_dumps() -> Shelf:
    """Dumps alone, as of a managed cloud: a pack each, and one shared with its neighbour."""
    shelf = Shelf()
    put_dump(shelf, "Da", 9, packs="ax")
    put_dump(shelf, "Db", 8, packs="bxy")
    put_dump(shelf, "Dc", 7, packs="cy")
    shelf.at(0)
    return shelf


def both() -> Shelf:
    """Two backups and three dumps; a dump and a backup share a pack."""
    shelf = three_dumps()
    shelf.wal(0, 9, 0)
    shelf.backup("a", 9, 1, packs="kx")
    shelf.backup("b", 2, 5, packs="l")
    shelf.at(0)
    return shelf


# expire


def test_a_cluster_with_dumps_alone_is_a_normal_case() -> None:
    shelf = three_dumps()
    told = preview(shelf.cluster, Wish(DAILY_1, UTC, NOW))
    before = shelf.everything()
    expired = run(shelf)
    assert expired.decision.dumps == told.dumps
    assert (left(shelf), shelf.packs()) == ("Dc", "cy")
    outcome = expired.outcome
    assert outcome is not None
    assert (outcome.backups, outcome.dumps) == ((), ("Da", "Db"))
    assert (outcome.packs, outcome.problem) == ((3, 3600), None)
    assert outcome.size == told.freed
    gone = {names.dump("main", name) for name in ("Da", "Db")}
    gone |= {names.pack("main", letter.encode() * 16) for letter in "abx"}
    assert before - shelf.everything() == gone
    assert run(shelf).outcome == Outcome()


def test_packs_that_only_a_dump_needs_stay_when_backups_go() -> None:
    shelf = both()
    put_dump(shelf, "Dz", 1, "other", packs="k")
    run(shelf)
    assert (shelf.ids(), left(shelf)) == ("b", "Dc Dz")
    assert shelf.packs() == "ckly"  # k of Dz; x was of a, Da and Db, and all of them went


def test_packs_of_dumps_are_no_orphans() -> None:
    shelf = both()
    expired = run(shelf, KeepPolicy())
    assert expired.decision.packs is not None
    assert expired.decision.packs.orphans == ()
    assert shelf.packs() == "abcklxy"


def test_without_a_policy_every_dump_stays() -> None:
    shelf = both()
    run(shelf, KeepPolicy())
    assert left(shelf) == "Da Db Dc"
    assert set(why(shelf, KeepPolicy()).values()) == {"keep: no retention is configured"}


def test_every_dump_has_its_reasons() -> None:
    shelf = Shelf()
    for name, days in (("Da", 5), ("Db", 4), ("Dc", 3), ("Dd", 2), ("De", 1), ("Df", 0.9)):
        put_dump(shelf, name, days)
    assert why(shelf, policy(1, minimum=2, daily=2)) == {
        "Da": "drop: older than the window",
        "Db": "drop: older than the window",
        "Dc": "drop: older than the window",
        "Dd": "keep: daily 2026-02-27",
        "De": "keep: daily 2026-02-28; one of the newest 2 of its series",
        "Df": "keep: in the window; the newest of its series",
    }
    assert why(shelf)["Da"] == "drop: no rule keeps it"


def test_series_do_not_replace_each_other() -> None:
    shelf = Shelf()
    schema_only = Selection(schema_only=True)
    put_dump(shelf, "Da", 9, "shop")
    put_dump(shelf, "Db", 8, "blog")
    put_dump(shelf, "Dc", 7, "*")
    put_dump(shelf, "Dd", 6, "shop", selection=schema_only)
    put_dump(shelf, "De", 5, "shop blog")
    put_dump(shelf, "Df", 4, "shop")
    put_dump(shelf, "Dg", 3, "shop", selection=schema_only)
    run(shelf)
    assert left(shelf) == "Db Dc De Df Dg"


def test_a_series_that_is_made_no_more_keeps_its_minimum() -> None:
    shelf = Shelf()
    for number, name in enumerate(("Da", "Db", "Dc", "Dd")):
        put_dump(shelf, name, 900 - number, "dropped")
        put_dump(shelf, f"{name}2", 9 - number, "shop")
    run(shelf, policy(30, minimum=2))
    assert left(shelf) == "Da2 Db2 Dc Dc2 Dd Dd2"


def test_imported_dumps_never_expire() -> None:
    shelf = Shelf()
    for name in ("Da", "Db", "Dc"):
        put_dump(shelf, name, 900, origin=Origin.FILE)
    assert set(why(shelf).values()) == {"keep: imported: it goes by pgkeep delete only"}
    run(shelf)
    assert left(shelf) == "Da Db Dc"


def test_hollow_dumps_never_push_out_good_ones() -> None:
    shelf = Shelf()
    put_dump(shelf, "Da", 9)
    put_dump(shelf, "Db", 8.2)
    put_dump(shelf, "Dc", 8.1, suspicions=("shop has half of its rows", "orders is empty"))
    put_dump(shelf, "Dd", 3, suspicions=("shop has no rows",))
    assert why(shelf) == {
        "Da": "drop: no rule keeps it",
        "Db": "keep: daily 2026-02-21 without suspicions; "
        "the newest of its series without suspicions",
        "Dc": "drop: suspicious: shop has half of its rows and 1 more; no rule keeps it",
        "Dd": "keep: daily 2026-02-26; the newest of its series; suspicious: shop has no rows",
    }
    run(shelf)
    assert left(shelf) == "Db Dd"


def test_a_series_in_which_every_dump_is_suspicious_grows_no_further_than_its_policy() -> None:
    shelf = Shelf()
    for number, name in enumerate(("Da", "Db", "Dc")):
        put_dump(shelf, name, 9 - number, suspicions=("database x is missing",))
    run(shelf)
    assert left(shelf) == "Dc"


def prove(shelf: Shelf, **damaged: str) -> None:
    """Store the proof of a verify that read everything, and found these damaged."""
    moment = shelf.at(0)
    ids = [*shelf.ids().split(), *left(shelf).split()]
    proof = Proof(
        id=timed_id(moment, b"abcd"),
        cluster="main",
        level=Level.BYTES,
        everything=True,
        pgkeep_version="1",
        started_at=moment,
        finished_at=moment,
        backups=tuple(
            BackupProof(i, Verdict.DAMAGED if i in damaged else Verdict.GOOD, damaged.get(i, ""))
            for i in ids
        ),
        damaged=tuple(
            DamagedObject(names.pack("main", i[1:].encode() * 16), what, (i,), files=True)
            for i, what in damaged.items()
        ),
    )
    write_proof(shelf.cluster, proof)


def test_dumps_that_a_verify_found_damaged_do_not_count() -> None:
    shelf = three_dumps()
    prove(shelf, Dc="1 file has lost something")
    assert why(shelf)["Dc"] == "drop: damaged: 1 file has lost something; no rule keeps it"
    run(shelf)
    assert (left(shelf), shelf.packs()) == ("Db", "bxy")


def test_nothing_of_a_series_goes_while_none_of_it_is_whole() -> None:
    shelf = three_dumps()
    prove(shelf, Da="lost", Db="lost", Dc="lost")
    run(shelf)
    assert left(shelf) == "Da Db Dc"
    assert why(shelf)["Da"] == (
        "keep: no dump of its series is whole: none of it goes until one is; damaged: lost"
    )


def test_a_damaged_dump_in_the_window_stays() -> None:
    shelf = three_dumps()
    prove(shelf, Dc="lost")
    assert why(shelf, policy(7.5))["Dc"] == "keep: in the window; damaged: lost"


def test_a_pinned_dump_stays_until_its_pin_ends() -> None:
    shelf = three_dumps()
    add_pin(shelf.cluster, "Da", "audit", NOW + timedelta(days=1), NOW)
    assert why(shelf)["Da"] == "keep: pinned: audit, until 2026-03-02 12:00 UTC"
    run(shelf)
    assert (left(shelf), shelf.packs()) == ("Da Dc", "acxy")
    shelf.at(-2)
    expire(shelf.cluster, Wish(DAILY_1, UTC, NOW + timedelta(days=2)))
    assert left(shelf) == "Dc"
    assert list(shelf.store.list(names.pins_prefix("main"))) == []


def test_manifests_of_both_kinds_go_before_any_pack() -> None:
    shelf = both()
    deleted: list[str] = []

    class Watching(MemoryStore):
        def delete(self, name: str) -> None:
            deleted.append(name.split("/")[2])
            super().delete(name)

        def secure(self, prefix: str) -> None:
            deleted.append(f"secured {prefix}")

    watching = Watching(clock=shelf.clock)
    watching._blobs = shelf.store._blobs
    expire(shelf.seen_through(watching), Wish(DAILY_1, UTC, NOW))
    assert deleted[:2] == ["secured clusters/main/backups/", "secured clusters/main/dumps/"]
    assert deleted[2:] == ["backups", *["dumps"] * 2, *["packs"] * 4, *["wal"] * 5, "locks"]


class Refusing(MemoryStore):
    """A store that does not delete certain objects: object lock, or lost permissions."""

    held = ""

    def delete(self, name: str) -> None:
        if self.held in name:
            raise StoreFailed(self.url, f"delete {name}", "object is locked")
        super().delete(name)


def test_a_manifest_that_the_store_holds_keeps_all_it_needs() -> None:
    shelf = three_dumps()
    store = Refusing(clock=shelf.clock)
    store._blobs, store.held = shelf.store._blobs, "/dumps/Da/"
    outcome = expire(shelf.seen_through(store), Wish(DAILY_1, UTC, NOW)).outcome
    assert outcome is not None
    assert (outcome.dumps, outcome.problem is None) == (("Db",), False)
    assert (left(shelf), shelf.packs()) == ("Da Dc", "acxy")
    run(shelf)
    assert (left(shelf), shelf.packs()) == ("Dc", "cy")


def test_remains_of_dumps_that_died_go_after_a_day() -> None:
    shelf = both()
    for name, days in (("Dold", 1.01), ("Dnew", 0.99), ("20260227T120000Z-dead", 2)):
        attempts.begin(shelf.cluster, name, shelf.at(days))
    shelf.pack("o", 1.01)
    run(shelf, KeepPolicy())
    assert shelf.packs() == "abcklxy"
    kept = {blob.name for blob in shelf.store.list(names.attempts_prefix("main"))}
    assert kept == {names.attempt("main", i) for i in ("Dnew", "20260227T120000Z-dead")}


# when nothing goes


@pytest.mark.parametrize("kind", ["dump", "dump-restore"])
def test_nothing_is_deleted_beside_a_dump_or_its_restore(kind: str) -> None:
    shelf = both()
    before = shelf.everything()
    with locks.hold(shelf.cluster, kind, f"pgkeep {kind}", ()):
        with pytest.raises(LockTaken, match=rf"'pgkeep {kind}' is at work"):
            run(shelf)
        with pytest.raises(LockTaken):
            delete(shelf.cluster, "a", now=NOW)
    assert shelf.everything() == before


def cut(content: bytes) -> bytes:
    return content[:-1]


def flipped_at_its_end(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [cut, flipped_at_its_end])
def test_a_dump_that_cannot_be_read_stops_everything(damage: Callable[[bytes], bytes]) -> None:
    shelf = both()
    name = names.dump("main", "Dc")
    shelf.store.put(name, [damage(shelf.store.get(name))])
    before = shelf.everything()
    refusal = run(shelf).decision.refusal
    assert isinstance(refusal, Unprovable)
    assert str(refusal).startswith(
        "cannot delete anything of cluster main: dump Dc cannot be read, so what it needs is "
        "unknown: "
    )
    assert refusal.hint.endswith("or give the dump up: pgkeep delete Dc --yes")
    with pytest.raises(Unprovable):
        delete(shelf.cluster, "a", now=NOW)
    assert shelf.everything() == before


def test_nothing_is_deleted_while_no_dump_is_listed_but_packs_are_there() -> None:
    shelf = three_dumps()
    for name in ("Da", "Db", "Dc"):
        shelf.store.delete(names.dump("main", name))
    with pytest.raises(NothingListed, match="no backup and no dump is listed in memory:"):
        run(shelf)
    assert shelf.packs() == "abcxy"


def test_nothing_is_deleted_while_a_pinned_dump_is_not_listed() -> None:
    shelf = both()
    add_pin(shelf.cluster, "Db", "audit", None, NOW)
    shelf.store.delete(names.dump("main", "Db"))
    with pytest.raises(PinnedMissing, match="dump Db is pinned, and not listed"):
        run(shelf)


def test_nothing_is_deleted_while_a_good_dump_lacks_a_pack() -> None:
    shelf = three_dumps()
    shelf.store.delete(names.pack("main", b"y" * 16))
    refusal = run(shelf).decision.refusal
    assert isinstance(refusal, PacksMissing)
    assert str(refusal).startswith("cannot delete anything: dump Dc needs 1 packs that are not")
    prove(shelf, Dc="a file is lost", Db="a file is lost")
    run(shelf)
    assert left(shelf) == "Da"


def test_a_manifest_in_the_place_of_the_other_kind_stops_everything() -> None:
    shelf = both()
    shelf.backup("Dx", 1, 7, packs="m")
    before = shelf.everything()
    with pytest.raises(Unprovable, match=r"dump Dx cannot be read.*where the other kind belongs"):
        run(shelf)
    assert shelf.everything() == before


# delete


def test_a_dump_goes_with_the_packs_that_only_it_needs() -> None:
    shelf = both()
    found = preview_delete(shelf.cluster, "Da", NOW)
    assert found.packs is not None
    before = shelf.everything()
    again, done = delete(shelf.cluster, "Da", now=NOW)
    assert again == found
    assert (done.backups, done.dumps, done.packs.objects, done.wal.objects) == ((), ("Da",), 1, 0)
    assert before - shelf.everything() == {
        names.dump("main", "Da"), names.pack("main", b"a" * 16)
    }  # fmt: skip


def test_the_last_good_dump_of_a_series_goes_only_when_that_is_said() -> None:
    shelf = three_dumps()
    put_dump(shelf, "Dd", 1, suspicions=("hollow",))
    for name in ("Da", "Db"):
        delete(shelf.cluster, name, now=NOW)
    with pytest.raises(LastDump) as caught:
        delete(shelf.cluster, "Dc", now=NOW)
    assert str(caught.value) == (
        "cannot delete dump Dc: it is the last one without suspicions of its series (shop)"
    )
    assert caught.value.hint == (
        "take a new one first: pgkeep dump create; if nobody needs what it holds any more: "
        "pgkeep delete Dc --last --yes"
    )
    delete(shelf.cluster, "Dd", now=NOW)
    with pytest.raises(LastDump, match=r"it is the last one of its series \(shop\)"):
        preview_delete(shelf.cluster, "Dc", NOW)
    delete(shelf.cluster, "Dc", now=NOW, last_too=True)
    assert (left(shelf), shelf.packs()) == ("", "")


def test_a_damaged_or_imported_dump_is_no_last_good_one() -> None:
    shelf = three_dumps()
    put_dump(shelf, "Di", 1, "else", origin=Origin.FILE)
    prove(shelf, Da="lost", Db="lost")
    for name in ("Di", "Da", "Db"):
        delete(shelf.cluster, name, now=NOW)
    with pytest.raises(LastDump):
        delete(shelf.cluster, "Dc", now=NOW)


def test_a_pinned_dump_cannot_be_deleted() -> None:
    shelf = three_dumps()
    add_pin(shelf.cluster, "Da", "audit", None, NOW)
    with pytest.raises(BackupPinned, match="cannot delete dump Da, it is pinned: audit"):
        delete(shelf.cluster, "Da", now=NOW, last_too=True)


def test_an_unreadable_dump_goes_by_its_whole_id_alone() -> None:
    shelf = both()
    shelf.store.put(names.dump("main", "D-long"), [b"not a manifest"])
    with pytest.raises(BadManifest):
        delete(shelf.cluster, "D-lo", now=NOW)
    found, done = delete(shelf.cluster, "D-long", now=NOW)
    assert (found.plan, found.unreadable is None, done.dumps) == (None, False, ("D-long",))
    damage_dump(shelf, "Da")
    text = render.preview(preview_delete(shelf.cluster, "Da", NOW), Look())
    assert text.startswith("dump Da of cluster main cannot be read: ")
    delete(shelf.cluster, "Da", now=NOW)
    assert (left(shelf), shelf.packs()) == ("Db Dc", "abcklxy")  # expire sweeps what is left


def test_an_unknown_id_names_candidates_of_both_kinds() -> None:
    shelf = Shelf()
    shelf.wal(0, 3, 0)
    shelf.backup("20261127T160500Z-aaaa", 1, 1, packs="a")
    put_dump(shelf, "D20261127T160700Z-bbbb", 1, packs="b")
    with pytest.raises(UnknownBackup) as backup:
        delete(shelf.cluster, "20261127T160700Z-bbbb", now=NOW)
    assert "D20261127T160700Z-bbbb" in backup.value.nearest
    assert backup.value.hint.endswith("? pgkeep list and pgkeep dump list show all")
    with pytest.raises(UnknownDump) as dump:
        delete(shelf.cluster, "D20261127T160500Z-aaaa", now=NOW)
    assert "20261127T160500Z-aaaa" in dump.value.nearest
    assert dump.value.hint.endswith("? pgkeep list and pgkeep dump list show all")
    assert preview_delete(shelf.cluster, "D2026", NOW, last_too=True).id.startswith("D2026")


def test_latest_is_a_backup() -> None:
    shelf = three_dumps()
    with pytest.raises(UnknownBackup, match="there is no backup yet"):
        delete(shelf.cluster, "latest", now=NOW)


# pins


def test_only_a_dump_that_is_there_can_be_pinned() -> None:
    shelf = three_dumps()
    pin = add_pin(shelf.cluster, "Da", "audit", None, NOW)
    assert render.pinned(pin, Look()) == "dump Da stays until its pin is removed: audit"
    with pytest.raises(UnknownDump):
        add_pin(shelf.cluster, "Dz", "audit", None, NOW)
    with pytest.raises(NotPinned, match="cannot remove the pin of dump 'Db'"):
        find_pins(shelf.cluster, "Db")
    assert "Da" in render.pins(read_pins(shelf.cluster), NOW, Look())
    remove_pins(shelf.cluster, find_pins(shelf.cluster, "Da"))
    assert read_pins(shelf.cluster) == ()


# what is printed


def test_the_plan_as_text_and_json() -> None:
    shelf = both()
    put_dump(
        shelf, "Ds", 1, "blog shop", selection=Selection(schema_only=True), suspicions=("odd",)
    )
    damage_dump(shelf, "Da")
    text = render.decision(preview(shelf.cluster, Wish(DAILY_1, UTC, NOW)), Look())
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "DUMP SHOWS HOLDS STORED WHY" in rows
    assert "Db 2026-02-21 12:00:00 UTC shop 3.52 KiB DROP no rule keeps it" in rows
    assert any(
        row.startswith("Ds 2026-02-28 12:00:00 UTC blog, shop (schema only) 1.17 KiB keep daily")
        for row in rows
    )
    assert any(row.startswith("Da ? ? ? keep CANNOT BE READ: ") for row in rows)
    delete(shelf.cluster, "Da", now=NOW)
    expired = run(shelf)
    text = render.decision(expired.decision, Look())
    assert "to go: 1 backup, 1 dump, 3 packs, 5 WAL segments; " in text
    assert expired.outcome is not None
    assert render.outcome(expired.outcome).startswith("deleted: 1 backup, 1 dump, 3 packs,")
    facts: Any = plain(render.decision_facts(expired.decision, expired.outcome, dry_run=False))
    json.dumps(facts)
    assert facts["dumps"][0] == {
        "id": "Db",
        "taken_at": plain(NOW - timedelta(days=8)),
        "origin": "server",
        "databases": ["shop"],
        "series": "shop",
        "suspicions": [],
        "keep": False,
        "why": ["no rule keeps it"],
        "usable": True,
    }
    assert facts["deleted"]["dumps"] == ["Db"]


def test_with_dumps_alone_nothing_is_said_of_backups() -> None:
    text = render.decision(run(three_dumps()).decision, Look())
    assert "no backup can be restored" not in text
    assert "to go: 2 dumps, 3 packs; 3.52 KiB" in text
    shelf = three_dumps()
    put_dump(shelf, "Dd", 1, "blog")
    shelf.wal(0, 3, 0)
    text = render.decision(run(shelf).decision, Look())
    assert "all backups and WAL stay: no backup can be restored" in text


def test_the_preview_of_a_deletion() -> None:
    shelf = three_dumps()
    put_dump(shelf, "Dz", 1, "blog", label="before v2")
    assert render.preview(preview_delete(shelf.cluster, "Da", NOW), Look()).splitlines() == [
        "dump Da of cluster main",
        "  shows      2026-02-20 12:00:00 UTC",
        "  databases  shop",
        "2 other dumps of its series stay, the newest of 2026-02-22 12:00:00 UTC: Dc",
        "frees 1.17 KiB: 1 pack",
    ]
    found = preview_delete(shelf.cluster, "Dz", NOW, last_too=True)
    assert render.preview(found, Look()).splitlines() == [
        "dump Dz of cluster main",
        "  shows      2026-02-28 12:00:00 UTC",
        "  databases  blog",
        "  label      before v2",
        "no other dump holds database blog as a whole",
        "no other dump of its series is left: blog",
        "frees 1.17 KiB: 1 pack",
    ]
    facts: Any = plain(render.preview_facts(found, None, dry_run=True))
    json.dumps(facts)
    assert (facts["lost_databases"], facts["left"], facts["packs"]) == (["blog"], [], 1)
    assert facts["dump"]["id"] == "Dz"


def test_names_of_databases_are_printed_without_harm() -> None:
    shelf = three_dumps()
    put_dump(shelf, "Dz", 1, "\x1b[2J")
    found = preview_delete(shelf.cluster, "Dz", NOW, last_too=True)
    assert "\x1b" not in render.preview(found, Look())
    assert "\x1b" not in render.decision(preview(shelf.cluster, Wish(DAILY_1, UTC, NOW)), Look())


def test_ids_and_moments_of_dumps_are_those_of_their_manifests() -> None:
    shelf = three_dumps()
    (first, *_) = dumps.dumps(shelf.cluster).dumps
    assert (first.id, first.stopped_at) == (DumpId("Da"), datetime(2026, 2, 20, 12, tzinfo=UTC))
