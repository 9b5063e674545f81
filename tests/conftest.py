"""Fixtures that every kind of test may use: real clusters, and a place for a repository."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from pgkeep.server.binaries import Binaries
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, Templates, require_binaries, versions_here
from support.fault_proxy import FaultProxy
from support.object_servers import SERVERS, ObjectServer
from support.sshd import Sshd, sshd_running


class BucketPlace(Protocol):
    def __call__(self, scheme: str, **options: str) -> str: ...


# A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and so would be every
# command under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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


@pytest.fixture(scope="session")
def object_server() -> Iterator[Callable[[str], ObjectServer]]:
    """Gives the server for 's3', 'gs' or 'az': one of each for all tests of this worker."""
    running: dict[str, ObjectServer] = {}
    with ExitStack() as stack:

        def server(scheme: str) -> ObjectServer:
            if scheme not in running:
                running[scheme] = stack.enter_context(SERVERS[scheme]())
            return running[scheme]

        yield server


@pytest.fixture
def s3_server(object_server: Callable[[str], ObjectServer]) -> ObjectServer:
    return object_server("s3")


@pytest.fixture(scope="session")
def bucket_address(
    object_server: Callable[[str], ObjectServer], tmp_path_factory: pytest.TempPathFactory
) -> BucketPlace:
    """Gives an address with nothing below its prefix yet, in a bucket of 's3', 'gs' or 'az'."""
    made: dict[str, tuple[str, Path]] = {}

    def place(scheme: str, **options: str) -> str:
        server = object_server(scheme)
        if scheme not in made:
            file = server.credentials(tmp_path_factory.mktemp("secrets") / scheme)
            made[scheme] = (f"test-{os.urandom(6).hex()}", file)
            server.make_bucket(made[scheme][0])
        bucket, file = made[scheme]
        prefix = f"some/{os.urandom(6).hex()}"
        return server.address(bucket, prefix, credentials_file=str(file), **options)

    return place


@pytest.fixture
def s3_proxy(s3_server: ObjectServer) -> Iterator[FaultProxy]:
    """A proxy before the S3 server that can be told to do harm."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy
