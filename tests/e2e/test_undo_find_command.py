"""`pgkeep undo find` as users run it: what it says, what --json has, what --event will know."""

import stat
from pathlib import Path

import pytest

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.server.scratch import ScratchCluster
from pgkeep.undo.errors import NoSuchEvent
from pgkeep.undo.event import Event, EventKind
from pgkeep.undo.finding.remembered import Remembered
from support.clusters import NewCluster, only
from support.command import archive_settings, run_pgkeep, write_config


@only(18)
def test_an_accident_is_found_shown_and_remembered(new_cluster: NewCluster, tmp_path: Path) -> None:
    config, pg = a_cluster(new_cluster, tmp_path)
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    nothing = run_pgkeep("undo", "find", config=config, env=env).ok()
    assert nothing.stdout.startswith("nothing found between ")

    pg.sql("CREATE TABLE users AS SELECT g AS id FROM generate_series(1, 5000) g")
    pg.sql("ANALYZE users")
    run_pgkeep("census", "take", config=config).ok()
    pg.sql("DELETE FROM users WHERE id > 1000")
    pg.sql("DROP TABLE users")
    pg.sql("VACUUM FULL pg_class")

    text = run_pgkeep("undo", "find", config=config, env=env).ok().stdout
    assert text.startswith("2 events between ")
    assert "#  COMMITTED" in text
    assert "delete      postgres.public.users   4,000" in text
    assert "drop table  postgres.public.users  ~5,000" in text
    assert "rows changed, " in text
    found = run_pgkeep("undo", "find", "--json", config=config, env=env).ok().json
    first, second = found["events"]
    assert first["kind"] == "delete"
    assert first["rows"] == 4000
    assert first["relation"] == "postgres.public.users"
    assert first["target"] == f"lsn:{first['commit_lsn']}"
    assert first["exclusive"] is True
    assert first["sure"] is first["whole"] is True
    assert (second["kind"], second["relations"][0]["named_by"]) == ("drop-table", "census")
    assert second["xid"] == first["xid"] + 1
    assert f"--to lsn:{first['commit_lsn']} --exclusive" in text
    assert (found["blind"], found["not_shown"]) == ([], {})
    assert found["live_segments"] >= 1
    assert found["census"]["id"] in run_pgkeep("census", "list", config=config).ok().stdout

    the_next_command_knows_them(tmp_path, found["events"])
    only_drops = ("undo", "find", "--kind", "drop-table", "--table", "users", "--json")
    (one,) = run_pgkeep(*only_drops, config=config, env=env).ok().json["events"]
    assert (one["number"], one["kind"]) == (1, "drop-table")
    none = ("undo", "find", "--until", first["began_after"], "--since", "1h")
    assert run_pgkeep(*none, config=config, env=env).ok().stdout.startswith("nothing found between")

    wrong = run_pgkeep("undo", "find", "--table", "public.user", config=config, env=env)
    assert wrong.exit == 10
    assert "error: cannot find what happened to public.user: no census and no event" in wrong.stderr
    assert "hint: did you mean public.users" in wrong.stderr
    assert "code: cannot-undo" in wrong.stderr


def the_next_command_knows_them(tmp_path: Path, events: list[dict[str, object]]) -> None:
    (path,) = (tmp_path / "state" / "pgkeep" / "found").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    remembered = Remembered(str(path))
    event = remembered.recall(2)
    assert isinstance(event, Event)
    assert event.kind is EventKind.DROP_TABLE
    assert event.to_dict() == events[1]
    with pytest.raises(NoSuchEvent, match="cannot use event 3: the last find numbered its events"):
        remembered.recall(3)


def a_cluster(new_cluster: NewCluster, tmp_path: Path) -> tuple[Path, ScratchCluster]:
    pg = new_cluster(start=False)
    config = write_config(tmp_path / "pgkeep.toml", tmp_path / "repository", {"main": pg.conninfo})
    pg.configure(**archive_settings(config))
    pg.start()
    run_pgkeep("init", config=config).ok()
    return config, pg


def test_without_wal_it_says_what_is_missing(tmp_path: Path) -> None:
    repository = Repository.create(make_store(str(tmp_path / "repository")), "none", None)
    assert repository.clusters() == []
    config = write_config(tmp_path / "pgkeep.toml", tmp_path / "repository", {"main": "host=/no"})
    done = run_pgkeep("undo", "find", config=config, env={"XDG_STATE_HOME": str(tmp_path)})
    assert done.exit == 10
    assert done.stderr.startswith(
        "error: cannot find accidents in cluster main: nothing of it is on record\n"
    )
