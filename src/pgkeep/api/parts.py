"""What the API and the page share: everything that one request may need."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from pgkeep.api.acting import Acting
from pgkeep.api.attempts import Attempts
from pgkeep.api.audit import Audit, to_repositories
from pgkeep.api.errors import WrongLogIn
from pgkeep.api.listening import Listening, listening
from pgkeep.api.sessions import Caller, Session, Sessions
from pgkeep.api.users import StoredUser, Users
from pgkeep.repository.acts.act import Outcome
from pgkeep.service.board import Board

READERS: Final = 16  # of the 40 threads that starlette has requests answered by


@dataclass(frozen=True, slots=True)
class Parts:
    """The board, who may use it, and what was done with it. On the app as `state.pgkeep`."""

    board: Board
    users: Users
    sessions: Sessions
    attempts: Attempts
    audit: Audit
    acting: Acting
    listening: Listening
    # Readers of repositories. One that is away for hours holds each for minutes: some threads
    # must be left for all that needs no repository.
    readers: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(READERS))

    def log_in(self, name: str, password: str, address: str) -> tuple[Session, str]:
        """Return a new session and what its cookie holds. Raise WrongLogIn, TooManyLogIns.

        Takes 50 ms on purpose: not for an event loop.
        """
        caller = Caller(None, None, address)
        user = self._checked(name, password, address, caller)
        self.audit.log_in(caller, name, Outcome.DONE)
        return self.sessions.begin(user)

    def set_password(self, session: Session, old: str, new: str, address: str) -> None:
        """Let a user change the own password; all of the user's sessions end."""
        caller = Caller(None, session, address)
        self._checked(session.user, old, address, caller)
        self.audit.record(caller, "password", Outcome.DONE, who=session.user)
        self.users.set_password(session.user, new)

    def is_current(self, caller: Caller) -> bool:
        """Tell whether who opened a page may still use it: it stays open longer than a log-in."""
        if caller.session is not None:
            return self.sessions.is_current(caller.session)
        return caller.user is not None and caller.user.anonymous and not self.users.users()

    def log_out(self, caller: Caller) -> None:
        """End the caller's session, if there is one."""
        if caller.session is not None:
            self.sessions.end(caller.session)

    def _checked(self, name: str, password: str, address: str, caller: Caller) -> StoredUser:
        # One that comes too early is not written down: it may come a thousand times a second.
        self.attempts.check(name, address)
        user = self.users.check_password(name, password)
        if user is None:
            count = self.attempts.failed(name, address)
            self.audit.log_in(caller, name, Outcome.FAILED, failed_in_a_row=str(count))
            why = "user and password do not belong together"
            raise WrongLogIn("log in", why, "an admin can set a new one: pgkeep user password NAME")
        self.attempts.succeeded(name, address)
        return user


def parts(board: Board, users: Users, where: Listening | None = None) -> Parts:
    """Put the parts together. Raise ListeningRefused, UsersUnreadable."""
    audit = Audit(Path(board.state_directory), to_repositories(board))
    service = board.config.config.service
    where = where or listening(service, has_users=bool(users.users()))
    sessions = Sessions(users)
    return Parts(board, users, sessions, Attempts(), audit, Acting(board, audit), where)
