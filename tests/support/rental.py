"""A film-rental database with every kind of object that PostgreSQL can have since 15.

What is in it stands in rental_sql/, one file per kind of object. The files are run in the order of
a restore: types, tables, rows, constraints, triggers, and event triggers last. The same words give
the same rows in every run.

Its roles belong to the whole cluster: rental_owner (owns nearly everything), rental_clerk (logs in
with the password 'clerk', is granted things) and HOSTILE_ROLE. A server that such a database is
restored into needs them too: `create_roles`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from pgkeep.server.binaries import give_to_server_user
from pgkeep.server.scratch import ScratchCluster

OWNER: Final = "rental_owner"
CLERK: Final = "rental_clerk"
HOSTILE_ROLE: Final = "Böse \"Rolle\" %s \\ 'x'"
ROLES: Final = (OWNER, CLERK, HOSTILE_ROLE)
TABLESPACE: Final = "rental_space"

# Names that a database itself may have; pg_dump --create and pg_dumpall refuse one with a newline.
HOSTILE_DATABASES: Final = (
    "dbname=x",
    "-d",
    "postgresql://x/y",
    "quote\"d 'x' %s",
    "back\\slash $(id)",
    "MixedCase",
    "a.b",
    "ü" * 31 + "1",
)

_FILES: Final = Path(__file__).parent / "rental_sql"
_ORDER: Final = (
    "schemas",
    "types",
    "tables",
    "rows",
    "constraints",
    "routines",
    "views",
    "triggers",
    "names",
    "large_objects",
    "privileges",
    "replication",
    "comments",
)
# What not every build of PostgreSQL has, and how to ask for it.
_BUILDS: Final = {
    "build_xml": b"SELECT '<a/>'::xml",
    "build_icu": b"CREATE COLLATION pg_temp.asked (provider = icu, locale = 'de')",
    "build_lz4": b"CREATE TEMPORARY TABLE asked (a text COMPRESSION lz4)",
}
# All of them change how values look; a dump must not depend on it.
_SETTINGS: Final = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Chatham",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "search_path": '"Back Office", rental, public',
    "xmloption": "document",
    "standard_conforming_strings": "off",
    "rental.motto": 'it\'s %s \\ "quoted"',
}


def load_rental(
    cluster: ScratchCluster,
    database: str = "rental",
    *,
    scale: int = 1,
    tablespace: Path | None = None,
    build_extras: bool = False,
) -> None:
    """Create the database, with a few thousand rows for each step of the scale.

    `tablespace` is an empty directory to put some tables into. `build_extras` adds what this build
    has but others may lack (xml, ICU collations, lz4): such a database cannot be restored anywhere.
    """
    create_roles(cluster)
    if tablespace is not None:
        _create_tablespace(cluster, tablespace)
    with cluster.connect() as connection:
        words = "CREATE DATABASE {} OWNER rental_owner TEMPLATE template0"
        connection.execute(sql.SQL(words).format(sql.Identifier(database)))
    with cluster.connect(dbname=database) as connection:
        connection.execute(f"SET rental.scale = {scale}".encode())
        for name in _files(connection, cluster.binaries.major, tablespace, build_extras):
            _run(connection, name)
        _set_up_database(connection, database)


def create_roles(cluster: ScratchCluster) -> None:
    """Create the roles which are not there yet."""
    with cluster.connect() as connection:
        _run(connection, "roles")
        if cluster.binaries.major >= 17:
            _run(connection, "roles_since_17")


def _files(
    connection: psycopg.Connection[tuple[object, ...]],
    major: int,
    tablespace: Path | None,
    build_extras: bool,
) -> Iterator[str]:
    yield from _ORDER
    if major >= 17:
        yield "since_17"
    if major >= 18:
        yield "since_18"
    if tablespace is not None:
        yield "tablespace"
    for name, question in _BUILDS.items() if build_extras else ():
        if _has(connection, question):
            yield name
    yield "events"


def _has(connection: psycopg.Connection[tuple[object, ...]], question: bytes) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(question)
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def _run(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """Run a file as one transaction."""
    statements = (_FILES / f"{name}.sql").read_bytes()
    try:
        connection.execute(statements)
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 1)
        line = statements.decode()[: position - 1].count("\n") + 1
        raise AssertionError(f"{name}.sql, line {line}: {error}") from error
    connection.execute("RESET ROLE")


def _create_tablespace(cluster: ScratchCluster, directory: Path) -> None:
    if cluster.sql("SELECT 1 FROM pg_tablespace WHERE spcname = %s", TABLESPACE):
        return
    directory.mkdir(parents=True, exist_ok=True)
    give_to_server_user(directory)
    with cluster.connect() as connection:
        words = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
        connection.execute(words.format(sql.Identifier(TABLESPACE), str(directory)))


def _set_up_database(connection: psycopg.Connection[tuple[object, ...]], database: str) -> None:
    """Give the database as a whole what it can have: settings, privileges, a comment, a limit."""
    name = sql.Identifier(database)
    for setting, value in _SETTINGS.items():
        words = sql.SQL("ALTER DATABASE {} SET {} = {}")
        shown = sql.Literal(value) if setting != "search_path" else sql.SQL(value)
        connection.execute(words.format(name, _setting(setting), shown))
    for statement in (
        "ALTER ROLE rental_clerk IN DATABASE {} SET work_mem = '5MB'",
        "ALTER ROLE {role} IN DATABASE {} SET \"rental.mode\" = 'it''s %s \\ x'",
        "COMMENT ON DATABASE {} IS E'films\\n-- it''s \\\\ \"all\" %s'",
        "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
        "GRANT CONNECT, TEMPORARY ON DATABASE {} TO rental_clerk WITH GRANT OPTION",
        "ALTER DATABASE {} CONNECTION LIMIT 25",
    ):
        words = sql.SQL(statement)
        connection.execute(words.format(name, role=sql.Identifier(HOSTILE_ROLE)))


def _setting(name: str) -> sql.Composable:
    return sql.SQL(".").join(map(sql.Identifier, name.split(".")))
