"""Who is logged in: sessions in memory, lost with the process, which costs users a log-in."""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from pgkeep.api.users import StoredUser, User, Users

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

IDLE_S: Final = 3600.0  # somebody went home and left the page open
LIFE_S: Final = 12 * 3600.0  # a day's work
_MOST: Final = 10_000  # sessions; each was opened by a right password
_MOST_OF_ONE: Final = 50  # of one user, who else could end everybody's by logging in
_CALLER: Final = "pgkeep.caller"  # in the ASGI scope, which applications mounted below share


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in of one user."""

    key: str  # the hash of what the cookie holds
    user: str
    stamp: str  # StoredUser.stamp when it began
    csrf: str
    began: float
    seen: float


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and by what."""

    user: User | None
    session: Session | None = None  # None: a token, or nobody
    address: str = ""


class Sessions:
    """All sessions. Safe to use from several threads."""

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        self._users = users
        self._clock = clock
        self._lock = Lock()
        self._sessions: dict[str, Session] = {}  # by key, the oldest first

    def begin(self, user: StoredUser) -> tuple[Session, str]:
        """Open a session and return it with what its cookie holds."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        session = Session(
            _key(secret), user.name, user.stamp, secrets.token_urlsafe(32), began=now, seen=now
        )
        with self._lock:
            for key in [k for k, one in self._sessions.items() if self._is_over(one, now)]:
                del self._sessions[key]
            own = [key for key, one in self._sessions.items() if one.user == user.name]
            for key in own[: max(0, len(own) + 1 - _MOST_OF_ONE)]:
                del self._sessions[key]
            if len(self._sessions) >= _MOST:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[session.key] = session
        return session, secret

    def find(self, secret: str) -> tuple[Session, User] | None:
        """Return the session that a cookie opens and who it is, and count it as used."""
        return self._look(_key(secret), use=True)

    def is_current(self, session: Session) -> bool:
        """Tell whether a session still lasts: a page that stays open asks before each act."""
        return self._look(session.key, use=False) is not None

    def use(self, session: Session) -> None:
        """Count a session as used: somebody waits at an open page for what was begun there."""
        self._look(session.key, use=True)

    def end(self, session: Session) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(session.key, None)

    def _look(self, key: str, *, use: bool) -> tuple[Session, User] | None:
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            return None
        now, user = self._clock(), self._users.find(session.user)
        # Another password or role, in this process or by the command, ends every session.
        if self._is_over(session, now) or user is None or user.stamp != session.stamp:
            self.end(session)
            return None
        if use:
            session = replace(session, seen=now)
            with self._lock:
                if key in self._sessions:  # it may have been logged out meanwhile
                    self._sessions[key] = session
        return session, User(user.name, user.role)

    @staticmethod
    def _is_over(session: Session, now: float) -> bool:
        return now - session.seen >= IDLE_S or now - session.began >= LIFE_S


def _key(secret: str) -> str:
    # A hash, so that how long a look-up takes tells nothing about a session's secret.
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def current_user(request: "HTTPConnection") -> User | None:
    """Return who makes a request to the API or for a page, or None: log in first."""
    return current_caller(request).user


def current_caller(request: "HTTPConnection") -> Caller:
    """Return who makes a request, with the session."""
    return caller_in(request.scope)


def caller_in(scope: Any) -> Caller:
    """Return who makes the request of an ASGI scope; nobody, where no gate let it in."""
    found = scope.get(_CALLER)
    return found if isinstance(found, Caller) else Caller(None)


def set_caller(scope: Any, caller: Caller) -> None:
    """Write down who makes a request: for the gate alone."""
    scope[_CALLER] = caller
