"""Many clusters are looked at together; who hangs is unknown, and holds nobody up."""

from threading import Event

from pgkeep.cli.health.text import status
from pgkeep.cli.text import Look
from pgkeep.health.health import Health, State
from pgkeep.health.together import AT_ONCE, LONG_S, look_together
from pgkeep.repository.store.base import StoreFailed
from support.healths import a_condition, a_health, only_condition
from support.shelves import NOW

NAMES = [f"cluster{number}" for number in range(3 * AT_ONCE)]


def test_everything_is_answered_in_the_order_of_the_question() -> None:
    told: list[int] = []
    found = look_together(NAMES, a_health, 60.0, told.append)
    assert [health.cluster for health in found] == NAMES
    assert told[-1] == len(NAMES)
    assert look_together([], a_health, 60.0) == []


def test_those_that_hang_hold_up_nobody_and_are_unknown() -> None:
    hanging = NAMES[: AT_ONCE + 2]  # more than are looked at together
    end = Event()
    hung: list[str] = []
    told = [0]

    def look(cluster: str) -> Health:
        if cluster in hanging:
            hung.append(cluster)
            end.wait()
        return a_health(cluster)

    def clock() -> float:
        if told[-1] == len(NAMES) - len(hanging):  # all that can be answered is
            return 1000.0
        return LONG_S + 0.5 if len(hung) >= AT_ONCE else 0.0

    try:
        found = look_together(NAMES, look, 30.0, told.append, clock)
    finally:
        end.set()
    assert {health.state for health in found[: len(hanging)]} == {State.UNKNOWN}
    assert only_condition(found[0]).cause == (
        "the server or a repository has not answered for 30 s"
    )
    assert {health.state for health in found[len(hanging) :]} == {State.PROTECTED}


def test_what_fails_is_unknown_with_its_reason() -> None:
    def look(cluster: str) -> Health:
        if cluster == "a":
            raise StoreFailed("/repo", "list", "input/output error")
        raise ZeroDivisionError("oops")

    failed, broken = look_together(["a", "b"], look, 60.0)
    assert "input/output error" in only_condition(failed).cause
    assert only_condition(broken).cause == "pgkeep has a bug: ZeroDivisionError: oops"


# As text


def test_status_tells_the_effect_then_the_cause_then_what_to_do() -> None:
    text = status([a_health(conditions=(a_condition(),), state=State.IN_DANGER)], NOW, Look(),
                  by_service=False)  # fmt: skip
    assert text.splitlines() == [
        "shop: in danger, to 2026-03-01 11:59:22 UTC (38 s ago), from 2026-02-01 02:00:00 UTC; "
        "last proven 2026-02-27 12:00:00 UTC by drill in 4 min 10 s",
        "  critical  nothing can be restored",
        "            cause: it is gone",
        "            do:    pgkeep backup",
        "  would be lost now: 38 s (objective: 1 min)",
        "  a restore takes about 4 min 20 s (objective: 1 h)",
        "  main: 9 GiB of this cluster, 1 TiB free, full by 2026-03-01",
        "",
        "looked just now; pgkeep serve looks all the time, and tells who must know",
    ]


def test_of_many_those_in_danger_come_first_and_the_others_take_a_line_each() -> None:
    many = [a_health(name) for name in NAMES]
    many[7] = a_health("worst", state=State.IN_DANGER, conditions=(a_condition(),))
    lines = status(many, NOW, Look(), by_service=True).splitlines()
    assert lines[0].startswith("worst: in danger")
    assert f"{len(NAMES)} clusters: 1 in danger, {len(NAMES) - 1} protected" in lines
    assert lines[-1] == "as the service saw it up to 0.0 s ago; to look now: --look"
    assert len(lines) == len(NAMES) + 3 + 3


def test_a_name_cannot_forge_a_line() -> None:
    text = status([a_health("a\nshop: protected")], NOW, Look(), by_service=False)
    assert "\nshop: protected" not in text


def test_a_cluster_that_is_kept_by_dumps_says_so() -> None:
    dumped = a_health(protected_to=None, protected_from=None, proven=None)
    first = status([dumped], NOW, Look(), by_service=False).splitlines()[0]
    assert first == "shop: protected, by dumps alone, the newest of 2026-03-01 04:00:00 UTC"


def test_many_are_looked_at_at_the_same_time() -> None:
    ready = Event()
    begun: list[str] = []

    def look(cluster: str) -> Health:
        begun.append(cluster)
        if len(begun) == AT_ONCE:
            ready.set()
        assert ready.wait(60)  # nobody ends before AT_ONCE have begun
        return a_health(cluster)

    found = look_together(NAMES, look, 120.0)
    assert {health.state for health in found} == {State.PROTECTED}
