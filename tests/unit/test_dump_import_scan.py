"""What is found in plain SQL scripts, in whatever pieces they come."""

import pytest

from pgkeep.logical.importing.quoting import Quoting
from pgkeep.logical.importing.scan import Found, Scan
from pgkeep.logical.inventory import Item

HEAD = """--
-- PostgreSQL database dump
--

\\restrict abc123

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 17.10

-- Started on 2026-01-15 16:47:21 CET

SET client_encoding = 'UTF8';
"""
TABLE = """
--
-- Name: orders; Type: TABLE; Schema: public; Owner: ann; Tablespace: fast
--

CREATE TABLE public.orders (
    id integer DEFAULT 1,
    note text DEFAULT 'a;b -- c'''
);

"""
ROWS = """
--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: ann
--

COPY public.orders (id, note) FROM stdin;
1\tone
2\tCOPY public.x (a) FROM stdin;
3\t\\\\.
\\.


"""
SEQUENCE = """--
-- Name: s; Type: SEQUENCE SET; Schema: public; Owner: ann
--

SELECT pg_catalog.setval('public.s', 42, true);

"""
END = """--
-- PostgreSQL database dump complete
--

\\unrestrict abc123

"""
FUNCTION = """--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: ann
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE plpgsql AS $_$ BEGIN
COPY nothing FROM stdin;
-- Name: fake; Type: TABLE; Schema: public; Owner: ann
-- PostgreSQL database dump complete
\\connect nowhere
RETURN '$_'; END $_$;

"""


def scanned(script: str | bytes, piece: int = 1 << 20) -> tuple[str, Found, list[Item]]:
    content = script.encode() if isinstance(script, str) else script
    scan, items = Scan(), list[Item]()
    for start in range(0, len(content), piece):
        scan.take(content[start : start + piece])
        items += scan.items()
    missing = scan.finish()
    return missing, scan.found, items + list(scan.items())


def test_everything_that_pg_dump_says() -> None:
    script = HEAD + TABLE + FUNCTION + ROWS + SEQUENCE + END
    missing, found, items = scanned(script)
    assert missing == ""
    assert found == Found(
        server_version="15.18",
        dump_version="17.10",
        started="2026-01-15 16:47:21 CET",
        encoding="UTF8",
        objects=4,
        tables=1,
        rows=3,
        data_bytes=len("1\tone\n2\tCOPY public.x (a) FROM stdin;\n3\t\\\\.\n"),
    )
    table, function, rows, value = items
    assert (table.key, table.owner, table.rows) == (("TABLE", "public", "orders"), "ann", None)
    assert len(table.definition) == len(function.definition) == 16
    assert rows.key == ("TABLE DATA", "public", "orders")
    assert (rows.rows, rows.bytes, rows.file) == (3, found.data_bytes, "script.sql")
    assert value.value == "42,true"
    for size in (1, 2, 7, 100):
        assert scanned(script, size) == (missing, found, items)
    dos = scanned(script.replace("\n", "\r\n"), 5)
    assert dos[0] == ""
    assert [item.key for item in dos[2]] == [item.key for item in items]
    assert dos[1].rows == 3


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        ("", "it does not end with '-- PostgreSQL database dump complete'"),
        (HEAD + TABLE, "it does not end with '-- PostgreSQL database dump complete'"),
        (HEAD + ROWS[:-7], "it ends within the rows of a table"),
        (HEAD + ROWS[:-3], "it does not end with '-- PostgreSQL database dump complete'"),
        (HEAD + TABLE[: TABLE.index("c'''")], "it ends within a quoted text"),
        (HEAD + FUNCTION[:-10], "it ends within a quoted text"),
        (HEAD + "/* x", "it ends within a comment"),
        (HEAD + 'CREATE TABLE "a', "it ends within a quoted name"),
        (HEAD + END[:-6], "it does not end with the \\unrestrict that belongs to its \\restrict"),
        (HEAD + END + TABLE, "it does not end with '-- PostgreSQL database dump complete'"),
        (HEAD + END + "\\connect x\n" + END, ""),
        (HEAD + END.rstrip(), ""),
    ],
)
def test_ends(script: str, missing: str) -> None:
    assert scanned(script)[0] == missing
    assert scanned(script, 3)[0] == missing


def test_a_cluster_ends_with_its_own_mark() -> None:
    cluster = "--\n-- PostgreSQL database cluster dump\n--\n\n\\connect template1\n"
    everything = cluster + HEAD + ROWS + END
    expected = "it does not end with '-- PostgreSQL database cluster dump complete'"
    assert scanned(everything)[0] == expected
    missing, found, _ = scanned(everything + "--\n-- PostgreSQL database cluster dump complete\n--")
    assert (missing, found.cluster, list(found.connects)) == ("", True, ["template1"])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("\\connect shop", "shop"),
        ("\\c shop", "shop"),
        ('\\connect "My ""odd"" DB"', 'My "odd" DB'),
        ('\\connect -reuse-previous=on "dbname=\'it\\\'s \\\\ ""x""\'"', 'it\'s \\ "x"'),
    ],
)
def test_databases_that_a_script_goes_to(line: str, name: str) -> None:
    assert list(scanned(HEAD + line + "\n")[1].connects) == [name]


def test_scripts_without_comments() -> None:
    script = (
        'CREATE TABLE "a ""b" (c int);\nCOPY "a ""b" (c) FROM stdin;\n1\n2\n\\.\n'
        "COPY public.none  FROM stdin;\n\\.\nINSERT INTO x VALUES ('COPY y FROM stdin;');\n"
    )
    for size in (1, 1 << 20):
        _, found, items = scanned(script, size)
        assert (found.tables, found.rows) == (2, 2)
        assert [(i.schema, i.name, i.rows) for i in items] == [
            ("", 'a "b', 2),
            ("public", "none", 0),
        ]


def test_names_in_other_encodings() -> None:
    head = HEAD.replace("UTF8", "LATIN1").encode("latin-1")
    table = TABLE.replace("orders", "é", 1).encode("latin-1")
    assert scanned(head + table)[2][0].name == "é"


def test_rows_longer_than_a_piece() -> None:
    long = "x" * (3 << 20)
    start, end = ROWS.index("1\tone"), ROWS.index("\\.\n\n\n")
    script = HEAD + ROWS[:start] + f"{long}\n\\\\.{long}\n" + ROWS[end:] + END
    for size in (1 << 18, 1 << 22):
        missing, found, _ = scanned(script, size)
        assert (missing, found.rows) == ("", 2)
        assert found.data_bytes == 2 * len(long) + 5
    statement = f"INSERT INTO x VALUES ('{long} it''s {long}', 1);\n"
    assert scanned(HEAD + statement + END, 1 << 18)[0] == ""
    assert scanned(HEAD + statement.replace("''", "'") + END, 1 << 18)[0] != ""


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("SELECT 'a'", False),
        ("SELECT 'a''b", True),
        ("SELECT '\\'", False),
        ("SELECT E'\\'", True),
        ("SELECT E'a''\\'b'", False),
        ("SELECT e'\\\\'", False),
        ("SELECT tree'a'", False),
        ('SELECT "it\'s"', False),
        ("SELECT $$ it's", True),
        ("SELECT $$ it's $$", False),
        ("SELECT $a$ $$ $b$a$", False),
        ("SELECT a$b$c", False),
        ("SELECT $1 + $2", False),
        ("SELECT $a$ \\$a$", False),
        ("-- it's", False),
        ("/* it's /* more */", True),
        ("/* it's /* more */ */ SELECT 1", False),
        ("SELECT 1 -- $$", False),
        ("SELECT '--'", False),
        ("SELECT 'a' 'b' \"c\" $$d$$", False),
    ],
)
def test_quoting(text: str, inside: bool) -> None:
    quoting = Quoting()
    quoting.line(text.encode())
    assert quoting.inside is inside
