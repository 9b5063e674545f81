"""What deleting one dump loses. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.model.dump import Dump, Origin
from pgkeep.retention.judging.deletion import BackupPinned
from pgkeep.retention.plan import Marks
from pgkeep.retention.policy import age


class LastDump(PgkeepError):
    """Without this dump nothing good is left of its series."""

    code = "last-dump"
    exit_status = 237

    dump: str
    what: str

    def __str__(self) -> str:
        return f"cannot delete dump {self.dump}: it is the last one {self.what}"

    @property
    def hint(self) -> str:
        return (
            "take a new one first: pgkeep dump create; if nobody needs what it holds any more: "
            f"pgkeep delete {self.dump} --last --yes"
        )


@dataclass(frozen=True, slots=True)
class DumpDeletion:
    """What deleting a dump does."""

    dump: Dump
    left: tuple[Dump, ...]  # whole ones of its series, oldest first
    lost: tuple[str, ...]  # databases of which no other dump holds everything


def plan_delete_dump(
    dumps: Sequence[Dump], marks: Marks, dump: Dump, *, last_too: bool = False
) -> DumpDeletion:
    """Raise BackupPinned, or LastDump unless the last good one may go too."""
    if dump.id in marks.pinned:
        raise BackupPinned(dump.id, marks.pinned[dump.id])
    whole = [
        other
        for other in sorted(dumps, key=age)
        if other.id not in marks.damaged and other.id != dump.id
    ]
    left = [other for other in whole if other.series == dump.series]
    # Nothing takes the place of a file that somebody put there: it goes by delete alone.
    if dump.id not in marks.damaged and dump.origin is Origin.SERVER and not last_too:
        _demand_another(dump, left)
    held = {name for other in whole if other.selection.holds_all for name in other.databases}
    lost = tuple(name for name in dump.databases if dump.selection.holds_all and name not in held)
    return DumpDeletion(dump, tuple(left), lost)


def _demand_another(dump: Dump, left: Sequence[Dump]) -> None:
    if not left:
        raise LastDump(dump.id, f"of its series ({dump.series_words})")
    if not dump.suspicions and all(other.suspicions for other in left):
        raise LastDump(dump.id, f"without suspicions of its series ({dump.series_words})")
