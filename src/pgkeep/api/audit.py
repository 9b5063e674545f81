"""Who did what through the API or the page: a file beside the service, and the repositories.

Each act is a line of audit.log before anything else happens, and goes on to the repositories from
there by a thread of its own: a repository that is away delays nobody, and gets what it missed when
it is back. `audit.sent` says how far that has come; `audit.log.1` is the log before this one.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any, Final

from msgspec import convert, to_builtins

from pgkeep.api.errors import ActNotRecorded
from pgkeep.api.sessions import Caller
from pgkeep.api.users import now_utc
from pgkeep.errors import PgkeepError
from pgkeep.places import record_everywhere
from pgkeep.repository.acts.act import Act, Outcome
from pgkeep.repository.acts.storing import act_id
from pgkeep.repository.store.durable import replace_file
from pgkeep.service.board import Board

_AGAIN_S: Final = 60.0  # after a repository did not take an act
_LONGEST: Final = 8192  # bytes of a line that are read back
_FULL: Final = 16 << 20  # bytes of a log: 50,000 acts
_FUTILE: Final = 120  # log-ins and acts in vain an hour that are written down: the rest is counted
_HOUR_S: Final = 3600.0

Record = Callable[[Act], None]


class Audit:
    """The log of acts. Safe to use from several threads."""

    def __init__(
        self, directory: Path, send: Record, clock: Callable[[], datetime] = now_utc
    ) -> None:
        self.path = directory / "audit.log"
        self._sent_path = directory / "audit.sent"
        self._send = send
        self._clock = clock
        self._lock = Lock()
        self._news = Condition()
        self._closed = False
        self._futile: list[datetime] = []  # when: of the last hour
        self._left_out = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._sent() > self._size():  # whoever put the log away was stopped half-way
            self._note_sent(0)
        self._thread = Thread(target=self._send_on, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to bring acts to the repositories."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not sent yet is sent by the next service."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def record(  # noqa: PLR0913 - the facts of an act
        self,
        caller: Caller,
        what: str,
        outcome: Outcome,
        *,
        cluster: str = "",
        words: tuple[str, ...] = (),
        facts: dict[str, str] | None = None,
        who: str = "",
    ) -> None:
        """Write an act down, durably. Raise ActNotRecorded: then it must not be done."""
        now = self._clock()
        act = Act(
            id=act_id(now),
            at=now,
            who=who or (caller.user.name if caller.user else "nobody"),
            what=what,
            outcome=outcome,
            cluster=cluster,
            words=words,
            host=socket.gethostname(),
            facts={**({"address": caller.address} if caller.address else {}), **(facts or {})},
        )
        try:
            self._append(act)
        except OSError as error:
            why = f"{self.path} cannot be written: {error.strerror or error}"
            advice = "make room there, or do it by the command line"
            raise ActNotRecorded(f"do this ({what})", why, advice) from error
        with self._news:
            self._news.notify_all()

    def log_in(self, caller: Caller, who: str, outcome: Outcome, **facts: str) -> None:
        """Write a log-in down; of failed ones no more than a bound, and how many were left out.

        A full disk keeps nobody out: who logs in may be the one to mend that.
        """
        if outcome is not Outcome.DONE and not self._is_within_bound():
            return
        with self._lock:
            left_out, self._left_out = self._left_out, 0
        more = {"in_vain_before_not_listed": str(left_out)} if left_out else {}
        try:
            self.record(caller, "log-in", outcome, facts={**facts, **more}, who=who[:64])
        except ActNotRecorded as error:
            logging.getLogger("pgkeep.audit").warning("%s", error)

    def refused(self, caller: Caller, what: str, cluster: str, words: tuple[str, ...]) -> None:
        """Write down that somebody asked for more than the role covers; within the same bound."""
        if self._is_within_bound():
            self.record(caller, what, Outcome.REFUSED, cluster=cluster, words=words)

    def _is_within_bound(self) -> bool:
        now = self._clock()
        with self._lock:
            self._futile = [t for t in self._futile if (now - t).total_seconds() < _HOUR_S]
            if len(self._futile) >= _FUTILE:
                self._left_out += 1
                return False
            self._futile.append(now)
            return True

    def waiting(self) -> int:
        """Return how many acts are not in a repository yet."""
        return sum(1 for _ in self._unsent())

    def _append(self, act: Act) -> None:
        line = json.dumps(to_builtins(act)).encode() + b"\n"
        if len(line) > _LONGEST:  # a reason or label of the asker's; what happened stays
            short = {**to_builtins(act), "words": [w[:200] for w in act.words[:20]]}
            line = json.dumps(short).encode()[: _LONGEST - 1] + b"\n"
        with self._lock:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line)
                os.fsync(fd)  # before the act itself
            finally:
                os.close(fd)

    def _send_on(self) -> None:
        while True:
            wait: float | None = None
            for act, end in self._unsent():
                if self._closed:
                    return
                try:
                    self._send(act)
                except PgkeepError as error:
                    logging.getLogger("pgkeep.audit").warning("act %s waits: %s", act.id, error)
                    wait = _AGAIN_S
                    break
                self._note_sent(end)
            self._put_away()
            with self._news:
                if self._closed:
                    return
                if wait is not None or not any(True for _ in self._unsent()):
                    self._news.wait(wait)

    def _put_away(self) -> None:
        """Begin a new log when this one is long and all of it is in the repository."""
        with self._lock:
            if self._size() >= _FULL and self._sent() == self._size():
                os.replace(self.path, f"{self.path}.1")
                self._note_sent(0)

    def _size(self) -> int:
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def _unsent(self) -> Iterator[tuple[Act, int]]:
        """Yield acts that no repository has, with where the next begins."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._sent())
                for line in file:
                    if not line.endswith(b"\n"):
                        return  # it is being written
                    act = _decode(line)
                    if act is not None:
                        yield act, file.tell()
        except FileNotFoundError:
            return

    def _sent(self) -> int:
        try:
            return int(self._sent_path.read_text())
        except (FileNotFoundError, ValueError):
            return 0  # from the beginning: a repository takes an act only once

    def _note_sent(self, end: int) -> None:
        replace_file(str(self._sent_path), [str(end).encode()])


def to_repositories(board: Board) -> Record:
    """Return what writes an act to the repositories of a board's config."""

    def record(act: Act) -> None:
        known = act.cluster in board.clusters()
        record_everywhere(board.app(act.cluster if known else None).places, act)

    return record


def _decode(line: bytes) -> Act | None:
    try:
        facts: Any = json.loads(line)
        return convert(facts, Act)
    except ValueError:
        return None  # a line cut off by a power cut says nothing any more
