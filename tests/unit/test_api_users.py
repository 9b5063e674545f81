"""Users and tokens on record: what opens, what does not, and what happens to the file."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.api.errors import BadUser, LastAdmin, NoSuchUser, UserExists, UsersUnreadable
from pgkeep.api.rights import NEEDS, Role, may
from pgkeep.api.users import Users

PASSWORD = "correct horse battery"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_each_role_may_what_the_former_may() -> None:
    for act in NEEDS:
        allowed = [may(role, act) for role in Role]
        assert allowed == sorted(allowed), act
        assert allowed[-1], act
    assert not any(may(role, "rm") for role in Role)


def test_a_user_comes_in_with_the_right_password_alone(tmp_path: Path) -> None:
    users = Users(str(tmp_path))
    users.add("anna", Role.OPERATOR, PASSWORD)
    found = users.check_password("anna", PASSWORD)
    assert found is not None
    assert found.role is Role.OPERATOR
    for name, password in [
        ("anna", "correct horse batterx"),
        ("anna", ""),
        ("anna", "x" * 5000),
        ("anna", "\ud800"),
        ("nobody", PASSWORD),
        ("Anna", PASSWORD),
    ]:
        assert users.check_password(name, password) is None, (name, password[:10])


def test_nothing_in_the_file_opens_anything(tmp_path: Path) -> None:
    users = Users(str(tmp_path))
    users.add("anna", Role.ADMIN, PASSWORD)
    _, token = users.add_token("ci", Role.VIEWER, None)
    path = tmp_path / "users.json"
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_text()
    assert "$argon2id$" in content
    assert PASSWORD not in content
    assert token.split("_", 2)[2] not in content
    assert PASSWORD not in repr(users.users())
    assert "hash" not in repr(users.tokens())
    assert [entry.name for entry in tmp_path.iterdir()] == ["users.json"]


def test_a_change_is_seen_by_whoever_has_read_before(tmp_path: Path) -> None:
    running, command = Users(str(tmp_path)), Users(str(tmp_path))
    assert running.users() == ()
    command.add("anna", Role.ADMIN, PASSWORD)
    before = running.find("anna")
    assert before is not None
    command.set_role("anna", Role.ADMIN)
    after = running.find("anna")
    assert after is not None
    assert after.stamp != before.stamp
    command.remove("anna", last_admin_too=True)
    assert running.users() == ()


def test_tokens_end_and_can_be_taken_back(tmp_path: Path) -> None:
    now = [NOW]
    users = Users(str(tmp_path), lambda: now[0])
    _, token = users.add_token("ci", Role.OPERATOR, NOW + timedelta(days=1))
    found = users.of_token(token)
    assert found is not None
    assert (found.name, found.role, found.token) == ("token:ci", Role.OPERATOR, "ci")
    for wrong in ("", "pgkeep", "pgkeep__", token[:-1], token + "x", "\ud800", f"x{token}"):
        assert users.of_token(wrong) is None
    now[0] += timedelta(days=1)
    assert users.of_token(token) is None
    now[0] = NOW
    users.remove_token("ci")
    assert users.of_token(token) is None
    with pytest.raises(NoSuchUser):
        users.remove_token("ci")


@pytest.mark.parametrize(
    "name", ["", "a" * 64, "../x", "a/b", "-rf", "a b", "<b>", "a\n", "token:ci", "ä", "."]
)
def test_names_that_mean_something_else_are_refused(tmp_path: Path, name: str) -> None:
    users = Users(str(tmp_path))
    with pytest.raises(BadUser):
        users.add_token(name, Role.VIEWER, None)
    with pytest.raises(BadUser):
        users.add(name, Role.VIEWER, PASSWORD)
    assert not (tmp_path / "users.json").exists()


def test_passwords_that_do_not_hold_are_refused(tmp_path: Path) -> None:
    users = Users(str(tmp_path))
    for dull in (" " * 12, "abcde" * 4):
        with pytest.raises(BadUser, match="fewer than 6 different characters"):
            Users(str(tmp_path)).add("anna", Role.VIEWER, dull)
    with pytest.raises(BadUser, match="fewer than 12 characters"):
        users.add("anna", Role.VIEWER, "short")
    with pytest.raises(BadUser, match="longer than 1024 bytes"):
        users.add("anna", Role.VIEWER, "ä" * 513)


def test_the_last_admin_stays_unless_the_host_says_otherwise(tmp_path: Path) -> None:
    users = Users(str(tmp_path))
    users.add("anna", Role.ADMIN, PASSWORD)
    with pytest.raises(LastAdmin):
        users.remove("anna")
    with pytest.raises(LastAdmin):
        users.set_role("anna", Role.RESTORER)
    with pytest.raises(UserExists):
        users.add("anna", Role.VIEWER, PASSWORD)
    with pytest.raises(NoSuchUser):
        users.set_password("bob", PASSWORD)
    users.remove("anna", last_admin_too=True)


def test_none_of_several_writers_is_lost(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(40)]

    def add(name: str) -> None:
        Users(str(tmp_path)).add_token(name, Role.VIEWER, None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(one.name for one in Users(str(tmp_path)).tokens()) == sorted(names)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 2, "users": [], "tokens": []}',
        b'{"version": 1, "users": [{"name": "anna"}], "tokens": []}',
        b'{"version": 1, "users": [], "tokens": ',
        b"\xff\xfe",
    ],
)
def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "users.json"
    path.write_bytes(content)
    path.chmod(0o600)
    users = Users(str(tmp_path))
    with pytest.raises(UsersUnreadable):
        users.users()
    with pytest.raises(UsersUnreadable):
        users.add_token("ci", Role.VIEWER, None)
    assert path.read_bytes() == content


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    users = Users(str(tmp_path))
    users.add_token("ci", Role.VIEWER, None)
    os.chmod(users.path, 0o644)
    with pytest.raises(UsersUnreadable) as caught:
        Users(str(tmp_path)).tokens()
    assert caught.value.hint == f"look who changed it, then: chmod 600 {users.path}"


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    users = Users(str(tmp_path), lambda: NOW)
    users.add_token("ci", Role.VIEWER, NOW)
    facts = json.loads(Path(users.path).read_text())
    assert sorted(facts) == ["tokens", "users", "version"]
    assert facts["tokens"][0]["expires_at"] == "2026-06-01T12:00:00+00:00"
