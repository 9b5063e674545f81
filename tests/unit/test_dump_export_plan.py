"""Which parts of a dump an export writes, and why others are refused."""

from typing import Any

import pytest

from pgkeep.logical.export.formats import ExportFormat
from pgkeep.logical.export.plan import (
    CannotExport,
    ExportPlan,
    ExportRequest,
    parse_compression,
    plan_export,
)
from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.toc import Algorithm
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, DumpFacts, Globals
from support.dump_shelf import DUMP, databases, some_dump_facts

PLAIN = {"create": True, "clean": True, "if_exists": True, "no_owner": True, "no_privileges": True}


def facts(*names: str, **changes: Any) -> DumpFacts:
    return some_dump_facts(databases=databases(*names), **{"globals": Globals(), **changes})


def plan(found: DumpFacts, form: str, **asked: Any) -> ExportPlan:
    request = ExportRequest(dump=DUMP, output="/tmp/x", format=ExportFormat(form), **asked)
    return plan_export(found, request)


def told(found: DumpFacts, form: str, **asked: Any) -> tuple[str, str]:
    """Return why an export is refused, and what is advised."""
    with pytest.raises(CannotExport) as refused:
        plan(found, form, **asked)
    assert str(refused.value) == f"cannot export dump {DUMP} to /tmp/x: {refused.value.why}"
    return refused.value.why, refused.value.hint


@pytest.mark.parametrize("form", ["custom", "directory", "tar", "plain"])
def test_one_database(form: str) -> None:
    found = plan(facts("shop"), form)
    assert [part.database.name for part in found.parts] == ["shop"]
    assert (found.globals, found.whole_cluster, found.parts[0].connect) == (False, False, False)
    assert found.parts[0].words == ()
    assert plan(facts("a", "b"), form, database="b").parts[0].database.number == 2


def test_globals() -> None:
    found = plan(facts("shop"), "globals")
    assert (found.globals, found.parts, found.whole_cluster) == (True, (), False)
    assert told(facts("shop", globals=None), "globals") == (
        "it holds no roles and tablespaces",
        "pgkeep dump create always takes them along; an import does with --globals FILE",
    )


def test_a_script_of_everything_does_as_pg_dumpall() -> None:
    found = plan(facts("postgres", "shop", "template1"), "plain", no_owner=True)
    assert found.whole_cluster
    assert [(part.database.name, part.connect, part.words) for part in found.parts] == [
        ("template1", True, ("--no-owner",)),
        ("postgres", True, ("--no-owner",)),
        ("shop", False, ("--create", "--no-owner")),
    ]
    found = plan(facts("postgres", "shop"), "plain", clean=True, if_exists=True)
    assert {(part.connect, part.words) for part in found.parts} == {
        (False, ("--create", "--clean", "--if-exists"))
    }


def test_words_for_pg_restore_are_no_options_by_chance() -> None:
    found = plan(facts("shop"), "plain", **PLAIN, tables=("--help",), schemas=("a b",))
    assert found.parts[0].words == (
        *("--create", "--clean", "--if-exists", "--no-owner", "--no-privileges"),
        *("--strict-names", "--table=--help", "--schema=a b"),
    )


def test_what_is_refused() -> None:
    shop, many = facts("shop"), facts("a", "b")
    assert told(many, "custom") == (
        "it holds 2 databases, and format custom takes one",
        "choose one with -d: a, b; --format plain takes all",
    )
    assert told(many, "tar", database="c") == ("it has no database c", "it has a, b")
    assert told(facts(), "tar")[0] == "it holds no database"
    assert told(shop, "custom", create=True, tables=("a",)) == (
        "--create, --table is for --format plain: the other formats hold everything",
        "give --create, --table to pg_restore when you restore the file",
    )
    assert told(shop, "plain", if_exists=True)[0] == (
        "--if-exists is for the DROP statements of --clean"
    )
    assert told(many, "plain", schemas=("s",)) == (
        "tables and schemas are chosen of one database",
        "choose it with -d: a, b",
    )
    for form in ("tar", "directory", "globals"):
        why, _ = told(shop, form, compress="gzip")
        assert why == f"pgkeep does not compress format {form}"
    assert told(shop, "custom", compress="lz4")[0] == "there is no compression 'lz4'"


def test_scripts_stay_as_they_are() -> None:
    script = some_dump_facts(databases=(DumpedDatabase(number=1, name="shop", script=True),))
    assert plan(script, "plain").parts[0].database.script
    for form in ("custom", "directory", "tar"):
        why, hint = told(script, form)
        assert why == ("database shop was imported as a plain SQL script, which has no archive")
        assert "--format plain gives the script back" in hint
    for option in PLAIN.keys() - {"if_exists"}:
        assert "stays as it is" in told(script, "plain", **{option: True})[0]


@pytest.mark.parametrize(
    ("text", "algorithm", "level"),
    [
        ("none", Algorithm.NONE, None),
        ("gzip", Algorithm.GZIP, 6),
        ("gzip:9", Algorithm.GZIP, 9),
        ("zstd", Algorithm.ZSTD, 3),
        ("zstd:19", Algorithm.ZSTD, 19),
    ],
)
def test_compression(text: str, algorithm: Algorithm, level: int | None) -> None:
    assert parse_compression(text) == Compression(algorithm, level)
    assert plan(facts("shop"), "plain", compress=text).compress == (
        text if ":" in text or level is None else f"{text}:{level}"
    )


@pytest.mark.parametrize("text", ["", "none:1", "gzip:0", "gzip:10", "zstd:20", "zstd:-1", "GZIP"])
def test_no_compression(text: str) -> None:
    assert parse_compression(text) is None
