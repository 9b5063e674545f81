"""What commands asked of the repository, and what that and keeping it costs."""

from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep

PRICES = """
[repository]
url = "{url}"

[repository.prices]
write = 5
read = 4
egress = 1024
stored = 2048

[clusters.main]
conninfo = "{conninfo}"
jobs = 2
"""


@pytest.fixture
def config(new_cluster: NewCluster, tmp_path: Path) -> Path:
    config = tmp_path / "pgkeep.toml"
    pg: ScratchCluster = new_cluster(start=False)
    pg.configure(**archive_settings(config))
    config.write_text(PRICES.format(url=tmp_path / "repository", conninfo=pg.conninfo))
    pg.start()
    run_pgkeep("init", config=config).ok()
    return config


@only(18)
def test_reports_count_requests_of_all_workers_and_cost_names_the_price(
    config: Path, tmp_path: Path
) -> None:
    repository = str(tmp_path / "repository")
    before = run_pgkeep("cost", config=config).ok().stdout
    assert before.startswith(f"repository {repository} stores ")
    made = run_pgkeep("backup", "--json", config=config).ok().json
    (asked,) = made["requests"]
    assert asked["repository"] == repository
    packs = [*Path(repository).glob("clusters/main/packs/*/*")]
    assert asked["puts"] > len(packs) > 1, "workers stored the packs"
    assert asked["sent"] >= made["stored"]
    assert (asked["cost"] > 0, asked["list_prices"]) == (True, False)

    read = run_pgkeep("verify", "--level", "bytes", "--json", config=config).ok().json
    (asked,) = read["requests"]
    assert asked["received"] >= made["stored"]
    target = tmp_path / "restored"
    restored = run_pgkeep("restore", "--target-dir", target, "-v", config=config).ok()
    assert f"requests to {repository}: " in restored.stdout
    assert " received; about $" in restored.stdout
    expired = run_pgkeep("expire", "--json", config=config).json
    assert expired["requests"][0]["lists"] > 0

    found = run_pgkeep("cost", "--json", config=config).ok().json["repositories"][0]
    size = sum(path.stat().st_size for path in Path(repository).rglob("*") if path.is_file())
    assert found["bytes"] == size
    assert found["per_month"] == pytest.approx(size / (1 << 30) * 2048)
    assert found["last_backup"]["id"] == made["id"]
    assert found["last_backup"]["objects"] == len(packs) + 1
    text = run_pgkeep("cost", config=config).ok().stdout
    assert f"{made['id']}: {len(packs) + 1} objects, " in text
    assert " a month\n" in text
