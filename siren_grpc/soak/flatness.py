"""Whether something that was measured again and again has grown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

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
