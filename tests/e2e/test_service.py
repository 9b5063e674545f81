"""`pgkeep serve`: jobs on time and after downtime, kill -9, signals, clusters that hang."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep
from support.service import Service, config_text, settled_long_ago
from support.wait import wait_for

SLOW = ("--rate", "40kB/s", "--type", "full")  # a backup that runs until it is stopped


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Return a function that makes the service of a config; it is killed in the end."""
    made: list[Service] = []

    def make(text: str) -> Service:
        config = tmp_path / "pgkeep.toml"
        config.write_text(text)
        made.append(Service(config, tmp_path / "state"))
        return made[-1]

    yield make
    for service in made:
        service.stop(signal.SIGKILL)


@pytest.fixture
def kept(
    new_cluster: NewCluster, tmp_path: Path, serve: Callable[[str], Service]
) -> tuple[ScratchCluster, Service]:
    """A cluster that archives, and its service with a schedule, not started."""
    pg = new_cluster(start=False)
    text = config_text(
        tmp_path / "repository",
        tmp_path / "state",
        {"main": pg.conninfo},
        '[clusters.main.schedule]\nbackup = "monthly"\n',
    )
    service = serve(text)
    pg.configure(**archive_settings(service.config))
    pg.start()
    run_pgkeep("init", config=service.config).ok()
    return pg, service


def states(service: Service) -> list[str]:
    return [run["state"] for run in service.jobs()]


@only(18)
def test_what_was_missed_is_made_up_for_and_status_tells(
    kept: tuple[ScratchCluster, Service],
) -> None:
    _, service = kept
    settled_long_ago(service.state, "backup", days=40)
    service.start()
    run = service.wait_for_job("backup", "done")
    assert run["job"]["by"] == "catch-up"
    assert run["job"]["words"] == ["backup"]
    assert "report" not in run  # lists have none: it may be long
    whole = service.run("jobs", "show", "--json", run["job"]["id"]).ok().json
    kept_backups = service.run("list", "--json").ok().json["backups"]
    assert whole["report"]["id"] == kept_backups[0]["id"]
    assert service.run("jobs", "show", run["job"]["id"]).ok().stdout.count("state     done") == 1

    def protected() -> bool:
        found = service.run("status", "--json").json
        return bool(found["by_service"] and found["clusters"][0]["state"] == "protected")

    wait_for(protected, 60, service.said)
    # What is settled is not done again by another service.
    assert service.stop() == 0
    service.start()
    upcoming = service.run("jobs", "list", "--json").ok().json["upcoming"]
    assert [one["kind"] for one in upcoming] == ["backup"]
    assert len(service.jobs("backup")) == 1


@only(17)
def test_a_job_of_a_killed_service_is_interrupted_and_due_again(
    kept: tuple[ScratchCluster, Service],
) -> None:
    _, service = kept
    service.start()
    started = service.run("jobs", "run", "--json", "--", "backup", *SLOW).ok().json
    id = started["job"]["id"]
    wait_for(lambda: states(service) == ["running"], what="running")
    process = job_process(service.config)
    service.stop(signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{process}"), 30, "the job to end with the service")
    service.start()
    (after,) = service.jobs("backup")
    assert (after["job"]["id"], after["state"]) == (id, "interrupted")
    # The cluster is free for the next one.
    assert service.run("jobs", "run", "--follow", "--", "backup").ok()
    assert states(service) == ["done", "interrupted"]


def job_process(config: Path) -> int:
    """Return the process of the backup that the service runs."""

    def find() -> list[int]:
        return [
            int(entry)
            for entry in os.listdir("/proc")
            if entry.isdecimal() and _is_backup(entry, str(config).encode())
        ]

    return int(wait_for(find, 30, "the job's process")[0])


def _is_backup(process: str, config: bytes) -> bool:
    try:
        words = Path("/proc", process, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return {config, b"--json", b"backup"} <= set(words) and not {b"serve", b"jobs"} & set(words)


@only(18)
def test_signals(kept: tuple[ScratchCluster, Service]) -> None:
    _, service = kept
    service.start()
    # A second service with this state is refused, and says who has it.
    second = run_pgkeep("serve", "--no-page", config=service.config)
    assert second.exit == 9
    assert "serves with" in second.stderr
    # A config that is no good leaves the old one in force.
    good = service.config.read_text()
    service.config.write_text(good.replace("monthly", "sometimes"))
    service.send(signal.SIGHUP)
    wait_for(lambda: "the old config stays in force" in service.said, what=service.said)
    service.config.write_text(good.replace("monthly", "never"))
    service.send(signal.SIGHUP)
    wait_for(lambda: "the config was read again" in service.said, what=service.said)
    assert service.run("jobs", "list", "--json").ok().json["upcoming"] == []
    # SIGTERM stops what runs and says so.
    service.run("jobs", "run", "--", "backup", *SLOW).ok()
    wait_for(lambda: states(service) == ["running"], what="running")
    assert service.stop() == 0
    service.start()
    assert states(service) == ["interrupted"]


@only(18)
def test_jobs_are_cancelled_limited_and_refused(kept: tuple[ScratchCluster, Service]) -> None:
    _, service = kept
    limit = 'backup = "monthly"\ntime_limit = "60s"\n'
    service.config.write_text(service.config.read_text().replace('backup = "monthly"\n', limit))
    service.start()
    first = service.run("jobs", "run", "--json", "--", "backup", *SLOW).ok().json["job"]["id"]
    wait_for(lambda: states(service) == ["running"], what="running")
    second = service.run("jobs", "run", "--json", "--", "expire", "--dry-run").ok().json
    assert second["state"] == "waiting"  # it needs the cluster for itself
    service.run("jobs", "cancel", second["job"]["id"]).ok()
    service.run("jobs", "cancel", first).ok()
    wait_for(lambda: states(service) == ["cancelled", "cancelled"], 60, "cancelled")
    refused = service.run("jobs", "run", "--", "serve")
    assert refused.exit == 9
    assert "it is no command that the service runs" in refused.stderr
    missing = service.run("jobs", "show", "20260101-000000-00000000")
    assert "no job on record has this id" in missing.stderr


@only(18)
def test_a_lost_or_damaged_record_of_jobs_does_no_harm(
    kept: tuple[ScratchCluster, Service],
) -> None:
    _, service = kept
    service.start()
    service.run("jobs", "run", "--follow", "--", "backup").ok()
    service.stop()
    (service.state / "jobs.sqlite").write_bytes(b"\0nonsense" * 1000)
    (service.state / "alerts.json").write_bytes(b"{")
    service.start()
    assert "the record of jobs was damaged" in service.said
    assert service.jobs() == []
    # What is in the repository tells that nothing was missed.
    wait_for(lambda: service.run("status", "--json").json["by_service"], 60, service.said)
    assert service.jobs() == []


@only(18)
def test_a_server_that_hangs_holds_up_no_other(
    kept: tuple[ScratchCluster, Service], tmp_path: Path
) -> None:
    pg, service = kept
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = {f"away{n}": f"host=127.0.0.1 port={port} user=x" for n in range(12)}
        clusters = {"main": pg.conninfo, **hanging}
        text = config_text(tmp_path / "repository", tmp_path / "state", clusters)
        service.config.write_text(text)
        service.start()

        def looked() -> bool:
            found = service.run("--cluster", "main", "status", "--json").json
            assert found["by_service"]
            return bool(found["clusters"][0]["state"] == "in danger")  # it has no backup yet

        # Twelve others were to be looked at before it, each for as long as libpq waits.
        wait_for(looked, 60, service.said)
        run = service.run("--cluster", "main", "jobs", "run", "--follow", "--", "backup").ok()
        assert "done" in run.stdout


def test_without_a_service_commands_say_how_to_start_one(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(config_text(tmp_path / "repository", tmp_path / "state", {}))
    said = run_pgkeep("jobs", "list", config=config)
    assert said.exit == 9
    assert "start it with: pgkeep serve" in said.stderr


def test_two_hundred_clusters_in_one_config(
    tmp_path: Path, serve: Callable[[str], Service]
) -> None:
    clusters = {f"c{n:03}": "host=/nowhere dbname=postgres" for n in range(200)}
    schedule = "".join(f'[clusters.{name}.schedule]\nbackup = "daily 02:00"\n' for name in clusters)
    text = config_text(tmp_path / "none", tmp_path / "state", clusters, schedule)
    service = serve(text.replace('look_every = "1s"', 'look_every = "1h"')).start()

    def looked() -> bool:
        found = service.run("status", "--json").json
        assert found["by_service"]
        kinds = [[one["kind"] for one in cluster["conditions"]] for cluster in found["clusters"]]
        return len(kinds) == 200 and all("repository-away" in found for found in kinds)

    wait_for(looked, 120, service.said)
    assert len(service.run("jobs", "list", "--json").ok().json["upcoming"]) == 200
