"""Moments drawn by lot lie in what can be restored, and the same seed draws the same."""

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.drill.random_target import tickets
from pgkeep.model.backup import BackupId
from pgkeep.model.coverage import Reach
from pgkeep.model.lsn import Lsn

SIZE = 16


@st.composite
def reach(draw: st.DrawFn) -> Reach:
    """From somewhere in a segment to the end of it or of a later one, as coverage has them."""
    start = draw(st.integers(0, 40 * SIZE))
    end = (start // SIZE + 1 + draw(st.integers(0, 5))) * SIZE
    return Reach(BackupId("b"), Lsn(start), Lsn(end))


@given(st.lists(reach(), max_size=6), st.text(max_size=8))
def test_every_segment_drawn_belongs_to_what_can_be_restored(
    reaches: list[Reach], seed: str
) -> None:
    drawn = list(tickets(reaches, seed, SIZE))
    assert drawn == list(tickets(list(reversed(reaches)), seed, SIZE))
    assert bool(drawn) == bool(reaches)
    covered = {n for one in reaches for n in range(one.start // SIZE, one.end // SIZE)}
    assert {ticket.segment for ticket in drawn} <= covered
    assert all(0 <= ticket.share < 1 for ticket in drawn)


def test_every_segment_has_its_turn() -> None:
    reaches = [Reach(BackupId("a"), Lsn(3), Lsn(2 * SIZE)), Reach(BackupId("b"), Lsn(80), Lsn(96))]
    seen = {t.segment for seed in range(20) for t in tickets(reaches, str(seed), SIZE)}
    assert seen == {0, 1, 5}
