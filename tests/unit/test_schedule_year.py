"""A leap year of several clusters through decide(), against a calendar that is counted by hand."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from pgkeep.config.sections import ClusterConfig
from pgkeep.config.service import ScheduleConfig
from pgkeep.config.whole import Config
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.schedule.due import Entry, Key, decide
from pgkeep.schedule.windows import is_within
from pgkeep.service.jobs.commands import in_the_way
from pgkeep.service.jobs.job import Job
from pgkeep.service.planning import entries_of
from pgkeep.units import Duration

BEGIN = datetime(2028, 1, 1, tzinfo=UTC)  # a leap year
END = datetime(2029, 1, 1, tzinfo=UTC)
SLOTS = 2  # [service] jobs
SCHEDULES = {
    "shop": ScheduleConfig(
        backup="daily 02:30",
        dump="daily 02:30",
        drill="monthly 1 06:00",
        verify="weekly sun 01:30",
        expire="daily 07:00",
        not_during=["mon-fri 08:00-18:00"],
        jitter=Duration(1800),
        zone="Europe/Berlin",
    ),
    "web": ScheduleConfig(
        backup="weekly sun 02:00",
        drill="monthly last 02:15",
        expire="monthly 30 01:45",
        census="every 6h",
        jitter=Duration(7200),
        zone="America/New_York",
        catch_up=False,
    ),
    "mill": ScheduleConfig(
        backup="0 2 1,15 * mon",
        verify="0 2 29 2 *",
        checklist="daily 01:45",
        not_during=["22:00-02:10", "sat"],
        zone="Australia/Lord_Howe",  # its clock changes by half an hour
    ),
}
HOURS = {"backup": 3.0, "dump": 2.0, "drill": 30.0, "verify": 9.0, "expire": 0.5}


def entries() -> list[Entry]:
    clusters = {name: ClusterConfig(schedule=one) for name, one in SCHEDULES.items()}
    return entries_of(Config(repository=(RepositoryConfig(url="/none"),), clusters=clusters))


def days_of(text: str, day: date) -> bool:
    """Tell whether a schedule names a day: only of the words that are used above."""
    last = monthrange(day.year, day.month)[1]
    return {
        "daily": True,
        "weekly": day.weekday() == 6,
        "monthly 1": day.day == 1,
        "monthly 30": day.day == min(30, last),
        "monthly last": day.day == last,
        "0 2 1,15 * mon": day.day in (1, 15) or day.weekday() == 0,
        "0 2 29 2 *": (day.month, day.day) == (2, 29),
    }[text]


def moments_of(entry: Entry) -> Iterator[datetime]:
    """Yield when an entry is due, counted day by day."""
    text = getattr(SCHEDULES[entry.cluster], entry.kind)
    if text == "every 6h":
        yield from (BEGIN + timedelta(hours=6 * step) for step in range(1, 366 * 4))
        return
    words, _, clock = text.rpartition(" ") if ":" in text else (text, "", "02:00")
    words = words.removesuffix(" sun")
    zone = ZoneInfo(SCHEDULES[entry.cluster].zone)
    for number in range(-1, 368):
        day = BEGIN.date() + timedelta(days=number)
        if days_of(words, day):
            # The first of two; one that is left out comes as much later as the clock jumped.
            moment = datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=zone).astimezone(UTC)
            if BEGIN < moment < END:
                yield moment


@dataclass
class Asked:
    """A job of the schedule."""

    entry: Entry
    due_at: datetime
    by: str
    at: datetime
    began: datetime | None = None
    ended: datetime | None = None
    interrupted: bool = False

    @property
    def job(self) -> Job:
        entry = self.entry
        return Job("", entry.cluster, entry.kind, entry.words, self.by, self.at)

    @property
    def ends(self) -> datetime:
        assert self.began
        return self.began + timedelta(hours=HOURS.get(self.entry.kind, 0.1))


@dataclass
class Year:
    """What a service that is down now and then makes of a year."""

    up: list[tuple[datetime, datetime]]
    settled: dict[Key, datetime] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    open: list[Asked] = field(default_factory=list)
    passed: list[Asked] = field(default_factory=list)  # what was not wanted any more

    def run(self) -> None:
        planned = entries()
        for since, until in self.up:
            now = since
            while now < until:
                now = min(self._step(planned, since, now), until)
            for one in self.open:
                one.ended, one.interrupted = until, True
                self.settled[one.entry.key] = one.due_at - timedelta(seconds=1)
            self.open = []

    def _step(self, planned: list[Entry], since: datetime, now: datetime) -> datetime:
        for one in [one for one in self.open if one.began and one.ends <= now]:
            one.ended = now
            self.open.remove(one)
        busy = {one.entry.key for one in self.open}
        decision = decide(planned, self.settled, busy, since, now)
        for due in (*decision.passed_over, *decision.start):
            assert due.due_at > self.settled.get(due.entry.key, BEGIN - timedelta(days=1))
            self.settled[due.entry.key] = due.due_at
        self.passed += [Asked(due.entry, due.due_at, due.by, now) for due in decision.passed_over]
        new = [Asked(due.entry, due.due_at, due.by, now) for due in decision.start]
        self.asked += new
        self.open += new
        for one in self.open:
            running = [other.job for other in self.open if other.began]
            if not one.began and not in_the_way(one.job, running) and len(running) < SLOTS:
                one.began = now
        ahead = [one.ends for one in self.open if one.began]
        assert decision.look_again
        assert min(decision.look_again, *ahead, END) > now
        return min(decision.look_again, *ahead, END)

    def is_up(self, moment: datetime) -> datetime:
        """Return the moment, or when the service is up again."""
        return min((max(since, moment) for since, until in self.up if until > moment), default=END)


def free_from(year: Year, entry: Entry, moment: datetime, own: list[Asked]) -> datetime:
    """Return when nothing keeps an entry from its start any more, by looking again and again."""
    while True:
        found = year.is_up(moment)
        while is_within(entry.not_during, found, entry.zone):
            found = found.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for one in own:
            if one.at < found and (one.ended is None or one.ended > found):
                found = one.ended or END
        if found == moment:
            return found
        moment = found


def uptimes(seed: int) -> list[tuple[datetime, datetime]]:
    """Return when the service is up: now and then it is away for minutes, or for weeks."""
    chance, found, moment = Random(seed), [], BEGIN
    while moment < END:
        until = min(END, moment + timedelta(hours=chance.expovariate(1 / 400)))
        found.append((moment, until))
        moment = until + timedelta(hours=chance.choice([0.01, 1, 7, 30, 500]))
    return found


@pytest.mark.parametrize("seed", [None, 1])
def test_in_a_leap_year_nothing_collides_runs_twice_or_is_forgotten(seed: int | None) -> None:
    year = Year([(BEGIN, END)] if seed is None else uptimes(seed))
    year.run()
    for entry in entries():
        own = [one for one in year.asked if one.entry.key == entry.key]
        due = list(moments_of(entry))
        assert {one.due_at for one in own} <= set(due), entry
        for one, following in pairwise(own):
            assert one.due_at < following.due_at or (
                one.interrupted and one.due_at == following.due_at
            )
            assert one.ended
            assert one.ended <= following.at
        for moment in due:
            check_not_forgotten(year, entry, moment, own)
    check_collisions(year.asked)
    assert {one.entry.key for one in year.asked} == {entry.key for entry in entries()}


def check_not_forgotten(year: Year, entry: Entry, moment: datetime, own: list[Asked]) -> None:
    """Check that what was due at a moment was asked for as soon as nothing stood in its way."""
    wanted = free_from(year, entry, moment + entry.delay, own)
    if wanted >= END:
        return
    passed = [one for one in year.passed if one.entry.key == entry.key]
    settled = sorted([*own, *passed], key=lambda one: one.at)
    found = next((one for one in settled if one.due_at >= moment), None)
    assert found, (entry.key, moment)
    assert found.at == wanted, (entry.key, moment, found.at, wanted)
    if found in passed:
        # It could not start before the service was away.
        assert wanted in [since for since, _ in year.up]
        assert not entry.catch_up


def check_collisions(asked: list[Asked]) -> None:
    ran = sorted((one for one in asked if one.began), key=lambda one: one.began or END)
    for number, one in enumerate(ran):
        assert one.began
        assert one.began >= one.due_at + one.entry.delay
        beside = [
            other for other in ran[max(0, number - 20) : number] if (other.ended or END) > one.began
        ]
        assert len(beside) < SLOTS
        assert not in_the_way(one.job, [other.job for other in beside])
