"""Jobs of the service: which commands, which beside which, and what is remembered of them."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgkeep.config.sections import ClusterConfig
from pgkeep.config.service import ScheduleConfig
from pgkeep.config.whole import Config
from pgkeep.health.forecast import Sample
from pgkeep.health.health import State
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.schedule.due import Key
from pgkeep.service.jobs.commands import KINDS, Kind, NotAJob, in_the_way, kind_of
from pgkeep.service.jobs.following import Follower
from pgkeep.service.jobs.job import Job, JobRun, JobState, Progressed
from pgkeep.service.jobs.ledger import FILE, KEPT, Ledger, NoSuchJob
from pgkeep.service.judging import TELLING, with_jobs
from pgkeep.service.planning import entries_of
from support.healths import a_health

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def job(id: str, *words: str, cluster: str = "shop", minutes: int = 0) -> Job:
    asked = NOW + timedelta(minutes=minutes)
    return Job(id, cluster, kind_of(words).name, words, "anna", asked)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_known_by_its_words(kind: Kind) -> None:
    assert kind_of((*kind.words, "--dry-run")) is kind


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("rm", "-rf", "/"),
        ("serve",),
        ("key", "remove", "1"),
        ("backup", "--config", "/tmp/evil.toml"),
        ("backup", "--config=/tmp/evil.toml"),
        ("backup", "--cluster", "other"),
        ("backup", "--json"),
        ("restore", "--target-dir", "/x\0y"),
    ],
)
def test_other_commands_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(NotAJob):
        kind_of(words)


def test_what_may_run_beside_what() -> None:
    backup = job("1", "backup")
    assert in_the_way(job("2", "backup"), [backup]) is backup
    assert in_the_way(job("2", "dump", "create"), [backup]) is backup
    assert in_the_way(job("2", "expire"), [backup]) is backup
    assert in_the_way(job("2", "restore", "--target-dir", "/x"), [backup]) is None
    assert in_the_way(job("2", "backup", cluster="other"), [backup]) is None
    expire = job("3", "expire")
    assert in_the_way(job("2", "restore", "--target-dir", "/x"), [expire]) is expire
    assert in_the_way(job("2", "drill"), [job("4", "verify")]) is None


@pytest.mark.parametrize(
    ("schedule", "repositories", "planned"),
    [
        pytest.param("expire", ("",), "expire: expire", id="the only one"),
        pytest.param(
            "expire",
            ("near", "far", "cold"),
            "expire: expire --repository near; expire far: expire --repository far; "
            "expire cold: expire --repository cold",
            id="each has its policy",
        ),
        pytest.param("copy", ("near",), "", id="nowhere to copy to"),
        pytest.param("copy", ("near", "far"), "copy far: copy --to far", id="what expires stays"),
        pytest.param(
            "expire copy",
            ("near", "far"),
            "expire: expire --repository near; expire far: expire --repository far; "
            "copy far: copy --to far --policy",
            id="what has expired there is not brought back",
        ),
        pytest.param("verify", ("near", "far"), "verify: verify", id="the first alone"),
    ],
)
def test_what_a_schedule_runs_where(
    schedule: str, repositories: tuple[str, ...], planned: str
) -> None:
    times: dict[str, Any] = dict.fromkeys(schedule.split(), "daily 07:00")
    config = Config(
        repository=tuple(RepositoryConfig(url=f"/{n}", name=n) for n in repositories),
        clusters={"shop": ClusterConfig(schedule=ScheduleConfig(**times))},
    )
    found = [f"{entry.kind}: {' '.join(entry.words)}" for entry in entries_of(config)]
    assert "; ".join(found) == planned
    assert all(kind_of(entry.words) for entry in entries_of(config))


def test_a_run_is_remembered_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    run = JobRun(
        job("a", "backup"),
        JobState.FAILED,
        NOW,
        NOW + timedelta(seconds=2),
        80,
        {"id": "x", "deep": [1, None]},
        {"code": "wal-gap"},
        Progressed("copying", 5, 10, "bytes", "orders", 1.5),
    )
    ledger.put(run)
    ledger.close()
    assert Ledger(tmp_path).get("a") == run
    with pytest.raises(NoSuchJob):
        Ledger(tmp_path).get("b")


def test_the_newest_come_first_and_old_ones_go(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(5):
        ledger.put(JobRun(job(str(number), "backup", minutes=number), JobState.DONE))
    ledger.put(JobRun(job("w", "backup", minutes=-9), JobState.RUNNING))
    ledger.put(JobRun(job("o", "backup", cluster="other", minutes=9), JobState.DONE))
    assert [run.job.id for run in ledger.newest("shop", 3)] == ["4", "3", "2"]
    assert ledger.newest()[0].job.id == "o"
    assert [run.job.id for run in ledger.not_over()] == ["w"]
    assert sorted(ledger.forget_before(NOW + timedelta(minutes=3))) == ["0", "1", "2"]
    assert [run.job.id for run in ledger.not_over()] == ["w"]  # what runs is never forgotten


def test_of_many_runs_the_newest_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(6):
        for cluster in ("shop", "web"):
            id = f"{cluster}{number}"
            ledger.put(JobRun(job(id, "backup", cluster=cluster, minutes=number), JobState.DONE))
    ledger.put(JobRun(job("x", "drill"), JobState.DONE))
    assert sorted(ledger.forget_before(NOW, most=4)) == ["shop0", "shop1", "web0", "web1"]
    assert len(ledger.newest()) == 9


def test_a_run_of_a_clock_that_was_ahead_hides_no_newer_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(JobRun(job("ahead", "backup", minutes=10**7), JobState.DONE))
    ledger.put(JobRun(job("now", "backup"), JobState.FAILED))
    assert [run.job.id for run in ledger.newest_of_each(TELLING)] == ["now"]


def test_what_the_disk_does_not_take_is_remembered_and_written_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(JobRun(job("a", "backup"), JobState.RUNNING))
    with sqlite3.connect(tmp_path / FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be written now
        ledger.put(JobRun(job("a", "backup"), JobState.DONE, report={"id": "x"}))
        ledger.put(JobRun(job("b", "drill"), JobState.FAILED))
        assert ledger.get("a").state is JobState.DONE
        assert [run.state for run in ledger.newest()] == [JobState.FAILED, JobState.DONE]
        assert {run.job.id for run in ledger.newest_of_each(TELLING)} == {"a", "b"}
        other.execute("ROLLBACK")
    other.close()
    ledger.put(JobRun(job("c", "verify"), JobState.DONE))
    ledger.close()
    again = Ledger(tmp_path)
    assert {run.job.id for run in again.newest()} == {"a", "b", "c"}
    assert again.not_over() == []


def test_a_list_of_jobs_is_short_however_much_they_reported(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    run = JobRun(job("a", "undo", "find"), JobState.DONE, report={"rows": "x" * 1_000_000})
    ledger.put(run)
    (listed,) = ledger.newest()
    assert listed == replace(run, report=None)
    assert "report" not in listed.listed()
    assert ledger.newest_of_each(TELLING) == [listed]
    assert ledger.get("a") == run


def test_of_each_cluster_and_kind_the_newest_that_tells_something(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for id, words, cluster, state in [
        ("a", "backup", "shop", JobState.DONE),
        ("b", "backup", "shop", JobState.FAILED),
        ("c", "backup", "shop", JobState.CANCELLED),
        ("d", "drill", "shop", JobState.NO),
        ("e", "backup", "other", JobState.DONE),
        ("f", "backup", "other", JobState.RUNNING),
    ]:
        ledger.put(JobRun(job(id, words, cluster=cluster, minutes=ord(id)), state))
    assert {run.job.id for run in ledger.newest_of_each(TELLING)} == {"b", "d", "e"}
    assert ledger.newest_of_each(()) == []


def test_what_is_settled_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.settle(Key("shop", "backup"), NOW)
    ledger.settle(Key("shop", "backup"), NOW + timedelta(days=1))
    assert Ledger(tmp_path).settled() == {Key("shop", "backup"): NOW + timedelta(days=1)}


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    ledger = Ledger(tmp_path)
    ledger.put(JobRun(job("a", "backup"), JobState.DONE))
    assert ledger.get("a").state is JobState.DONE
    assert bool(ledger.notes) == bool(content)  # an empty file is an empty database


def test_a_file_of_another_version_is_put_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "version 99" in Ledger(tmp_path).notes[0]
    assert (tmp_path / "jobs.damaged").exists()


def test_sizes_are_remembered_for_a_year(tmp_path: Path) -> None:
    def stored(days: float, size: int, free: int | None = None) -> Sample:
        return Sample((NOW - timedelta(days=days)).timestamp(), size, free)

    ledger = Ledger(tmp_path)
    for cluster, repository, sample in (
        ("shop", "/near", stored(395, 1)),
        ("shop", "/near", stored(1, 2, 7)),
        ("shop", "/far", stored(1, 1 << 60)),
        ("web", "/near", stored(0, 3)),
        ("shop", "/near", stored(0, 4)),
    ):
        ledger.add_size(cluster, repository, sample)
    ledger.close()
    ledger = Ledger(tmp_path)
    found = ledger.sizes("shop", NOW - KEPT)
    assert found["/near"] == [stored(395, 1), stored(1, 2, 7), stored(0, 4)]
    assert found["/far"] == [stored(1, 1 << 60)]
    assert ledger.sizes("shop", NOW) == {"/near": [stored(0, 4)]}
    ledger.add_size("shop", "/far", stored(-6, 5))  # six days later
    assert [one.size for one in ledger.sizes("shop", NOW - 2 * KEPT)["/near"]] == [2, 4]
    ledger.close()
    assert ledger.sizes("shop", NOW) == {}  # a face that is late
    assert "cannot be read" in ledger.notes[0]


def test_progress_is_followed() -> None:
    follower = Follower()
    assert follower.take(
        '{"progress": {"phase": "copying", "total": 100, "unit": "files"}}', 0
    ) == ("copying")
    assert follower.take('{"progress": {"done": 25, "detail": "orders"}}', 5) is None
    assert follower.progress == Progressed("copying", 25, 100, "files", "orders", 15.0)
    assert follower.take('{"progress": {"note": "slow disk"}}', 6) == "slow disk"
    assert follower.take("plain words", 6) == "plain words"
    follower.take('{"progress": {"phase": "waiting", "total": null}}', 7)
    assert follower.progress == Progressed("waiting")


@given(st.text() | st.text().map(lambda text: '{"progress": ' + text), st.floats(0, 1e9))
@example('{"progress": ' + "[" * 100_000, 0)
@example('{"progress": {"done": 1' + "0" * 400 + "}}", 5)
@example('{"progress": {"phase": "a", "total": 1' + "0" * 400 + "}}", 5)
@example('{"progress": {"detail": "a\\udcff"}}', 5)
def test_no_line_disturbs_whoever_follows(line: str, clock: float) -> None:
    follower = Follower()
    text = follower.take(line, clock)
    assert text is None or isinstance(text, str)
    msgspec.json.encode(follower.progress)


def test_a_run_that_is_too_large_is_kept_without_its_report(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    run = JobRun(job("a", "backup"), JobState.DONE, report={"x": "y" * (5 << 20)})
    ledger.put(run)
    assert ledger.get("a") == replace(run, report=None)


def test_what_jobs_of_the_schedule_tell_of_health() -> None:
    error = {"message": "cannot open the repository: it is away", "hint": "pgkeep check"}
    runs = [
        JobRun(job("a", "backup"), JobState.FAILED, NOW, NOW, 80, error=error),
        JobRun(job("b", "verify"), JobState.TIMED_OUT, NOW, NOW, 143),
        JobRun(job("c", "drill"), JobState.NO, NOW, NOW, 3),  # health tells it by itself
        JobRun(job("d", "restore"), JobState.FAILED, NOW, NOW, 2),  # somebody has tried it
        JobRun(job("e", "expire"), JobState.FAILED, NOW, NOW, 2),  # on schedule once
    ]
    found = with_jobs(a_health(), runs, {"backup", "verify", "drill"})
    assert found.state is State.AT_RISK
    assert [(one.subject, one.cause, one.todo) for one in found.conditions] == [
        (
            "backup",
            "the newest backup failed: cannot open the repository: it is away",
            "pgkeep check",
        ),
        (
            "verify",
            "the newest verify took too long and was stopped: exit status 143",
            "pgkeep jobs show b",
        ),
    ]
    assert with_jobs(a_health(), runs[2:], {"backup", "drill"}) == a_health()
