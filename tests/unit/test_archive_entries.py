"""What entries say about themselves and about others."""

import pytest

from pgkeep.postgres.archive.entries import (
    Settings,
    Subject,
    copy_target,
    database_clauses,
    encoding_of,
    foreign_key,
    large_objects,
    priority,
    sections,
    sequence_value,
    settings_of,
    subject,
    subject_table,
)
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.sql import Name
from pgkeep.postgres.archive.toc import Section
from support.pg_archives import data, entry

SETTINGS = [
    entry(1, "ENCODING", definition="SET client_encoding = 'LATIN1';\n"),
    entry(2, "STDSTRINGS", definition="SET standard_conforming_strings = 'off';\n"),
    entry(
        3, "SEARCHPATH", definition="SELECT pg_catalog.set_config('search_path', 'a, b', false);\n"
    ),
]


def test_settings_are_found_wherever_they_are() -> None:
    others = [entry(9, "TABLE", "t")]
    assert settings_of(others + SETTINGS) == Settings("LATIN1", False, "a, b")
    assert settings_of(others) == Settings("", True, "")
    assert encoding_of(SETTINGS) == "LATIN1"
    assert encoding_of(others) == ""


def test_a_setting_that_sets_nothing() -> None:
    with pytest.raises(BadArchive) as raised:
        encoding_of([entry(1, "ENCODING", "ENCODING", definition="SET x;")])
    assert str(raised.value) == "cannot read entry 1 (ENCODING ENCODING): it sets nothing"


@pytest.mark.parametrize(
    ("tag", "found", "table"),
    [
        ("TABLE orders", ("TABLE", "orders"), "orders"),
        ('TABLE "Or""ders"', ("TABLE", '"Or""ders"'), 'Or"ders'),
        ('COLUMN "a.b".id', ("COLUMN", '"a.b".id'), "a.b"),
        ("MATERIALIZED VIEW mv", ("MATERIALIZED VIEW", "mv"), "mv"),
        ('CONSTRAINT "x ON y" ON orders', ("CONSTRAINT", '"x ON y" ON orders'), "orders"),
        ('TRIGGER t ON "o ON p"', ("TRIGGER", 't ON "o ON p"'), "o ON p"),
        ("CONSTRAINT c", ("CONSTRAINT", "c"), None),
        ("FUNCTION f(a integer)", ("FUNCTION", "f(a integer)"), None),
        ("LARGE OBJECT 7", ("LARGE OBJECT", "7"), None),
        ("TEXT SEARCH CONFIGURATION c", ("TEXT SEARCH CONFIGURATION", "c"), None),
        ("orders", ("", "orders"), None),
    ],
)
def test_subjects(tag: str, found: tuple[str, str], table: str | None) -> None:
    for desc in ("ACL", "COMMENT", "SECURITY LABEL"):
        of = subject(entry(9, desc, tag, dependencies=("4", "8")))
        assert of == Subject(*found, 4)
        assert of is not None
        assert subject_table(of) == table


def test_what_has_no_subject() -> None:
    assert subject(entry(9, "TABLE", "TABLE orders")) is None
    assert subject(entry(9, "COMMENT", "SCHEMA s")) == Subject("SCHEMA", "s", None)


def test_what_has_no_section_belongs_to_the_one_it_stands_in() -> None:
    kinds = [
        ("COMMENT", Section.NONE),
        ("TABLE", Section.PRE_DATA),
        ("ACL", Section.NONE),
        ("BLOB METADATA", Section.DATA),
        ("ACL", Section.NONE),
        ("INDEX", Section.POST_DATA),
        ("COMMENT", Section.NONE),
    ]
    entries = [entry(n, desc, section=section) for n, (desc, section) in enumerate(kinds)]
    assert [section.value for section, _ in sections(entries)] == [2, 2, 2, 3, 3, 4, 4]


def test_parts_of_definitions() -> None:
    key = entry(
        1, "FK CONSTRAINT", "o f",
        definition="ALTER TABLE ONLY o ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES x.c(id);",
    )  # fmt: skip
    assert foreign_key(key).table == Name("shop", "o")
    found = copy_target(data(2, "t"))
    assert found is not None
    assert (found.table, found.columns) == (Name("shop", "t"), ("id", "name"))
    assert copy_target(data(2, "t", copy_statement=None)) is None
    value = entry(3, "SEQUENCE SET", "s", definition="SELECT pg_catalog.setval('a.s', 7, false);")
    assert sequence_value(value) == (Name("a", "s"), 7, False)


def test_definitions_that_are_not_understood_name_their_entry() -> None:
    with pytest.raises(BadArchive) as raised:
        foreign_key(entry(5, "FK CONSTRAINT", "a b", definition="ALTER INDEX"))
    expected = "cannot read entry 5 (FK CONSTRAINT a b): there is no TABLE before 'INDEX'"
    assert str(raised.value) == expected


def test_large_objects() -> None:
    assert large_objects(entry(1, "BLOB", "4294967290")) == (4294967290,)
    assert large_objects(entry(1, "BLOB METADATA", "1..3", definition="1\n3\n")) == (1, 3)
    with pytest.raises(BadArchive, match="it does not list large objects"):
        large_objects(entry(1, "BLOB", "x"))


def test_kinds_have_pg_dumps_order() -> None:
    kinds = [
        "ENCODING", "SCHEMA", "TYPE", "FUNCTION", "TABLE", "VIEW", "DEFAULT", "TABLE DATA", "INDEX",
        "FK CONSTRAINT", "PUBLICATION", "MATERIALIZED VIEW DATA", "ACL", "SOMETHING NEW",
    ]  # fmt: skip
    mixed = kinds[::2] + kinds[1::2]
    assert sorted(mixed, key=priority) == kinds


@pytest.mark.parametrize(
    ("definition", "clauses", "space"),
    [
        ('"shop" WITH TEMPLATE = template0 ENCODING = \'UTF8\';\n',
         "WITH TEMPLATE = template0 ENCODING = 'UTF8'", ""),
        ('"a;b" WITH TEMPLATE = template0 TABLESPACE = "fast ""; disks";\n',
         "WITH TEMPLATE = template0", 'fast "; disks'),
        ("shop WITH ICU_RULES = '&a < b;' TABLESPACE = fast;\n",
         "WITH ICU_RULES = '&a < b;'", "fast"),
        ("1shop;", "", ""),
    ],
)  # fmt: skip
def test_what_a_database_is_created_with(definition: str, clauses: str, space: str) -> None:
    made = entry(1, "DATABASE", "shop", definition=f"CREATE DATABASE {definition}")
    assert database_clauses(made) == (clauses, space)
    assert database_clauses(made._replace(definition=None)) == ("", "")
