"""Whether something that was measured again and again has grown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import Protocol

_SHARE = 10
"""The first and the last tenth of what was measured are held against each other."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How a figure changed: medians of the first and of the last tenth."""

    first: float
    last: float

    @property
    def percent(self) -> float:
        """Of the first; below zero when it shrank."""
        return 100 * (self.last - self.first) / self.first if self.first else 0.0


def drift(points: Sequence[tuple[float, float]], *, since: float) -> Growth | None:
    """Return how a duration changed between the two halves behind its warm-up.

    Parameters as for `growth`. Of each half the lowest tenth's highest: whatever else the machine
    does adds to a duration and never takes from it, so its short ones are its own.
    """
    figures = [figure for when, figure in points if when >= since]
    if len(figures) < 2:
        return None
    half = len(figures) // 2
    first, last = (sorted(part) for part in (figures[:half], figures[half:]))
    return Growth(first[len(first) // _SHARE], last[len(last) // _SHARE])


def growth(points: Sequence[tuple[float, float]], *, since: float) -> Growth | None:
    """Return how a figure changed behind its warm-up; None where fewer than two points are left.

    points: (when, figure), in order; when in any unit. since: the end of the warm-up. Medians,
    because a single measurement may find a page that is being given back.
    """
    figures = [figure for when, figure in points if when >= since]
    if len(figures) < 2:
        return None
    n = max(1, len(figures) // _SHARE)
    return Growth(median(figures[:n]), median(figures[-n:]))


def slope(points: Sequence[tuple[float, float]], *, since: float) -> float | None:
    """Return by how much a figure grows for each unit behind its warm-up, by least squares.

    Parameters as for `growth`; None where fewer than two points are left.
    """
    behind = [point for point in points if point[0] >= since]
    if len(behind) < 2:
        return None
    return linear_regression(*zip(*behind, strict=True)).slope


class Comparison(Protocol):
    """`growth` or `drift`."""

    def __call__(self, points: Sequence[tuple[float, float]], *, since: float) -> Growth | None:
        """Compare the last figures with the first ones."""
        ...


class Series:
    """Figures of several kinds, each measured again and again."""

    def __init__(self) -> None:
        """Start with none."""
        self._points: dict[str, list[tuple[float, float]]] = {}

    @property
    def names(self) -> list[str]:
        """The kinds there are."""
        return list(self._points)

    def note(self, name: str, at: float, figure: float) -> None:
        """Add a figure of a kind. at: in any unit, ascending."""
        self._points.setdefault(name, []).append((at, figure))

    def percents(self, compare: Comparison, *, since: float) -> dict[str, float]:
        """Return by how many percent each kind has grown; absent where there is too little."""
        found = {name: compare(points, since=since) for name, points in self._points.items()}
        return {name: grown.percent for name, grown in found.items() if grown is not None}

    def slopes(self, *, since: float) -> dict[str, float]:
        """Return by how much each kind grows for each unit; absent where there is too little."""
        found = {name: slope(points, since=since) for name, points in self._points.items()}
        return {name: grows for name, grows in found.items() if grows is not None}


def not_measured(names: Iterable[str], percents: Mapping[str, float]) -> list[str]:
    """Say whose growth is not known: what was not judged has not passed."""
    return [
        f"the growth of {name} was not measured: fewer than two audits behind the warm-up"
        for name in names
        if name not in percents
    ]


def grown_beyond(percents: Mapping[str, float], bound_percent: float) -> list[str]:
    """Say what has grown by more than a bound."""
    return [
        f"{name} grew by {percent:.2f} %"
        for name, percent in percents.items()
        if percent > bound_percent
    ]
