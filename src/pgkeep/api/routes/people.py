"""Users and tokens, and who did what: for admins."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field

from pgkeep.api.rights import Role
from pgkeep.api.routes.asked import Asked, Shared, UserName, Who, needs
from pgkeep.api.users import StoredToken, StoredUser
from pgkeep.repository.acts.storing import acts

router = APIRouter(prefix="/api", tags=["users"])
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"
_Name = Annotated[str, Field(pattern=_NAME)]


class NewUser(Asked):
    """A user to be made."""

    name: _Name
    role: Role
    password: Annotated[str, Field(max_length=1024, repr=False)]


class UserChange(Asked):
    """What is to be another: what is left out stays."""

    role: Role | None = None
    password: Annotated[str | None, Field(max_length=1024, repr=False)] = None


class NewToken(Asked):
    """A token to be made."""

    name: _Name
    role: Role
    expires_at: Annotated[datetime | None, Field(description="With its offset from UTC.")] = None


@router.get("/users", **needs("users"))
def users(shared: Shared) -> list[dict[str, Any]]:
    """Return all users."""
    return [user_facts(user) for user in shared.users.users()]


@router.post("/users", status_code=201, **needs("users"))
def add_user(body: NewUser, shared: Shared, who: Who) -> dict[str, Any]:
    """Make a user."""
    facts = {"user": body.name, "role": body.role.value}
    with shared.acting.noted(who, "user-add", facts):
        return user_facts(shared.users.add(body.name, body.role, body.password))


@router.patch("/users/{name}", **needs("users"))
def change_user(name: UserName, body: UserChange, shared: Shared, who: Who) -> dict[str, Any]:
    """Change a user's role or password; all sessions of the user end."""
    changed = [field for field in ("role", "password") if getattr(body, field) is not None]
    facts = {"user": name, "changed": ", ".join(changed)}
    facts |= {"role": body.role.value} if body.role else {}
    with shared.acting.noted(who, "user-change", facts):
        if body.role is not None:
            shared.users.set_role(name, body.role)
        if body.password is not None:
            shared.users.set_password(name, body.password)
    return facts


@router.delete("/users/{name}", **needs("users"))
def remove_user(name: UserName, shared: Shared, who: Who) -> dict[str, Any]:
    """Remove a user; the last admin stays."""
    with shared.acting.noted(who, "user-remove", {"user": name}):
        shared.users.remove(name)
    return {"removed": name}


@router.get("/tokens", **needs("tokens"))
def tokens(shared: Shared) -> list[dict[str, Any]]:
    """Return all tokens, without what they open with."""
    return [token_facts(token) for token in shared.users.tokens()]


@router.post("/tokens", status_code=201, **needs("tokens"))
def add_token(body: NewToken, shared: Shared, who: Who) -> dict[str, Any]:
    """Make a token: `token` is shown this once."""
    expires = body.expires_at.astimezone() if body.expires_at else None
    facts = {"token": body.name, "role": body.role.value}
    with shared.acting.noted(who, "token-add", facts):
        made, token = shared.users.add_token(body.name, body.role, expires)
    return {**token_facts(made), "token": token}


@router.delete("/tokens/{name}", **needs("tokens"))
def remove_token(name: UserName, shared: Shared, who: Who) -> dict[str, Any]:
    """Remove a token: it opens nothing any more."""
    with shared.acting.noted(who, "token-remove", {"token": name}):
        shared.users.remove_token(name)
    return {"removed": name}


@router.get("/audit", tags=["audit"], **needs("audit", reads=True))
def audit(
    shared: Shared,
    cluster: Annotated[str, Query(max_length=63, description="Empty: of no cluster.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Return who did what, the newest first, and how much is not in the repository yet."""
    board = shared.board
    if cluster:
        board.health(cluster)  # raises NoSuchCluster
    repository = board.app(cluster or None).copies.repository
    found = acts(repository, cluster, limit=limit)
    return {
        "acts": [
            {name: getattr(act, name) for name in act.__struct_fields__} for act in found.found
        ],
        "unreadable": [
            {"name": bad.name, "code": bad.error.code, "message": str(bad.error)}
            for bad in found.unreadable
        ],
        "waiting": shared.audit.waiting(),
    }


def user_facts(user: StoredUser) -> dict[str, Any]:
    return {"name": user.name, "role": user.role, "made_at": user.made_at}


def token_facts(token: StoredToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
    }
