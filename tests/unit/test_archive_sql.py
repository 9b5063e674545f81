"""SQL of pg_dump's archives: quoted names, foreign keys, COPY statements, values of sequences."""

import pytest

from pgkeep.postgres.archive.sql import (
    CopyTarget,
    ForeignKey,
    Name,
    NotUnderstood,
    SequenceValue,
    parse_copy,
    parse_foreign_key,
    parse_identifier,
    parse_name,
    parse_set_value,
    quote_identifier,
)

LATIN = b"gr\xf6\xdfe".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("orders", "orders"),
        ("_a1", "_a1"),
        ("Orders", '"Orders"'),
        ("or ders", '"or ders"'),
        ('or"ders', '"or""ders"'),
        ("1st", '"1st"'),
        ("a$b", '"a$b"'),
        ("größe", '"größe"'),
        (LATIN, f'"{LATIN}"'),
        ("line\nfeed", '"line\nfeed"'),
        ("select", '"select"'),
        ("json_table", '"json_table"'),
        ("between", '"between"'),
        ("abort", "abort"),
    ],
)
def test_names_are_quoted_and_read_again(name: str, quoted: str) -> None:
    assert quote_identifier(name) == quoted
    assert parse_identifier(quoted) == (name, len(quoted))
    assert parse_name(f"s.{quoted}") == Name("s", name)
    assert str(Name("s", name)) == f"s.{quoted}"


def test_plain_names_become_small() -> None:
    assert parse_name("Shop.ORDERS") == Name("shop", "orders")
    assert parse_name("orders", "shop") == Name("shop", "orders")
    assert str(Name("", "orders")) == "orders"


@pytest.mark.parametrize("text", ["", "1a", '""', '"a', "a.", "a b", "a.b.c", ".a"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_name(text)


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        pytest.param(
            "ALTER TABLE ONLY shop.orders\n    ADD CONSTRAINT fk FOREIGN KEY (customer) "
            "REFERENCES shop.customers(id) ON DELETE CASCADE;\n",
            ForeignKey(
                "fk", Name("shop", "orders"), ("customer",), Name("shop", "customers"), ("id",),
                "ON DELETE CASCADE",
            ),
            id="usual",
        ),
        pytest.param(
            'ALTER TABLE "S"."o.""r"\n    ADD CONSTRAINT "f k" FOREIGN KEY ("a,)", b) REFERENCES '
            '"T"."p ("("x)", "y  ;") DEFERRABLE INITIALLY DEFERRED;\n',
            ForeignKey(
                "f k", Name("S", 'o."r'), ("a,)", "b"), Name("T", "p ("), ("x)", "y  ;"),
                "DEFERRABLE INITIALLY DEFERRED",
            ),
            id="everything quoted, of a partitioned table",
        ),
        pytest.param(
            "ALTER TABLE ONLY orders\n    ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES c(id);\n",
            ForeignKey("fk", Name("old", "orders"), ("c",), Name("old", "c"), ("id",), ""),
            id="before 2018: the search path names the schema",
        ),
        pytest.param(
            "ALTER TABLE ONLY s.a\n    ADD CONSTRAINT fk FOREIGN KEY (room, PERIOD at) REFERENCES "
            "s.b(room, PERIOD during);\n",
            ForeignKey(
                "fk", Name("s", "a"), ("room", "at"), Name("s", "b"), ("room", "during"), ""
            ),
            id="temporal, from 18 on",
        ),
        pytest.param(
            "ALTER TABLE ONLY s.a\n    ADD CONSTRAINT fk FOREIGN KEY (period, periodic) REFERENCES "
            's.b("PERIOD", period) NOT VALID;\n',
            ForeignKey(
                "fk", Name("s", "a"), ("period", "periodic"), Name("s", "b"), ("PERIOD", "period"),
                "NOT VALID",
            ),
            id="columns called period",
        ),
    ],
)  # fmt: skip
def test_foreign_keys(definition: str, key: ForeignKey) -> None:
    assert parse_foreign_key(definition, "old") == key


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ("", "there is no ALTER before ''"),
        ("ALTER TABLE s.a ADD CONSTRAINT x CHECK (true)", "there is no FOREIGN before 'CHECK (tr"),
        ("ALTER TABLE s.a ADD CONSTRAINT x FOREIGN KEY () ", "there is no name in ') '"),
        (
            "ALTER TABLE s.a ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES b(c, d)",
            "1 columns reference 2",
        ),
        ("ALTERTABLE s.a", "there is no ALTER before 'ALTERTABLE s.a'"),
    ],
)
def test_what_is_no_foreign_key(definition: str, why: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse_foreign_key(definition)
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize(
    ("statement", "target"),
    [
        ("COPY s.t (a, b) FROM stdin;\n", CopyTarget(Name("s", "t"), ("a", "b"))),
        ("COPY s.t  FROM stdin;\n", CopyTarget(Name("s", "t"), ())),
        ("COPY t (a) FROM stdin;\n", CopyTarget(Name("public", "t"), ("a",))),
        (
            'COPY "a b"."c.d" ("e,)", "f""(", "line\nfeed") FROM stdin;\n',
            CopyTarget(Name("a b", "c.d"), ("e,)", 'f"(', "line\nfeed")),
        ),
        (f'COPY s."{LATIN}" (a) FROM stdin;', CopyTarget(Name("s", LATIN), ("a",))),
    ],
)
def test_copy_statements(statement: str, target: CopyTarget) -> None:
    assert parse_copy(statement, "public") == target


@pytest.mark.parametrize(
    "statement",
    ["", "COPY s.t (a) TO stdout;", "COPY s.t (a) FROM stdin; DROP", "COPY s.t (a FROM stdin;"],
)
def test_what_is_no_copy(statement: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_copy(statement)


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        (
            "SELECT pg_catalog.setval('shop.sq', 1, true);\n",
            SequenceValue(Name("shop", "sq"), 1, called=True),
        ),
        (
            """SELECT pg_catalog.setval('shop."O''r""d, 7, true)"', -500, false);\n""",
            SequenceValue(Name("shop", "O'r\"d, 7, true)"), -500, called=False),
        ),
        (
            """SELECT pg_catalog.setval(E'"back\\\\slash"', 9223372036854775807, true);""",
            SequenceValue(Name("old", "back\\slash"), (1 << 63) - 1, called=True),
        ),
    ],
)
def test_values_of_sequences(statement: str, value: SequenceValue) -> None:
    assert parse_set_value(statement, "old") == value


@pytest.mark.parametrize("statement", ["", "SELECT setval(1, 2, true)", "SELECT setval('a', b)"])
def test_what_sets_no_sequence(statement: str) -> None:
    with pytest.raises(NotUnderstood, match="it sets no value of a sequence"):
        parse_set_value(statement)
