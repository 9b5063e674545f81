"""What the service schedules where there are several repositories, one of them away."""

import shutil
from pathlib import Path

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from support.command import run_pgkeep
from support.dump_shelf import store_dump
from support.service import Service, settled_long_ago
from support.small_repository import Small

CONFIG = """
[[repository]]
name = "gone"
url = "{folder}/gone"
[[repository]]
name = "near"
url = "{folder}/near"
[[repository]]
name = "far"
url = "{folder}/far"
[clusters.main.retention]
daily = 1
minimum = 1
[retention.far]
daily = 2
minimum = 1
[clusters.main.schedule]
expire = "monthly 1 00:00"
[service]
state_directory = "{folder}/state"
"""


def test_expire_does_in_each_repository_what_its_policy_says(tmp_path: Path) -> None:
    store = make_store(str(tmp_path / "near"))
    Repository.create(store, "none", None)
    small = Small(store)
    dumps = [store_dump(small, day=day) for day in range(4)]
    shutil.copytree(tmp_path / "near", tmp_path / "far")
    config = tmp_path / "pgkeep.toml"
    config.write_text(CONFIG.format(folder=tmp_path))
    service = Service(config, tmp_path / "state")
    settled_long_ago(service.state, "expire", "expire near", "expire far", days=40)
    service.start()
    try:
        near = service.wait_for_job("expire near", "done")
        far = service.wait_for_job("expire far", "done")
        gone = service.wait_for_job("expire", "failed")
        told = service.run("jobs", "show", gone["job"]["id"])
    finally:
        service.stop()
    assert near["report"]["deleted"]["dumps"] == dumps[:3]
    assert far["report"]["deleted"]["dumps"] == dumps[:2]
    assert f"{tmp_path}/gone" in gone["error"]["message"]
    assert f"{tmp_path}/gone" in told.stdout
    assert "alone; the others" not in run_pgkeep(*far["job"]["words"], config=config).stderr
