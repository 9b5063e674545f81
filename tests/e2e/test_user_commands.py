"""pgkeep user and pgkeep token, as typed."""

import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from pgkeep.api.rights import Role
from pgkeep.api.users import Users
from pgkeep.app import App
from pgkeep.repository.acts.act import Outcome
from pgkeep.repository.acts.storing import acts
from support.apis import GOLDEN
from support.command import PGKEEP, Result, run_pgkeep

PASSWORD = "correct horse battery"


class Typed:
    """Commands of one config, and the users they leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "pgkeep.toml"
        self.config.write_text(
            f'[repository]\nurl = "{folder}/repository"\n[clusters.main]\n'
            f'[service]\nstate_directory = "{folder}/state"\n'
        )
        self.users = Users(str(folder / "state"))

    def run(self, *words: str) -> Result:
        return run_pgkeep(*words, config=self.config)

    def password_file(self, content: str, mode: int = 0o600) -> str:
        path = self.folder / "password"
        path.write_text(content)
        path.chmod(mode)
        return str(path)


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


def test_users_come_and_go(typed: Typed) -> None:
    assert "there are no users: on this host everybody may look" in typed.run("user", "list").stdout
    file = typed.password_file(f"{PASSWORD}\n")
    added = typed.run("user", "add", "anna", "--role", "admin", "--password-file", file)
    assert added.ok().stdout == (
        "user anna may log in, as admin\nfrom now on everybody has to log in\n"
    )
    # The repository is not there, and that is said; the user is made all the same.
    assert "warning: that this was done is not on record" in added.stderr
    assert typed.users.check_password("anna", PASSWORD) is not None
    second = typed.run("user", "add", "ben", "--password-file", file, "--json").ok().json
    assert second == {"user": "ben", "role": "viewer", "first": False}
    again = typed.run("user", "add", "anna", "--password-file", file)
    assert again.exit == 9
    assert "hint: another password: pgkeep user password anna" in again.stderr
    listed = typed.run("user", "list", "--json").ok().json
    assert [(user["name"], user["role"]) for user in listed["users"]] == [
        ("anna", "admin"),
        ("ben", "viewer"),
    ]
    file = typed.password_file("another horse battery\n")
    typed.run("user", "password", "anna", "--password-file", file).ok()
    assert typed.users.check_password("anna", PASSWORD) is None
    removed = typed.run("user", "remove", "anna").ok()
    assert "nobody is admin any more: pgkeep user add NAME --role admin" in removed.stdout
    assert typed.run("user", "remove", "anna").exit == 9


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("short\n", 0o600, "it has fewer than 12 characters"),
        (f"{PASSWORD}\nmore\n", 0o600, "it has more than one line"),
        ("", 0o600, "it is empty"),
        (PASSWORD, 0o644, "other users can read it too (mode 0644)"),
    ],
)
def test_passwords_from_files_that_are_none(
    typed: Typed, content: str, mode: int, why: str
) -> None:
    file = typed.password_file(content, mode)
    done = typed.run("user", "add", "anna", "--password-file", file)
    assert done.exit == 9
    assert why in done.stderr
    assert typed.users.users() == ()


def test_a_password_is_never_read_from_a_pipe(typed: Typed) -> None:
    done = run_pgkeep("user", "add", "anna", config=typed.config, stdin=f"{PASSWORD}\n" * 2)
    assert "error: cannot take a password: nobody sits at a terminal" in done.stderr
    assert "hint: write it into a file: --password-file" in done.stderr
    assert typed.users.users() == ()


@pytest.mark.parametrize(
    ("again", "status", "says"),
    [(PASSWORD, 0, "user anna may log in"), ("something else", 9, "the two differ")],
)
def test_a_password_is_typed_twice_and_not_shown(
    typed: Typed, again: str, status: int, says: str
) -> None:
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [PGKEEP, "--config", typed.config, "user", "add", "anna"],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,  # else it would ask at the terminal of the tests
    )
    os.close(its_end)
    seen = ""
    for question, answer in (("password of anna: ", PASSWORD), ("again: ", again), (says, "")):
        while question not in seen:
            assert select.select([terminal], [], [], 60)[0], seen
            seen += os.read(terminal, 4096).decode()
        if answer:
            os.write(terminal, f"{answer}\n".encode())
    assert process.wait(60) == status
    os.close(terminal)
    assert PASSWORD not in seen
    assert len(typed.users.users()) == (status == 0)


def test_a_token_is_shown_once(typed: Typed) -> None:
    made = typed.run("token", "add", "ci", "--role", "operator", "--json").ok().json
    found = typed.users.of_token(made["token"])
    assert found is not None
    assert found.role is Role.OPERATOR
    assert made["expires_at"].startswith("20")
    listed = typed.run("token", "list", "--json").ok()
    assert [token["name"] for token in listed.json["tokens"]] == ["ci"]
    assert made["token"].split("_")[2] not in listed.stdout
    forever = typed.run("token", "add", "old", "--days", "0").ok()
    assert "token old, viewer; it ends: never" in forever.stdout
    assert typed.run("token", "remove", "ci").ok().stdout == "token ci is removed\n"
    assert typed.users.of_token(made["token"]) is None
    assert typed.run("token", "remove", "ci").exit == 9


def test_a_role_that_is_none_is_told(typed: Typed) -> None:
    done = typed.run("--json", "token", "add", "ci", "--role", "root")
    assert done.exit == 2
    assert json.loads(done.stdout)["error"]["message"] == (
        "invalid value: a role is viewer, operator, restorer or admin"
    )


def test_acts_of_the_command_are_on_record(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "v1" / "plain", tmp_path / "repository")
    typed = Typed(tmp_path)
    assert typed.run("token", "add", "ci").ok().stderr == ""
    typed.run("token", "remove", "ghost")
    repository = App(str(typed.config)).copies.repository
    found = [(act.what, act.outcome, act.facts["token"]) for act in acts(repository).found]
    assert found == [
        ("token-remove", Outcome.FAILED, "ghost"),
        ("token-add", Outcome.DONE, "ci"),
    ]
