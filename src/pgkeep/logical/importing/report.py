"""What an import made of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgkeep.logical.create.report import database_facts
from pgkeep.logical.importing.opening import Kind
from pgkeep.repository.manifest.dump_facts import DumpFacts


@dataclass(frozen=True, slots=True)
class ImportReport:
    """A dump that is complete, durable and listed; of a dry run, what it would be."""

    file: str
    kind: Kind
    packed: str
    facts: DumpFacts
    dry_run: bool
    duration_s: float
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        facts = self.facts
        return {
            "id": None if self.dry_run else facts.id,
            "dry_run": self.dry_run,
            "cluster": facts.cluster,
            "file": facts.source,
            "kind": self.kind,
            "packed": self.packed or None,
            "label": facts.label,
            "taken_at": facts.taken_at,
            "server_version": facts.server_version,
            "databases": [database_facts(database) for database in facts.databases],
            "selection": facts.selection.words,
            "globals": facts.globals is not None,
            "parent": facts.parent or None,
            "size": facts.size,
            "known": facts.known,
            "stored": facts.stored,
            "duration_s": round(self.duration_s, 3),
            "suspicions": list(facts.suspicions),
            "notes": list(self.notes),
        }
