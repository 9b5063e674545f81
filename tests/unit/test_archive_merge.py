"""Several tables of contents become one: numbered anew, tables before views, nothing lost."""

import io
from pathlib import Path

from pgkeep.postgres.archive.merge import merge_tocs
from pgkeep.postgres.archive.toc import (
    Algorithm,
    Format,
    TocEntry,
    TocHeader,
    read_toc,
    write_toc,
)

HEADER = TocHeader(
    (1, 16, 0), 4, 8, Format.TAR, Algorithm.NONE, 0, (0, 0, 12, 27, 10, 126, 0), "shop", "17", "17"
)
SECTIONS = {"TABLE DATA": 3, "INDEX": 4, "COMMENT": 1}


def entry(sketch: str) -> TocEntry:
    """'7 TABLE:orders <3,4 =7.dat' is entry 7, which depends on 3 and 4 and has data in 7.dat."""
    number, what, *more = sketch.split()
    desc, _, tag = what.replace("_", " ").partition(":")
    after = next((word[1:] for word in more if word[0] == "<"), "")
    file = next((word[1:] for word in more if word[0] == "="), None)
    return TocEntry(
        dump_id=int(number),
        had_dumper=file is not None,
        table_oid="0",
        oid="0",
        tag=tag,
        desc=desc,
        section=SECTIONS.get(desc, 2),
        definition="",
        drop="",
        copy_statement=None,
        namespace=None,
        tablespace=None,
        table_am=None,
        relkind=0,
        owner="",
        with_oids="false",
        dependencies=tuple(after.split(",")) if after else (),
        file_name=file,
    )


def merged(directory: Path, *runs: str) -> list[TocEntry]:
    parts = []
    for number, run in enumerate(runs):
        entries = [entry(line) for line in run.splitlines() if line.strip()]
        path = directory / f"{number}.toc"
        with path.open("wb") as sink:
            write_toc(HEADER, entries, len(entries), sink)
        parts.append((path, f"{number}_" if number else ""))
    joined = io.BytesIO()
    merge_tocs(parts, joined)
    header, found = read_toc(io.BytesIO(joined.getvalue()))
    assert header == HEADER
    return list(found)


def test_ids_and_files_are_numbered_anew(tmp_path: Path) -> None:
    first = "1 ENCODING:ENCODING\n2 SCHEMA:a\n3 TABLE:t <2\n4 TABLE_DATA:t <3 =4.dat"
    second = "1 ENCODING:ENCODING\n2 SCHEMA:b\n3 TABLE:u <2\n4 TABLE_DATA:u <3 =4.dat"
    found = merged(tmp_path, first, second)
    assert [(e.dump_id, e.desc, e.tag, e.dependencies, e.file_name) for e in found] == [
        (1, "ENCODING", "ENCODING", (), None),
        (2, "SCHEMA", "a", (), None),
        (6, "SCHEMA", "b", (), None),
        (3, "TABLE", "t", ("2",), None),
        (7, "TABLE", "u", ("6",), None),
        (4, "TABLE DATA", "t", ("3",), "4.dat"),
        (8, "TABLE DATA", "u", ("7",), "1_4.dat"),
    ]


def test_views_of_one_run_come_after_the_tables_of_another(tmp_path: Path) -> None:
    found = merged(tmp_path, "1 VIEW:v\n2 TABLE:t", "1 TABLE:u\n2 INDEX:i <1\n3 COMMENT:c <1")
    assert [e.tag for e in found] == ["t", "u", "v", "i", "c"]


def test_a_table_that_needs_a_view_of_its_own_run_waits_for_it(tmp_path: Path) -> None:
    found = merged(tmp_path, "1 VIEW:v\n2 TABLE:t <1", "1 TABLE:u")
    assert [e.tag for e in found] == ["u", "v", "t"]


def test_a_circle_loses_nothing(tmp_path: Path) -> None:
    found = merged(tmp_path, "1 TABLE:a <2\n2 TABLE:b <1\n3 TABLE:c")
    assert sorted(e.tag or "" for e in found) == ["a", "b", "c"]


def test_what_is_no_dump_id_of_this_archive_is_no_dependency(tmp_path: Path) -> None:
    found = merged(tmp_path, "5 TABLE:a <1", "5 TABLE:b <1")
    assert [(e.dump_id, e.dependencies) for e in found] == [(5, ("1",)), (10, ("6",))]
