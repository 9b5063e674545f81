"""Censuses as users see them: with each backup, in every copy, and after the table is gone."""

import json
from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import Result, archive_settings, run_pgkeep

CONFIG = """
write = ["near", "far"]

[[repository]]
name = "near"
url = {near}

[[repository]]
name = "far"
url = {far}

[clusters.main]
conninfo = {conninfo}
jobs = 2
wal_timeout = "30s"
retention = {{ window = "1d", minimum = 1 }}
"""


class Keeper:
    """A cluster, and a config with two repositories that are to have everything."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.config = folder / "pgkeep.toml"
        self.places = {"near": folder / "near", "far": folder / "far"}
        words = {"conninfo": pg.conninfo, **{name: str(at) for name, at in self.places.items()}}
        quoted = {name: json.dumps(word) for name, word in words.items()}
        self.config.write_text(CONFIG.format(**quoted))

    def run(self, *words: str) -> Result:
        return run_pgkeep(*words, config=self.config)

    def censuses(self, place: str) -> list[str]:
        listed = self.run("--repository", place, "census", "list", "--json").ok().json
        return [one["id"] for one in listed["censuses"]]


@pytest.fixture
def keeper(new_cluster: NewCluster, tmp_path: Path) -> Keeper:
    pg = new_cluster(start=False)
    keeper = Keeper(pg, tmp_path)
    pg.configure(**archive_settings(keeper.config))
    pg.start()
    keeper.run("init").ok()
    return keeper


@only(18)
def test_a_backup_leaves_a_census_in_every_repository_and_names_outlive_tables(
    keeper: Keeper,
) -> None:
    assert "has no census yet" in keeper.run("census", "list").ok().stdout
    keeper.pg.sql('CREATE TABLE "Odd\nName" (a integer, b integer, PRIMARY KEY (b, a))')
    filenode = keeper.pg.value("SELECT pg_relation_filenode('\"Odd\nName\"')")
    made = keeper.run("backup", "--json").ok().json
    assert keeper.censuses("near") == keeper.censuses("far") == [made["census"]]
    keeper.pg.sql('DROP TABLE "Odd\nName"')

    shown = keeper.run("census", "show").ok().stdout
    assert shown.startswith(f"census {made['census']} of cluster main\n")
    assert "in 2 databases" in shown
    text = keeper.run("census", "show", "--database", "postgres").ok().stdout
    assert "public.Odd\\nName       table" in text
    assert "b, a" in text
    assert "pg_class" not in text
    assert "pg_catalog.pg_class" in keeper.run(
        "census", "show", "--database", "postgres", "--system"
    ).ok().stdout  # fmt: skip
    facts = keeper.run("census", "show", "--database", "postgres", "--json").ok().json
    (table,) = (one for one in facts["relations"] if one["kind"] == "r")
    assert (table["name"], table["filenode"], table["key"]) == ("Odd\nName", filenode, ["b", "a"])

    wrong = keeper.run("census", "show", "--database", "postgre")
    assert wrong.exit == 31
    assert "hint: did you mean postgres? pgkeep census show tells all" in wrong.stderr


@only(15)
def test_censuses_are_taken_by_hand_judged_by_expire_and_verified(keeper: Keeper) -> None:
    first = keeper.run("census", "take", "--json").ok().json
    assert first["copies"] == [{"repository": "far", "error": None}]
    assert keeper.censuses("far") == [first["id"]]
    made = keeper.run("backup", "--json").ok().json
    last = keeper.run("census", "take").ok().stdout
    assert last.endswith("\nalso in repository far\n")
    assert keeper.censuses("near") == sorted(keeper.censuses("near"))
    assert len(keeper.censuses("near")) == 3
    planned = keeper.run("expire", "--dry-run", "--json").ok().json
    found = {one["id"]: one["why"] for one in planned["censuses"] if one["keep"]}
    assert found[made["census"]] == f"tells the names of backup {made['id']}"
    keeper.run("expire").ok()
    left = keeper.censuses("near")
    assert {made["census"], keeper.censuses("far")[-1]} <= set(left)
    assert first["id"] not in left, "older than the WAL that stays"
    checked = keeper.run("verify", "--level", "bytes", "--json").ok().json
    assert checked["unexplained"] == []
    keeper.pg.sql("CREATE DATABASE hidden")
    keeper.pg.sql("CREATE ROLE keeper LOGIN SUPERUSER")
    keeper.pg.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'hidden'")
    told = keeper.run("census", "take")
    assert told.exit == 3
    assert "without database hidden: " in told.stdout
