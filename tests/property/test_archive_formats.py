"""pg_dump's archives at random: what is written is read, and damage is refused."""

import io
import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.custom_write import write_custom
from pgkeep.postgres.archive.directory import as_directory
from pgkeep.postgres.archive.entries import copy_target, foreign_key, sequence_value, settings_of
from pgkeep.postgres.archive.sql import (
    Name,
    NotUnderstood,
    parse_copy,
    parse_foreign_key,
    parse_name,
    parse_set_value,
    quote_identifier,
)
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.postgres.archive.tar import write_tar
from pgkeep.postgres.archive.toc import Algorithm, Format, Toc, TocEntry, open_toc
from support.pg_archives import (
    SHOP,
    SHOP_FILES,
    VERSIONS,
    HeldFiles,
    Pipe,
    data,
    encoded,
    entry,
    everything,
    header,
    toc,
)

raw = st.binary(max_size=30).map(lambda content: content.decode("utf-8", "surrogateescape"))
words = st.one_of(st.none(), raw, st.text("aé'\"\n", max_size=9))
numbers = st.integers(-(1 << 31) + 1, (1 << 31) - 1)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@st.composite
def tocs(draw: st.DrawFn) -> Toc:
    version = draw(st.sampled_from(VERSIONS))
    form = draw(st.sampled_from((Format.CUSTOM, Format.TAR)))
    return toc(
        draw(st.lists(entries(version, form), max_size=5)),
        header(
            version, format=form, created=tuple(draw(st.lists(numbers, min_size=7, max_size=7))),
            database=draw(words), server_version=draw(words), dump_version=draw(words),
        ),
    )  # fmt: skip


@st.composite
def entries(draw: st.DrawFn, version: tuple[int, int, int], form: Format) -> TocEntry:
    in_custom = form is Format.CUSTOM
    return TocEntry(
        dump_id=draw(numbers), had_dumper=draw(st.booleans()), table_oid=draw(words),
        oid=draw(words), tag=draw(words), desc=draw(raw), section=draw(numbers),
        definition=draw(words), drop=draw(words), copy_statement=draw(words),
        namespace=draw(words), tablespace=draw(words),
        table_am=draw(words) if version >= (1, 14, 0) else None,
        relkind=draw(numbers) if version >= (1, 16, 0) else 0,
        owner=draw(words), with_oids=draw(words), dependencies=tuple(draw(st.lists(raw))),
        file_name=None if in_custom else draw(words),
        data_state=draw(st.integers(1, 3)) if in_custom else 0,
        offset=draw(st.integers(0, (1 << 64) - 1)) if in_custom else 0,
    )  # fmt: skip


@given(tocs(), st.integers(1, 99))
def test_tables_of_contents_come_back(contents: Toc, piece: int) -> None:
    content = encoded(contents)
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
    again = open_toc(lambda: pieces)
    assert (again.header, list(again.entries())) == (contents.header, list(contents.entries()))
    assert encoded(again) == content


@given(st.lists(st.binary(max_size=2000), max_size=4), st.integers(1, 999), st.sampled_from("01t"))
def test_data_comes_back(tables: list[bytes], piece: int, form: str) -> None:
    contents = toc([data(number, "t") for number in range(len(tables))])
    files = {f"{number}.dat": content for number, content in enumerate(tables)}
    sink = Pipe() if piece % 2 else io.BytesIO()
    if form == "t":
        write_tar(sink, contents, HeldFiles(files, piece), 0)
    else:
        write_custom(sink, contents, HeldFiles(files, piece), Compression(Algorithm(int(form))))
    content = sink.getvalue()
    assert everything(read_stream(io.BytesIO(content), "it")) == (encoded(contents), files)


def archives() -> list[bytes]:
    made = []
    for algorithm in (Algorithm.NONE, Algorithm.GZIP, Algorithm.ZSTD):
        sink = io.BytesIO()
        write_custom(sink, SHOP, HeldFiles(SHOP_FILES), Compression(algorithm))
        made.append(sink.getvalue())
    sink = io.BytesIO()
    write_tar(sink, SHOP, HeldFiles(SHOP_FILES), 0)
    return [*made, sink.getvalue()]


ARCHIVES = archives()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut out, repeat or insert something, once or a few times."""
    broken = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(broken) or 1)
        length = chance.choice((1, 4, 5, 100))
        match chance.randrange(5):
            case 0 if broken:
                broken[at % len(broken)] ^= 1 << chance.randrange(8)
            case 1:
                del broken[at : at + length]
            case 2:
                broken[at:at] = broken[at : at + length]
            case 3:
                broken[at : at + length] = chance.randbytes(length)
            case _:
                del broken[at:]
    return bytes(broken)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(ARCHIVES), st.randoms(use_true_random=False))
def test_damaged_archives_are_refused_or_read(content: bytes, chance: random.Random) -> None:
    with suppress(PgkeepError):
        archive = read_stream(io.BytesIO(damaged(content, chance)), "it")
        for found in as_directory(archive.toc).entries():
            for read in (copy_target, foreign_key, sequence_value):
                with suppress(PgkeepError):
                    read(found)
            settings_of([found])
        for file in archive.files():
            for _ in file.pieces:
                pass


@given(names, names, st.lists(names, min_size=1, max_size=4))
def test_any_names_are_read_in_statements(schema: str, name: str, columns: list[str]) -> None:
    table = Name(schema, name)
    listed = ", ".join(map(quote_identifier, columns))
    assert parse_name(str(table)) == table
    assert parse_copy(f"COPY {table} ({listed}) FROM stdin;\n") == (table, tuple(columns))
    key = parse_foreign_key(
        f"ALTER TABLE ONLY {table}\n    ADD CONSTRAINT {quote_identifier(name)} FOREIGN KEY "
        f"({listed}) REFERENCES {table}({listed}) NOT VALID;\n"
    )
    assert key == (name, table, tuple(columns), table, tuple(columns), "NOT VALID")
    literal = str(table).replace("'", "''")
    assert parse_set_value(f"SELECT setval('{literal}', 7, true);").sequence == table


@given(st.text("aA\"'(),.; \n\\", max_size=40))
def test_statements_at_random(text: str) -> None:
    for begin in ("", "COPY ", "ALTER TABLE a ADD CONSTRAINT b FOREIGN KEY (", "setval('"):
        for parse in (parse_name, parse_copy, parse_foreign_key, parse_set_value):
            with suppress(NotUnderstood):
                parse(begin + text)


def test_every_cut_of_a_small_archive_is_refused() -> None:
    contents = toc([entry(1, "TABLE", "t"), data(2, "t")])
    content = encoded(contents)
    for size in range(len(content)):
        with suppress(PgkeepError):
            list(open_toc(lambda size=size: [content[:size]]).entries())  # type: ignore[misc]
            raise AssertionError(size)
