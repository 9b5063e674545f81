"""The board: which job waits for which, what is remembered, and looks that hang."""

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from pgkeep.app import App
from pgkeep.errors import PgkeepError
from pgkeep.health.condition import Kind
from pgkeep.health.forecast import Sample
from pgkeep.health.health import Health, State
from pgkeep.health.look import unknown
from pgkeep.places import Place
from pgkeep.schedule.due import Key
from pgkeep.service.board import Board, NoSuchCluster
from pgkeep.service.errors import ServiceFailed
from pgkeep.service.jobs.job import JobState
from pgkeep.service.jobs.ledger import FILE, Ledger, NoSuchJob
from pgkeep.service.serve import alone
from pgkeep.service.watching import AT_ONCE, HANGS, QUICK, Watch
from pgkeep.service.weighing import Weighing
from support.simulated import Clock, Simulated
from support.wait import wait_for

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def jobs(clock: Clock) -> Simulated:
    return Simulated(clock, lambda _: timedelta(hours=1))


def write_config(folder: Path, *clusters: str) -> Path:
    sections = "".join(f'[clusters.{name}]\nconninfo = "host=/nowhere"\n' for name in clusters)
    config = folder / "pgkeep.toml"
    config.write_text(f'[repository]\nurl = "{folder}/none"\n{sections}')
    return config


@pytest.fixture
def open_board(tmp_path: Path, clock: Clock, jobs: Simulated) -> Callable[..., Board]:
    def make(*clusters: str) -> Board:
        config = write_config(tmp_path, *(clusters or ("shop", "web")))
        return Board(App(str(config)).loaded, tmp_path, lambda *_: jobs, clock)

    return make


def test_what_people_ask_for_runs_in_its_turn(
    open_board: Callable[..., Board], jobs: Simulated
) -> None:
    board = open_board()
    backup = board.start("shop", ["backup"], "anna")
    dump = board.start("shop", ["dump", "create"], "anna")
    drill = board.start("shop", ["drill"], "anna")
    other = board.start("web", ["backup"], "ben")
    assert [job.id for job in jobs.running] == [backup.id, drill.id, other.id]
    assert board.job(dump.id).state is JobState.WAITING
    jobs.end(backup.id)
    assert [job.id for job in jobs.running] == [drill.id, other.id, dump.id]
    assert [run.job.id for run in board.jobs("shop")] == sorted(
        (backup.id, dump.id, drill.id), reverse=True
    )
    board.close()


def test_what_people_ask_for_is_not_all_done_at_once(
    open_board: Callable[..., Board], jobs: Simulated
) -> None:
    board = open_board()
    asked = [board.start("shop", ["check"], "anna").id for _ in range(30)]
    assert [job.id for job in jobs.running] == asked[:20]
    jobs.end(asked[3])
    assert board.job(asked[20]).state is JobState.RUNNING
    board.close()


def test_a_job_that_waits_is_cancelled_without_ever_running(
    open_board: Callable[..., Board], jobs: Simulated
) -> None:
    board = open_board()
    first = board.start("shop", ["backup"], "anna")
    second = board.start("shop", ["backup"], "anna")
    board.cancel(second.id)
    jobs.end(first.id)
    assert board.job(second.id).state is JobState.CANCELLED
    assert [job.id for _, job in jobs.started] == [first.id]
    board.close()


def test_unknown_clusters_and_jobs_are_refused(open_board: Callable[..., Board]) -> None:
    board = open_board()
    with pytest.raises(NoSuchCluster, match=r"find cluster \.\./etc"):
        board.start("../etc", ["backup"], "anna")
    for act in (board.job, board.log, board.cancel):
        with pytest.raises(NoSuchJob):
            act("../../etc/passwd")
    board.close()


def test_a_log_is_read_piece_by_piece(open_board: Callable[..., Board], tmp_path: Path) -> None:
    board = open_board()
    id = board.start("shop", ["backup"], "anna").id
    assert board.log(id) == ("", 0)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / f"{id}.log").write_text("one\n")
    text, offset = board.log(id)
    assert (text, board.log(id, offset), board.log(id, 2)[0]) == ("one\n", ("", offset), "e\n")
    board.close()


def test_old_jobs_go_with_their_files_also_when_the_record_was_lost(
    open_board: Callable[..., Board], clock: Clock, jobs: Simulated, tmp_path: Path
) -> None:
    board = open_board()
    old, running = (board.start(name, ["backup"], "anna").id for name in ("shop", "web"))
    jobs.end(old)
    (tmp_path / "jobs").mkdir()
    for name in (f"{old}.log", f"{old}.json", f"{running}.log", "of-a-lost-record.log"):
        path = tmp_path / "jobs" / name
        path.write_text("said")
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    board.forget_old()
    assert len(list((tmp_path / "jobs").iterdir())) == 4
    clock.now = NOW + timedelta(days=91)
    board.forget_old()
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [f"{running}.log"]
    assert [run.job.id for run in board.jobs()] == [running]
    board.close()


def test_a_record_that_cannot_be_written_makes_nothing_due_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("DROP TABLE settled")
    other.close()
    ledger.settle(Key("shop", "backup"), NOW)
    assert ledger.settled() == {Key("shop", "backup"): NOW}
    assert "cannot be written" in ledger.notes[0]
    ledger.close()


def test_a_record_that_cannot_be_kept_is_in_memory(
    open_board: Callable[..., Board], tmp_path: Path
) -> None:
    (tmp_path / FILE).mkdir()  # as root nothing but this cannot be opened
    board = open_board()
    assert "cannot be kept" in board.ledger.notes[0]
    id = board.start("shop", ["backup"], "anna").id
    assert board.job(id).state is JobState.RUNNING
    board.close()


def test_a_record_in_use_is_not_put_aside(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE, isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        ledger = Ledger(tmp_path)
        assert "cannot be kept" in ledger.notes[0]
        ledger.close()
    other.close()
    assert not (tmp_path / "jobs.damaged").exists()


class Looks:
    """Looks of which some hang until the test's end."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = hanging
        self.begun: list[str] = []
        self.free = Event()

    def __call__(self, cluster: str) -> Health:
        self.begun.append(cluster)
        if cluster in self.hanging:
            self.free.wait(600)
        if cluster == "bug":
            raise ZeroDivisionError("oops")
        if cluster == "away":
            raise ServiceFailed("look", "it is away")
        return unknown(cluster, "seen")


def cause(board: Board, cluster: str) -> str:
    health = board.health(cluster)
    return health.conditions[0].cause if health else ""


def test_looks_that_hang_hold_up_no_other(
    open_board: Callable[..., Board], clock: Clock, tmp_path: Path
) -> None:
    hanging = [f"a{number}" for number in range(AT_ONCE + 2)]
    board = open_board(*hanging, "shop")
    looks = Looks(*hanging)
    watch = Watch(board, looks)
    try:
        watch.go_on(clock.now)
        wait_for(lambda: len(looks.begun) == AT_ONCE, what="the first looks")
        watch.go_on(clock.now)
        assert "shop" not in looks.begun
        clock.now += QUICK
        watch.go_on(clock.now)
        wait_for(lambda: cause(board, "shop") == "seen", what="the look at shop")
        # What hangs is said to be unknown, and not begun twice.
        clock.now += HANGS
        watch.go_on(clock.now)
        health = board.health("a0")
        assert health
        assert (health.state, health.conditions[0].kind) == (State.UNKNOWN, Kind.UNKNOWN)
        assert "has not answered for" in cause(board, "a0")
        assert looks.begun.count("a0") == 1
        # A cluster may leave the config while a look at it hangs.
        board.reload(App(str(write_config(tmp_path, "shop"))).loaded)
        clock.now += HANGS
        watch.go_on(clock.now)
        assert board.clusters() == ["shop"]
    finally:
        looks.free.set()
    board.close()


def test_looks_go_on_after_the_clock_was_set_back(
    open_board: Callable[..., Board], clock: Clock
) -> None:
    board = open_board("hangs", "shop")
    looks = Looks("hangs")
    watch = Watch(board, looks)
    try:
        clock.now += timedelta(days=1000)
        watch.go_on(clock.now)
        wait_for(lambda: cause(board, "shop") == "seen", what="the first look")
        clock.now = NOW
        watch.go_on(clock.now)
        clock.now += HANGS
        watch.go_on(clock.now)
        wait_for(lambda: looks.begun.count("shop") == 2, what="the second look")
        assert "has not answered for" in cause(board, "hangs")
    finally:
        looks.free.set()
    board.close()


def test_a_look_that_is_asked_for_during_another_is_made(
    open_board: Callable[..., Board], clock: Clock
) -> None:
    board = open_board("slow")
    looks = Looks("slow")
    watch = Watch(board, looks)
    try:
        board.look_again("slow")
        watch.go_on(clock.now)
        assert board.asked_to_look() == set()
        board.look_again("slow")
    finally:
        looks.free.set()
    wait_for(lambda: cause(board, "slow") == "seen", what="the first look")
    watch.go_on(clock.now)
    wait_for(lambda: looks.begun == ["slow", "slow"], what="the second look")
    board.close()


def test_what_cannot_be_removed_stops_nothing(
    open_board: Callable[..., Board], clock: Clock, tmp_path: Path
) -> None:
    board = open_board()
    for name in ("a.log", "b.log"):
        (tmp_path / "jobs" / name).mkdir(parents=True)  # as root no file is safe
        os.utime(tmp_path / "jobs" / name, (0, 0))
    clock.now += timedelta(days=91)
    board.forget_old()
    assert len(list((tmp_path / "jobs").iterdir())) == 2
    board.close()


def test_each_cluster_is_weighed_four_times_a_day(
    open_board: Callable[..., Board], clock: Clock
) -> None:
    asked: list[str] = []

    def weigh(app: App) -> list[tuple[Place, Sample]]:
        asked.append(app.cluster_name)
        if app.cluster_name == "away":
            raise ServiceFailed("weigh", "it is away")
        return [(app.place, Sample(clock.now.timestamp(), 7, None))]

    def go_on(weighing: Weighing, hours: float) -> list[str]:
        """Return which clusters were weighed when it went on so much later."""
        clock.now += timedelta(hours=hours)
        asked.clear()
        weighing.go_on(clock.now)
        weighing.settle()
        return asked

    board = open_board("away", "shop")
    weighing = Weighing(board, weigh)
    assert go_on(weighing, 0) == ["away", "shop"]
    assert go_on(weighing, 5.9) == []  # what is away has its turn, too
    assert go_on(weighing, 0.1) == ["away", "shop"]
    found = board.ledger.sizes("shop", NOW)
    assert {url.rpartition("/")[2]: len(samples) for url, samples in found.items()} == {"none": 2}
    # Another service goes by what is on record.
    weighing = Weighing(board, weigh)
    assert go_on(weighing, 1) == ["away"]
    assert go_on(weighing, 5) == ["shop"]
    assert go_on(weighing, -99) == ["away", "shop"]  # the clock was set back
    board.close()


def test_a_look_that_fails_is_told(open_board: Callable[..., Board], clock: Clock) -> None:
    board = open_board("away", "bug", "shop")
    watch = Watch(board, Looks())
    watch.go_on(clock.now)
    wait_for(lambda: all(board.health(name) for name in board.clusters()), what="all looks")
    assert cause(board, "away") == "cannot look: it is away"
    assert "pgkeep has a bug: ZeroDivisionError" in cause(board, "bug")
    with pytest.raises(PgkeepError):
        board.look_again("none")
    board.close()


def test_a_state_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(ServiceFailed) as caught, alone(state):
        pass
    said = f"cannot keep the state of the service: others may write to {state}"
    assert (str(caught.value), caught.value.hint) == (
        said,
        f"look who changed what is in it, then: chmod go-w {state}",
    )
    state.chmod(0o755)
    with alone(state):
        (state / "jobs.sqlite").touch(0o644)
        ledger = Ledger(state)
        ledger.settle(Key("main", "backup"), datetime.now(UTC))
        modes = {file.name: file.stat().st_mode & 0o077 for file in state.iterdir()}
        ledger.close()
    assert not any(modes.values()), modes
