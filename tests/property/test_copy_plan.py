"""Plans of copies: whatever is where, all arrives once, and what is listed is whole."""

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.replicate.plan import Ends, Thing, plan_copy
from support.copy_plans import AnyBlob, Chosen, backup, dump, ends, wal

PACKS = "uvwxyz"


@st.composite
def situations(draw: st.DrawFn) -> Ends:
    """Return backups and dumps at the source, and any part of it at the target, also half of it."""
    firsts = draw(st.lists(st.integers(1, 12), unique=True, max_size=4))
    letters = zip("abcd", firsts, strict=False)
    things: list[Thing] = [
        backup(letter, first, draw(st.text(PACKS, min_size=1, max_size=3)))
        for letter, first in letters
    ]
    things += [dump(day) for day in draw(st.lists(st.integers(1, 12), unique=True, max_size=2))]
    segments = range(1, draw(st.integers(2, 15)))
    everything: list[AnyBlob] = [
        *(blob for thing in things for blob in (thing.manifest, *thing.packs)),
        *(wal(number) for number in segments),
    ]
    there = draw(st.lists(st.sampled_from(everything), unique=True)) if everything else []
    return ends(things, segments, there)


@given(situations())
def test_everything_arrives_once_and_manifests_after_all_that_they_need(found: Ends) -> None:
    there = set(found.there)
    whole = {
        thing.id: {pack.name for pack in thing.packs} | _needed(thing) for thing in found.things
    }
    manifests = {thing.manifest.name: thing.id for thing in found.things}
    for batch in plan_copy(found).batches:
        for send in (*batch.first, *batch.then):
            assert send.name not in there, "sent twice"
            if send.name in manifests:
                assert whole[manifests[send.name]] <= there, "listed before it is whole"
            there.add(send.name)
    lists = {thing.id for thing in found.things if thing.manifest.name in found.there}
    # What the target lists already is a matter for verify: only what is missing is looked at.
    new = [t for t in found.things if t.id not in lists and not _stranded(found, t)]
    packs = {blob.name for thing in new for blob in (*thing.packs, thing.manifest)}
    assert there >= packs | {w.name for w in found.wal}


@given(situations(), st.text("abcd", max_size=4), st.integers(0, 15), st.integers(0, 15))
def test_what_is_left_out_is_told_and_what_is_chosen_is_whole(
    found: Ends, refused: str, low: int, high: int
) -> None:
    plan = plan_copy(found, Chosen(refused, range(low, high)))
    there = {*found.there, *(send.name for send in plan.sends())}
    skipped = {one.id for one in plan.skipped}
    for thing in found.things:
        missing = thing.manifest.name not in found.there
        left_out = thing.id in refused or _stranded(found, thing)
        assert (thing.id in skipped) == (missing and left_out)
        if missing and thing.id not in skipped:
            assert {p.name for p in thing.packs} | _needed(thing) <= there


@given(situations())
def test_wal_of_a_target_never_gets_a_hole_that_was_in_neither_end(found: Ends) -> None:
    """From an empty target on: whenever a batch has arrived, segments of the copy are joined."""
    plan = plan_copy(Ends(found.things, found.documents, found.wal))
    numbers: list[int] = []
    for batch in plan.batches:
        for send in batch.first:
            if "/wal/" in send.name:
                numbers.append(int(send.name.rpartition("/")[2][8:], 16))
                assert max(numbers) - min(numbers) + 1 == len(numbers)


def _needed(thing: Thing) -> set[str]:
    return set(thing.start.needed) if thing.start is not None else set()


def _stranded(found: Ends, thing: Thing) -> bool:
    """Tell whether a backup lacks WAL at both ends."""
    return not _needed(thing) <= {*found.there, *(w.name for w in found.wal)}
