"""The document of docs/formats/generation.md is read, and written again byte for byte."""

from pgkeep.model.cluster import Generation
from pgkeep.repository import names
from support.manifests import cluster_folder
from support.pages import json_example

GENERATION = Generation(7710983248089545577, 18, segment_size=16 << 20)
NAME = names.generation("main", GENERATION.id)


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    cluster.store.put(NAME, [json_example("generation.md", "Worked example")])
    assert cluster.generations() == [GENERATION]


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    cluster.add_generation(GENERATION)
    assert cluster.store.get(NAME) == json_example("generation.md", "Worked example")
