"""What the service schedules where there are several repositories, one of them away."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from pgkeep.health.forecast import Sample
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.service.jobs.ledger import KEPT, Ledger
from support.command import run_pgkeep
from support.dump_shelf import store_dump
from support.service import Service, settled_long_ago
from support.small_repository import Small
from support.wait import wait_for

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


def weighed(state: Path) -> dict[str, list[Sample]]:
    """Return what is on record once both repositories that are there were weighed."""
    ledger = Ledger(state)
    found = ledger.sizes("main", datetime.now(UTC) - KEPT)
    ledger.close()
    return found if len(found) == 2 else {}


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
        near, far = (
            service.run(
                "jobs",
                "show",
                service.wait_for_job(f"expire {name}", "done")["job"]["id"],
                "--json",
            ).json
            for name in ("near", "far")
        )
        gone = service.wait_for_job("expire", "failed")
        told = service.run("jobs", "show", gone["job"]["id"])
        did = [
            service.run("jobs", "show", run["job"]["id"], "--json").ok().json for run in (near, far)
        ]
        sizes = wait_for(lambda: weighed(service.state), what="sizes on record")
    finally:
        service.stop()
    assert sorted(sizes) == [f"{tmp_path}/far", f"{tmp_path}/near"]
    assert all(one.size > 0 and one.free for samples in sizes.values() for one in samples)
    assert [run["report"]["deleted"]["dumps"] for run in did] == [dumps[:3], dumps[:2]]
    assert f"{tmp_path}/gone" in gone["error"]["message"]
    assert f"{tmp_path}/gone" in told.stdout
    assert "alone; the others" not in run_pgkeep(*far["job"]["words"], config=config).stderr
