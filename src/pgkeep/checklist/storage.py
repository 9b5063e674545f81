"""How much the repositories hold of a cluster: for the record, once a week."""

from collections.abc import Mapping

from pgkeep.app import App
from pgkeep.health.look import weigh
from pgkeep.units import format_size


def stored_bytes(app: App) -> dict[str, int]:
    """Return the bytes of all that is stored of the cluster, by repository.

    A repository that cannot be listed is left out. Goes through the names of everything stored.
    """
    return {place.title: sample.size for place, sample in weigh(app)}


def stored_words(sizes: Mapping[str, int]) -> str:
    """Return '12.4 GiB in local, 12.1 GiB in offsite'."""
    if not sizes:
        return "no repository could be listed"
    return ", ".join(f"{format_size(size)} in {name}" for name, size in sizes.items())
