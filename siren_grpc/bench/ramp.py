"""The largest load that is held: doubling, then bisection. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Rungs:
    """Loads that were measured, each once."""

    def __init__(self, measure: Callable[[int], dict[str, Any]]) -> None:
        """Start with none. measure: returns what is reported of so many streams, with `held`."""
        self._measure = measure
        self._by_streams: dict[int, dict[str, Any]] = {}

    def rung(self, n_streams: int) -> dict[str, Any]:
        """Return what is reported of a number; measured when it is asked for first."""
        if n_streams not in self._by_streams:
            self._by_streams[n_streams] = self._measure(n_streams)
        return self._by_streams[n_streams]

    def holds(self, n_streams: int) -> bool:
        """Return whether a number of streams holds."""
        return bool(self.rung(n_streams)["held"])

    @property
    def measured(self) -> list[dict[str, Any]]:
        """What was reported, by ascending numbers of streams."""
        return [rung for _, rung in sorted(self._by_streams.items())]

    @property
    def largest_held(self) -> int | None:
        """The largest number measured that holds; None when none does."""
        return max((n for n, rung in self._by_streams.items() if rung["held"]), default=None)


def largest_held(
    holds: Callable[[int], bool], *, start: int, resolution: float, most: int
) -> int | None:
    """Return the largest number of streams found to hold; None when not even one does.

    holds: measures one number of streams. start: the first tried. resolution: the search ends
    when the gap to the smallest number that failed is at most this share of it (0.1 = 10 %), or
    one stream. most: never tried beyond. Assumes that more streams are never easier.
    """
    held, failed = _bracket(holds, start, most)
    while failed is not None and failed - held > max(1.0, resolution * failed):
        middle = (held + failed) // 2
        if holds(middle):
            held = middle
        else:
            failed = middle
    return held or None


def _bracket(holds: Callable[[int], bool], start: int, most: int) -> tuple[int, int | None]:
    """Return (a number that holds, or 0; one that does not, or None up to `most`)."""
    held = 0
    n_streams = min(start, most)
    while holds(n_streams):
        held = n_streams
        if n_streams == most:
            return held, None
        n_streams = min(2 * n_streams, most)
    return held, n_streams
