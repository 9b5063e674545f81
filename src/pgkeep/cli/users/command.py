"""The commands about users and tokens of the page and the API: user, token."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgkeep import config_file
from pgkeep.cli.context import Context, group
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.api.users import Users

_ROLES = "viewer, operator, restorer or admin"
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '@', '-'.")]
_Role = Annotated[
    str, typer.Option("--role", metavar="ROLE", help=f"{_ROLES}: each may what the former may.")
]
_PasswordFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="One line, readable by nobody else; else it is asked for."),
]


def register(app: typer.Typer) -> None:
    user = _group("Who may log in to the page and the API: add, list, remove, password.")
    user.command("add")(user_add)
    user.command("list")(user_list)
    user.command("remove")(user_remove)
    user.command("password")(user_password)
    app.add_typer(user, name="user")
    token = _group("Tokens with which programs use the API: add, list, remove.")
    token.command("add")(token_add)
    token.command("list")(token_list)
    token.command("remove")(token_remove)
    app.add_typer(token, name="token")


def _group(words: str) -> typer.Typer:
    return typer.Typer(help=words, callback=group, invoke_without_command=True)


def user_add(
    here: typer.Context, name: _Name, *, role: _Role = "viewer", password_file: _PasswordFile = None
) -> int:
    """Make a user. The first one ends the time in which everybody on this host may look."""
    from pgkeep.cli.users import text as render

    context: Context = here.obj
    users, role_ = _users(context), _role(role)
    password = _password(password_file, f"password of {name}: ")
    facts = {"user": name, "role": role_.value}
    _do(context, "user-add", facts, lambda: users.add(name, role_, password))
    first = len(users.users()) == 1
    context.result(
        {**facts, "first": first}, lambda look: render.added(name, role_, look, first=first)
    )
    return 0


def user_list(here: typer.Context) -> int:
    """Show all users, with their roles."""
    from pgkeep.cli.users import text as render

    context: Context = here.obj
    users = _users(context)
    found = users.users()
    facts = [{"name": u.name, "role": u.role, "made_at": u.made_at} for u in found]
    context.result({"file": users.path, "users": facts}, lambda look: render.users(found, look))
    return 0


def user_remove(here: typer.Context, name: _Name) -> int:
    """Remove a user, who is logged out at once."""
    from pgkeep.cli.users import text as render

    context: Context = here.obj
    users = _users(context)
    # Whoever may do this on the host may make another admin there: nobody gets locked out.
    remove = lambda: users.remove(name, last_admin_too=True)  # noqa: E731
    _do(context, "user-remove", {"user": name}, remove)
    left = users.users()
    context.result({"removed": name, "left": len(left)}, lambda _: render.removed(name, left))
    return 0


def user_password(here: typer.Context, name: _Name, *, password_file: _PasswordFile = None) -> int:
    """Set a user's password; whoever is logged in as that user is logged out."""
    context: Context = here.obj
    users = _users(context)
    password = _password(password_file, f"new password of {name}: ")
    _do(context, "password", {"user": name}, lambda: users.set_password(name, password))
    said = f"user {name} has a new password, and is logged out everywhere"
    context.result({"user": name}, lambda _: said)
    return 0


def token_add(
    here: typer.Context,
    name: _Name,
    *,
    role: _Role = "viewer",
    days: Annotated[
        int, typer.Option(min=0, max=3650, help="It ends after so many; 0: never.")
    ] = 365,
) -> int:
    """Make a token and show it: this once, only its hash is kept."""
    from pgkeep.cli.users import text as render

    context: Context = here.obj
    users, role_ = _users(context), _role(role)
    ends = datetime.now(UTC) + timedelta(days=days) if days else None
    facts = {"token": name, "role": role_.value}
    made, token = _do(context, "token-add", facts, lambda: users.add_token(name, role_, ends))
    shown = {"name": name, "role": role_, "expires_at": made.expires_at, "token": token}
    context.result(shown, lambda look: render.token(made, token, look))
    return 0


def token_list(here: typer.Context) -> int:
    """Show all tokens, without what they open with."""
    from pgkeep.cli.users import text as render

    context: Context = here.obj
    users = _users(context)
    found, now = users.tokens(), datetime.now(UTC)
    facts = [
        {
            "name": one.name,
            "role": one.role,
            "made_at": one.made_at,
            "expires_at": one.expires_at,
            "over": one.is_over(now),
        }
        for one in found
    ]
    context.result({"tokens": facts}, lambda look: render.tokens(found, now, look))
    return 0


def token_remove(here: typer.Context, name: _Name) -> int:
    """Remove a token: it opens nothing any more."""
    context: Context = here.obj
    users = _users(context)
    _do(context, "token-remove", {"token": name}, lambda: users.remove_token(name))
    context.result({"removed": name}, lambda _: f"token {name} is removed")
    return 0


def _users(context: Context) -> "Users":
    from pgkeep.api.users import Users

    return Users(config_file.state_directory(context.app.config.service.state_directory))


def _role(text: str) -> Any:
    from pgkeep.api.rights import Role

    if text not in list(Role):
        raise typer.BadParameter(f"a role is {_ROLES}")
    return Role(text)


def _do(context: Context, what: str, facts: dict[str, str], act: Callable[[], Any]) -> Any:
    """Change something and keep on record who did; where there is no repository, say so."""
    from pgkeep.cli.recording import new_act, record

    try:
        done = act()
    except PgkeepError as error:
        record(context, new_act("", what, error, facts))
        raise
    record(context, new_act("", what, None, facts))
    return done


def _password(file: str | None, question: str) -> str:
    """Return a password from a file or the terminal, typed twice. Raise BadUser."""
    import getpass

    from pgkeep.api.errors import BadUser

    what = "take a password"
    if file is not None:
        try:
            return config_file.secret_from_file(file)
        except config_file.SecretUnreadable as error:
            raise BadUser(what, f"{file}: {error.why}", error.advice) from error
    if not sys.stdin.isatty():
        raise BadUser(what, "nobody sits at a terminal", "write it into a file: --password-file")
    first = getpass.getpass(question)
    if getpass.getpass("again: ") != first:
        raise BadUser(what, "the two differ", "type the same twice")
    return first
