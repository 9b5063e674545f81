"""Retention over real backups: what expire keeps is restored, what it let go is refused."""

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from pgkeep.coverage.record import read_record
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.repository import catalog
from pgkeep.restore.target.unreachable import TargetInHole
from pgkeep.retention.delete import delete
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.pins import add_pin
from pgkeep.retention.policy import KeepPolicy
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger

SECOND = timedelta(seconds=1)


def restored(scene: Scene, to: str, name: str, backup: str | None = None) -> str:
    """Restore for real, start the server, and return its ledger."""
    with scene.started(scene.restore(to, name, backup=backup)) as (server, _):
        return read_ledger(server)


def archived(scene: Scene) -> set[int]:
    (record,) = read_record(scene.folder).generations
    return set(record.listing.segments[1])


def island(backup: Backup) -> set[int]:
    return set(range(backup.first_segment.number, backup.last_segment.number + 1))


@only(18)
def test_scenario_111_islands_and_windows_restore_to_their_very_ends(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    moments = {}
    for entry in ("a", "b", "c"):
        scene.backup()
        scene.enter(entry)
        moments[entry] = scene.now()
        scene.archive()
        scene.enter(f"{entry}2")
        scene.archive()
    first, second, third = catalog.backups(scene.folder).backups
    add_pin(scene.folder, first.id, "kept as an island", None, third.stopped_at)
    # The window begins just when the second backup was complete: it is the anchor, to the byte.
    now = third.stopped_at + SECOND
    policy = KeepPolicy(window=now - second.stopped_at, minimum=1)
    before = archived(scene)
    expired = expire(scene.folder, Wish(policy, UTC, now))
    assert expired.outcome is not None
    assert expired.decision.plan.dropped == []
    wanted = island(first) | {n for n in before if n >= second.first_segment.number}
    assert archived(scene) == wanted
    assert wanted < before
    (record,) = read_record(scene.folder).generations
    (timeline,) = record.coverage.timelines
    assert [span.backups for span in timeline.spans] == [(first.id,), (second.id, third.id)]
    assert timeline.spans[0].end == first.last_segment.end  # list says that it ends there

    assert restored(scene, "immediate", "island", first.id) == ""
    assert restored(scene, "immediate", "anchor", second.id) == "a a2"
    assert restored(scene, moments["b"], "window") == "a a2 b"
    assert restored(scene, "latest", "latest") == "a a2 b b2 c c2"
    with pytest.raises(TargetInHole):
        scene.restore(moments["a"], "gone")


@only(18)
def test_scenario_105_the_oldest_goes_and_what_it_shared_stays(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    for entry in ("a", "b", "c"):
        scene.backup()
        scene.enter(entry)
        scene.archive()
    first, second, third = catalog.backups(scene.folder).backups
    now = third.stopped_at + SECOND
    expired = expire(scene.folder, Wish(KeepPolicy(daily=1, minimum=2), UTC, now))
    assert [backup.id for backup in expired.decision.plan.dropped] == [first.id]
    with pytest.raises(PgkeepError):
        scene.restore("immediate", "gone", backup=str(first.id))
    assert restored(scene, "immediate", "older", second.id) == "a"
    delete(scene.folder, second.id)
    assert restored(scene, "latest", "latest") == "a b c"
