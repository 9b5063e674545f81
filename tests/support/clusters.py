"""Clusters for tests, made quickly: initdb runs once per kind, every test gets a copy."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from pgkeep.server.binaries import Binaries, PgToolsMissing, find_binaries, installed
from pgkeep.server.scratch import ScratchCluster

REQUIRED = (15, 17, 18)  # what a developer's machine and CI must have
OPTIONAL = (14, 16)  # tested where they are installed


def versions_here() -> tuple[int, ...]:
    """Return the versions to test: the required ones, and any other that is installed."""
    extra = {found.major for found in installed()} & set(OPTIONAL)
    return tuple(sorted({*REQUIRED, *extra}))


def only(*majors: int) -> pytest.MarkDecorator:
    """Run a test that uses `pg` or `new_cluster` on these versions instead of all of them."""
    ids = [f"pg{major}" for major in majors]
    return pytest.mark.parametrize("postgres_version", majors, indirect=True, ids=ids)


def require_binaries(major: int) -> Binaries:
    """Return the programs of a version; skip the test without them, but fail where CI runs."""
    try:
        return find_binaries(major)
    except PgToolsMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test PostgreSQL {major}: {missing}")
        pytest.skip(f"NOT TESTED on PostgreSQL {major}: {missing}. {missing.hint}")


class NewCluster(Protocol):
    """Makes clusters of the tested version; they are removed after the test."""

    def __call__(
        self,
        name: str = "main",
        *,
        settings: Mapping[str, str | int | None] | None = None,
        wal_segsize: int | None = 1,
        checksums: bool = True,
        initdb_args: Sequence[str] = (),
        fresh_identity: bool = False,
        start: bool = True,
    ) -> ScratchCluster:
        """Return a running cluster in tmp_path/NAME.

        WAL segments have 1 MiB, so that switching them is cheap; None is PostgreSQL's own 16.
        Clusters of one kind share their system identifier unless `fresh_identity`.
        """
        ...


class Templates:
    """Data directories fresh from initdb, shared by all processes of one test run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, kind: str, make: Callable[[Path], None]) -> Path:
        """Return the template of a kind, made by `make` if no process did so yet."""
        name = hashlib.sha256(kind.encode()).hexdigest()[:16]
        template = self._directory / f"template-{name}"
        if not template.exists():
            attempt = Path(tempfile.mkdtemp(dir=self._directory)) / "data"
            make(attempt)
            try:
                attempt.rename(template)
            except OSError:  # another process was quicker
                shutil.rmtree(attempt)
        return template
