"""Fixtures that every kind of test may use: real clusters, and a place for a repository."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgkeep.server.binaries import Binaries
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, Templates, require_binaries, versions_here
from support.sshd import Sshd, sshd_running

# A shell starts background jobs with SIGINT ignored, and so would be every command under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres: starts real servers (set by the fixtures)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgres_version" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(params=[pytest.param(major, id=f"pg{major}") for major in versions_here()])
def postgres_version(request: pytest.FixtureRequest) -> int:
    """The major version under test; see support.clusters.only() to choose."""
    major: int = request.param
    return major


@pytest.fixture
def binaries(postgres_version: int) -> Binaries:
    """PostgreSQL's programs of the version under test."""
    return require_binaries(postgres_version)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Templates:
    """Where initdb's results are kept for the whole run, by all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return Templates(base if worker_id == "master" else base.parent)


@pytest.fixture
def new_cluster(binaries: Binaries, templates: Templates, tmp_path: Path) -> Iterator[NewCluster]:
    """Makes clusters of the version under test; see support.clusters.NewCluster."""
    with ExitStack() as stack:

        def make(
            name: str = "main",
            *,
            settings: Mapping[str, str | int | None] | None = None,
            wal_segsize: int | None = 1,
            checksums: bool = True,
            initdb_args: Sequence[str] = (),
            fresh_identity: bool = False,
            start: bool = True,
        ) -> ScratchCluster:
            def described(template: Path | None) -> ScratchCluster:
                return ScratchCluster(
                    binaries,
                    tmp_path / name,
                    settings=settings,
                    wal_segsize=wal_segsize,
                    checksums=checksums,
                    initdb_args=initdb_args,
                    template=template,
                )

            template = None
            if not fresh_identity:
                kind = f"{binaries} {wal_segsize} {checksums} {initdb_args}"
                template = templates.get(kind, described(None).initdb)
            cluster = described(template)
            stack.callback(cluster.destroy)
            cluster.create()
            if start:
                cluster.start()
            return cluster

        yield make


@pytest.fixture
def pg(new_cluster: NewCluster) -> ScratchCluster:
    """A running cluster of the version under test, with 1 MiB WAL segments, no archiving."""
    return new_cluster()


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """An OpenSSH server for the whole run of a worker."""
    with sshd_running() as server:
        yield server


@pytest.fixture
def repository_directory(tmp_path: Path) -> Path:
    """An empty place for a repository; nothing is created yet."""
    return tmp_path / "repository"
