"""Censuses small enough to read."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pgkeep.model.census import Census, CensusId, Database, Relation, new_census_id
from pgkeep.model.lsn import Lsn

TAKEN_AT = datetime(2026, 11, 28, 0, 30, 0, 500_000, tzinfo=UTC)
GENERATION = "18-7710983248089545577"

ORDERS = Relation(
    16384, "public", "orders", "r", 16390, 1663, 81_920, 1000.0, ("customer", "number"), 0, 16387
)
TOAST = Relation(16387, "pg_toast", "pg_toast_16384", "t", 16387, 1663, 0, -1.0, (), 16384)
PKEY = Relation(16389, "public", "orders_pkey", "i", 16389, 1663, 40_960, 1000.0, (), 16384)
CLASS = Relation(1259, "pg_catalog", "pg_class", "r", 1259, 1663, 114_688, 415.0, ("oid",))
PART = Relation(
    16400, 'the "odd"', "2026\n11", "r", 16400, 16500, 0, -1.0, (), 16398, 0, persistence="u"
)


def some_census(**changes: Any) -> Census:
    """Return a census of two databases, beside one that could not be read."""
    facts: dict[str, Any] = {
        "id": new_census_id(TAKEN_AT),
        "taken_at": TAKEN_AT,
        "lsn": Lsn.parse("0/4A000158"),
        "timeline": 1,
        "generation": GENERATION,
        "databases": (
            Database(5, "postgres", (CLASS,)),
            Database(16383, "shop", (CLASS, ORDERS, TOAST, PKEY, PART)),
        ),
        "unread": (("closed", "it allows no connections"),),
    }
    return Census(**facts | changes)


def census_at(hours: float, lsn: str = "0/4A000158", **changes: Any) -> Census:
    """Return one that was taken so many hours after TAKEN_AT."""
    moment = TAKEN_AT + timedelta(hours=hours)
    id = CensusId(new_census_id(moment))
    return some_census(id=id, taken_at=moment, lsn=Lsn.parse(lsn), **changes)
