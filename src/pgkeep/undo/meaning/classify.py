"""What a transaction's records mean: which accidents they are, and what those hit by name.

Pure. The signatures were taken from servers of 15, 17 and 18; docs/architecture.md tells them.
"""

from collections.abc import Iterator

from pgkeep.undo.event import Event
from pgkeep.undo.meaning import changes, drops
from pgkeep.undo.meaning.changes import Weight
from pgkeep.undo.meaning.maker import Maker


def events_of(maker: Maker, weight: Weight) -> Iterator[Event]:
    """Yield what one transaction destroyed; its events have no numbers yet."""
    yield from drops.databases(maker)
    yield from drops.tablespaces(maker)
    yield from drops.relations(maker)
    yield from changes.emptied_or_rewritten(maker)
    yield from changes.columns(maker)
    yield from changes.rows(maker, weight)
