"""Weeks of the service by a clock that is set: clock changes, windows, downtime, kills."""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pgkeep.health.health import Health
from pgkeep.service.jobs.job import Job, JobState
from pgkeep.service.serve import Service
from support.simulated import Clock, Nobody, Simulated, World

BERLIN = ZoneInfo("Europe/Berlin")
STEP = timedelta(minutes=5)
SCHEDULE = """
backup = "daily 02:30"
dump = "daily 04:00"
verify = "weekly sun 05:00"
expire = "daily 07:00"
not_during = ["mon-fri 06:30-18:00"]
zone = "Europe/Berlin"
"""
HOURS = {"backup": 2, "dump": 1, "verify": 3, "expire": 0.5}


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


@pytest.fixture
def at(tmp_path: Path) -> Callable[..., World]:
    def make(now: str, schedule: str = SCHEDULE, more: str = "") -> World:
        config = tmp_path / "pgkeep.toml"
        config.write_text(
            f'[repository]\nurl = "{tmp_path}/none"\n'
            f'[clusters.shop]\nconninfo = "host=/nowhere"\n[clusters.shop.schedule]\n{schedule}\n'
            f'{more}[service]\nlook_every = "1h"\n'
        )
        clock = Clock(local(now))
        jobs = Simulated(clock, lambda job: timedelta(hours=HOURS[job.kind]))
        return World(config, tmp_path / "state", clock, jobs)

    return make


def starts(world: World, cluster: str = "shop") -> list[str]:
    return [
        f"{moment.astimezone(BERLIN):%a %H:%M} {job.kind}"
        for moment, job in world.jobs.started
        if job.cluster == cluster
    ]


def test_a_week_with_a_clock_change(at: Callable[..., World]) -> None:
    world = at("2026-10-22 00:00")
    service = world.service()
    world.run(service, local("2026-10-27 00:00"), STEP)
    world.stop(service)
    assert starts(world) == [
        "Thu 02:30 backup",
        "Thu 04:30 dump",  # when the backup has ended
        "Thu 18:00 expire",  # when the window has
        "Fri 02:30 backup",
        "Fri 04:30 dump",
        "Fri 18:00 expire",
        "Sat 02:30 backup",
        "Sat 04:30 dump",
        "Sat 07:00 expire",
        "Sun 02:30 backup",  # at the first 02:30 of two; it ends at the second 03:30
        "Sun 04:00 dump",
        "Sun 05:00 verify",
        "Sun 08:00 expire",  # when the cluster is its own
        "Mon 02:30 backup",
        "Mon 04:30 dump",
        "Mon 18:00 expire",
    ]
    assert {run.state for run in world.service().board.jobs()} == {JobState.DONE}


def test_downtime_is_made_up_for_once(at: Callable[..., World]) -> None:
    world = at("2026-06-01 00:00")
    service = world.service()
    world.run(service, local("2026-06-02 00:00"), STEP)
    world.stop(service)
    world.jobs.started.clear()
    world.clock.now = local("2026-06-05 20:00")  # three nights later
    service = world.service()
    world.run(service, local("2026-06-06 02:00"), STEP)
    world.stop(service)
    assert starts(world) == ["Fri 20:00 backup", "Fri 22:00 dump", "Fri 23:00 expire"]
    assert {job.by for _, job in world.jobs.started} == {"catch-up"}


def test_downtime_is_passed_over_where_that_is_wanted(at: Callable[..., World]) -> None:
    world = at("2026-06-01 00:00", f"{SCHEDULE}catch_up = false\n")
    service = world.service()
    world.run(service, local("2026-06-02 00:00"), STEP)
    world.stop(service)
    world.jobs.started.clear()
    world.clock.now = local("2026-06-05 20:00")
    service = world.service()
    world.run(service, local("2026-06-06 03:00"), STEP)
    world.stop(service)
    assert starts(world) == ["Sat 02:30 backup"]
    assert sum("passed over: shop" in text for text in world.said) == 3


@pytest.mark.parametrize("end", [World.stop, World.kill])
def test_what_the_end_of_the_service_interrupts_is_done_again(
    at: Callable[..., World], end: Callable[[World, Service], None]
) -> None:
    world = at("2026-06-01 00:00")
    service = world.service()
    world.run(service, local("2026-06-01 03:00"), STEP)
    end(world, service)
    service = world.service()
    assert [run.state for run in service.board.jobs()] == [JobState.INTERRUPTED]
    world.run(service, local("2026-06-01 06:00"), STEP)
    assert starts(world) == ["Mon 02:30 backup", "Mon 03:00 backup", "Mon 05:00 dump"]
    # What somebody has cancelled is not.
    world.jobs.cancel(service.board.under_way()[0].job.id)
    world.stop(service)
    service = world.service()
    world.run(service, local("2026-06-01 06:30"), STEP)
    world.stop(service)
    assert len(world.jobs.started) == 3


def test_a_job_whose_end_is_missing_on_record_is_not_due_again(at: Callable[..., World]) -> None:
    world = at("2026-06-01 00:00", 'backup = "daily 02:30"\nzone = "Europe/Berlin"')
    service = world.service()
    world.run(service, local("2026-06-02 12:00"), STEP)
    second, first = service.board.jobs()
    service.board.ledger.put(replace(first, state=JobState.RUNNING))  # as a full disk left it
    world.kill(service)
    world.jobs.started.clear()
    service = world.service()
    assert [run.state for run in service.board.jobs()] == [second.state, JobState.INTERRUPTED]
    world.run(service, local("2026-06-02 18:00"), STEP)
    world.stop(service)
    assert world.jobs.started == []


def test_a_config_that_is_read_again(at: Callable[..., World]) -> None:
    world = at("2026-06-06 00:00", 'backup = "never"')
    service = world.service()
    good = world.config.read_text()
    world.config.write_text(good.replace("never", "at times"))
    service.reload()
    world.run(service, world.clock.now + STEP, STEP)
    assert "error: the old config stays in force, but jobs fail by the new one" in world.said[-1]
    assert service.board.troubles == [world.said[-1].removeprefix("error: ")]
    world.config.write_text(good.replace("never", "every 1h"))
    service.reload()
    world.run(service, world.clock.now + timedelta(hours=2), STEP)
    world.stop(service)
    assert [(job.kind, job.by) for _, job in world.jobs.started] == [("backup", "schedule")]
    assert service.board.troubles == []


def test_new_times_count_from_when_they_are_read(at: Callable[..., World]) -> None:
    schedule = 'backup = "daily 02:30"\nzone = "Europe/Berlin"\n'
    world = at("2026-06-06 00:00", schedule)
    service = world.service()
    world.run(service, local("2026-06-06 12:00"), STEP)
    new = 'backup = "daily 10:00"\nverify = "weekly sat 05:00"\nzone = "America/New_York"\n'
    world.config.write_text(world.config.read_text().replace(schedule, new))
    service.reload()
    world.run(service, local("2026-06-07 00:00"), STEP)
    world.stop(service)
    assert starts(world) == ["Sat 02:30 backup", "Sat 16:00 backup"]


def test_what_is_overdue_stays_so_when_its_times_change(at: Callable[..., World]) -> None:
    schedule = SCHEDULE.replace("mon-fri", "mon-sun")
    world = at("2026-06-01 00:00", schedule)
    service = world.service()
    world.run(service, local("2026-06-01 07:30"), STEP)
    assert starts(world) == ["Mon 02:30 backup", "Mon 04:30 dump"]  # expire waits for a window
    world.config.write_text(world.config.read_text().replace("daily 07:00", "daily 06:00"))
    service.reload()
    world.run(service, local("2026-06-01 19:00"), STEP)
    world.stop(service)
    assert starts(world)[2:] == ["Mon 18:00 expire"]


def test_a_cluster_may_leave_the_config_while_its_job_runs(at: Callable[..., World]) -> None:
    more = '[clusters.web]\nconninfo = "host=/nowhere"\n'
    world = at("2026-06-01 00:00", SCHEDULE, more)
    service = world.service()
    world.run(service, local("2026-06-01 03:00"), STEP)
    assert [job.kind for job in world.jobs.running] == ["backup"]
    world.config.write_text(world.config.read_text().replace("clusters.shop", "clusters.store"))
    service.reload()
    world.run(service, local("2026-06-01 05:00"), STEP)
    assert [run.state for run in service.board.jobs("shop")] == [JobState.DONE]
    assert starts(world, "store") == ["Mon 04:00 dump"]
    world.stop(service)


def test_a_clock_that_was_ahead_at_the_start_stops_nothing(at: Callable[..., World]) -> None:
    world = at("2031-06-01 00:00", 'backup = "every 6h"')
    service = world.service()
    world.run(service, world.clock.now + timedelta(hours=12), STEP)
    assert len(world.jobs.started) == 2
    world.clock.now = local("2026-06-01 01:00")
    world.jobs.started.clear()
    world.run(service, world.clock.now + timedelta(hours=24), STEP)
    world.stop(service)
    assert len(world.jobs.started) == 4


def test_a_round_that_fails_ends_no_service(at: Callable[..., World]) -> None:
    world = at("2026-06-01 00:00")
    rounds = 0

    class Breaks(Nobody):
        def tell(self, healths: list[Health], now: datetime) -> None:
            nonlocal rounds
            rounds += 1
            service.board.wake()
            if rounds > 1:
                service.stop()
            raise ZeroDivisionError("oops")

    world.teller = Breaks
    service = world.service()
    service.run()
    assert rounds == 2
    assert "error: a round of the service failed: ZeroDivisionError: oops" in world.said


def test_a_clock_that_is_set_back_stops_nothing(at: Callable[..., World]) -> None:
    world = at("2026-06-01 00:00", 'backup = "every 6h"')
    service = world.service()
    world.clock.now = local("2031-01-01 00:00")
    world.run(service, world.clock.now + timedelta(hours=6), STEP)
    assert len(world.jobs.started) == 2
    world.clock.now = local("2026-06-01 01:00")
    world.jobs.started.clear()
    world.run(service, world.clock.now + timedelta(hours=24), STEP)
    world.stop(service)
    assert len(world.jobs.started) == 4


def test_a_job_that_hangs_holds_up_no_other_cluster(at: Callable[..., World]) -> None:
    others = [f"c{number}" for number in range(3)]
    more = "".join(
        f'[clusters.{name}]\nconninfo = "host=/nowhere"\n'
        f'[clusters.{name}.schedule]\nbackup = "daily 02:30"\nzone = "Europe/Berlin"\n'
        for name in others
    )
    world = at("2026-06-06 00:00", SCHEDULE, more)

    def takes(job: Job) -> timedelta:
        return timedelta(days=9) if job.cluster in ("c0", "shop") else timedelta(minutes=5)

    world.jobs.takes = takes
    service = world.service()
    world.run(service, local("2026-06-06 03:00"), STEP)
    # c0 and c1 begin, as [service] jobs says; c2 when c1 ends; shop then; both hang from there.
    assert starts(world, "c2") == ["Sat 02:35 backup"]
    world.run(service, local("2026-06-07 03:00"), STEP)
    world.stop(service)
    assert starts(world) == ["Sat 02:40 backup"]
    assert starts(world, "c1") == ["Sat 02:30 backup", "Sun 02:30 backup"]
    assert starts(world, "c2")[1:] == ["Sun 02:30 backup"]


def test_many_clusters_for_many_days_take_no_more_memory(at: Callable[..., World]) -> None:
    more = "".join(
        f'[clusters.c{number}]\nconninfo = "host=/nowhere"\n'
        f'[clusters.c{number}.schedule]\nbackup = "every 24h"\njitter = "1h"\n'
        for number in range(199)
    )
    world = at("2026-06-01 00:00", SCHEDULE, more)
    text = world.config.read_text().replace('look_every = "1h"', 'look_every = "1d"\njobs = 64')
    world.config.write_text(text.replace("[service]", '[service]\nkeep_jobs = "1d"'))
    world.jobs.takes = lambda _: timedelta()
    service = world.service()
    world.run(service, local("2026-06-03 00:00"), timedelta(hours=2))
    taken = []
    tracemalloc.start()
    try:
        for day in (4, 5):
            world.run(service, local(f"2026-06-{day:02} 00:00"), timedelta(hours=2))
            world.jobs.started.clear()
            world.said.clear()
            gc.collect()
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(service.board.ledger.newest(limit=10_000)) < 2.5 * 200
    assert service.board.under_way() == []
    assert taken[-1] - taken[0] < 200_000  # less than 500 bytes for each job that was run
    world.stop(service)
