"""Marks of sandboxes come back as they were, and nothing read as a mark does any harm."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.repository.claims.locks import Process
from pgkeep.sandbox.mark import BadMark, Fate, Mark, judge

texts = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.datetimes(timezones=st.just(UTC))
owners = st.builds(Process, texts, texts, texts, st.integers(0, 1 << 22), texts, texts)
marks = st.builds(Mark, owners, texts, texts, moments, texts, st.none() | moments)


@given(marks)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    assert Mark.decode(mark.encode()) == mark


@given(marks, st.data())
def test_a_damaged_mark_is_another_mark_or_none(mark: Mark, data: st.DataObject) -> None:
    text = mark.encode()
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(texts) + text[at + data.draw(st.integers(0, 9)) :]
    try:
        Mark.decode(damaged)
    except BadMark:
        return


@given(st.none() | marks, st.none() | st.booleans(), moments, st.floats(0, 1e9))
def test_nothing_that_may_be_in_use_is_ever_left_behind(
    mark: Mark | None, gone: bool | None, now: datetime, age: float
) -> None:
    fate = judge(mark, gone, now, age)
    if mark is None:
        assert (fate is Fate.LEFT_BEHIND) == (age > 3600)
    elif mark.kept_until is not None:
        assert (fate is Fate.KEPT) == (now < mark.kept_until)
        assert fate is not Fate.LEFT_BEHIND or gone is not False
    else:
        assert (fate is Fate.LEFT_BEHIND) == (gone is True)
