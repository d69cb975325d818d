"""Whether live streams are later beside something than alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from siren_grpc.bench.statistics import percentile

_SLOWER = 2.0
"""By what factor p95 may be longer: whatever else runs takes its time from the same cores."""


def lateness(
    alone_ms: Sequence[float], beside_ms: Sequence[float], beside: str, *, slower_ms: float
) -> list[str]:
    """Return what is wrong with the latencies of partials, held against those alone.

    alone_ms, beside_ms: in milliseconds. beside: beside what, for the message. slower_ms: by how
    much p95 may be longer on top of the factor: what a few late steps of a fast server are.
    """
    for where, found in (("alone", alone_ms), (beside, beside_ms)):
        if not found:
            return [f"there were no partials to time {where}"]
    alone, now = percentile(alone_ms, 95), percentile(beside_ms, 95)
    bound = _SLOWER * alone + slower_ms
    if now <= bound:
        return []
    return [
        f"partials came after {now:.0f} ms (p95) {beside}, {alone:.0f} ms alone: {bound:.0f} ms is "
        "the bound"
    ]
