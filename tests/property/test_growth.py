"""What backups' sizes say of growth: odd ones say nothing, more never looks like less."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.health.forecast import restore_time
from pgkeep.health.objectives import days_left, growth_per_day
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.lsn import Lsn
from support.shelves import GENERATION, NOW

SIZE = 1 << 40
sizes = st.integers(0, 1 << 50)


def backups(found: Sequence[int], every: float = 1.0) -> list[Backup]:
    """Return backups of these sizes, so many days apart, the last one now."""
    last = len(found) - 1
    made = []
    for number, size in enumerate(found):
        at = NOW - timedelta(days=(last - number) * every)
        id, lsns = BackupId(str(number)), (Lsn(number), Lsn(number))
        made.append(Backup(id, BackupType.FULL, GENERATION, 1, *lsns, at, at, size=size))
    return made


def growth(found: Sequence[int], every: float = 1.0) -> float:
    return growth_per_day(backups(found, every), NOW)


@given(st.integers(70, 90), st.integers(0, 1 << 40), st.sampled_from([0.25, 1.0, 3.0, 7.0]))
def test_steady_growth_is_told_as_it_is(count: int, step: int, every: float) -> None:
    found = growth([SIZE + step * number for number in range(count)], every)
    assert abs(found - step / every) <= step * 0.01


@given(st.lists(sizes, max_size=40), st.sampled_from([0.1, 1.0, 7.0]))
def test_growth_is_never_less_than_none_nor_more_than_was_seen(
    found: list[int], every: float
) -> None:
    rate = growth(found, every)
    assert 0 <= rate <= max(found, default=0) / every * (1 if every >= 1 else 10)


@given(st.lists(sizes, max_size=4), st.sampled_from([1.0, 7.0]))
def test_few_backups_say_nothing(found: list[int], every: float) -> None:
    assert growth(found, every) == 0


@given(st.integers(15, 40), sizes, st.data())
def test_one_odd_backup_is_no_growth(count: int, odd: int, data: st.DataObject) -> None:
    found = [SIZE] * count
    found[data.draw(st.integers(0, count - 1))] = odd
    assert growth(found) == 0


@given(st.integers(15, 40), sizes, st.data())
def test_data_that_is_loaded_once_is_no_growth(count: int, more: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, count))
    assert growth([SIZE] * at + [SIZE + more] * (count - at)) == 0


@given(st.integers(15, 40), st.integers(0, 1 << 38))
def test_a_cluster_that_shrinks_does_not_grow(count: int, step: int) -> None:
    assert growth([SIZE - step * number for number in range(count)]) == 0


goals = st.floats(60, 1e6)


@given(sizes, st.floats(0, 1e13), st.integers(0, 1 << 40), goals)
def test_the_goal_holds_until_then_and_no_longer(
    size: int, rate: float, wal: int, goal: float
) -> None:
    left = days_left(size, rate, wal, None, goal)
    if left is None:
        now = restore_time(size, wal, None).seconds
        assert now > goal or restore_time(int(size + 60 * rate), wal, None).seconds <= goal
        return
    assert 0 <= left <= 60
    assert restore_time(int(size + left * rate), wal, None).seconds <= goal * 1.001
    assert restore_time(int(size + (left * 1.01 + 0.1) * rate), wal, None).seconds >= goal * 0.999


@given(sizes, st.floats(0, 1e13), st.floats(1, 10), st.integers(0, 1 << 40), goals)
def test_who_grows_faster_has_no_more_time(
    size: int, rate: float, faster: float, wal: int, goal: float
) -> None:
    left = days_left(size, rate, wal, None, goal)
    sooner = days_left(size, rate * faster, wal, None, goal)
    assert left is None or (sooner is not None and sooner <= left + 0.001)
