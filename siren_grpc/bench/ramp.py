"""The largest load that is held: doubling, then bisection."""

from __future__ import annotations

from collections.abc import Callable


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
