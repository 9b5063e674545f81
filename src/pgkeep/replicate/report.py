"""What a copy has to say when it is done, or of what it would do."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from pgkeep.replicate.plan import CopyPlan
from pgkeep.replicate.send import Fate, Sent
from pgkeep.repository.copies.identity import CopyRefused
from pgkeep.repository.copies.object_names import ObjectKind

_SHOWN: Final = 5


class CopyIncomplete(CopyRefused):
    """Something could not be copied. All else was, and what the target lists is whole."""

    code = "copy-incomplete"

    @property
    def hint(self) -> str:
        return (
            "see what is damaged with pgkeep verify, and mend it from a copy that has it: "
            "pgkeep verify --repair --from ADDRESS"
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """An object that is not at the target, and why."""

    name: str
    why: str
    thing: str = ""  # the backup or dump that is not listed there for it


@dataclass(frozen=True, slots=True)
class CopyReport:
    """One cluster's part of a copy."""

    cluster: str
    source: str
    target: str
    plan: CopyPlan
    dry_run: bool
    sent: tuple[Sent, ...] = ()  # what arrived
    troubles: tuple[Trouble, ...] = ()
    listed: tuple[str, ...] = ()  # backups and dumps that the target has from now on
    gone: tuple[str, ...] = ()  # those that were deleted at the source meanwhile
    notes: tuple[str, ...] = ()
    verified: bool = False
    duration_s: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that were sent."""
        return sum(one.send.size for one in self.sent if one.fate is not Fate.THERE)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Objects of the target that were damaged, and are not any more."""
        return tuple(one.send.name for one in self.sent if one.fate is Fate.REPLACED)

    def counts(self) -> dict[ObjectKind, int]:
        """Return how many objects of each kind were sent, or would be."""
        if self.dry_run:
            return dict(Counter(send.kind for send in self.plan.sends()))
        return dict(Counter(s.send.kind for s in self.sent if s.fate is not Fate.THERE))

    @property
    def problem(self) -> CopyIncomplete | None:
        """What the exit status must tell although the copy came to its end."""
        if not self.troubles:
            return None
        count = len(self.troubles)
        what = "1 object" if count == 1 else f"{count} objects"
        lost = tuple(dict.fromkeys(t.thing for t in self.troubles if t.thing))
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        whose = f", and so not {', '.join(lost[:_SHOWN])}{more}" if lost else ""
        first = self.troubles[0]
        why = f"{what} of cluster {self.cluster}{whose}; {first.name}: {first.why}"
        return CopyIncomplete(self.source, self.target, why)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        counts = self.counts()
        return {
            "cluster": self.cluster,
            "source": self.source,
            "target": self.target,
            "dry_run": self.dry_run,
            "planned_objects": sum(1 for _ in self.plan.sends()),
            "planned_bytes": self.plan.size,
            "batches": [
                {
                    "what": batch.title,
                    "objects": len(batch.first) + len(batch.then),
                    "bytes": batch.size,
                }
                for batch in self.plan.batches
            ],
            "there_already": self.plan.there,
            "skipped": [{"id": one.id, "why": one.why} for one in self.plan.skipped],
            "objects": {kind.value: counts.get(kind, 0) for kind in ObjectKind},
            "sent_bytes": self.size,
            "replaced": list(self.replaced),
            "listed": list(self.listed),
            "gone": list(self.gone),
            "not_copied": [
                {"name": t.name, "why": t.why, "of": t.thing or None} for t in self.troubles
            ],
            "verified": self.verified,
            "notes": list(self.notes),
            "duration_s": round(self.duration_s, 3),
        }
