"""How much the repositories hold of a cluster: for the record, once a week."""

from collections.abc import Mapping

from pgkeep.app import App
from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.units import format_size


def stored_bytes(app: App) -> dict[str, int]:
    """Return the bytes of all that is stored of the cluster, by repository.

    A repository that cannot be listed is left out. Goes through the names of everything stored.
    """
    found = {}
    for place in app.places:
        try:
            store = place.open().store
            prefix = names.cluster_prefix(app.cluster_name)
            found[place.title] = sum(blob.size for blob in store.list(prefix))
        except PgkeepError:
            continue  # the checklist's other rows tell of it
    return found


def stored_words(sizes: Mapping[str, int]) -> str:
    """Return '12.4 GiB in local, 12.1 GiB in offsite'."""
    if not sizes:
        return "no repository could be listed"
    return ", ".join(f"{format_size(size)} in {name}" for name, size in sizes.items())
