"""Which packet a result waited for, and how long."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after the last packet it needed a result was there.

    at_s: when it was received, on the clock of the calls. Seconds.
    """

    at_s: float
    latency_s: float


class LatencyBook:
    """Attributes the results of one stream to the packets and controls it was sent.

    The clock is the caller's: seconds, the same for all calls.
    """

    def __init__(self) -> None:
        """Start before the first packet."""
        self._ends: list[int] = []
        self._sent_at: list[float] = []
        self._ended_at: deque[float] = deque()

    def sent_packet(self, end_samples: int, now_s: float) -> None:
        """Note that a packet was handed to gRPC; the stream's audio reaches to end_samples now."""
        self._ends.append(end_samples)
        self._sent_at.append(now_s)

    def sent_end(self, now_s: float) -> None:
        """Note that an utterance was ended: by FINALIZE, by END, or by half-closing."""
        self._ended_at.append(now_s)

    def partial(self, processed_samples: int, now_s: float) -> Latency | None:
        """Attribute a partial: to the first packet by whose end all it accounts for was sent.

        None for one that accounts for no audio, or for more than was sent.
        """
        if processed_samples <= 0:
            return None
        index = bisect_left(self._ends, processed_samples)
        if index == len(self._ends):
            return None
        return Latency(now_s, now_s - self._sent_at[index])

    def final(self, now_s: float) -> Latency | None:
        """Attribute a final: to the oldest end that has none yet (each utterance has one final).

        None for one more than was asked for.
        """
        if not self._ended_at:
            return None
        return Latency(now_s, now_s - self._ended_at.popleft())

    @property
    def n_unanswered(self) -> int:
        """Utterances that were ended and have no final yet."""
        return len(self._ended_at)
