"""The result of a benchmark as a Markdown table."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from bench.measure import Cost
from pgkeep.units import MIB

Costs = dict[tuple[str, str], list[Cost]]  # by tool and step
Amounts = Mapping[tuple[str, str], Sequence[int]]  # bytes


def table(
    names: Sequence[str], steps: Sequence[str], costs: Costs, stored: Amounts | None = None
) -> str:
    """Return medians, and ratios of each tool to the first; the peak of memory is the largest."""
    titles = ["step", "tool", "wall s", "CPU s", "memory MiB", "wall ratio", "CPU ratio"]
    titles += [] if stored is None else ["stored MiB"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for step in steps:
        base = costs[names[0], step]
        for name in names:
            own = costs[name, step]
            wall, cpu = median(own, "wall"), median(own, "cpu")
            ratios = (wall / median(base, "wall"), cpu / max(median(base, "cpu"), 1e-9))
            memory = max(cost.memory for cost in own) / MIB
            line = (
                f"| {step} | {name} | {wall:.3f} | {cpu:.3f} | {memory:.0f} "
                f"| {ratios[0]:.2f} | {ratios[1]:.2f} |"
            )
            if stored is not None:
                amounts = stored.get((name, step))
                line += f" {statistics.median(amounts) / MIB:,.1f} |" if amounts else " |"
            lines.append(line)
    return "\n".join(lines)


def median(costs: Iterable[Cost], field: str) -> float:
    return float(statistics.median(getattr(cost, field) for cost in costs))
