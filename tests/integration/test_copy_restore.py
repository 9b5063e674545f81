"""A copy alone restores a real cluster to the very moments that the original does."""

from dataclasses import replace
from pathlib import Path

from pgkeep.replicate.copy import CopyOptions, run
from pgkeep.repository import catalog
from pgkeep.repository.copies.make import make_copy
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store, open_store
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.verify import run as verify
from support.clusters import NewCluster, only
from support.command import run_pgkeep
from support.copies import demand_clean
from support.restores import Scene, make_scene

NEAR, FAR = "correct horse battery", "another battery staple"


@only(18)
def test_a_copy_with_a_passphrase_of_its_own_restores_to_the_same_moment(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path, passphrase=NEAR)
    far = tmp_path / "far"
    scene.enter("before")
    first = scene.backup()
    scene.enter("one", "two")
    scene.archive()
    # Copied while the cluster runs, twice: the second time WAL and a backup have come.
    target = _copied(scene, far)
    moment = scene.now()
    scene.enter("three")
    second = scene.backup()
    scene.enter("four")
    scene.archive()
    _copied(scene, far)
    demand_clean(verify(target.folder, VerifyOptions(Level.BYTES)))
    assert {b.id for b in catalog.backups(target.folder).backups} == {first, second}
    wanted = scene.content_at(moment, "from-original")
    # From here on there is only the copy, and only its own passphrase.
    repository_directory.rename(tmp_path / "gone")
    assert target.content_at(moment, "from-copy") == wanted
    assert target.content_at("latest", "newest") == scene.entries()
    listed = run_pgkeep(
        "--repository", far, "list", "--json", env={"PGKEEP_PASSPHRASE": FAR}, cwd=tmp_path
    )
    assert [backup["id"] for backup in listed.ok().json["backups"]] == [first, second]


def _copied(scene: Scene, far: Path) -> Scene:
    """Copy the scene's repository; return the scene as whoever has only the copy sees it."""
    origin = scene.folder.repository
    made = make_copy(origin, make_store(str(far)), FAR)
    report = run(scene.folder, made.repository.cluster("main"), CopyOptions(jobs=2, verify=True))
    assert report.problem is None
    opened = Repository.open(open_store(str(far)), FAR)
    return replace(scene, folder=opened.cluster("main"), environment={"PGKEEP_PASSPHRASE": FAR})
