"""Draws what the year was like, as an SVG that needs nothing but a browser."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.simulation.record import Day
from pgkeep.units import MIB

_WIDTH: Final = 720
_HEIGHT: Final = 300
_LEFT: Final = 60
_RIGHT: Final = 200
_TOP: Final = 20
_BOTTOM: Final = 40


class _Line(NamedTuple):
    name: str
    colour: str
    values: list[float]  # MiB


def chart(days: Sequence[Day]) -> str:
    """Return the picture: repository, live data, what a restore reads, what each day stored."""
    lines = [
        _Line("repository", "#1b6ca8", [day.repository / MIB for day in days]),
        _Line("live data", "#444444", [day.live / MIB for day in days]),
        _Line("a restore reads", "#c0392b", [day.restore.size / MIB for day in days]),
        _Line("stored that day", "#27ae60", [day.stored / MIB for day in days]),
    ]
    top = _round_up(max(max(line.values) for line in lines))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_grid(top, days[-1].day),
    ]
    for number, line in enumerate(lines):
        points = " ".join(
            f"{_x(day.day, days[-1].day):.1f},{_y(value, top):.1f}"
            for day, value in zip(days, line.values, strict=True)
        )
        parts.append(
            f'<polyline fill="none" stroke="{line.colour}" stroke-width="1.5" points="{points}"/>'
        )
        place = _TOP + 20 + number * 20
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 12}" y="{place}" fill="{line.colour}">{line.name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _grid(top: float, last: int) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        place = _y(value, top)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}" '
            'stroke="#dddddd"/>'
        )
        parts.append(
            f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
        )
    parts += [
        f'<text x="{_x(day, last):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{day}'
        "</text>"
        for day in range(0, last + 1, 60)
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">day</text>')
    parts.append(f'<text x="8" y="{_TOP - 6}">MiB</text>')
    return parts


def _x(day: int, last: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * day / max(last, 1)


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _round_up(value: float) -> float:
    unit = 1.0
    while unit * 10 < value:
        unit *= 10
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= value)
