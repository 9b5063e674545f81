"""Masked copies: what columns hold then, and that nothing of what they held is anywhere."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pgkeep.logical.load.load import LoadResult
from pgkeep.logical.load.masking import MasksFailed
from pgkeep.logical.load.tables import CannotLoad
from pgkeep.logical.masks.plan import MaskPlan
from pgkeep.logical.masks.preflight import plan_masks
from pgkeep.logical.masks.rules import BadMasks, parse_masks
from pgkeep.postgres.archive.sql import ForeignKey, Name
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.loads import StoredDump, dump_directory, restore_objects, restore_section, store, to

SCHEMA = """
CREATE SCHEMA "Odd One";
CREATE DOMAIN address AS varchar(60) CHECK (VALUE LIKE '%@%');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY, email text NOT NULL, phone varchar(20),
    name text, born date, code char(4), token uuid, photo bytea, contact address, mood mood,
    initial char(1), size numeric(6,2), upper text GENERATED ALWAYS AS (upper(name)) STORED);
INSERT INTO users (email, phone, name, born, code, token, photo, contact, mood, initial, size)
SELECT 'secret' || k || '@corp.example', CASE WHEN k % 3 > 0 THEN '+49 30 secret' || k % 100 END,
    'Secretname' || k, '1980-01-01'::date + k, lpad(k::text, 4, '0'), md5(k::text)::uuid,
    convert_to('secretphoto' || k, 'UTF8'), 'secret' || k || '@home.example', 'sad',
    chr(97 + k % 6), k / 7.0 FROM generate_series(1, 3000) k;
CREATE TABLE orders (id bigint, user_email text, user_id int, note text, note2 varchar(10));
INSERT INTO orders SELECT k, 'secret' || 1 + k % 3000 || '@corp.example', 1 + k % 3000,
    CASE WHEN k % 2 = 0 THEN 'secretnote' || k END, NULL FROM generate_series(1, 9000) k;
CREATE TABLE "Odd One"."Ta.ble" ("E mail" text, "q""uote" int);
INSERT INTO "Odd One"."Ta.ble" SELECT 'secretodd' || k, k FROM generate_series(1, 50) k;
CREATE TABLE events (at date, who text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events SELECT '2024-01-01'::date + k, 'secretwho' || k FROM generate_series(0, 700) k;
CREATE TABLE free (v text); INSERT INTO free VALUES ('public');
"""
EVERYTHING: Mapping[str, Any] = {
    "users": {
        "email": "hash",
        "phone": "null",
        "name": {"sql": "left(name, 3) || '***' -- only so much"},
        "code": "hash",
        "token": "hash",
        "photo": "hash",
        "contact": "email",
        "id": "hash",
        "initial": "hash",
        "born": "1970-01-01",
        "mood": "happy",
        "size": 17,
    },
    "orders": {"user_email": "hash", "user_id": "hash", "note": "redacted"},
    '"Odd One"': {'"Ta.ble"': {'"E mail"': "hash"}},
    "events.who": "hash",
}
HEX = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def dump(pg: ScratchCluster, tmp_path: Path) -> StoredDump:
    return dumped(pg, tmp_path, SCHEMA)


def dumped(pg: ScratchCluster, tmp_path: Path, schema: str) -> StoredDump:
    pg.sql("CREATE DATABASE shop")
    pg.sql(schema, dbname="shop")
    directory = dump_directory(pg, "shop", tmp_path / "dump")
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, directory, "copy", "pre-data")
    return store(directory, tmp_path / "repository")


def plan(pg: ScratchCluster, dump: StoredDump, rules: Mapping[str, Any], **more: Any) -> MaskPlan:
    encoding = more.pop("encoding", "UTF8")
    return plan_masks(parse_masks(rules), to(pg, "copy"), encoding, tables=dump.data, **more)


def masked(
    pg: ScratchCluster, dump: StoredDump, rules: Mapping[str, Any], **more: Any
) -> LoadResult:
    return dump.load(to(pg, "copy"), masks=plan(pg, dump, rules), **more)


def refused(pg: ScratchCluster, dump: StoredDump, rules: Mapping[str, Any], **more: Any) -> str:
    with pytest.raises(BadMasks) as caught:
        plan(pg, dump, rules, **more)
    return str(caught.value).removeprefix(
        "nothing was loaded, because the masks cannot be applied: "
    )


def test_every_kind_of_mask(pg: ScratchCluster, dump: StoredDump) -> None:
    result = masked(pg, dump, EVERYTHING)
    row = pg.sql(
        "SELECT email, phone, name, born::text, code, token::text, photo, contact, mood::text, "
        "initial, size::text, upper FROM users ORDER BY id LIMIT 1",
        dbname="copy",
    )[0]
    assert HEX.fullmatch(row[0])
    assert row[1:4] == (None, "Sec***", "1970-01-01")
    assert re.fullmatch("[0-9a-f]{4}", row[4])
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", row[5])
    assert len(row[6]) == 32
    assert re.fullmatch(r"[0-9a-f]{16}@example\.invalid", row[7])
    assert row[8] == "happy"
    assert row[10:] == ("17.00", "SEC***")
    counts = {f"{m.column.table}.{m.column.column}": (m.values, m.alike) for m in result.masked}
    assert counts["public.users.phone"] == (2000, 0)
    assert counts["public.orders.note"] == (4500, 0)
    assert counts["public.events_1.who"] == (366, 0)
    assert counts["public.events_2.who"] == (335, 0)
    assert counts["Odd One.Ta.ble.E mail"] == (50, 0)
    assert counts["public.users.id"][0] == 3000
    assert counts["public.users.born"] == (3000, 0)
    # What was NULL still is; what was equal still is.
    assert pg.value("SELECT count(*) FROM orders WHERE note IS NULL", dbname="copy") == 4500
    assert pg.sql("SELECT DISTINCT note FROM orders WHERE note <> ''", dbname="copy") == [
        ("redacted",)
    ]
    join = "SELECT count(*), count(DISTINCT user_id) FROM orders JOIN users ON user_{0} = {1}"
    assert pg.sql(join.format("email", "email"), dbname="copy") == [(9000, 3000)]
    assert pg.sql(join.format("id", "users.id"), dbname="copy") == [(9000, 3000)]
    numbers = "SELECT count(DISTINCT id), min(id) >= 0, count(DISTINCT initial) FROM users"
    ((ids, positive, initials),) = pg.sql(numbers, dbname="copy")
    assert (ids, positive) == (3000, True)
    assert 2 <= initials <= 6
    assert pg.sql("SELECT v FROM free", dbname="copy") == [("public",)]
    assert sum(result.rows.values()) == 3000 + 9000 + 50 + 701 + 1
    assert result.notes == ()


def test_nothing_is_left_of_what_was_masked(new_cluster: NewCluster, tmp_path: Path) -> None:
    """Neither in files of the server, nor in its WAL or log."""
    source = new_cluster("source")
    dump = dumped(source, tmp_path, SCHEMA)
    pg = new_cluster("target", settings={"log_statement": "all", "log_min_messages": "debug1"})
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, tmp_path / "dump", "copy", "pre-data")
    masks = plan(pg, dump, EVERYTHING)
    dump.load(to(pg, "copy"), masks=masks)
    pg.sql("CHECKPOINT", dbname="copy")
    assert pg.value("SELECT count(*) FROM users", dbname="copy") == 3000
    assert holds(pg, b"redacted")  # so they are looked for in the right place
    assert not holds(pg, b"secret")
    assert not holds(pg, b"Secretname")
    assert masks.salt.hex() not in pg.log
    assert not holds(pg, masks.salt)
    assert masks.salt.hex() not in repr(masks)
    assert str(masks.salt) not in repr(masks)


def holds(pg: ScratchCluster, word: bytes) -> bool:
    """Tell whether any file of a server has these bytes."""
    files = [path for path in pg.data_directory.rglob("*") if path.is_file()]
    return any(word in path.read_bytes() for path in [*files, pg.log_path])


@only(17)
def test_a_large_table_in_parts(new_cluster: NewCluster, tmp_path: Path) -> None:
    pg = new_cluster(wal_segsize=None)
    rows = "SELECT k AS id, repeat('secret' || k, 50) AS v FROM generate_series(1, 400000) k"
    dump = dumped(pg, tmp_path, f"CREATE TABLE big AS {rows}; CREATE TABLE b AS SELECT 1 AS id")
    assert dump.file("big").size > 130 << 20
    result = masked(pg, dump, {"big.v": "hash", "big.id": "hash"})
    assert {m.values for m in result.masked} == {400_000}
    counts = "SELECT count(*), count(DISTINCT id), count(DISTINCT v), max(length(v)) FROM big"
    assert pg.sql(counts, dbname="copy") == [(400_000, 400_000, 400_000, 64)]


@only(15, 18)
def test_each_restore_has_its_own_hashes(pg: ScratchCluster, dump: StoredDump) -> None:
    seen = set()
    for _ in range(2):
        masked(pg, dump, {"users.email": "hash", "users.id": "hash"})
        seen |= set(pg.sql("SELECT min(email), sum(id) FROM users", dbname="copy"))
        pg.sql("TRUNCATE users, orders, events, free", dbname="copy")
    assert len(seen) == 2


@only(17)
def test_rules_that_match_nothing(pg: ScratchCluster, dump: StoredDump) -> None:
    assert refused(pg, dump, {"user.email": "hash", "orders.notes": "null"}) == (
        '"user".email: there is no such table (public.users?); '
        "orders.notes: the table has no such column (note, note2)"
    )
    assert refused(pg, dump, {"shop.users.email": "hash"}) == (
        "shop.users.email: there is no such table (public.users?)"
    )
    assert "there is no such table" in refused(pg, dump, {"pg_authid.rolpassword": "hash"})
    assert plan(pg, dump, {"gone.x": "hash"}, elsewhere=[Name("public", "gone")]).columns == ()


@only(17)
def test_rules_that_columns_do_not_allow(pg: ScratchCluster, dump: StoredDump) -> None:
    users: dict[str, Any] = {
        "email": "null",
        "born": "hash",
        "upper": "null",
        "phone": "email",
        "code": "12345",
        "size": "many",
        "name": {"sql": "left(name"},
        "contact": {"sql": "max(contact)"},
        "token": {"sql": "upper || ''"},
        "id": {"sql": "1); DROP TABLE users; SELECT (1"},
    }
    rules = {
        "users": users,
        "events.at": "2024-06-01",
        "public.users.initial": "null",
        "users.initial": "hash",
    }
    assert refused(pg, dump, rules) == (
        'users.email (public.users.email): it is NOT NULL: use "hash" or a text; '
        'users.born (public.users.born): date has no hash: use {sql = "..."}; '
        "users.upper (public.users.upper): it is a generated column: mask those that it is "
        "computed from; "
        "users.phone (public.users.phone): no address at example.invalid fits into character "
        "varying(20); "
        "users.code (public.users.code): '12345' does not fit into character(4); "
        "events.at (public.events.at): it decides to which partition of events a row belongs; "
        "rows would belong elsewhere; "
        "events.at (public.events_1.at): it decides to which partition of events a row belongs; "
        "rows would belong elsewhere; "
        "events.at (public.events_2.at): it decides to which partition of events a row belongs; "
        "rows would belong elsewhere; "
        "users.initial (public.users.initial): public.users.initial masks the same column of "
        "public.users.initial"
    )
    for column in ("size", "name", "contact", "token", "id"):
        why = refused(pg, dump, {f"users.{column}": users[column]})
        assert why.startswith(f"users.{column} = "), why
        assert {
            "size": 'invalid input syntax for type numeric: "many"',
            "name": "syntax error at or near",
            "contact": "aggregate functions",
            "token": 'column "upper" does not exist',
            "id": "syntax error at or near",
        }[column] in why or "must appear in the GROUP BY" in why
    assert pg.value("SELECT count(*) FROM users", dbname="copy") == 0


@only(17)
def test_keys_need_the_same_mask_at_both_ends(pg: ScratchCluster, dump: StoredDump) -> None:
    key = ForeignKey(
        "k", Name("public", "orders"), ("user_email",), Name("public", "users"), ("email",), ""
    )
    why = "public.orders.user_email references public.users.email: give both the same mask and type"
    for rules in (
        {"orders.user_email": "hash"},
        {"users.email": "hash"},
        {"users.email": "hash", "orders.user_email": "email"},
    ):
        assert refused(pg, dump, rules, foreign_keys=[key]) == why
    for rules in (
        {"users.email": "hash", "orders.user_email": "hash"},
        {"orders.user_email": "null"},
        {"users.name": "hash"},
    ):
        assert plan(pg, dump, rules, foreign_keys=[key])
    unique = [("public", "users", "email")]
    assert refused(pg, dump, {"users.email": "x@y"}, unique=unique) == (
        "users.email: public.users.email is unique, so its values cannot all be 'x@y'"
    )
    assert plan(pg, dump, {"users.email": "hash"}, unique=unique)


@only(17)
def test_masks_that_go_wrong_while_loading(pg: ScratchCluster, dump: StoredDump) -> None:
    with pytest.raises(MasksFailed) as caught:
        masked(pg, dump, {"users.name": {"sql": "unnest(ARRAY[name, name])"}})
    assert str(caught.value) == (
        "the masks were not applied: public.users (all rules): 3000 rows of the dump became 6000: "
        "an expression must give one value"
    )
    trigger = (
        "CREATE FUNCTION restore() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.email := ''secret''; RETURN NEW; END'; "
        "CREATE TRIGGER r BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION restore()"
    )
    pg.sql(trigger, dbname="copy")
    with pytest.raises(
        MasksFailed, match=r"column email of table public\.users \(hash\): the table"
    ):
        masked(pg, dump, {"users.email": "hash"})
    pg.sql("DROP TRIGGER r ON users", dbname="copy")
    assert pg.value("SELECT count(*) FROM users", dbname="copy") == 0


@only(17)
def test_errors_of_masked_tables_quote_no_row(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql("ALTER TABLE users ADD CHECK (length(name) < 9)", dbname="copy")
    with pytest.raises(CannotLoad) as caught:
        masked(pg, dump, {"users.email": "hash"})
    assert str(caught.value) == (
        'cannot load table public.users: the server says: new row for relation "users" violates '
        'check constraint "users_name_check"'
    )
    pg.sql("ALTER TABLE users DROP CONSTRAINT users_name_check", dbname="copy")
    pg.sql("ALTER TABLE orders ALTER note TYPE int USING NULL", dbname="copy")
    with pytest.raises(CannotLoad) as caught:
        masked(pg, dump, {"orders.user_email": "hash"})
    assert caught.value.context == "COPY pgkeep_staging, line 2, column note"
    assert caught.value.line == 2


@only(17)
def test_large_objects_cannot_be_masked(pg: ScratchCluster, tmp_path: Path) -> None:
    schema = "CREATE TABLE t (v text); SELECT lo_from_bytea(5, 'secret'); SELECT lo_create(6)"
    dump = dumped(pg, tmp_path, schema)
    restore_objects(pg, tmp_path / "dump", "copy")
    result = masked(pg, dump, {"t.v": "hash"}, large_objects=dump.blobs)
    assert result.notes == (
        "2 large objects were loaded AS THEY ARE: no mask applies to them; if they hold what must "
        "not be seen, drop the copy and restore without them",
    )


@only(15, 18)
def test_names_in_other_encodings(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE DATABASE shop TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pg.connect(dbname="shop", client_encoding="UTF8") as connection:
        connection.execute('CREATE TABLE "caf\xe9" ("\xfcber" text)')
        connection.execute("INSERT INTO \"caf\xe9\" VALUES ('secret\xe9')")
    directory = dump_directory(pg, "shop", tmp_path / "dump")
    pg.sql("CREATE DATABASE copy TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    restore_section(pg, directory, "copy", "pre-data")
    dump = store(directory, tmp_path / "repository")
    rules = {"caf\xe9.\xfcber": {"sql": "\"\xfcber\" || 'n\xf6'"}}
    masks = plan(pg, dump, rules, encoding="LATIN1")
    result = dump.load(to(pg, "copy"), "LATIN1", masks=masks)
    assert result.masked[0].column.table == "public.caf\xe9"
    with pg.connect(dbname="copy", client_encoding="UTF8") as connection:
        found = connection.execute('SELECT "\xfcber" FROM "caf\xe9"').fetchall()
    assert found == [("secret\xe9n\xf6",)]
    assert "LATIN1 has no '\u20ac'" in refused(
        pg, dump, {"caf\xe9.\xfcber": "\u20ac"}, encoding="LATIN1"
    )
