"""Line charts as SVG, without a plotting library: the same bytes on every machine.

matplotlib would be a heavy dependency for four charts, and its SVG differs from version to
version, so that `make docs --check` could not tell stale figures from other fonts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

INK, MUTED, GRID = "#1f2933", "#52606d", "#e4e7eb"
COLOURS = ("#0b6bcb", "#c2410c", "#4d7c0f", "#7b8794", "#7e22ce")
WIDTH, PANEL_HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 72, 170, 56, 52


@dataclass(frozen=True)
class Line:
    """A named series of points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One chart: its lines, what its axes mean, whether they are logarithmic."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    is_log_x: bool = False
    is_log_y: bool = False
    bound: float | None = None
    """A horizontal line at this value."""


class _Axis:
    """Maps values to pixels, and says where its ticks are."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, is_log: bool) -> None:
        self._start, self._end = start, end
        self._is_log = is_log
        if is_log:
            self.ticks = _log_ticks(min(values), max(values))
        else:
            self.ticks = _ticks(0.0, max(values))
        self._low, self._high = self._scaled(self.ticks[0]), self._scaled(self.ticks[-1])

    def _scaled(self, value: float) -> float:
        return log10(value) if self._is_log else value

    def at(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round values from low to beyond high."""
    raw = max(high - low, 1e-9) / 5
    power = 10 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return [low + step * i for i in range(ceil((high - low) / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, ... around the values; decades only when they span many."""
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    candidates = [
        m * 10.0**power
        for power in range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
        for m in steps
    ]
    first = max(tick for tick in candidates if tick <= low)
    last = min(tick for tick in [*candidates, 10.0 ** (ceil(log10(high)) + 1)] if tick >= high)
    if first == last:
        last = 10 * first
    return [tick for tick in candidates if first <= tick <= last] or [first, last]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def draw(panels: Sequence[Panel]) -> str:
    """Return an SVG document with the panels one below the other."""
    height = PANEL_HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12" '
        f'fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {number * PANEL_HEIGHT})">')
        parts.extend(_panel(panel))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    points = [point for line in panel.lines for point in line.points]
    end_x, end_y = WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM
    ys = [y for _, y in points] + ([panel.bound] if panel.bound is not None else [])
    x_axis = _Axis([x for x, _ in points], LEFT, end_x, is_log=panel.is_log_x)
    y_axis = _Axis(ys, end_y, TOP, is_log=panel.is_log_y)
    parts = [
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600">{escape(panel.title)}</text>'
    ]
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{end_x}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{MUTED}">'
            f"{_number(tick)}</text>"
        )
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{end_y}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{end_y + 18}" text-anchor="middle" fill="{MUTED}">'
            f"{_number(tick)}</text>"
        )
    middle = (LEFT + end_x) / 2
    parts.append(
        f'<text x="{middle}" y="{end_y + 40}" text-anchor="middle">{escape(panel.x_label)}</text>'
    )
    parts.append(f'<text x="{LEFT}" y="{TOP - 10}" fill="{MUTED}">{escape(panel.y_label)}</text>')
    if panel.bound is not None:
        y = y_axis.at(panel.bound)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{end_x}" stroke="{INK}" stroke-dasharray="6 4"/>')
    for number, line in enumerate(panel.lines):
        parts.extend(_line(line, COLOURS[number % len(COLOURS)], x_axis, y_axis, number))
    return parts


def _line(line: Line, colour: str, x_axis: _Axis, y_axis: _Axis, number: int) -> list[str]:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    if len(places) <= 24:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    x, y = WIDTH - RIGHT + 16, TOP + 10 + 20 * number
    parts.append(f'<path d="M{x} {y}h18" stroke="{colour}" stroke-width="3"/>')
    parts.append(f'<text x="{x + 24}" y="{y + 4}">{escape(line.name)}</text>')
    return parts
