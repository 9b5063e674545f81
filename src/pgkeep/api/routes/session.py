"""Logging in and out, and who one is."""

from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from pydantic import Field

from pgkeep.api.errors import BadRequest
from pgkeep.api.gate.access import cookie_name
from pgkeep.api.rights import NEEDS
from pgkeep.api.routes.asked import Asked, Shared, Who, needs
from pgkeep.api.sessions import LIFE_S, Caller, Session

router = APIRouter(prefix="/api", tags=["session"])
_LOG_INS: Final = CapacityLimiter(2)


class LogIn(Asked):
    """A user and the password."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1024, repr=False)]


class Passwords(Asked):
    """The password so far, and the new one."""

    old: Annotated[str, Field(max_length=1024, repr=False)]
    new: Annotated[str, Field(max_length=1024, repr=False)]


@router.post("/session")
async def log_in(
    body: LogIn, request: Request, response: Response, shared: Shared
) -> dict[str, Any]:
    """Log in: the answer has the session's cookie, and `csrf` to be sent as X-CSRF-Token."""
    address = request.client.host if request.client else ""
    # Whoever sends a thousand passwords waits here, and not in the threads of all other requests.
    session, secret = await to_thread.run_sync(
        shared.log_in, body.name, body.password, address, limiter=_LOG_INS
    )
    set_cookie(response, secret, secure=request.url.scheme == "https")
    found = shared.sessions.find(secret)
    return _me(Caller(found[1] if found else None, session))


@router.delete("/session", **needs("look"))
def log_out(request: Request, response: Response, shared: Shared, who: Who) -> dict[str, Any]:
    """Log out: the session is over on the server."""
    shared.log_out(who)
    secure = request.url.scheme == "https"
    response.delete_cookie(
        cookie_name(secure=secure), secure=secure, httponly=True, samesite="strict"
    )
    return {"logged_in": False}


@router.get("/me", **needs("look"))
def me(who: Who) -> dict[str, Any]:
    """Return who is asking, what the role covers, and the session's `csrf`."""
    return _me(who)


@router.post("/me/password", **needs("look"))
async def set_password(
    body: Passwords, request: Request, shared: Shared, who: Who
) -> dict[str, Any]:
    """Change one's own password. All sessions of the user end, this one too."""
    address = request.client.host if request.client else ""
    given = (_session(who), body.old, body.new, address)
    # A session that was stolen is no way to try passwords faster than by logging in.
    await to_thread.run_sync(shared.set_password, *given, limiter=_LOG_INS)
    return {"logged_in": False}


def set_cookie(response: Response, secret: str, *, secure: bool) -> None:
    """Put a session's cookie into an answer: out of reach for scripts and for other sites."""
    response.set_cookie(
        cookie_name(secure=secure),
        secret,
        max_age=int(LIFE_S),
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/",
    )


def _session(who: Caller) -> Session:
    if who.session is None:
        raise BadRequest("change the password", "a token has none", "log in as a user")
    return who.session


def _me(who: Caller) -> dict[str, Any]:
    user, session = who.user, who.session
    assert user is not None  # the gate let nobody else in
    return {
        "name": user.name,
        "role": user.role,
        "anonymous": user.anonymous,
        "csrf": session.csrf if session else "",
        "may": sorted(act for act in NEEDS if user.may(act)),
    }
