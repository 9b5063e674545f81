"""The one way in which the API and the page have something done: rights, check, record, start."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from pgkeep.api.asking.commands import Asked, check
from pgkeep.api.asking.values import Bounds
from pgkeep.api.audit import Audit
from pgkeep.api.errors import BadRequest, NotAllowed, NotConfirmed, NotLoggedIn, TooBusy
from pgkeep.api.rights import NEEDS
from pgkeep.api.sessions import Caller
from pgkeep.api.users import User
from pgkeep.errors import PgkeepError
from pgkeep.repository.acts.act import Outcome
from pgkeep.service.board import BY_ITSELF, Board
from pgkeep.service.jobs.commands import shows_rows
from pgkeep.service.jobs.job import Job, JobRun

_MOST_JOBS: Final = 200  # asked for and not over: each costs a record, and later a process
_HIDDEN: Final = "(hidden)"
_FIRST_USER: Final = "make the first user: pgkeep user add NAME --role admin"


class Acting:
    """Has commands run for users, as far as their roles go, and writes down what was asked."""

    def __init__(self, board: Board, audit: Audit) -> None:
        self.board = board
        self.audit = audit

    def start(self, caller: Caller, cluster: str, words: Sequence[str], confirm: str = "") -> Job:
        """Start a command as a job.

        `confirm` is the cluster's name as the user typed it, for what destroys or changes the
        live server. Raise NotLoggedIn, NotAllowed, NotConfirmed, BadRequest, NoSuchCluster.
        """
        if cluster not in self.board.clusters():
            self.board.health(cluster)  # raises NoSuchCluster
        asked = self.check(caller, words, cluster)
        if asked.confirm and confirm != cluster:
            what = f"run {' '.join(asked.words)}"
            raise NotConfirmed(what, "it takes the cluster's name, typed", f"type {cluster}")
        user = require(caller, asked.act)
        if sum(run.job.by not in BY_ITSELF for run in self.board.under_way()) >= _MOST_JOBS:
            why = f"{_MOST_JOBS} that were asked for wait or run already"
            raise TooBusy("start one more job", why, "wait for them, or cancel some")
        # Written down first: whatever happens then, it is known who asked.
        self.audit.record(caller, asked.act, Outcome.STARTED, cluster=cluster, words=asked.words)
        try:
            return self.board.start(cluster, asked.words, user.name)
        except PgkeepError as error:
            self.audit.record(
                caller,
                asked.act,
                Outcome.FAILED,
                cluster=cluster,
                words=asked.words,
                facts={"error": str(error)[:500]},
            )
            raise

    def check(self, caller: Caller, words: Sequence[str], cluster: str = "") -> Asked:
        """Return a command as it would run, if this caller may run it. Raise why not."""
        asked = check(words, self.bounds())
        self.permit(caller, asked.act, cluster, asked.words)
        if asked.target_directory:
            check_place(asked.target_directory, self.bounds().restore_directories)
        return asked

    def seen(self, caller: Caller, run: JobRun) -> JobRun:
        """Return a job as the caller may see it: of those that show rows, perhaps none of them."""
        if not shows_rows(run.job) or (caller.user and caller.user.may("undo")):
            return run
        words = _without_conditions(run.job.words)
        error = run.error and {**run.error, "message": _HIDDEN, "hint": ""}
        return replace(run, job=replace(run.job, words=words), report=None, error=error)

    def log(self, caller: Caller, id: str, offset: int = 0) -> tuple[str, int]:
        """Return a piece of a job's log, and where the next begins. Raise NoSuchJob, NotAllowed."""
        job = self.board.job(id).job
        require(caller, "undo" if shows_rows(job) else "look")
        return self.board.log(id, offset)

    def cancel(self, caller: Caller, id: str) -> JobRun:
        """Ask a job to stop. Raise NoSuchJob, NotLoggedIn, NotAllowed."""
        run = self.board.job(id)
        self.permit(caller, "jobs-cancel", run.job.cluster)
        facts = {"job": id, "of": run.job.by}
        self.audit.record(
            caller,
            "jobs-cancel",
            Outcome.DONE,
            cluster=run.job.cluster,
            words=run.job.words,
            facts=facts,
        )
        self.board.cancel(id)
        return self.seen(caller, self.board.job(id))

    def permit(
        self, caller: Caller, act: str, cluster: str = "", words: tuple[str, ...] = ()
    ) -> User:
        """Return the user if an act is covered; write down who was refused. Raise why."""
        try:
            return require(caller, act)
        except NotAllowed:
            if act != "look":
                self.audit.refused(caller, act, cluster, words)
            raise

    @contextmanager
    def noted(self, caller: Caller, what: str, facts: dict[str, str]) -> Iterator[None]:
        """Write down that something of the service's own is changed, before and after."""
        self.audit.record(caller, what, Outcome.STARTED, facts=facts)
        try:
            yield
        except PgkeepError as error:
            failed = {**facts, "error": str(error)[:500]}
            self.audit.record(caller, what, Outcome.FAILED, facts=failed)
            raise
        self.audit.record(caller, what, Outcome.DONE, facts=facts)

    def bounds(self) -> Bounds:
        """Return what the config says about where commands may reach."""
        config = self.board.config.config
        directories = tuple(map(os.path.normpath, config.service.restore_directories))
        repositories = tuple(one.name for one in config.repository if one.name)
        return Bounds(directories, repositories)


def _without_conditions(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the SQL in it, which quotes values of rows."""
    before = ("", *words)
    pairs = zip(before, words, strict=False)
    return tuple(
        f"--where={_HIDDEN}"
        if word.startswith("--where=")
        else (_HIDDEN if last == "--where" else word)
        for last, word in pairs
    )


def require(caller: Caller, act: str) -> User:
    """Return the user if the role covers an act. Raise NotLoggedIn or NotAllowed."""
    user = caller.user
    if user is None:
        raise NotLoggedIn(f"do this ({act})", "nobody is logged in", "log in, or send a token")
    if user.may(act):
        return user
    if user.anonymous:
        why = "there are no users yet, so nobody may do more than look"
        raise NotAllowed(f"do this ({act})", why, _FIRST_USER)
    needed = NEEDS.get(act)
    why = f"it takes role {needed}, and {user.name} is {user.role}" if needed else "nobody may"
    raise NotAllowed(f"do this ({act})", why, "ask an admin: pgkeep user list shows who is one")


def check_place(path: str, allowed: Sequence[str]) -> None:
    """Refuse a folder that a symbolic link takes elsewhere. Restore itself refuses full ones."""
    real = os.path.realpath(path)
    if not any(real.startswith(os.path.realpath(top).rstrip("/") + "/") for top in allowed):
        advice = "name a new folder there"
        raise BadRequest(f"restore into {path}", f"it leads to {real}, which is elsewhere", advice)
