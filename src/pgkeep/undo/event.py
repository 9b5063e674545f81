"""What was destroyed by one transaction: what a find finds, and an undo takes back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgkeep.model.lsn import Lsn
from pgkeep.model.target import AtLsn, RecoveryTarget


class EventKind(StrEnum):
    """What a transaction did. The words are those of --kind."""

    DELETE = "delete"
    UPDATE = "update"
    TRUNCATE = "truncate"
    DROP_TABLE = "drop-table"
    DROP_MATVIEW = "drop-matview"
    DROP_INDEX = "drop-index"
    DROP_SEQUENCE = "drop-sequence"
    DROP_SCHEMA = "drop-schema"
    DROP_DATABASE = "drop-database"
    DROP_TABLESPACE = "drop-tablespace"
    DROP_COLUMN = "drop-column"
    DROP = "drop"  # of something that no census knows
    REWRITE = "rewrite"  # rows are kept: VACUUM FULL, CLUSTER, REFRESH, most of ALTER TABLE

    @property
    def words(self) -> str:
        """'drop table': for people."""
        return self.value.replace("-", " ")


class NamedBy(StrEnum):
    """Who knew the name of what was hit."""

    CENSUS = "census"  # the newest one before the event
    LATER = "later census"  # it was made after the one before, and still there at the next one
    LIVE = "server"  # the server, now
    NOBODY = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A relation as it was before the event. Numbers are 0, texts '' and counts -1 if unknown."""

    database_oid: int
    oid: int
    tablespace: int
    filenode: int  # 0: none is known, or it has no file
    database: str = ""
    schema: str = ""
    name: str = ""
    kind: str = ""  # pg_class.relkind
    rows: int = -1  # deleted or updated, exact; of what was dropped or emptied the census' estimate
    estimate: int = -1  # rows that the census knew of
    size: int = -1  # bytes, by the census
    named_by: NamedBy = NamedBy.NOBODY
    root: str = ""  # 'public.measurements': of a partition, the table whose it is

    @property
    def title(self) -> str:
        """'app.public.users'; what has no name is shown by its numbers."""
        database = self.database or f"database {self.database_oid}"
        if self.name and self.schema:
            return f"{database}.{self.schema}.{self.name}"
        if self.oid:
            return f"{database}, OID {self.oid}"
        return f"{database}, file {self.tablespace}/{self.database_oid}/{self.filenode}"


@dataclass(frozen=True, slots=True)
class Event:
    """One transaction that destroyed something, and the last moment before it."""

    number: int  # from 1, within one find
    kind: EventKind
    xid: int  # of the top-level transaction, 32 bits
    commit_time: datetime
    commit_lsn: Lsn  # where the record of its commit begins
    first_lsn: Lsn  # where its first record begins
    stop_lsn: Lsn  # recovery that stops before the record here has lost nothing to it
    timeline: int  # on which it happened
    generation: str
    hits: tuple[Hit, ...]  # the largest first; empty: the database or tablespace as a whole
    database_oid: int = 0  # of DROP DATABASE
    database: str = ""
    schema: str = ""  # of DROP SCHEMA
    columns: tuple[int, ...] = ()  # of DROP COLUMN: their numbers
    began_after: datetime | None = None  # its first record stands behind this commit in WAL
    began_before: datetime | None = None  # and before this one
    whole: bool = (
        True  # False: it may have begun before the WAL that was read: counts are "at least"
    )
    sure: bool = True  # False: the records fit, but others could look the same
    notes: tuple[str, ...] = ()

    @property
    def relation(self) -> str:
        """What was hit, in one line: 'app.public.users', 'app.public.users and 3 more'."""
        if self.kind is EventKind.DROP_DATABASE:
            return self.database or f"database {self.database_oid}"
        if self.schema:
            database = self.hits[0].database if self.hits else ""
            return f"{database or f'database {self.database_oid}'}.{self.schema}"
        if not self.hits:
            return self.notes[0] if self.notes else ""
        more, first = len(self.hits) - 1, self.hits[0]
        if more and first.root and all(hit.root == first.root for hit in self.hits):
            return f"{first.database}.{first.root} ({more + 1} partitions)"
        return f"{first.title} and {more} more" if more else first.title

    @property
    def rows(self) -> int:
        """Rows deleted, updated, or lost with what was dropped; -1 unknown."""
        known = [hit.rows for hit in self.hits if hit.rows >= 0]
        return sum(known) if known else -1

    @property
    def target(self) -> RecoveryTarget:
        """The moment just before; give it the timeline's history that a restore follows."""
        return RecoveryTarget(AtLsn(self.stop_lsn), inclusive=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what --json shows of it: docs/undo.md."""
        own = {f.name: _shown(getattr(self, f.name)) for f in fields(self) if f.name != "hits"}
        return {
            **own,
            "relation": self.relation,
            "relations": [asdict(hit) for hit in self.hits],
            "rows": self.rows,
            "target": f"lsn:{self.stop_lsn}",
            "exclusive": True,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Event":
        """Read what to_dict() made. Raise KeyError, TypeError, ValueError or BadLsn."""
        kept = {f.name: facts[f.name] for f in fields(cls) if f.name != "hits"}
        for name in ("commit_lsn", "first_lsn", "stop_lsn"):
            kept[name] = Lsn.parse(kept[name])
        for name in ("commit_time", "began_after", "began_before"):
            kept[name] = kept[name] and datetime.fromisoformat(kept[name])
        kept |= {"kind": EventKind(kept["kind"]), "hits": tuple(map(_hit, facts["relations"]))}
        kept |= {name: tuple(kept[name]) for name in ("columns", "notes")}
        return cls(**kept)


def _hit(facts: Mapping[str, Any]) -> Hit:
    return Hit(**{**facts, "named_by": NamedBy(facts["named_by"])})


def _shown(value: Any) -> Any:
    if isinstance(value, Lsn | StrEnum):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
