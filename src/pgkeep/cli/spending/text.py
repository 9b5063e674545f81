"""What repositories cost, as text and JSON."""

from collections.abc import Sequence
from typing import Any, Final

from pgkeep.cli.text import Look, fields, safe
from pgkeep.costs.plan import RepositoryCost
from pgkeep.repository.metering.prices import AS_OF, Spent
from pgkeep.units import format_size, plural

_LEAST: Final = 0.0001  # dollars


def requests_facts(spent: Sequence[Spent]) -> list[dict[str, Any]]:
    """Return what was asked of each repository."""
    return [
        {
            "repository": one.repository,
            **one.traffic._asdict(),
            "cost": one.cost,
            "list_prices": one.tariff.listed,
        }
        for one in spent
    ]


def requests_text(spent: Sequence[Spent]) -> list[str]:
    """Return a line for each repository that was asked anything."""
    lines = []
    for one in spent:
        asked = one.traffic
        counts = [
            f"{count:,} {what}"
            for what, count in zip(("put", "get", "list", "stat", "delete"), asked[:5], strict=True)
            if count
        ]
        line = (
            f"  requests to {safe(one.repository)}: {', '.join(counts)}; "
            f"{format_size(asked.sent)} sent, {format_size(asked.received)} received"
        )
        if one.cost:
            at = " at list prices" if one.tariff.listed else ""
            line += f"; {about(one.cost)}{at}"
        lines.append(line)
    return lines


def about(amount: float) -> str:
    """Return an amount in words, with as many digits as say something."""
    if 0 < amount < _LEAST:
        return f"less than ${_LEAST}"
    if amount == 0 or amount >= 0.01:
        return f"about ${amount:,.2f}"
    return f"about ${amount:.4f}"


def costs(found: Sequence[RepositoryCost], look: Look) -> str:
    """Say of each repository what it costs a month, and what the last backup cost."""
    parts = [_cost(one, look) for one in found]
    if any(one.tariff.listed for one in found):
        parts.append(
            look.weak(
                f"at the providers' list prices as known in {AS_OF} (US regions, standard "
                "classes): check yours, and write them under [repository.prices]"
            )
        )
    return "\n\n".join(parts)


def _cost(one: RepositoryCost, look: Look) -> str:
    free = one.tariff.prices.free
    stored = f"stores {format_size(one.bytes)} in {plural(one.objects, 'object')}"
    price = "its store takes nothing for that" if free else f"{about(one.per_month)} a month"
    pairs = [
        (kind.kind, f"{format_size(kind.bytes)} in {plural(kind.objects, 'object')}")
        for kind in one.kept
        if kind.objects
    ]
    if one.wal_per_day:
        rate = f"{one.wal_per_day:,.0f} objects a day"
        price_of_wal = "" if free else f": {about(one.wal_per_month)} a month in requests"
        pairs.append(("archiving", rate + price_of_wal))
    if one.backup is not None:
        pairs.append(("last backup", _backup(one)))
        if not free:
            reads = f"{about(one.restore_reads)}, if it leaves the provider's network"
            pairs.append(("to restore it", reads))
    return "\n".join(
        [look.bold(f"repository {safe(one.repository)} {stored}: {price}"), fields(pairs, "  ")]
    )


def _backup(one: RepositoryCost) -> str:
    assert one.backup is not None
    what = f"{plural(one.backup_objects, 'object')}, {format_size(one.backup.stored)}"
    price = "" if one.tariff.prices.free else f": {about(one.backup_requests)} in requests"
    return f"{one.backup.id}: {what}{price}"
