"""pin, delete, expire and verify with the ids of dumps, as users type them; there is no server."""

from pathlib import Path

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from support.command import run_pgkeep, write_config
from support.dump_shelf import SHOP, store_dump
from support.small_repository import Small

RETENTION = "[clusters.main.retention]\ndaily = 1\nminimum = 1\n"


def test_dumps_are_pinned_deleted_expired_and_verified_by_their_ids(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    store = make_store(str(root))
    Repository.create(store, "none", None)
    small = Small(store)
    first, second, third = (store_dump(small, day=day) for day in range(3))
    blog = store_dump(small, {"blog": SHOP}, day=5)
    config = write_config(tmp_path / "pgkeep.toml", root, {"main": "host=nowhere"}, RETENTION)

    pinned = run_pgkeep("pin", first, "--reason", "audit", config=config).ok()
    assert pinned.stdout == f"dump {first} stays until its pin is removed: audit\n"
    assert first in run_pgkeep("pin", config=config).ok().stdout
    refused = run_pgkeep("delete", first, "--yes", config=config)
    assert (refused.exit, f"cannot delete dump {first}, it is pinned" in refused.stderr) == (
        217, True,
    )  # fmt: skip

    last = run_pgkeep("delete", blog, "--yes", config=config)
    assert last.exit == 237
    assert f"pgkeep delete {blog} --last --yes" in last.stderr
    shown = run_pgkeep("delete", blog, "--last", config=config)
    assert shown.exit == 3
    assert "no other dump holds database blog as a whole" in shown.stdout + shown.stderr
    gone = run_pgkeep("--json", "delete", blog, "--last", "--yes", config=config).ok().json
    assert (gone["deleted"]["dumps"], gone["lost_databases"]) == ([blog], ["blog"])

    unknown = run_pgkeep("verify", "D1999", config=config)
    assert (unknown.exit, "pgkeep dump list shows all" in unknown.stderr) == (236, True)
    chosen = run_pgkeep("--json", "verify", "--level", "bytes", third, config=config).ok().json
    assert [(d["id"], d["verdict"]) for d in chosen["dumps"]] == [(third, "good")]

    told = run_pgkeep("--json", "expire", "--dry-run", config=config).ok().json
    assert {d["id"]: d["keep"] for d in told["dumps"]} == {first: True, second: False, third: True}
    done = run_pgkeep("--json", "expire", config=config).ok().json
    assert (done["deleted"]["dumps"], done["deleted"]["packs"]["objects"]) == ([second], 1)
    left = run_pgkeep("verify", "--level", "bytes", config=config).ok()
    assert left.stdout.startswith("2 dumps of cluster main: no fault found")
    freed = run_pgkeep("pin", "--remove", first, config=config).ok()
    assert freed.stdout == f"dump {first} is no longer pinned: audit\n"
