"""What is asked of a restore, and what a finished one has to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgkeep.logical.load.load import MaskedValues
from pgkeep.logical.masks.rules import MaskRule
from pgkeep.logical.restoring.place import Swapped
from pgkeep.logical.sample.sample import SampleReport
from pgkeep.model.dump import EVERYTHING, Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What the user asks for."""

    dump: str  # its id
    into: str  # conninfo of the server, with any of its databases
    database: str = ""  # of the dump; '' the only one
    name: str = ""  # of the new database; '' the same
    selection: Selection = EVERYTHING
    jobs: int = 1
    create_roles: bool = False
    owners: bool = True
    privileges: bool = True
    roles: Mapping[str, str] = field(default_factory=dict)  # old to new
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    keep_tablespaces: bool = True
    replace: bool = False
    force: bool = False
    drop_old: bool = False
    keep_failed: bool = False
    analyze: bool = True
    masks: tuple[MaskRule, ...] = ()
    sample: float = 0.0  # share of the rows; 0: all
    seed: int = 0
    dry_run: bool = False
    pg_bin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that is done, or with `dry_run` would be."""

    dump: str
    database: str
    name: str
    server: str  # its version
    tables: int
    rows: int
    bytes: int = 0
    large_objects: int = 0
    compared: int = 0  # objects
    left_out: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    roles_created: tuple[str, ...] = ()
    swapped: Swapped | None = None
    masked: tuple[MaskedValues, ...] = ()
    sample: SampleReport | None = None
    phases: tuple[tuple[str, float], ...] = ()  # seconds
    duration_s: float = 0.0
    notes: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        masked = [
            {**one.column._asdict(), "values": one.values, "alike": one.alike}
            for one in self.masked
        ]
        sample = None
        if self.sample is not None:
            sample = {
                "share": self.sample.share,
                "seed": self.sample.seed,
                "before": self.sample.before,
                "kept": self.sample.kept,
                "tables": list(self.sample.tables),
            }
        return {
            "dump": self.dump,
            "database": self.database,
            "name": self.name,
            "server": self.server,
            "dry_run": self.dry_run,
            "tables": self.tables,
            "rows": self.rows,
            "bytes": self.bytes,
            "large_objects": self.large_objects,
            "compared": self.compared,
            "left_out": list(self.left_out),
            "needed": list(self.needed),
            "roles_created": list(self.roles_created),
            "old_database": self.swapped.old if self.swapped else None,
            "old_dropped": bool(self.swapped and self.swapped.dropped),
            "masked": masked,
            "sample": sample,
            "phases": {name: round(seconds, 3) for name, seconds in self.phases},
            "duration_s": round(self.duration_s, 3),
            "notes": list(self.notes),
        }
