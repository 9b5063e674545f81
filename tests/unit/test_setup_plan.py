"""Which settings a server needs, and what it is to a cluster's folder."""

import pytest

from pgkeep.model.cluster import Generation
from pgkeep.setup.plan import Archiving, Identity, plan_generation, plan_settings

OURS = "/usr/bin/pgkeep-wal --config /etc/pgkeep/pgkeep.toml --cluster main push %p"
READY = {
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_library": "",
    "archive_command": OURS,
    "archive_timeout": "60",
    "summarize_wal": "on",
}


def needed(changed: dict[str, str]) -> dict[str, str]:
    plan = plan_settings({**READY, **changed}, 18, Archiving(OURS))
    return {change.name: change.wanted for change in plan.needed}


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        pytest.param({}, {}, id="ready"),
        pytest.param({"wal_level": "logical"}, {}, id="more than needed is fine"),
        pytest.param({"archive_mode": "always"}, {}, id="a standby that archives"),
        pytest.param({"archive_timeout": "300"}, {}, id="the user's own timeout stays"),
        pytest.param({"archive_timeout": "0"}, {"archive_timeout": "60"}, id="no timeout"),
        pytest.param(
            {"wal_level": "minimal", "archive_mode": "off", "archive_command": "(disabled)"},
            {"wal_level": "replica", "archive_mode": "on", "archive_command": OURS},
            id="fresh from initdb, wal_level first",
        ),
        pytest.param(
            {"archive_library": "basic_archive"},
            {"archive_library": ""},
            id="a library would go before our command",
        ),
        pytest.param({"archive_command": OURS.replace("%p", '"%p"')}, {}, id="quoted otherwise"),
        pytest.param({"archive_command": ""}, {"archive_command": OURS}, id="no command"),
    ],
)
def test_settings(changed: dict[str, str], wanted: dict[str, str]) -> None:
    assert list(needed(changed).items()) == list(wanted.items())


@pytest.mark.parametrize(("rpo", "timeout"), [(0, "60"), (3600, "60"), (60, "30"), (1, "1")])
def test_the_timeout_leaves_half_of_the_objective_for_the_way(rpo: int, timeout: str) -> None:
    plan = plan_settings({**READY, "archive_timeout": "0"}, 18, Archiving(OURS, rpo))
    assert [(change.name, change.wanted) for change in plan.needed] == [
        ("archive_timeout", timeout)
    ]


def test_another_programs_archive_is_named() -> None:
    plan = plan_settings({**READY, "archive_command": "cp %p /mnt/%f"}, 18, Archiving(OURS))
    assert plan.foreign == "archive_command = 'cp %p /mnt/%f'"
    plan = plan_settings({**READY, "archive_library": "basic_archive"}, 18, Archiving(OURS))
    assert plan.foreign == "archive_library = 'basic_archive'"


def test_our_own_command_with_another_config_is_not_foreign() -> None:
    plan = plan_settings({**READY, "archive_command": "pgkeep-wal push %p"}, 18, Archiving(OURS))
    assert plan.foreign == ""
    assert [change.name for change in plan.needed] == ["archive_command"]


def test_what_waits_for_a_restart_is_not_set_again() -> None:
    settings = {**READY, "archive_mode": "off", "archive_command": "(disabled)"}
    files = {"archive_command": OURS}
    plan = plan_settings(settings, 18, Archiving(OURS), pending={"archive_mode"}, in_files=files)
    assert plan.unset == ()
    assert plan.needs_restart


@pytest.mark.parametrize(("major", "offered"), [(16, []), (17, ["summarize_wal"])])
def test_summaries_are_offered_from_17_on(major: int, offered: list[str]) -> None:
    plan = plan_settings({**READY, "summarize_wal": "off"}, major, Archiving(OURS))
    assert [change.name for change in plan.offers] == offered
    assert plan.needed == ()


def test_statements_quote_their_values() -> None:
    plan = plan_settings({**READY, "archive_command": ""}, 18, Archiving("it's %p"))
    assert plan.needed[0].statement == "ALTER SYSTEM SET archive_command = 'it''s %p';"


def generation(identifier: int, major: int) -> Generation:
    return Generation(identifier, major, 1 << 24)


@pytest.mark.parametrize(
    ("known", "identity", "words"),
    [
        ([], Identity.FIRST, ""),
        ([(7, 18)], Identity.KNOWN, ""),
        ([(7, 18), (9, 18)], Identity.KNOWN, ""),
        ([(5, 15)], Identity.UPGRADED, "looks like a pg_upgrade"),
        ([(5, 18)], Identity.REPLACED, "looks like a new initdb, or like another cluster"),
    ],
)
def test_a_new_identity_is_told_in_words(
    known: list[tuple[int, int]], identity: Identity, words: str
) -> None:
    plan = plan_generation([generation(*g) for g in known], generation(7, 18))
    assert plan.identity is identity
    assert words in plan.says
    assert bool(plan.says) == bool(words)


def test_both_sides_of_a_mismatch_are_named() -> None:
    says = plan_generation([generation(5, 15)], generation(7, 18)).says
    assert "PostgreSQL 15, system identifier 5" in says
    assert "PostgreSQL 18, system identifier 7" in says
    assert "take a backup now with pgkeep backup" in says
