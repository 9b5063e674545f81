"""Two databases compared: schema by pg_dump's own words, content by a hash of each table's rows."""

import difflib
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from pgkeep.server.binaries import SERVER_ENVIRONMENT
from pgkeep.server.client_tools import find_tools
from pgkeep.server.scratch import ScratchCluster

Server = ScratchCluster | str  # or a connection string
Contents = dict[str, str]

_SHOWN: Final = 60  # lines of a difference
# pg_dump makes one line of every name in it.
_HEADER: Final = re.compile(
    r"^--\n-- (Name: .*; Type: .*; Schema: .*; Owner: .*)\n--\n", re.MULTILINE
)
_TITLE: Final = re.compile(r"Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: ")
_END: Final = re.compile(
    r"^--\n-- PostgreSQL database dump complete\n.*\Z", re.MULTILINE | re.DOTALL
)
# What the next object needs stands at the end of the one before it.
_STATE: Final = re.compile(r"^SET (default_\w+) = (.*);\n", re.MULTILINE)
_NAME: Final = re.compile(r'"(?:[^"]|"")*"')
# A policy's roles stand in the order in which the server happens to find them.
_POLICY: Final = re.compile(rf"^(CREATE POLICY .*? TO )((?:{_NAME.pattern}, )*{_NAME.pattern})")
_HAS_METHOD: Final = ("TABLE", "MATERIALIZED VIEW")

# pg_dump writes constants as the session would: a database's own settings must not matter.
_TEXTS: Final = "-c TimeZone=UTC -c standard_conforming_strings=on"
_ACROSS: Final = (
    # Constraints of this kind have names since 18.
    (re.compile(r'CONSTRAINT "(?:[^"]|"")*" NOT NULL'), "NOT NULL"),
    # A keyword since 16.
    (re.compile(r'"json"'), "json"),
    # Tables have one privilege more since 17, and the owner of a restored one has it.
    (re.compile(r"REVOKE (?:[A-Z]+,){6}[A-Z]+ ON TABLE"), "REVOKE ALL ON TABLE"),
    (re.compile(r"(GRANT|REVOKE) MAINTAIN ON TABLE .*"), ""),
    (re.compile(r"(?<=,)MAINTAIN,|,MAINTAIN(?= ON TABLE)"), ""),
)
# How one is a member has been told since 16.
_MEMBERSHIP: Final = re.compile(r', INHERIT FALSE(?= GRANTED BY)| GRANTED BY ".*"')
# Views over one table do not name it before each column since 16.
_QUALIFIER: Final = re.compile(r'"((?:[^"]|"")*)"\.(?=")')

# Settings that make a value's text the same, whatever database or role says.
_STABLE: Final = (
    "SET search_path = pg_catalog",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET TimeZone = 'UTC'",
    "SET bytea_output = 'hex'",
    "SET extra_float_digits = 1",
    "SET lc_monetary = 'C'",
    "SET xmlbinary = 'base64'",
    "SET statement_timeout = 0",
    "SET row_security = off",
    "SET quote_all_identifiers = off",
)


class Tools(Protocol):
    """PostgreSQL's client programs of one version: Binaries, or ClientTools."""

    def tool(self, name: str) -> str: ...


class Side(NamedTuple):
    """One of the databases that are compared."""

    server: Server
    database: str


def assert_same_database(
    source: tuple[Server, str], target: tuple[Server, str], **compared: Any
) -> None:
    """Fail with the first lines of what differs between two databases; see differences()."""
    lines = differences(source, target, **compared)
    more = [f"... {len(lines) - _SHOWN} lines more"] if len(lines) > _SHOWN else []
    assert not lines, "\n".join(["the databases differ:", *lines[:_SHOWN], *more])


def differences(
    source: tuple[Server, str],
    target: tuple[Server, str],
    *,
    tools: Tools | None = None,
    schema: bool = True,
    contents: bool = True,
    properties: bool = True,
    owners: bool = True,
    privileges: bool = True,
    tablespaces: bool = True,
    options: Sequence[str] = (),
    skip: Collection[str] = (),
) -> list[str]:
    """Return what differs between two databases, as lines of a diff.

    `properties` are those of the database as a whole: owner, settings, privileges, comment, locale;
    a restore without CREATE DATABASE does not bring them. `options` go to pg_dump: '-n', 'rental'.
    `skip` names what to leave out of the contents, in the words of contents_of().
    Servers of different versions may be compared: the newer one's pg_dump describes both, and what
    it tells in other words of an older server is left out.
    """
    sides = Side(*source), Side(*target)
    before, after = map(_major, sides)
    tools = tools or _tools(sides[after > before])
    lines = []
    if schema:
        words = [
            *options,
            *([] if owners else ["--no-owner"]),
            *([] if privileges else ["--no-privileges"]),
            *([] if tablespaces else ["--no-tablespaces"]),
        ]
        across = before != after
        texts = [schema_of(*side, tools, options=words, across=across) for side in sides]
        lines += _diff("schema", *texts)
    if contents:
        found = [_without(contents_of(*side), skip, owners, privileges) for side in sides]
        lines += _diff("contents", *map(_lines, found))
    if properties:
        told = [_without(properties_of(*side), (), owners, privileges) for side in sides]
        lines += _diff("properties", *map(_lines, told))
    return lines


def schema_of(
    server: Server,
    database: str,
    tools: Tools | None = None,
    *,
    options: Sequence[str] = (),
    across: bool = False,
) -> str:
    """Return what `pg_dump --schema-only` says, in an order of our own: equal schema, equal text.

    `across` versions leaves out what pg_dump tells differently of an older server.
    """
    side = Side(server, database)
    words = ["--schema-only", "--quote-all-identifiers", *options]
    script = _run(tools or _tools(side), "pg_dump", side, words)
    blocks = list(_blocks(script))
    if across:
        schemas = {block.schema for block in blocks}
        blocks = [block._replace(words=_across(block.words, schemas)) for block in blocks]
    return "\n".join(f"-- {block.title}\n{block.words}" for block in sorted(blocks))


def contents_of(server: Server, database: str) -> Contents:
    """Return what a database holds, each thing in a few words.

    table "s"."t"       number of rows and a hash over all, whatever their order; partitions and
                        children each by themselves, foreign tables not at all
    matview "s"."m"     the same, or that it is not populated
    sequence "s"."q"    its last value and whether it was called
    large object 16432  size, hash, owner, privileges and comment
    """
    with _stable(server, database) as connection:
        encoding = _rows(connection, "SHOW server_encoding")[0][0]
        hashed = "{}" if encoding == "SQL_ASCII" else "convert_to({}, 'UTF8')"
        found: Contents = {}
        hashes: dict[str, tuple[int, int]] = {}
        for kind, name, relation, columns in _rows(connection, _RELATIONS):
            key = f"{kind} {name}"
            if columns is None:
                found[key] = "not populated"
            elif kind == "sequence":
                query = f"SELECT 'at ' || last_value, 'called ' || is_called FROM {relation}"
                found[key] = ", ".join(_rows(connection, query)[0])
            else:
                row = hashed.format(f"ROW({columns})::text")
                rows, total = _rows(connection, _HASH.format(row, relation))[0]
                before = hashes.get(key, (0, 0))
                hashes[key] = before[0] + rows, before[1] + int(total)
        for key, (rows, total) in hashes.items():
            found[key] = f"{rows} rows, hash {total:x}"
        for oid, told in _rows(connection, _LARGE_OBJECTS):
            found[f"large object {oid}"] = told
    return found


def properties_of(server: Server, database: str) -> Contents:
    """Return what is said of a database as a whole."""
    with _stable(server, database) as connection:
        return dict(_rows(connection, _PROPERTIES))


# The text of a whole row is hashed, so that NULL and '' differ; a sum does not know an order.
_HASH: Final = """
SELECT count(*), coalesce(sum(('x' || left(md5(row), 15))::bit(60)::bigint), 0)
FROM (SELECT {} AS row FROM ONLY {} AS t) AS rows
"""
# Where a partition is chosen by the hash of an enum, it depends on OIDs: only the sum of all such
# partitions is told, in the name of the table that is divided so.
_RELATIONS: Final = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'matview' ELSE 'table' END,
    (SELECT format('"%s"."%s"', n.nspname, r.relname)
        FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE r.oid = coalesce(h.root, c.oid)),
    format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.relispopulated THEN coalesce(a.columns, '') END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT string_agg(format('t.%I', attname), ', ' ORDER BY attname COLLATE "C") AS columns
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a
    LEFT JOIN LATERAL (
        SELECT p.partrelid AS root
        FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS u (relid, place)
            JOIN pg_partitioned_table p ON p.partrelid = u.relid AND p.partstrat = 'h'
        WHERE EXISTS (SELECT FROM pg_attribute k JOIN pg_type y ON y.oid = k.atttypid
            WHERE k.attrelid = p.partrelid AND k.attnum = ANY (p.partattrs) AND y.typtype = 'e')
        ORDER BY place DESC LIMIT 1) h ON c.relispartition
WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 2
"""
_ACL: Final = "(SELECT string_agg(item::text, ' ' ORDER BY item::text) FROM unnest({}) AS item)"
_LARGE_OBJECTS: Final = f"""
SELECT oid::text, concat_ws(' ',
    length(lo_get(oid)) || ' bytes, sha256', encode(sha256(lo_get(oid)), 'hex') || ',',
    'owner {{{{' || pg_get_userbyid(lomowner) || '}}}}',
    'acl {{{{' || {_ACL.format("lomacl")} || '}}}}',
    obj_description(oid, 'pg_largeobject'))
FROM pg_largeobject_metadata
"""
_PROPERTIES: Final = f"""
SELECT k, v FROM pg_database d CROSS JOIN LATERAL (VALUES
    ('owner', pg_get_userbyid(datdba)), ('acl', {_ACL.format("datacl")}),
    ('encoding', pg_encoding_to_char(encoding)), ('collate', datcollate), ('ctype', datctype),
    ('provider', datlocprovider::text), ('template', datistemplate::text),
    ('locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')),
    ('limit', datconnlimit::text), ('comment', shobj_description(oid, 'pg_database'))) AS p (k, v)
WHERE datname = current_database() AND v IS NOT NULL
UNION ALL
SELECT concat_ws(' ', 'setting', split_part(item, '=', 1), 'of ' || nullif(setrole, 0)::regrole),
    item
FROM pg_db_role_setting, unnest(setconfig) AS item
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_OWNER: Final = re.compile(r"owner \{\{.*?\}\} ?", re.DOTALL)
_PRIVILEGES: Final = re.compile(r"acl \{\{.*?\}\} ?", re.DOTALL)


def globals_of(server: Server, tools: Tools | None = None, *, across: bool = False) -> str:
    """Return what `pg_dumpall --globals-only` says, in an order of our own."""
    side = Side(server, "postgres")
    script = _run(
        tools or _tools(side), "pg_dumpall", side, ["--globals-only", "--quote-all-identifiers"]
    )
    lines = (line for line in script.splitlines() if line and not line.startswith(("--", "\\")))
    return "\n".join(sorted(_MEMBERSHIP.sub("", line) if across else line for line in lines))


def _without(found: Contents, skip: Collection[str], owners: bool, privileges: bool) -> Contents:
    left_out = {*skip, *([] if owners else ["owner"]), *([] if privileges else ["acl"])}
    kept = {name: told for name, told in found.items() if name not in left_out}
    if not owners:
        kept = {name: _OWNER.sub("", told) for name, told in kept.items()}
    if not privileges:
        kept = {name: _PRIVILEGES.sub("", told) for name, told in kept.items()}
    return kept


def _lines(found: Contents) -> str:
    return "\n".join(f"{name}: {told}" for name, told in sorted(found.items()))


def _diff(what: str, source: str, target: str) -> list[str]:
    one, other = source.splitlines(), target.splitlines()
    return list(
        difflib.unified_diff(one, other, f"{what} of source", "of target", lineterm="", n=4)
    )


@contextmanager
def _stable(server: Server, database: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect, with settings under which equal values have equal texts."""
    with psycopg.connect(conninfo_of(server), autocommit=True, dbname=database) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        # Else psycopg would have to know what the bytes of SQL_ASCII mean.
        connection.execute(
            "SET client_encoding = " + ("LATIN1" if encoding == "SQL_ASCII" else "UTF8")
        )
        for setting in _STABLE:
            connection.execute(setting)
        yield connection


def _rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(connection.info.encoding)).fetchall()


def conninfo_of(server: Server) -> str:
    return server if isinstance(server, str) else server.conninfo


def _major(side: Side) -> int:
    with psycopg.connect(conninfo_of(side.server), dbname=side.database) as connection:
        return connection.info.server_version // 10000


def _tools(side: Side) -> Tools:
    if isinstance(side.server, ScratchCluster):
        return side.server.binaries
    return find_tools(str(_major(side)))


def _run(tools: Tools, program: str, side: Side, words: Sequence[str]) -> str:
    """Run pg_dump or pg_dumpall and return its script."""
    where = make_conninfo(conninfo_of(side.server), dbname=side.database)
    done = subprocess.run(
        [tools.tool(program), *words, f"--dbname={where}"],
        env={**SERVER_ENVIRONMENT, "PGOPTIONS": _TEXTS},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape")


class _Block(NamedTuple):
    schema: str
    name: str
    title: str
    words: str


def _blocks(script: str) -> Iterator[_Block]:
    """Yield the statements of each object, with what they need that was said before."""
    parts = _HEADER.split(_END.sub("", script))
    method = _method(parts[0], "heap")
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        found = _TITLE.match(title)
        assert found, title
        name, kind, schema = found.groups()
        words = "\n".join(line for line in _STATE.sub("", body).splitlines() if line.strip())
        if kind == "POLICY":
            words = _POLICY.sub(_sorted_roles, words)
        using = ""
        if kind in _HAS_METHOD and method != "heap" and "\nPARTITION BY " not in words:
            using = f"; Using: {method}"
        yield _Block(schema, name, title + using, words)
        method = _method(body, method)


def _sorted_roles(match: re.Match[str]) -> str:
    return match[1] + ", ".join(sorted(_NAME.findall(match[2])))


def _method(text: str, before: str) -> str:
    """Return the access method that is the default after some statements."""
    set_here = [
        value for name, value in _STATE.findall(text) if name == "default_table_access_method"
    ]
    return set_here[-1].strip('"') if set_here else before


def _across(words: str, schemas: Collection[str]) -> str:
    """Leave out what PostgreSQL tells differently since some version."""

    def unqualified(match: re.Match[str]) -> str:
        return match[0] if match[1].replace('""', '"') in schemas else ""

    for pattern, instead in _ACROSS:
        words = pattern.sub(instead, words)
    return _QUALIFIER.sub(unqualified, words).rstrip("\n")
