"""Medians and tails of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is reported of a set of measurements, in their own unit."""

    n: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` % of the values do not exceed.

    Nearest rank, without interpolation: a value that was really measured. percent: 0 to 100.
    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    rank = max(1, ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def distribution(values: Sequence[float]) -> Distribution | None:
    """Summarise measurements; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Distribution(
        n=len(ordered),
        mean=sum(ordered) / len(ordered),
        p50=percentile(ordered, 50),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        max=ordered[-1],
    )


def figures(values: Sequence[float]) -> dict[str, float] | None:
    """Summarise measurements as what JSON can hold; None when there are none."""
    found = distribution(values)
    return None if found is None else asdict(found)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the median of theirs / ours, turn by turn: how many times faster ours is.

    Turns of one round run back to back, so noise of the machine hits both alike and cancels.
    Sequences of unequal length are compared as far as both go; None when one is empty.
    """
    ratios = [b / a for a, b in zip(ours, theirs, strict=False) if a > 0]
    return percentile(ratios, 50) if ratios else None


def real_time_streams(batch: int, chunk_s: float, mean_step_s: float) -> float:
    """Return how many streams in real time a model sustains that steps back to back.

    Each step advances `batch` streams by `chunk_s` seconds of audio and takes `mean_step_s`.
    """
    return batch * chunk_s / mean_step_s
