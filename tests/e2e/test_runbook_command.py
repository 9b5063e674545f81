"""What stands in a runbook is carried out, command by command, after the disaster it is for."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import Result, archive_settings, run_pgkeep, write_config
from support.typed import demand_valid
from support.wait import wait_for

MORE = """
[drill]
directory = "{place}/drills"

[sandbox]
directory = "{place}/boxes"
"""


class Shop:
    """A cluster with orders, a backup and a runbook."""

    def __init__(self, cluster: ScratchCluster, place: Path) -> None:
        self.cluster, self.place = cluster, place
        self.config = place / "pgkeep.toml"
        self.file = place / "runbook.md"
        run_pgkeep("init", config=self.config).ok()
        cluster.sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 2000) g")
        self.run("backup").ok()
        self.run("drill").ok()
        self.write()

    def run(self, *words: str | Path) -> Result:
        return run_pgkeep(*words, config=self.config)

    def write(self) -> None:
        self.run("runbook", "--output", self.file).ok()

    @property
    def commands(self) -> list[str]:
        """Every command line of the page, as somebody reads them off the paper."""
        blocks = re.findall(r"^```sh\n(.*?)^```", self.file.read_text(), re.DOTALL | re.MULTILINE)
        return [line for block in blocks for line in block.splitlines()]

    def command(self, *with_: str) -> list[str]:
        """Return the first pgkeep command that has all these words, without its first word."""
        found = (shlex.split(line) for line in self.commands if line.startswith("pgkeep "))
        return next(
            words[1:]
            for words in found
            if set(with_) <= {*words} and not {"--dry-run", "--to"} & {*words}
        )

    def type(
        self, *with_: str, more: tuple[str, ...] = (), put: tuple[str, str] = ("", "")
    ) -> Result:
        """Run a command of the page; CAPITALS are replaced: `put` has them, and what they mean."""
        capitals, meaning = put
        words = [meaning if word == capitals else word for word in self.command(*with_)]
        return run_pgkeep(*words, *more)


@pytest.fixture
def shop(new_cluster: NewCluster, tmp_path: Path) -> Shop:
    config = tmp_path / "pgkeep.toml"
    cluster = new_cluster(settings=archive_settings(config))
    more = MORE.format(place=tmp_path)
    write_config(config, tmp_path / "repository", {"main": cluster.conninfo}, more)
    return Shop(cluster, tmp_path)


@only(18)
def test_a_runbook_brings_a_table_and_then_everything_back(shop: Shop) -> None:
    cluster = shop.cluster
    for line in shop.commands:
        if line.startswith("pgkeep "):
            demand_valid(line)
    page = shop.file.read_text()
    assert "not measured" not in next(
        line for line in page.splitlines() if "Hear what will be done; then do it." in line
    )
    assert f"| port | {cluster.port} |" in page
    assert str(cluster.data_directory) in page

    cluster.sql("DROP TABLE orders")
    cluster.switch_wal()
    found = shop.type("undo", "find").ok()
    assert "drop table" in found.stdout
    table = ("DATABASE.SCHEMA.TABLE", "postgres.public.orders")
    shop.type("undo", "table", "--into-place", more=("--yes",), put=table).ok()
    assert cluster.value("SELECT count(*) FROM orders") == 2000

    cluster.sql("INSERT INTO orders VALUES (0)")
    last = cluster.switch_wal()
    wait_for(
        lambda: cluster.value("SELECT last_archived_wal FROM pg_stat_archiver") >= last,
        what="the last WAL in the repository",
    )
    # What was committed last is in the server's own pg_wal alone.
    cluster.configure(archive_command="/bin/false")
    cluster.sql("SELECT pg_reload_conf()")
    cluster.sql("INSERT INTO orders VALUES (-1)")
    newest = cluster.switch_wal()
    cluster.stop("immediate")
    directory = str(cluster.data_directory)
    (pending,) = (line for line in shop.commands if line.startswith("ls "))
    assert f"{newest}.ready" in os.listdir(shlex.split(pending)[1])
    segment = (f"{directory}/pg_wal/SEGMENT", f"{directory}/pg_wal/{newest}")
    shop.type("wal", "push", put=segment).ok()
    (aside,) = {line for line in shop.commands if re.match(r"mv .*\.broken$", line)}
    assert shlex.split(aside)[1] == directory
    shutil.move(directory, shlex.split(aside)[2])
    shop.type("restore", "--keep-archiving").ok()
    cluster.start()
    wait_for(lambda: not cluster.value("SELECT pg_is_in_recovery()"), what="promotion")
    assert cluster.value("SELECT count(*) FROM orders") == 2002
    assert "all is well" in shop.type("check").ok().stdout
    shop.type("backup").ok()
    shop.type("drill").ok()
    # And without the config, as on a host where this page is all there is.
    assert "timeline 2: restorable from" in shop.type("--repository", "list").ok().stdout


@only(18)
def test_a_runbook_is_kept_as_an_act_and_gets_old(shop: Shop) -> None:
    def row() -> dict[str, str]:
        rows = shop.run("checklist", "--json").json["rows"]
        return next(row for row in rows if row["key"] == "runbook")

    assert row()["state"] == "ok"
    assert f"runbook {shop.file}" in row()["proof"]
    shop.config.write_text(shop.config.read_text() + "\n[dump]\nlock_wait = '20s'\n")
    assert row()["state"] == "due"
    assert "the config has changed since" in row()["proof"]
    printed = shop.run("runbook", "--html").ok().stdout
    assert printed.startswith("<!doctype html>")
    assert row()["state"] == "ok"
    nowhere = shop.run("runbook", "--output", shop.place / "no" / "such" / "place.md")
    assert "cannot write the runbook to" in nowhere.stderr
    assert "name another --output, or print it: pgkeep runbook" in nowhere.stderr

    shop.cluster.stop()
    away = shop.run("runbook", "--json").ok()
    assert "as backup " in away.json["page"]
    assert "warning: not all could be asked, and the page says so" in away.stderr
