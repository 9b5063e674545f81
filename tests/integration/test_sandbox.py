"""Sandboxes over real archives: what they show, what they leave alone, and that they go away."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from pgkeep.model.target import Action, RecoveryTarget, parse_target
from pgkeep.restore.start import Ending
from pgkeep.sandbox.request import SandboxRequest
from pgkeep.sandbox.sandbox import Sandbox, open_sandbox
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


@contextmanager
def sandbox(
    scene: Scene,
    to: str = "latest",
    *,
    action: str = "promote",
    inclusive: bool = True,
    **more: Any,
) -> Iterator[Sandbox]:
    recovery = RecoveryTarget(parse_target(to, UTC), inclusive, action=Action(action))
    request = SandboxRequest(
        recovery,
        directory=str(scene.place / "sandboxes"),
        jobs=1,
        fetch_command=scene.request().fetch_command,
        environment=tuple(scene.environment.items()),
        **more,
    )
    with open_sandbox(scene.folder, request) as found:
        yield found


def entries(session: Session) -> str:
    rows = session.query("SELECT string_agg(entry, ' ' ORDER BY entry) FROM public.ledger")
    return str(rows[0][0])


def test_a_sandbox_shows_exactly_the_moment_asked_for(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    lsn = scene.lsn()
    scene.enter("c")
    scene.archive()
    archived = sorted(Path(scene.folder.store.url).rglob("wal/**/*"))
    with sandbox(scene, f"lsn:{lsn}", inclusive=False) as found:
        with found.session() as session:
            assert entries(session) == "a b"
            session.query("INSERT INTO public.ledger VALUES ('mine')")
        found.stop()
        assert not found.is_running()
        checked = found.binaries.tool("pg_checksums")
        assert Path(checked).exists()
        found.start()
        with found.session() as session:
            assert entries(session) == "a b mine"
            assert session.query("SHOW listen_addresses")[0][0] == ""
            assert session.query("SHOW archive_mode")[0][0] == "off"
        assert found.outcome.ending is Ending.PROMOTED
        measured = found.measured
        assert measured.wal_files >= 1
        assert measured.wal_bytes > 0
        assert measured.newest_change is not None
        assert measured.seconds >= measured.restore_seconds + measured.recovery_seconds
    assert list((scene.place / "sandboxes").iterdir()) == []
    assert sorted(Path(scene.folder.store.url).rglob("wal/**/*")) == archived
    assert scene.entries() == "a b c"


@only(17)
def test_a_sandbox_that_waits_at_its_target_can_only_be_read(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    lsn = scene.lsn()
    scene.enter("c")
    scene.archive()
    with sandbox(scene, f"lsn:{lsn}", inclusive=False, action="pause") as found:
        assert found.is_read_only
        for _ in range(2):
            with found.session() as session:
                assert entries(session) == "a b"
                assert session.query("SELECT pg_is_in_recovery()")[0][0]
            found.stop()
            found.start()
