"""Censuses come back as they were written, and broken ones raise nothing but PgkeepError."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.model.census import Census, Database, Relation, moment_of, new_census_id
from pgkeep.model.lsn import Lsn
from pgkeep.repository import names
from pgkeep.repository.census import rows
from pgkeep.repository.census.codec import Encoder
from pgkeep.repository.census.shelf import read_census, write_census
from support.censuses import some_census
from support.manifests import KEY, cluster_folder

OIDS = st.integers(0, (1 << 32) - 1)
# What PostgreSQL takes for a name: all but NUL; and bytes that are no UTF-8, in SQL_ASCII.
NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70),
    st.binary(max_size=70).map(
        lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
    ),
)
RELATIONS = st.builds(
    Relation,
    oid=OIDS,
    schema=NAMES,
    name=NAMES,
    kind=st.sampled_from("rpiIStmvf"),
    filenode=OIDS,
    tablespace=OIDS,
    size=st.integers(0, (1 << 63) - 1),
    rows=st.floats(allow_nan=False, allow_infinity=False),
    key=st.lists(NAMES, max_size=4).map(tuple),
    parent=OIDS,
    toast=OIDS,
    persistence=st.sampled_from("pu"),
)
DATABASES = st.lists(
    st.builds(
        Database, oid=OIDS, name=NAMES, relations=st.lists(RELATIONS, max_size=12).map(tuple)
    ),
    max_size=4,
    unique_by=lambda database: database.oid,
).map(tuple)
CENSUSES = st.builds(
    some_census,
    databases=DATABASES,
    unread=st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    lsn=st.integers(0, (1 << 64) - 1).map(Lsn),
    timeline=st.integers(1, (1 << 32) - 1),
)


@given(CENSUSES, st.booleans(), st.sampled_from([1, 3, rows.ROWS]))
def test_what_is_written_is_read(census: Census, encrypted: bool, block: int) -> None:
    cluster = cluster_folder(KEY if encrypted else None)
    # In small blocks databases end at other places than they do.
    facts = write_census(cluster, census, Encoder(cluster.repository.sealer(), block))
    assert read_census(cluster, census.id) == census
    assert facts.relations == sum(len(database.relations) for database in census.databases)
    for database in census.databases:
        part = read_census(cluster, census.id, {database.oid})
        assert part.databases == (database,)


@given(CENSUSES, st.data())
@settings(max_examples=200)
def test_broken_bytes_raise_only_our_errors(census: Census, data: st.DataObject) -> None:
    cluster = cluster_folder()
    write_census(cluster, census)
    name = names.census("main", census.id)
    content = bytearray(cluster.store.get(name))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    cluster.store.put(name, [bytes(content[:end])])
    with suppress(PgkeepError):
        assert read_census(cluster, census.id) == census  # nothing was changed after all


@given(st.lists(RELATIONS, max_size=4), st.data())
@settings(max_examples=300)
def test_forged_rows_are_refused_or_read(relations: list[Relation], data: st.DataObject) -> None:
    """Whoever has the key could seal anything: what is inside is not trusted either."""
    content = bytearray(rows.encode_rows(relations))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(rows.BadRows):
        read = rows.decode_rows(bytes(content))
        assert len(read) <= len(relations) + 16_384


@given(st.integers(0, 32_503_680_000_000_000))  # microseconds: up to the year 3000
def test_ids_sort_by_time_and_tell_it(since: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=since)
    found = moment_of(new_census_id(moment))
    assert found is not None
    assert abs(found - moment) < timedelta(microseconds=32)
    assert new_census_id(moment) <= new_census_id(moment + timedelta(microseconds=16))


def test_ids_of_others_are_none() -> None:
    for id in ("", "20261128T003000Z", "20261399T003000Z-8000", "20261128T003000Z-8000x"):
        assert moment_of(id) is None
