"""One pg_dump from its start to its end: its files are seen, handed out, and it is held back."""

import select
from pathlib import Path
from typing import Final

from pgkeep.logical.capture.backlog import Backlog
from pgkeep.logical.capture.follow import Follower
from pgkeep.logical.capture.holes import Holes
from pgkeep.logical.capture.process_group import ProcessGroup
from pgkeep.logical.capture.workers import Workers

_SHORTEST_S: Final = 0.01  # between two looks at growing files: 4 MiB of a fast pg_dump
_LONGEST_S: Final = 0.1  # while nothing happens


class Run:
    """One process being followed. Call `step` until all is done, `wait` in between; `close` it."""

    def __init__(self, group: ProcessGroup, directory: Path, first_number: int, limit: int) -> None:
        self.backlog: Final = Backlog(first_number)
        self.holes: Final = Holes(directory)
        self._group = group
        self._directory = directory
        self._limit = limit
        self._follower = Follower(directory, self.backlog)
        self._ended = False
        self._news = False
        self._pause = _SHORTEST_S

    def close(self) -> None:
        self._follower.close()
        self.holes.close()

    def step(self, workers: Workers) -> bool:
        """Do all that can be done without waiting; tell whether everything is done.

        A process that ends badly has written in vain: what of it is not read is left alone.
        """
        if not self._ended and self._group.has_ended():
            self._ended = True
            if not self._group.failed:
                self._follower.end()
        if self._group.failed:
            self.take_answers(workers)
            return not workers.busy()
        grown = self._ended or self._follower.look()
        taken = self.take_answers(workers)
        # Small files wait for company, as long as more of them come.
        hurry = self._ended or self._group.stopped or not grown
        while workers.free() and (task := self.backlog.next_task(anything=hurry)):
            workers.give(task, self._directory)
        self._hold_back(workers)
        self._news = grown or taken
        return self._ended and not self.backlog

    def wait(self, workers: Workers) -> None:
        """Return when there may be something to do."""
        answers = workers.waitable()
        if answers is None:
            return
        self._pause = _SHORTEST_S if self._news else min(2 * self._pause, _LONGEST_S)
        poll = select.poll()
        for file in (*answers, *self._follower.waitable(), *self._group.waitable()):
            poll.register(file, select.POLLIN)
        poll.poll(1000 * self._pause)

    def take_answers(self, workers: Workers) -> bool:
        """Note what was read by now; tell whether anything was."""
        news = False
        for task, everything in workers.answers():
            news = True
            for part, taken in zip(task, everything, strict=True):
                self.backlog.take(part, taken)
                if part.final:
                    self.holes.forget(part.name)
                else:
                    self.holes.punch(part.name, part.begin, taken.end)
        return news

    def _hold_back(self, workers: Workers) -> None:
        """Stop a process that is too far ahead, until half of that is read."""
        if not self._group.stopped:
            if self.backlog.size > self._limit:
                self._group.stop()
        # Or until nothing can be read: many files that are too short to be cut.
        elif self.backlog.size < self._limit // 2 or not workers.busy():
            self._group.go_on()
