"""The 3-2-1 rule: more copies make nothing worse, what cannot be restored counts for nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.setup.three_two_one import STALE, Copy, judge
from pgkeep.setup.verdicts import State

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SERVER = Copy("the database", "disk 1 of db1", NOW, elsewhere=False)
RANK = {State.FAILED: 0, State.NOTE: 1, State.OK: 2}

copies = st.builds(
    Copy,
    name=st.sampled_from(["near", "far", "vault"]),
    medium=st.sampled_from(["disk 1 of db1", "disk 2 of db1", "S3 bucket a"]),
    newest=st.sampled_from([None, NOW, NOW - STALE, NOW - STALE - timedelta(seconds=1)]),
    elsewhere=st.sampled_from([True, False, None]),
    where=st.just("there"),
    site=st.sampled_from(["", "Oslo"]),
    undeletable=st.sampled_from(["", None, "locked for 14 d"]),
    trouble=st.sampled_from(["", "it is not mounted"]),
)


def states(repositories: list[Copy]) -> dict[str, State]:
    return {verdict.name: verdict.state for verdict in judge(SERVER, repositories, NOW)}


@given(st.lists(copies, max_size=4), copies)
def test_another_copy_makes_nothing_worse(repositories: list[Copy], another: Copy) -> None:
    before, after = states(repositories), states([*repositories, another])
    for name, state in before.items():
        assert RANK[after[name]] >= RANK[state], name


@given(st.lists(copies, max_size=4))
def test_what_cannot_be_restored_counts_for_nothing(repositories: list[Copy]) -> None:
    useless = [replace(copy, newest=NOW - STALE - timedelta(days=1)) for copy in repositories]
    assert set(states(useless).values()) == {State.FAILED}


@given(st.lists(copies, max_size=4))
def test_all_is_well_only_when_all_of_it_holds(repositories: list[Copy]) -> None:
    good = [c for c in repositories if not c.trouble and c.newest and NOW - c.newest <= STALE]
    found = states(repositories)
    assert (found["3 copies"] is State.OK) == (len(good) >= 2)
    assert (found["2 media"] is State.OK) == any(c.medium != SERVER.medium for c in good)
    assert (found["1 off-site"] is State.OK) == any(c.elsewhere for c in good)
    assert (found["1 undeletable"] is State.OK) == any(c.undeletable for c in good)


def test_every_failure_says_what_to_do() -> None:
    for verdict in judge(SERVER, [], NOW):
        assert verdict.state is State.FAILED
        assert verdict.fix
