"""The shelf of censuses: listed by name, found by position, each refused that is not itself."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pgkeep.model.census import CensusId
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History
from pgkeep.repository import names, seal
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.census.codec import BadCensus, CensusFacts, read_facts
from pgkeep.repository.census.shelf import (
    UnknownCensus,
    census_facts,
    find_census,
    listed,
    newest_before,
    read_census,
    write_census,
)
from pgkeep.repository.manifest.facts import dump_json
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew
from pgkeep.repository.store.base import BlobExists
from support.censuses import GENERATION, census_at, some_census
from support.manifests import KEY, SEALER, cluster_folder


def shelf(*sketch: str) -> ClusterFolder:
    """'0 1/100 2' was taken at hour 0, at WAL position 0/100 (hex) and on timeline 2."""
    cluster = cluster_folder()
    for one in sketch:
        hour, lsn, timeline = one.replace("/", " ").split()
        write_census(cluster, census_at(float(hour), f"0/{lsn}", timeline=int(timeline)))
    return cluster


def found(cluster: ClusterFolder, lsn: str, history: History | None = None) -> str | None:
    newest = newest_before(cluster, GENERATION, Lsn.parse(lsn), history)
    return newest.census.lsn if newest.census else None


def test_names_alone_are_listed_in_order_and_strangers_passed_over() -> None:
    cluster = shelf("0 100 1", "1 200 1")
    cluster.store.put(f"{names.census_prefix('main')}notes.txt", [b"mine"])
    assert [one.id for one in listed(cluster)] == ["20261128T003000Z-8000", "20261128T013000Z-8000"]
    assert listed(cluster)[0].size == cluster.store.stat(listed(cluster)[0].name).size
    assert listed(cluster)[0].moment == some_census().taken_at


@pytest.mark.parametrize(
    ("lsn", "expected"), [("0/2FF", "0/200"), ("0/200", "0/200"), ("0/FF", None), ("1/0", "0/300")]
)
def test_the_newest_at_or_before_a_position_is_found(lsn: str, expected: str | None) -> None:
    assert found(shelf("0 100 1", "1 200 1", "2 300 1"), lsn) == expected


def test_only_timelines_that_lead_there_count() -> None:
    cluster = shelf("0 100 1", "1 200 2", "2 300 1")
    history = History(2, (Branch(1, Lsn.parse("0/150")),))
    assert found(cluster, "0/400", history) == "0/200"
    assert found(cluster, "0/1FF", history) == "0/100"
    assert found(cluster, "0/400", History(3, (Branch(1, Lsn.parse("0/F0")),))) is None
    assert newest_before(cluster, "17-1", Lsn.parse("0/400")).census is None


def test_an_unreadable_one_is_told_and_the_next_older_taken() -> None:
    cluster = shelf("0 100 1", "1 200 1")
    newest = listed(cluster)[-1]
    cluster.store.put(newest.name, [b"PGKS"])
    answer = newest_before(cluster, GENERATION, Lsn.parse("0/400"))
    assert answer.census is not None
    assert answer.census.lsn == "0/100"
    assert [id for id, _ in answer.unreadable] == [newest.id]


def test_it_is_found_by_id_beginning_or_latest() -> None:
    cluster = shelf("0 100 1", "1 200 1")
    assert find_census(cluster, "latest") == "20261128T013000Z-8000"
    assert find_census(cluster, "20261128T00") == "20261128T003000Z-8000"
    with pytest.raises(UnknownCensus) as error:
        find_census(cluster, "20261128T")
    assert str(error.value) == (
        "cannot find census '20261128T' of cluster main: 2 ids begin like that"
    )
    with pytest.raises(UnknownBackup) as none:
        find_census(cluster_folder(), "latest")
    assert str(none.value) == "cannot find census 'latest' of cluster main: there is no census yet"
    assert none.value.hint == "take one with pgkeep census take; every backup takes one as well"


@pytest.mark.parametrize("id", ["20261128T003000Z-9000", "../../pgkeep.json", ""])
def test_what_is_not_there_is_unknown(id: str) -> None:
    with pytest.raises(UnknownCensus):
        read_census(shelf("0 100 1"), id)


def test_one_is_never_replaced() -> None:
    cluster = cluster_folder()
    write_census(cluster, some_census())
    with pytest.raises(BlobExists):
        write_census(cluster, some_census(databases=()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "a\0b"}, "have not the names that they say"),
        ({"size": -8192}, "hold a number that has no room"),
        ({"oid": 1 << 32}, "hold a number that has no room"),
        ({"rows": float("nan")}, "hold an estimate that is no number"),
    ],
)
def test_what_would_not_be_read_again_is_never_stored(change: dict[str, Any], why: str) -> None:
    cluster = cluster_folder()
    database = some_census().databases[1]
    broken = replace(database, relations=(replace(database.relations[0], **change),))
    with pytest.raises(BadCensus, match=why):
        write_census(cluster, some_census(databases=(broken,)))
    assert listed(cluster) == []


def test_intact_parts_of_another_one_are_refused() -> None:
    cluster = cluster_folder(KEY)
    first = write_census(cluster, census_at(0))
    other = census_at(1, databases=(some_census().databases[1],))
    second = write_census(cluster, other)
    one, two = (cluster.store.get(names.census("main", facts.id)) for facts in (first, second))
    start = len(one) - first.blocks[0].size
    sealed = cluster.repository.sealer().seal(
        seal.CENSUS_ROWS,
        cluster.repository.sealer().unseal(seal.CENSUS_ROWS, two[-second.blocks[0].size :], "it"),
    )
    padded = one[:start] + sealed.data
    cluster.store.put(names.census("main", first.id), [padded])
    with pytest.raises(BadCensus):
        read_census(cluster, first.id)
    cluster.store.put(names.census("main", first.id), [two])
    with pytest.raises(BadCensus, match=f"it holds census {second.id} of cluster main"):
        census_facts(cluster, first.id)


def test_a_cut_off_one_is_refused_wherever_it_ends() -> None:
    cluster = cluster_folder()
    facts = write_census(cluster, some_census())
    name = names.census("main", facts.id)
    content = cluster.store.get(name)
    for end in range(0, len(content), 7):
        cluster.store.put(name, [content[:end]])
        with pytest.raises(BadCensus):
            read_census(cluster, facts.id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"blocks": []}, "tell of other relations than their blocks hold"),
        ({"lsn": "nowhere"}, "cannot read 'nowhere' as a WAL position"),
        ({"format": 0}, "have format 0, which was never written"),
        ({"timeline": 0}, "hold a wrong value"),
        ({"databases": [{"oid": 5, "name": "a", "relations": 3}] * 2}, "name a database twice"),
    ],
)
def test_forged_facts_are_refused(change: dict[str, object], why: str) -> None:
    cluster = cluster_folder()
    facts = write_census(cluster, some_census())
    record = msgspec.to_builtins(facts) | change
    forged = SEALER.seal(seal.CENSUS_FACTS, dump_json(record)).data
    with pytest.raises(BadCensus, match=why):
        read_facts(forged, SEALER, "it")


def test_a_newer_format_is_told_before_anything_else() -> None:
    forged = SEALER.seal(seal.CENSUS_FACTS, dump_json({"format": 2, "lsn": 7})).data
    with pytest.raises(FormatTooNew):
        read_facts(forged, SEALER, "it")


def test_the_error_names_a_way_out_and_counts_as_damage() -> None:
    error = BadCensus("clusters/main/census/x", "its relations end before they begin")
    assert isinstance(error, Damaged)
    assert str(error) == (
        "cannot use clusters/main/census/x, it is damaged: its relations end before they begin"
    )


def test_facts_alone_tell_how_much_there_is() -> None:
    cluster = cluster_folder()
    written = write_census(cluster, some_census())
    read = census_facts(cluster, CensusId(written.id))
    assert isinstance(read, CensusFacts)
    assert read == written
    assert read.relations == 6
