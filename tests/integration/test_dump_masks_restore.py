"""Masks and samples where a user asks for them: dump restore --masked, --sample."""

from pathlib import Path

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.dumps import DumpScene

SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE);
INSERT INTO users SELECT k, 'secret' || k FROM generate_series(1, 3000) k;
CREATE TABLE orders (id int PRIMARY KEY, email text REFERENCES users (email));
INSERT INTO orders SELECT id, email FROM users;
"""


@pytest.fixture
def shop(pg: ScratchCluster, tmp_path: Path) -> DumpScene:
    pg.sql("CREATE DATABASE shop")
    pg.sql(SCHEMA, dbname="shop")
    return DumpScene.make(pg, tmp_path)


def rules(scene: DumpScene, *lines: str) -> None:
    text = scene.config.read_text().partition("[dump.masks]")[0]
    scene.config.write_text(text + "\n".join(["[dump.masks]", *lines, ""]))


@only(17)
def test_keys_of_masked_columns(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    masked = ("dump", "restore", "latest", "-d", "test", "--masked")
    rules(shop, 'users.email = "hash"')
    result = shop.run(*masked)
    assert result.exit == 224
    assert "public.orders.email references public.users.email: give both the same mask" in (
        result.stderr
    )
    rules(shop, 'users.email = "x@y"', 'orders.email = "x@y"')
    assert "users.email is unique, so its values cannot all be 'x@y'" in shop.run(*masked).stderr
    assert shop.is_clean()
    rules(shop, 'users.email = "hash"', 'orders.email = "hash"')
    made = shop.run(*masked, "--sample", "10%", "--json").ok().json
    assert {one["column"] for one in made["masked"]} == {"email"}
    join = "SELECT count(*), bool_or(u.email ~ 'secret') FROM orders o JOIN users u USING (email)"
    kept, shown = shop.cluster.sql(join, dbname="test")[0]
    assert 200 < kept < 400
    assert not shown


@only(17)
def test_rules_for_tables_that_are_not_restored_do_no_harm(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    rules(shop, 'users.email = "hash"', 'orders.email = "null"')
    shop.run("dump", "restore", "latest", "-d", "test", "--masked", "-t", "users").ok()
    hidden = "SELECT bool_and(email ~ '^[0-9a-f]{64}$') FROM users"
    assert shop.cluster.value(hidden, dbname="test")
    rules(shop, 'users.email = "hash"', 'gone.email = "null"')
    result = shop.run("dump", "restore", "latest", "-d", "other", "--masked", "-t", "users")
    assert "gone.email: there is no such table" in result.stderr


@only(17)
def test_a_script_is_never_restored_as_if_it_were_masked(shop: DumpScene, tmp_path: Path) -> None:
    script = tmp_path / "shop.sql"
    shop.cluster.tool("pg_dump", f"--file={script}", "shop")
    shop.run("dump", "import", str(script)).ok()
    rules(shop, 'users.email = "hash"')
    for words, status in ((["--masked"], 224), (["--sample", "10%"], 226)):
        result = shop.run("dump", "restore", "latest", "-d", "test", *words)
        assert result.exit == status
        assert "the dump is a script of SQL, whose rows pgkeep cannot" in result.stderr
    assert shop.cluster.sql("SELECT FROM pg_database WHERE datname = 'test'") == []
