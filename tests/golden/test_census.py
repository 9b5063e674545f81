"""The census of docs/formats/census.md is read, and written again byte for byte."""

from pgkeep.repository import names
from pgkeep.repository.census.shelf import census_facts, read_census, write_census
from support.censuses import some_census
from support.manifests import cluster_folder
from support.pages import hex_example

ID = "20261128T003000Z-8000"


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    cluster.store.put(names.census("main", ID), [hex_example("census.md", "Worked example")])
    assert read_census(cluster, ID) == some_census()
    facts = census_facts(cluster, ID)
    assert [(one.name, one.relations) for one in facts.databases] == [("postgres", 1), ("shop", 5)]
    assert (facts.lsn, facts.timeline) == ("0/4A000158", 1)


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    write_census(cluster, some_census())
    written = cluster.store.get(names.census("main", ID))
    assert written == hex_example("census.md", "Worked example")


def test_the_example_name_is_the_one_on_the_page() -> None:
    assert names.census("main", ID) == "clusters/main/census/20261128T003000Z-8000"
