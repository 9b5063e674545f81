"""How long a log-in lasts, and how soon a wrong one may be tried again."""

from pathlib import Path

import pytest

from pgkeep.api.attempts import FREE, LONGEST_S, Attempts
from pgkeep.api.errors import TooManyLogIns
from pgkeep.api.rights import Role
from pgkeep.api.sessions import IDLE_S, LIFE_S, Sessions
from pgkeep.api.users import Users

PASSWORD = "correct horse battery"
AWAY = "198.51.100.7"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    users = Users(str(tmp_path))
    users.add("anna", Role.ADMIN, PASSWORD)
    return users


def begin(sessions: Sessions, users: Users) -> str:
    user = users.find("anna")
    assert user is not None
    return sessions.begin(user)[1]


def test_a_session_lasts_while_it_is_used(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    secret = begin(sessions, users)
    began = clock.now
    while clock.now - began + IDLE_S - 1 < LIFE_S:
        clock.now += IDLE_S - 1
        found = sessions.find(secret)
        assert found is not None
        assert (found[1].name, found[1].role) == ("anna", Role.ADMIN)
    clock.now = began + LIFE_S
    assert sessions.find(secret) is None


def test_a_session_that_nobody_uses_ends(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    secret = begin(sessions, users)
    clock.now += IDLE_S
    assert sessions.find(secret) is None
    clock.now -= IDLE_S
    assert sessions.find(secret) is None, "it is over for good"


def test_looking_whether_it_lasts_does_not_make_it_last(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    secret = begin(sessions, users)
    found = sessions.find(secret)
    assert found is not None
    clock.now += IDLE_S - 1
    assert sessions.is_current(found[0])
    clock.now += 1
    assert not sessions.is_current(found[0])


def test_waiting_at_a_page_makes_it_last(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    secret = begin(sessions, users)
    found = sessions.find(secret)
    assert found is not None
    clock.now += IDLE_S - 1
    sessions.use(found[0])
    clock.now += IDLE_S - 1
    assert sessions.is_current(found[0])


def test_logging_out_ends_this_session_alone(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    one, other = begin(sessions, users), begin(sessions, users)
    found = sessions.find(one)
    assert found is not None
    sessions.end(found[0])
    assert sessions.find(one) is None
    assert sessions.find(other) is not None


@pytest.mark.parametrize("change", ["password", "role", "removed"])
def test_what_changes_a_user_ends_all_sessions(users: Users, clock: Clock, change: str) -> None:
    sessions = Sessions(users, clock)
    secrets = [begin(sessions, users), begin(sessions, users)]
    by_the_command = Users(str(Path(users.path).parent))
    if change == "password":
        by_the_command.set_password("anna", "another horse battery")
    elif change == "role":
        by_the_command.set_role("anna", Role.ADMIN)
    else:
        by_the_command.remove("anna", last_admin_too=True)
    assert [sessions.find(secret) for secret in secrets] == [None, None]


def test_nobody_ends_the_sessions_of_others_by_logging_in(users: Users, clock: Clock) -> None:
    users.add("ben", Role.VIEWER, PASSWORD)
    ben = users.find("ben")
    assert ben is not None
    sessions = Sessions(users, clock)
    hers = begin(sessions, users)
    his = [sessions.begin(ben)[1] for _ in range(100)]
    assert sessions.find(hers) is not None
    assert [secret for secret in his if sessions.find(secret)] == his[-50:]


def test_what_was_made_up_opens_nothing(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, clock)
    begin(sessions, users)
    for made_up in ("", "x", "\ud800", "a" * 10000):
        assert sessions.find(made_up) is None


def wait_of(attempts: Attempts, user: str, address: str) -> int:
    try:
        attempts.check(user, address)
    except TooManyLogIns as error:
        return error.after_s
    return 0


def test_typing_errors_cost_nothing_and_guesses_ever_more(clock: Clock) -> None:
    attempts = Attempts(clock)
    waits = []
    for _ in range(12):
        clock.now += wait_of(attempts, "anna", AWAY)
        attempts.failed("anna", AWAY)
        waits.append(wait_of(attempts, "anna", AWAY))
    assert waits[: FREE - 1] == [0] * (FREE - 1)
    assert waits == sorted(waits)
    assert 1 < waits[FREE] < waits[-1] <= LONGEST_S + 1


def test_a_right_password_ends_the_waiting(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(10):
        attempts.failed("anna", AWAY)
    clock.now += LONGEST_S
    assert wait_of(attempts, "anna", AWAY) == 0
    attempts.succeeded("anna", AWAY)
    attempts.failed("anna", AWAY)
    assert wait_of(attempts, "anna", AWAY) == 0


def test_one_address_cannot_try_one_user_after_the_other(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(10):
        attempts.failed(f"user{number}", AWAY)
    assert wait_of(attempts, "anna", AWAY) > 0
    assert wait_of(attempts, "anna", "198.51.100.8") == 0


def test_many_addresses_cannot_try_one_user(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(20):
        attempts.failed("anna", f"198.51.100.{number}")
    assert wait_of(attempts, "anna", "203.0.113.9") > 0


def test_nobody_can_keep_an_admin_out(clock: Clock) -> None:
    attempts = Attempts(clock)
    attempts.succeeded("anna", "10.0.0.5")
    for number in range(100):
        attempts.failed("anna", f"198.51.100.{number}")
    assert wait_of(attempts, "anna", "10.0.0.5") == 0, "she was there before"
    assert wait_of(attempts, "anna", "127.0.0.1") == 0, "she sits at the host"
    assert wait_of(attempts, "anna", "203.0.113.9") <= LONGEST_S + 1, "and never for ever"


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(12_000):
        attempts.failed(f"user{number}", f"address{number}")
    assert len(attempts._wrong) <= 10_000


@pytest.mark.parametrize(
    ("first", "other", "is_one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("198.51.100.7", "::ffff:198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
    ],
)
def test_neighbours_of_one_network_are_one(
    clock: Clock, first: str, other: str, *, is_one: bool
) -> None:
    attempts = Attempts(clock)
    for number in range(FREE):
        attempts.failed(f"user{number}", first)
    if not is_one:
        attempts.check("anna", other)
        return
    with pytest.raises(TooManyLogIns):
        attempts.check("anna", other)
