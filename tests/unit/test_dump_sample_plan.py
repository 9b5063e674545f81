"""Families of tables, and shares as people write them."""

import pytest

from pgkeep.logical.sample.plan import CannotSample, Relation, parse_share, plan_sample
from pgkeep.postgres.archive.sql import ForeignKey, Name


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), (" 0.5 % ", 0.005), ("99.9%", 0.999), ("1%", 0.01)]
)
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "10", "0%", "100%", "-5%", "1e1%", "10%%", "ten%", "0.0%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(CannotSample) as caught:
        parse_share(text)
    assert str(caught.value) == (f"cannot make a sample: {text!r} is no share between 0% and 100%")
    assert caught.value.hint.startswith("write --sample like 10%")


def test_partitions_are_one_family() -> None:
    relations = [
        Relation(1, Name("s", "p1"), 9, 9, False, False),
        Relation(2, Name("s", "p2"), 9, 9, True, False),
        Relation(3, Name("s", "p2a"), 9, 2, False, False),
        Relation(4, Name("s", "p2b"), 9, 2, False, False),
        Relation(5, Name("s", "t"), 5, 0, False, False),
        Relation(6, Name("s", "empty"), 6, 0, False, False),
        Relation(7, Name("s", "remote"), 7, 0, False, True),
        Relation(9, Name("s", "p"), 9, 0, True, False),
    ]
    rows = {Name("s", n): 4000 for n in ("p1", "p2a", "p2b", "t", "remote")}
    keys = [
        ForeignKey("a", Name("s", "t"), ("x", "y"), Name("s", "p"), ("k", "l"), ""),
        ForeignKey("b", Name("s", "p2"), ("z",), Name("s", "t"), ("id",), ""),
        ForeignKey("c", Name("s", "p"), ("z", "x"), Name("s", "remote"), ("u", "v"), ""),
        ForeignKey("d", Name("s", "t"), ("w",), Name("s", "gone"), ("id",), ""),
    ]
    plan = plan_sample(relations, rows, keys, share=0.5, seed=3)
    t, remote, p = plan.families
    assert [leaf.name.name for leaf in p.leaves] == ["p1", "p2a", "p2b"]
    assert (p.root.name, p.partitioned, p.rows, p.linked, p.carried) == (
        "p", True, 12_000, True, ("z",),
    )  # fmt: skip
    assert (t.root.name, t.partitioned, t.carried) == ("t", False, ("x", "y"))
    assert (remote.whole, remote.why_whole, remote.linked) == (
        True, "its rows are on another server", False,
    )  # fmt: skip
    assert [step.repeat for step in plan.steps] == [True]
    from_p, from_t = sorted(plan.steps[0].edges, key=lambda edge: edge.within, reverse=True)
    assert (from_p.within, from_p.referenced.name, from_p.only) == ((3, 4), "t", True)
    assert (from_t.within, from_t.referenced.name, from_t.only) == ((), "p", False)
    assert plan.threshold == 1 << 62
