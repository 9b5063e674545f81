"""Why WAL is missing that was given up on purpose. On disk: docs/formats/lost-wal.md."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from pgkeep.repository import names
from pgkeep.repository.marker import encode_document, read_document
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobExists


class LostWal(NamedTuple):
    """Segments of one timeline that the server dropped unarchived."""

    first: str
    last: str
    segments: int  # from first to last there may be others that are archived
    given_up_at: str  # when the last of them was, by the server's clock
    why: str

    @property
    def when(self) -> str:
        """When it was given up, for people."""
        day, _, time = self.given_up_at.partition("T")
        return f"{day} {time[:8]} UTC"  # as format_moment() has written it

    def explains(self, first: str, last: str) -> bool:
        """Tell whether a hole from `first` to `last` has to do with it."""
        return self.first[:8] == first[:8] and self.first <= last and first <= self.last


def record_loss(cluster: ClusterFolder, generation_id: str, lost: LostWal) -> None:
    """Put on record what was given up; the same again is success."""
    name = names.lost_wal(cluster.name, generation_id, lost.first, lost.last)
    with suppress(BlobExists):  # the first reason stays
        cluster.store.create(name, [encode_document(lost._asdict())])


def losses_on_record(cluster: ClusterFolder, generation_id: str) -> list[LostWal]:
    """Return what was given up of a generation's WAL, in order. Raise Damaged."""
    found = []
    for blob in cluster.store.list(names.lost_wal_prefix(cluster.name, generation_id)):
        facts = read_document(cluster.store, blob.name)
        try:
            texts = [str(facts[key]) for key in ("first", "last", "given_up_at", "why")]
            found.append(LostWal(texts[0], texts[1], int(facts["segments"]), *texts[2:]))
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(blob.name, f"a fact is missing or wrong ({error})") from error
    return found


def explanation(losses: Sequence[LostWal], first: str, last: str) -> str:
    """Return why a hole is there, or ''."""
    reasons = [lost for lost in losses if lost.explains(first, last)]
    if not reasons:
        return ""
    lost = reasons[-1]
    return f"given up at {lost.when}, so that the server could go on: {lost.why}"
