"""What a finished dump has to say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgkeep.errors import PgkeepError
from pgkeep.model.dump import Dump
from pgkeep.repository.manifest.dump_facts import DumpFacts


class DatabasesMissing(PgkeepError):
    """A dump was made and kept, but not of every database that it should hold.

    create() does not raise it: the report carries it, so that the report is shown as well.
    """

    code = "databases-missing"
    exit_status = 249

    dump: str
    missing: tuple[tuple[str, str], ...]  # name and reason

    def __str__(self) -> str:
        names = "; ".join(f"{name}: {why}" for name, why in self.missing)
        return f"dump {self.dump} was kept, but lacks databases: {names}"

    @property
    def hint(self) -> str:
        name = self.missing[0][0]
        return f"leave out what need not be kept with --exclude-database '{name}', and run it again"


class SuspiciousDump(PgkeepError):
    """A dump was made and kept, but is much smaller than the last one.

    create() does not raise it: the report carries it.
    """

    code = "suspicious-dump"
    exit_status = 250

    dump: str
    why: tuple[str, ...]

    def __str__(self) -> str:
        return f"dump {self.dump} is whole, but smaller than it should be: {'; '.join(self.why)}"

    @property
    def hint(self) -> str:
        return (
            "if that is not meant, restore from an older dump: expire keeps the last one that is "
            "not suspicious; the next dump is compared with this one, so it will be quiet"
        )


@dataclass(frozen=True, slots=True)
class DumpReport:
    """One dump that is complete, durable and listed."""

    dump: Dump
    facts: DumpFacts
    duration_s: float
    missing: Sequence[tuple[str, str]] = ()  # databases that could not be dumped, and why
    notes: Sequence[str] = ()

    @property
    def problem(self) -> PgkeepError | None:
        """What the exit status must tell although the dump was made."""
        if self.missing:
            return DatabasesMissing(self.dump.id, tuple(self.missing))
        if self.dump.suspicions:
            return SuspiciousDump(self.dump.id, self.dump.suspicions)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        facts = self.facts
        return {
            "id": facts.id,
            "cluster": facts.cluster,
            "label": facts.label,
            "started_at": facts.started_at,
            "taken_at": facts.taken_at,
            "databases": [database_facts(database) for database in facts.databases],
            "all_databases": facts.all_databases,
            "selection": facts.selection.words,
            "globals": facts.globals is not None,
            "role_passwords": bool(facts.globals and facts.globals.passwords),
            "consistency": facts.consistency,
            "parent": facts.parent or None,
            "size": facts.size,
            "known": facts.known,
            "stored": facts.stored,
            "duration_s": round(self.duration_s, 3),
            "missing": [{"database": name, "why": why} for name, why in self.missing],
            "suspicions": list(facts.suspicions),
            "notes": list(self.notes),
        }


def database_facts(database: Any) -> dict[str, Any]:
    """Return what is on record of a database, for --json."""
    return {name: getattr(database, name) for name in database.__struct_fields__}
