"""Jobs as processes: how they end, what they leave, and who may hold up whom."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from pgkeep.service.jobs.job import Job, JobRun, JobState
from pgkeep.service.jobs.running import OwnProcesses, _has_ended, _take_report, log_path
from pgkeep.service.jobs.saying import lines_of
from support.apis import GOLDEN
from support.small_disk import small_disk
from support.wait import wait_for


@dataclass
class Ran:
    """A runner and all that it said of its jobs."""

    runner: OwnProcesses
    directory: Path
    heard: list[JobRun] = field(default_factory=list)

    def start(self, *words: str, limit_s: float = 600) -> None:
        now = datetime.now(UTC)
        job = Job("one", "main", words[0], words, "anna", now, time_limit_s=limit_s)
        self.runner.start(job, self.heard.append)

    def end(self) -> JobRun:
        wait_for(lambda: self.heard and self.heard[-1].state.is_over, 120, str(self.heard))
        self.runner.close()
        return self.heard[-1]

    @property
    def log(self) -> str:
        return log_path(self.directory, "one").read_text()


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    repository = tmp_path / "repository"
    shutil.copytree(GOLDEN / "v1" / "plain", repository)
    config = tmp_path / "pgkeep.toml"
    config.write_text(
        f'[repository]\nurl = "{repository}"\n[clusters.main]\nconninfo = "host=/nowhere"\n'
    )
    return Ran(OwnProcesses(str(config), tmp_path / "jobs"), tmp_path / "jobs")


def test_a_job_that_is_done_leaves_its_report(ran: Ran) -> None:
    ran.start("verify")
    run = ran.end()
    assert (run.state, run.exit_status, run.error) == (JobState.DONE, 0, None)
    assert run.report
    assert run.began_at
    assert run.ended_at
    assert ran.heard[0].state is JobState.RUNNING
    assert ran.log.startswith("$ pgkeep --cluster main verify\n")
    assert '{"progress"' not in ran.log


def test_a_job_that_fails_says_why(ran: Ran) -> None:
    ran.start("backup", "--type", "full")
    run = ran.end()
    assert run.state is JobState.FAILED
    assert run.report is None
    assert run.error
    assert "/nowhere" in run.error["message"]


def test_a_job_is_stopped_at_its_limit(ran: Ran) -> None:
    ran.start("verify", limit_s=0.01)
    assert ran.end().state is JobState.TIMED_OUT


def test_a_job_is_cancelled(ran: Ran) -> None:
    ran.start("verify")
    assert ran.runner.cancel("one")
    assert not ran.runner.cancel("another")
    assert ran.end().state is JobState.CANCELLED
    assert not ran.runner.cancel("one")


def test_whoever_closes_waits_until_the_end_of_jobs_is_known(ran: Ran) -> None:
    ran.start("verify")
    ran.runner.close()
    assert ran.heard[-1].state is JobState.INTERRUPTED


def test_a_full_disk_costs_the_log_and_not_the_job(ran: Ran) -> None:
    log_path(ran.directory, "one").symlink_to("/dev/full")
    ran.start("verify")
    assert ran.end().state is JobState.DONE


def test_a_full_disk_costs_the_report_and_not_the_job(ran: Ran) -> None:
    with small_disk(ran.directory, "64k") as disk:
        (disk / "other").write_bytes(bytes(64 << 10))
        ran.start("verify")
        run = ran.end()
    assert (run.state, run.exit_status, run.report) == (JobState.DONE, 0, None)


def test_files_that_cannot_be_made_cost_their_content_and_not_the_job(ran: Ran) -> None:
    for name in ("one.json", "one.log"):
        (ran.directory / name).mkdir()
    ran.start("verify")
    run = ran.end()
    assert (run.state, run.report) == (JobState.DONE, None)


def test_a_report_goes_into_the_record_and_leaves_no_file(ran: Ran) -> None:
    ran.start("verify")
    assert ran.end().report
    assert [path.name for path in ran.directory.iterdir()] == ["one.log"]


@pytest.mark.parametrize(
    ("printed", "kept", "stays"),
    [
        pytest.param(b"", None, False, id="nothing"),
        pytest.param(b'{"file": "a\\udcff", "n": NaN}', None, True, id="no JSON"),
        pytest.param(b'{"file": "a\\udcff"}', {"file": "a?"}, False, id="a name that is no UTF-8"),
        pytest.param(b'{"n": 1' + b"0" * 5000 + b"}", None, True, id="a number without end"),
        pytest.param(b'{"a": ' * 100_000, None, True, id="too deep"),
        pytest.param(b"\xff", None, True, id="no text"),
        pytest.param(b'["a"]', None, True, id="no object"),
        pytest.param(b'{"a": "' + b"x" * (5 << 20) + b'"}', None, True, id="longer than is kept"),
    ],
)
def test_whatever_a_job_prints_its_end_can_be_recorded(
    tmp_path: Path, printed: bytes, kept: object, *, stays: bool
) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(printed)
    found = _take_report(path)
    assert found == kept
    msgspec.json.encode(found)
    assert path.exists() == stays


def test_a_report_that_would_fill_the_disk_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    assert _take_report(path) is None
    assert not path.exists()


def test_a_job_that_prints_without_end_fills_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with (
        open(path, "wb") as out,
        subprocess.Popen(["head", "-c", "70000000", "/dev/zero"], stdout=out) as process,
    ):
        wait_for(lambda: _has_ended(process.pid, out), what="the end")
        assert _has_ended(process.pid, out)
    assert path.stat().st_blocks == 0
    assert _take_report(path) is None


def test_a_host_without_another_thread_leaves_no_job_running(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", none)
    ran.start("verify")
    run = ran.end()
    assert run.state is JobState.FAILED
    assert run.error
    assert "can't start new thread" in run.error["message"]


def test_a_listener_that_fails_leaves_no_job_running(tmp_path: Path, ran: Ran) -> None:
    def heard(run: JobRun) -> None:
        ran.heard.append(run)
        if not run.state.is_over and len(ran.heard) > 1:
            raise ZeroDivisionError("oops")

    now = datetime.now(UTC)
    ran.runner.start(Job("one", "main", "verify", ("verify",), "anna", now), heard)
    assert ran.end().state is JobState.FAILED


def test_a_program_that_cannot_be_started_fails(ran: Ran) -> None:
    ran.start("verify", "x" * (1 << 20))  # longer than an argument may be
    run = ran.end()
    assert run.state is JobState.FAILED
    assert run.error
    assert run.error["code"] == "job-not-started"


def said_by(script: str) -> list[str]:
    """Return what is read of a shell script, whatever it leaves running."""
    with subprocess.Popen(
        ["sh", "-c", script], stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        ended: Callable[[], bool] = lambda: process.poll() is not None  # noqa: E731
        return list(lines_of(process.stderr.fileno(), ended))


def test_all_lines_are_read() -> None:
    assert said_by("printf 'one\\ntwo\\n\\nlast' >&2") == ["one", "two", "", "last"]
    assert said_by("printf '\\377\\n' >&2") == ["\N{REPLACEMENT CHARACTER}"]
    assert said_by(":") == []


def test_what_a_job_leaves_running_does_not_keep_it_open(tmp_path: Path) -> None:
    left = tmp_path / "left"
    try:
        assert said_by(f"echo said >&2; sleep 600 & echo $! > {left}") == ["said"]
    finally:
        subprocess.run(["kill", left.read_text().strip()], check=True)


def test_a_line_without_an_end_is_cut() -> None:
    found = said_by("head -c 3000000 /dev/zero | tr '\\0' x >&2")
    assert max(map(len, found)) <= 1 << 20
