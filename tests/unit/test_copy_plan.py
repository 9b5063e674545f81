"""What a copy sends, in which order, and why."""

import pytest

from pgkeep.replicate.plan import CopyPlan, Ends, plan_copy
from pgkeep.repository.copies.object_names import ObjectKind, parse_name
from support.copy_plans import AnyBlob, Chosen, backup, dump, ends, short, wal


def shown(plan: CopyPlan) -> list[str]:
    """Return each batch as its last parts of names: 'x 5 | a' sends x and 5, and then a."""
    return [
        " ".join(short(send.name) for send in batch.first)
        + "".join(f" | {short(send.name)}" for send in batch.then)
        for batch in plan.batches
    ]


def test_an_empty_target_gets_the_newest_backup_first_and_then_the_newest_moment() -> None:
    things = [backup("a", 2, "xy"), backup("b", 5, "yz")]
    assert shown(plan_copy(ends(things))) == [
        "y z 5 | b",
        "6 7 8",
        "4 3 2",  # from the end backwards: it joins what is there
        "x | a",
        "1",
    ]


def test_what_can_be_restored_already_is_carried_on_before_a_new_backup_is_sent() -> None:
    things = [backup("a", 2, "x"), backup("b", 5, "xz")]
    there: list[AnyBlob] = [things[0].manifest, *things[0].packs, *(wal(n) for n in range(1, 5))]
    plan = plan_copy(ends(things, there=there))
    assert shown(plan) == ["5 6 7 8", "z | b"]
    assert plan.batches[0].title == "WAL that carries on backup a"
    assert plan.there == 1


def test_dumps_go_among_backups_by_their_age() -> None:
    things = [backup("a", 2, "x"), dump(3), backup("b", 5, "z"), dump(9)]
    assert shown(plan_copy(ends(things))) == [
        "D9 | D9",
        "z 5 | b",
        "6 7 8",
        "D3 | D3",
        "4 3 2",
        "x | a",
        "1",
    ]


def test_what_is_there_is_not_sent_again() -> None:
    things = [backup("a", 2, "x")]
    there: list[AnyBlob] = [things[0].manifest, *(wal(n) for n in range(1, 9))]
    assert plan_copy(ends(things, there=there)) == CopyPlan(there=1)


@pytest.mark.parametrize("size", [0, 9, 11])
def test_an_object_of_another_size_is_sent_again_with_the_reason(size: int) -> None:
    things = [backup("a", 2, "x")]
    there: list[AnyBlob] = [things[0].manifest, *(wal(n) for n in range(1, 9) if n != 4)]
    there.append(wal(4)._replace(size=size))
    (send,) = plan_copy(ends(things, there=there)).sends()
    assert (send.name, send.why) == (wal(4).name, f"it has {size} bytes there instead of 10")
    assert send.replaces


def test_wal_that_was_pushed_to_both_ends_stays_as_it_is() -> None:
    found = ends([backup("a", 2, "x")], there=[wal(n)._replace(size=9) for n in range(1, 9)])
    found = Ends((), {}, found.wal, found.there, frozenset(blob.name for blob in found.wal))
    assert plan_copy(found) == CopyPlan()


def test_a_policy_leaves_out_what_it_would_let_go_and_says_why() -> None:
    things = [backup("a", 2, "xy"), backup("b", 5, "yz")]
    plan = plan_copy(ends(things), Chosen("a", range(5, 9)))
    assert shown(plan) == ["y z 5 | b", "6 7 8"]
    assert [tuple(skipped) for skipped in plan.skipped] == [("a", "older than the window")]


def test_a_backup_that_is_chosen_gets_the_wal_it_needs_whatever_is_chosen_of_wal() -> None:
    plan = plan_copy(ends([backup("a", 2, "x")]), Chosen(segments=range(0)))
    assert shown(plan) == ["x 2 | a"]


def test_a_backup_that_is_stranded_at_the_source_is_not_listed_in_the_copy() -> None:
    plan = plan_copy(ends([backup("a", 2, "x")], range(3, 5)))
    assert shown(plan) == ["4 3"]
    assert plan.skipped[0].why == f"not restorable: {wal(2).name} is missing"
    assert shown(plan_copy(ends([backup("a", 2, "x")], range(3, 5), there=[wal(2)]))) == [
        "x | a",
        "3 4",
    ]


def test_what_is_listed_at_the_target_is_no_matter_of_the_policy() -> None:
    thing = backup("a", 2, "x")
    found = ends([thing], range(0), there=[thing.manifest])
    assert plan_copy(found, Chosen("a")) == CopyPlan(there=1)


@pytest.mark.parametrize(
    ("name", "kind", "of"),
    [
        ("clusters/main/packs/9c/9c5b21f0aa7de3440d5c8812ab90ee17", ObjectKind.PACK,
         "9c5b21f0aa7de3440d5c8812ab90ee17"),
        ("clusters/main/backups/20261123T044225Z-7f3a/manifest", ObjectKind.MANIFEST,
         "20261123T044225Z-7f3a"),
        ("clusters/main/dumps/D20261127T160500Z-7f3a/manifest", ObjectKind.MANIFEST,
         "D20261127T160500Z-7f3a"),
        ("clusters/main/generations/18-77.json", ObjectKind.GENERATION, "18-77"),
        ("clusters/main/lost/18-77/000000010000000000000003-000000010000000000000005.json",
         ObjectKind.LOST, "18-77"),
        ("clusters/main/generations/18-77.writer/000001-00000001-d7599a76631d9d35.json",
         ObjectKind.WRITER, "18-77"),
        ("clusters/main/pins/20261123T044225Z-7f3a/5f1d0a7be2c94836.json", ObjectKind.PIN,
         "20261123T044225Z-7f3a"),
        ("clusters/main/wal/18-77/00000001/00000000/00000001000000000000004A", ObjectKind.WAL,
         "18-77"),
        ("clusters/main/wal/18-77/00000002.history", ObjectKind.HISTORY, "18-77"),
        ("clusters/main/census/20261128T003000Z-8000", ObjectKind.CENSUS, "20261128T003000Z-8000"),
        ("clusters/main/drills/20261128T003000Z-80.json", ObjectKind.DRILL, "20261128T003000Z-80"),
        ("clusters/main/acts/20261128T003000Z-80.x.json", ObjectKind.ACT, "20261128T003000Z-80.x"),
    ],
)  # fmt: skip
def test_names_tell_what_belongs_to_every_copy(name: str, kind: ObjectKind, of: str) -> None:
    found = parse_name(name)
    assert found is not None
    assert (found.kind, found.cluster, found.of) == (kind, "main", of)


@pytest.mark.parametrize(
    "name",
    [
        "pgkeep.json",
        "keys/02020202.json",
        "clusters/main/locks/backup-5f1d0a7be2c94836.json",
        "clusters/main/attempts/20261123T044225Z-7f3a.json",
        "clusters/main/proofs/20261124T020512.000000Z-5d0c91aa.json",
        "clusters/main/packs/9d/9c5b21f0aa7de3440d5c8812ab90ee17",
        "clusters/main/wal/18-77/00000001/00000001/00000001000000000000004A",
        "clusters/main/wal/18-77/README",
        "clusters/main/notes.txt",
    ],
)
def test_names_tell_what_stays_where_it_is(name: str) -> None:
    assert parse_name(name) is None
