"""When which packet of a real-time stream is due."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Packet:
    """One message of audio: samples [start, end) of the stream, due so long after its start."""

    start_samples: int
    end_samples: int
    due_s: float


def packets(
    n_samples: int, *, sample_rate_hertz: int, packet_ms: int, jitter_ms: float, random: Random
) -> list[Packet]:
    """Cut a stream as a live client does: a packet is due when its last sample has been heard.

    jitter_ms: each packet is held up by a random time of up to so much, never overtaking another.
    The last packet may be shorter. Raises ValueError for packets without a sample.
    """
    size = sample_rate_hertz * packet_ms // 1000
    if size < 1:
        raise ValueError(f"packets of {packet_ms} ms hold no sample at {sample_rate_hertz} Hz")
    result: list[Packet] = []
    latest = 0.0
    for start in range(0, n_samples, size):
        end = min(start + size, n_samples)
        latest = max(latest, end / sample_rate_hertz + random.uniform(0, jitter_ms) / 1000)
        result.append(Packet(start, end, latest))
    return result


def staggered_starts(n_streams: int, over_s: float, random: Random) -> list[float]:
    """Return when each stream starts: spread evenly over `over_s` seconds, in random order.

    Without it all streams' chunks would be complete at one moment, and wait for each other.
    """
    starts = [over_s * i / n_streams for i in range(n_streams)]
    random.shuffle(starts)
    return starts
