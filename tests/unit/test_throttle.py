"""Workers that step back: a rate that processes share, and their priorities."""

import ctypes
import os
import time
from dataclasses import dataclass, field

import pytest

from pgkeep.workers import throttle
from pgkeep.workers.pool import light_main, make_pool
from pgkeep.workers.throttle import CannotStepBack, SharedRate, check_step_back, step_back


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    now: float = 1000.0
    naps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def rate(self, bytes_per_second: int | None) -> SharedRate:
        return SharedRate(bytes_per_second, clock=self, sleep=self.sleep)


def test_no_limit_takes_no_time() -> None:
    clock = Clock()
    for limit in (0, None):
        clock.rate(limit).take(1 << 40)
    assert clock.naps == []


def test_bytes_come_at_the_rate_from_the_beginning() -> None:
    clock = Clock()
    rate = clock.rate(1000)
    begun, read = clock.now, 0
    for size in (50, 400, 1, 2000, 8, 0, 941):
        rate.take(size)
        read += size
        assert read <= (clock.now - begun + 0.1) * 1000 + 0.01
    assert clock.now - begun == pytest.approx(3.4 - 0.1)


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    rate = clock.rate(1000)
    rate.take(100)
    clock.now += 3600
    begun = clock.now
    for _ in range(10):
        rate.take(100)
    assert clock.now - begun == pytest.approx(1.0 - 0.1)


def test_small_pieces_wait_seldom() -> None:
    clock = Clock()
    rate = clock.rate(1_000_000)
    for _ in range(12):
        rate.take(8192)
    assert clock.naps == []  # the first tenth of a second is there at once


def test_a_long_wait_can_be_given_up() -> None:
    clock = Clock()
    rate = clock.rate(1000)
    rate.take(60_000, lambda: clock.now > 1001)
    assert clock.now == pytest.approx(1001, abs=0.25)
    assert max(clock.naps) <= 0.2


def test_a_killed_worker_does_not_stop_the_others() -> None:
    rate = SharedRate(1 << 30)
    rate._lock.acquire()
    begun = time.monotonic()
    rate.take(1)
    assert 0.5 < time.monotonic() - begun < 10


rates: list[SharedRate] = []


def begin(rate: SharedRate) -> None:
    rates.append(rate)


def read_for(seconds: float, size: int) -> int:
    """Take as fast as allowed; return how many bytes that were."""
    read, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        rates[0].take(size)
        read += size
    return read


def test_two_processes_share_a_rate_fairly() -> None:
    rate, seconds = 50_000_000, 1.5
    with make_pool(2, begin, (SharedRate(rate),)) as pool:
        with light_main():
            list(pool.map(read_for, [0.05, 0.05], [1000, 1000]))  # both are up
            futures = [pool.submit(read_for, seconds, size) for size in (1 << 18, 1 << 18)]
        shares = [future.result() for future in futures]
    ahead = 0.1  # what may be read at once in the beginning
    assert sum(shares) == pytest.approx(rate * (seconds + ahead), rel=0.1)
    assert min(shares) > 0.4 * sum(shares)


def priorities(nice: int, ionice: str) -> tuple[int, int]:
    check_step_back(nice, ionice)
    step_back(nice, ionice)
    number = throttle.syscall_number("Linux", os.uname().machine) + 1
    told = ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_long(1), ctypes.c_long(0))
    return os.nice(0), told


@pytest.mark.parametrize(
    ("nice", "ionice", "told"),
    [
        pytest.param(7, "idle", 3 << 13, id="idle"),
        pytest.param(0, "best-effort", 2 << 13 | 7, id="best-effort"),
    ],
)
def test_a_worker_has_stepped_back(nice: int, ionice: str, told: int) -> None:
    before = os.nice(0)
    with make_pool(1, begin, (SharedRate(0),)) as pool, light_main():
        assert pool.submit(priorities, nice, ionice).result() == (before + nice, told)
    assert os.nice(0) == before


def test_nobody_steps_back_unasked() -> None:
    before = os.nice(0)
    check_step_back(0, "")
    step_back(0, "")
    assert os.nice(0) == before


@pytest.mark.parametrize(
    ("system", "machine"), [("Linux", "m68k"), ("Darwin", "x86_64"), ("FreeBSD", "amd64")]
)
def test_an_unknown_machine_is_refused(system: str, machine: str) -> None:
    with pytest.raises(OSError, match=f"pgkeep knows no way on {system} {machine}"):
        throttle.syscall_number(system, machine)


def test_what_cannot_be_had_is_told_before_any_work() -> None:
    with pytest.raises(CannotStepBack) as refused:
        check_step_back(40, "idle")
    assert str(refused.value) == (
        "nothing was begun: nice = 40 cannot be had here: it goes from 0 to 19"
    )
    assert refused.value.hint == "take nice out of the configuration, or give --rate instead"
