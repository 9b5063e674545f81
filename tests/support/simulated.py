"""The service by a clock that the test sets: jobs take as long as they are told, nothing waits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pgkeep.app import App, Loaded
from pgkeep.health.forecast import Sample
from pgkeep.health.health import Health
from pgkeep.health.look import Sizes, unknown
from pgkeep.places import Place
from pgkeep.service.board import Board
from pgkeep.service.jobs.commands import in_the_way
from pgkeep.service.jobs.job import Job, JobRun, JobState
from pgkeep.service.jobs.running import Changed
from pgkeep.service.serve import Face, Service, Tells


@dataclass
class Clock:
    """Says the time that it was set to."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Simulated:
    """A runner without processes. It fails the test when jobs run that must not meet."""

    clock: Clock
    takes: Callable[[Job], timedelta]
    started: list[tuple[datetime, Job]] = field(default_factory=list)
    _running: dict[str, tuple[Job, datetime, Changed]] = field(default_factory=dict)

    @property
    def running(self) -> list[Job]:
        return [job for job, _, _ in self._running.values()]

    def start(self, job: Job, changed: Changed) -> None:
        assert not in_the_way(job, self.running)
        self.started.append((self.clock.now, job))
        self._running[job.id] = (job, self.clock.now, changed)

    def cancel(self, id: str) -> bool:
        self.end(id, JobState.CANCELLED)
        return True

    def close(self) -> None:
        for id in list(self._running):
            self.end(id, JobState.INTERRUPTED)

    def end(self, id: str, state: JobState = JobState.DONE) -> None:
        job, began_at, changed = self._running.pop(id)
        changed(JobRun(job, state, began_at, self.clock.now))

    def go_on(self) -> None:
        """End the jobs whose time is over."""
        for job, began_at, _ in list(self._running.values()):
            if began_at + self.takes(job) <= self.clock.now:
                self.end(job.id)

    def forget(self) -> None:
        """Lose all jobs, as a power cut does."""
        self._running.clear()


@dataclass
class SimulatedParts:
    """A service that looks at nothing."""

    jobs: Simulated
    teller: Callable[[], Tells]

    def runner(self, _config: str, _directory: Path) -> Simulated:
        return self.jobs

    def look(self, app: App, _sizes: Sizes) -> Health:
        return unknown(app.cluster_name, "nobody looks")

    def weigh(self, _app: App) -> Sequence[tuple[Place, Sample]]:
        return ()

    def tells(self, _loaded: Loaded, _state_directory: Path) -> Tells:
        return self.teller()

    def faces(self, _board: Board) -> Sequence[Face]:
        return ()


class Nobody:
    """Tells nobody."""

    def tell(self, healths: list[Health], now: datetime) -> None:
        pass

    def troubles(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


@dataclass
class World:
    """A host on which services come and go."""

    config: Path
    state: Path
    clock: Clock
    jobs: Simulated
    said: list[str] = field(default_factory=list)
    teller: Callable[[], Tells] = lambda: Nobody()  # noqa: PLW0108 - it stands below

    def service(self) -> Service:
        parts = SimulatedParts(self.jobs, self.teller)
        self.state.mkdir(exist_ok=True)
        return Service(
            lambda: App(str(self.config)).loaded, self.state, parts, self.said.append, self.clock
        )

    def run(self, service: Service, until: datetime, step: timedelta) -> None:
        """Let a service go on, whose loop is as slow as a step."""
        while self.clock.now < until:
            self.jobs.go_on()
            assert service.go_on() <= 10
            self.clock.now += step

    def stop(self, service: Service) -> None:
        service.stop()
        service.run()

    def kill(self, service: Service) -> None:
        """End a service without a word, and its jobs with it."""
        self.jobs.forget()
        service.board.ledger.close()
