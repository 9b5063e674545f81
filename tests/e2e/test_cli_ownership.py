"""What root does in the repository of the server's user, that user can go on with."""

import os
from pathlib import Path

import pytest

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

NOBODY = 65534


def test_root_leaves_nothing_of_its_own_in_anothers_repository(tmp_path: Path) -> None:
    place = tmp_path / "repository"
    store = make_store(str(place))
    Repository.create(store, "none", None)
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    store.create("clusters/main/locks/backup-1.json", [b"{}"])
    store.put("clusters/main/locks/backup-1.json", [b"{ }"])
    owners = {path: path.stat().st_uid for path in place.rglob("*")}
    assert set(owners.values()) == {NOBODY}, owners
