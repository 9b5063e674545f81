"""Two copies of a repository under one config: what is intact is read, what works is written."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.command import Result, archive_settings, run_pgkeep
from support.wait import wait_for


class Two:
    """A cluster with the repositories `near` and `far`, copies of each other."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.folder = folder
        self.config = folder / "pgkeep.toml"
        self.near, self.far = folder / "near", folder / "far"

    def configure(self, *names: str, write: str = "") -> None:
        parts = [f"write = {write}\n" if write else ""]
        parts += [f'[[repository]]\nname = "{n}"\nurl = "{self.folder / n}"\n' for n in names]
        parts += [f'[clusters.main]\nconninfo = "{self.pg.conninfo}"\nwal_timeout = "30s"\n']
        self.config.write_text("\n".join(parts))

    def run(self, *words: str | Path, **more: Any) -> Result:
        return run_pgkeep(*words, config=self.config, **more)

    def archive(self) -> str:
        """Switch WAL; return the segment that was ended."""
        self.pg.sql("CREATE TABLE IF NOT EXISTS filler (); DROP TABLE filler")
        name = self.pg.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.pg.sql("SELECT pg_switch_wal()")
        return str(name)

    def archived(self, name: str) -> None:
        done = self.pg.data_directory / "pg_wal/archive_status" / f"{name}.done"
        wait_for(done.exists, what=f"{name} archived")

    def restore(self, *words: str, start: bool = True) -> Result:
        """Restore to `restored`; with `start`, run it until recovery has ended."""
        target = self.folder / "restored"
        self.stop()
        shutil.rmtree(target, ignore_errors=True)
        options = ("--start", "--port", str(self.pg.port + 1)) if start else ()
        return self.run("restore", "--target-dir", target, *options, *words)

    def stop(self) -> None:
        target = self.folder / "restored"
        server = ServerProcess.attach(target, log_file=f"{target}.log")
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                server.stop("immediate")

    def restored_rows(self) -> int:
        place = f"host={self.pg.socket_directory} port={self.pg.port + 1}"
        with Session.connect(f"{place} user=postgres dbname=postgres") as session:
            return int(session.query("SELECT count(*) FROM public.t")[0][0])


@pytest.fixture
def two(new_cluster: NewCluster, tmp_path: Path) -> Iterator[Two]:
    pg = new_cluster(start=False)
    two = Two(pg, tmp_path)
    two.configure("near")
    pg.configure(**archive_settings(two.config))
    pg.start()
    two.run("init").ok()
    pg.sql("CREATE TABLE t AS SELECT generate_series(1, 3) AS id")
    two.run("backup").ok()
    shutil.copytree(two.near, two.far)
    two.configure("near", "far")
    yield two
    two.stop()


def damage(path: Path) -> None:
    """Flip bits all over a file."""
    content = bytearray(path.read_bytes())
    for place in range(40, len(content), 997):
        content[place] ^= 0x55
    path.write_bytes(content)


@only(15, 18)
def test_a_restore_takes_each_object_from_whoever_has_it_intact(two: Two) -> None:
    two.pg.sql("INSERT INTO t VALUES (4)")
    last = two.archive()
    two.archived(last)
    near = two.near / "clusters/main"
    manifest = next(near.glob("backups/*/manifest"))
    packs = sorted(near.glob("packs/*/*"))
    damage(manifest)
    damage(packs[0])
    for pack in packs[1:]:
        pack.unlink()
    for segment in sorted(near.glob("wal/*/*/*/*")):
        if segment.name != last:  # which only `near` has
            damage(segment)
            os.truncate(segment, 100)  # no WAL object is so short
    result = two.restore().ok()
    assert two.restored_rows() == 4
    for object in ("manifest", "packs"):
        assert any(
            object in line and f"{two.far} instead" in line for line in result.stderr.splitlines()
        ), result.stderr
    assert "fetched from the next repository instead" in (two.folder / "restored.log").read_text()
    # What is in neither is missing: the whole of `far` is away in the meantime.
    damage(near / packs[0].relative_to(near))
    two.far.rename(two.folder / "elsewhere")
    failed = two.restore(start=False)
    assert failed.exit == 80, failed.stderr  # nothing-to-restore
    assert "repository far was not asked" in failed.stderr
    assert "manifest" in failed.stderr


@only(18)
def test_recovery_stops_while_a_repository_that_may_have_more_is_away(two: Two) -> None:
    two.near.rename(two.folder / "unmounted")
    two.pg.sql("INSERT INTO t VALUES (4)")
    segment = two.archive()
    two.archived(segment)  # in the next repository
    assert list(two.far.rglob(segment))
    assert "archived in the next repository instead" in two.pg.log
    listed = two.run("list").ok()
    assert "timeline 1: restorable" in listed.stdout
    assert "warning: repository near was not asked" in listed.stderr
    assert "restored " in two.restore(start=False).ok().stdout
    failed = two.restore()
    assert failed.exit == 92, failed.stderr
    written, _, ended = failed.stderr.partition("restoring files")
    assert "recovery cannot end while near cannot be asked: WAL is only called missing" in written
    assert "if it is gone for good: pgkeep --repository far restore ..." in written
    assert "failed at about" in ended
    assert "restore_command: cannot read pgkeep.json in" in ended
    assert "hint: is " in ended
    assert "; mended, start the server again: recovery goes on where it was" in ended
    log = (two.folder / "restored.log").read_text()
    assert "recovery stops here, so that nothing is lost" in log
    assert "selected new timeline" not in log
    (two.folder / "unmounted").rename(two.near)
    two.restore().ok()
    assert two.restored_rows() == 4


@only(18)
def test_a_copy_that_cannot_be_opened_does_not_stand_in_the_way_of_the_others(two: Two) -> None:
    os.truncate(two.near / "pgkeep.json", 10)
    listed = two.run("list").ok()
    assert "timeline 1: restorable" in listed.stdout
    assert "warning: repository near was not asked, what only it has is not shown" in listed.stderr
    assert "it is damaged" in listed.stderr
    two.restore("--repository", "far").ok()
    assert two.restored_rows() == 3
    damage(two.far / "pgkeep.json")
    assert two.run("list").exit == 26


@only(18)
def test_a_backup_goes_to_the_first_that_works(two: Two) -> None:
    two.near.rename(two.folder / "unmounted")
    result = two.run("backup", "--json").ok()
    assert "using repository far instead" in result.stderr
    backup = result.json["id"]
    assert (two.far / f"clusters/main/backups/{backup}/manifest").exists()
    (two.folder / "unmounted").rename(two.near)
    listed = two.run("list", "--json").ok().json
    assert [one["id"] for one in listed["backups"]][-1] == backup
    alone = two.run("--repository", "near", "list", "--json").ok().json
    assert backup not in [one["id"] for one in alone["backups"]]


@only(18)
def test_all_that_must_have_it_have_it(two: Two) -> None:
    two.configure("near", "far", write='["near", "far"]')
    segment = two.archive()
    two.archived(segment)
    assert list(two.near.rglob(segment))
    assert list(two.far.rglob(segment))
    found = checks(two)
    assert found["repository far"]["state"] == "ok"
    assert "was in all repositories after" in found["delivery"]["says"]
    two.far.rename(two.folder / "unmounted")
    found = checks(two, exit=3)
    assert found["repository far"]["state"] == "failed"
    assert "the repository's directory is not there" in found["repository far"]["says"]
    assert found["delivery"]["says"] == (
        "not checked: WAL must be in repository far, too, which cannot be used"
    )
    waiting = two.archive()
    ready = two.pg.data_directory / "pg_wal/archive_status" / f"{waiting}.ready"
    wait_for(lambda: list(two.near.rglob(waiting)), what="the healthy one has it")
    wait_for(lambda: "the repository's directory is not there" in two.pg.log, what="the reason")
    assert ready.exists()
    (two.folder / "unmounted").rename(two.far)
    two.archived(waiting)
    assert list(two.far.rglob(waiting))


def checks(two: Two, exit: int = 0) -> dict[str, Any]:
    """Return what `check` says, by the names of its questions."""
    result = two.run("check", "--json")
    assert result.exit == exit, result.stdout
    return {row["name"]: row for row in result.json["checks"]}


@only(18)
def test_who_cannot_stand_in_is_noted(two: Two) -> None:
    two.far.rename(two.folder / "unmounted")
    found = checks(two)
    assert found["repository far"]["state"] == "note"
    assert found["repository far"]["says"].startswith("it could not stand in for the one before: ")
    assert found["delivery"]["state"] == "ok"
    (two.folder / "unmounted").rename(two.far)
    shutil.rmtree(two.far / "clusters/main/generations")
    assert "does not know this cluster yet" in checks(two)["identity of far"]["says"]


@only(18)
def test_what_is_done_in_one_of_them_is_not_taken_for_all(two: Two) -> None:
    backup = two.run("list", "--json").ok().json["backups"][0]["id"]
    for words in (
        ["verify"],
        ["expire", "--dry-run"],
        ["pin", backup, "--reason", "year end"],
        ["pin", "--remove", backup],
    ):
        done = two.run(*words).ok()
        assert "note: that was repository near alone; the others: pgkeep --repository far " in (
            done.stderr
        )
        assert f"--repository far {words[0]}" in done.stderr
        quiet = two.run("--repository", "far", *words[:1], *words[1:])
        assert "alone" not in quiet.stderr


def test_a_name_that_is_typed_wrong_is_no_directory(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    parts = [f'[[repository]]\nname = "{name}"\nurl = "{name}"\n' for name in ("near", "far")]
    config.write_text("\n".join([*parts, "[clusters.main]\n"]))
    for words in (["--repository", "fra", "list"], ["copy", "--to", "fra"]):
        failed = run_pgkeep(*words, config=config, cwd=tmp_path)
        assert failed.exit == 28
        assert "cannot find repository fra: the config has near, far" in failed.stderr
        assert "a directory of that name here is written ./fra" in failed.stderr
    failed = run_pgkeep("--repository", "./fra", "list", config=config, cwd=tmp_path)
    assert f"{tmp_path}/fra: the repository's directory is not there" in failed.stderr
    assert not (tmp_path / "fra").exists()


@only(18)
def test_a_repository_of_its_own_is_no_copy(two: Two) -> None:
    shutil.rmtree(two.far)
    two.configure("far")
    two.run("init").ok()
    two.configure("near", "far")
    failed = two.run("list")
    assert failed.exit == 55, failed.stderr
    assert "it is a repository of its own, not a copy" in failed.stderr
    two.run("--repository", "near", "list").ok()


@only(18)
def test_the_rule_of_three_two_one_is_judged_by_facts(two: Two) -> None:
    found = two.run("check", "--321", "--json")
    assert found.exit == 3
    rows = {row["name"]: row for row in found.json["checks"]}
    assert list(rows) == ["3 copies", "2 media", "1 off-site", "1 undeletable"]
    assert rows["3 copies"]["state"] == "ok"
    assert rows["2 media"]["state"] == "failed"  # all of it is on one disk
    assert rows["1 off-site"]["says"] == "none: all copies are on this host"
    assert rows["1 undeletable"]["state"] == "failed"
    shutil.rmtree(two.far)
    found = two.run("check", "--321")
    assert "far cannot be read" in found.stdout
    assert "fix: bring it up to date: pgkeep copy --to far" in found.stdout


@only(18)
def test_init_makes_the_others_copies_and_all_get_every_backup(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster(start=False)
    two = Two(pg, tmp_path)
    two.configure("near", "far", write='["near", "far"]')
    pg.configure(**archive_settings(two.config))
    pg.start()
    made = two.run("init", "--json").ok().json
    assert [(copy["repository"], copy["created"]) for copy in made["copies"]] == [
        (str(two.far), True)
    ]
    assert "its copy" in two.run("init").ok().stdout
    pg.sql("CREATE TABLE t AS SELECT generate_series(1, 3) AS id")
    backup = two.run("backup", "--json").ok().json
    assert backup["copies"] == [{"repository": "far", "error": None}]
    dump = two.run("dump", "create", "-d", "postgres").ok()
    assert "also in repository far" in dump.stdout
    for name in ("near", "far"):
        alone = ("--repository", name)
        listed = two.run(*alone, "list", "--json").ok().json
        assert [one["id"] for one in listed["backups"]] == [backup["id"]]
        assert listed["coverage"][0]["spans"]
        assert len(two.run(*alone, "dump", "list", "--json").ok().json["dumps"]) == 1
        two.run(*alone, "verify", "--level", "bytes").ok()
    # One of them is away: the backup is safe, and the exit status tells.
    two.far.rename(two.folder / "unmounted")
    pg.sql(f"ALTER SYSTEM SET archive_command = {quoted(two, 'near')}")
    pg.sql("SELECT pg_reload_conf()")
    missing = two.run("backup", "--json")
    assert missing.exit == 238, missing.stderr
    assert missing.json["copies"][0]["error"]["code"] == "missing-elsewhere"
    assert "hint: once that is mended: pgkeep copy --to far" in missing.stderr
    (two.folder / "unmounted").rename(two.far)
    two.run("copy", "--to", "far").ok()
    listed = two.run("--repository", "far", "list", "--json").ok().json
    assert missing.json["id"] in [one["id"] for one in listed["backups"]]


def quoted(two: Two, repository: str) -> str:
    """Return an archive_command that goes to one repository alone, as SQL text."""
    command = archive_settings(two.config)["archive_command"]
    return "'" + str(command).replace(" push", f" --repository {repository} push") + "'"


@only(18)
def test_a_backup_gathers_its_wal_from_the_copies(two: Two) -> None:
    """WAL went to `near` meanwhile, as while `far` is away for a moment."""
    archiving = two.config.read_text()
    other = two.folder / "far-first.toml"
    near, far = archiving.index("[[repository]]"), archiving.rindex("[[repository]]")
    end = archiving.index("[clusters.main]")
    other.write_text(archiving[far:end] + archiving[near:far] + archiving[end:])
    made = run_pgkeep("backup", "--json", config=other).ok().json
    assert (two.far / f"clusters/main/backups/{made['id']}/manifest").exists()
    shutil.rmtree(two.near)
    two.configure("far")
    two.restore("--to", "immediate").ok()
    assert two.restored_rows() == 3
