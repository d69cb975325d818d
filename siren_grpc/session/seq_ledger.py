"""Which of the client's messages are accounted for (promise 2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from siren_grpc.domain.errors import InvalidMessage

Settled: TypeAlias = tuple[int, int]
"""A message's seq, and how many samples were sent by its end."""


class SeqLedger:
    """Which client `seq` is accounted for at which sample as sent (promise 2)."""

    def __init__(self) -> None:
        self._unplaced: deque[tuple[int, int]] = deque()  # (seq, bytes sent by its end)
        self._open: deque[Settled] = deque()
        self._last_received = 0
        self._last_settled = 0

    def record(self, seq: int, sent_bytes: int) -> None:
        """Note a message's seq, 0 for none, and how many bytes were sent by its end.

        Raises InvalidMessage for a seq that does not increase.
        """
        if seq == 0:
            return
        if seq <= self._last_received:
            raise InvalidMessage(
                f"audio.seq is {seq} after {self._last_received}; it must increase from message "
                "to message (or be 0 for messages that need no number)"
            )
        self._last_received = seq
        self._unplaced.append((seq, sent_bytes))

    def place(self, samples_at: Callable[[int], int | None]) -> None:
        """Say by which sample the messages are over whose bytes are decoded.

        samples_at: how many samples so many bytes make, None while nobody knows.
        """
        while self._unplaced:
            seq, sent_bytes = self._unplaced[0]
            sent_samples = samples_at(sent_bytes)
            if sent_samples is None:
                return
            self._unplaced.popleft()
            self._open.append((seq, sent_samples))

    def settle(self, sent_samples: int) -> tuple[list[Settled], int]:
        """Settle what ends at or before so many samples; return it, and the largest seq so far."""
        settled = []
        while self._open and self._open[0][1] <= sent_samples:
            settled.append(self._open.popleft())
            self._last_settled = settled[-1][0]
        return settled, self._last_settled

    def accounted(self, sent_samples: int) -> int:
        """Return the same without settling it: a preview is looked at again."""
        seq = self._last_settled
        for open_seq, end in self._open:
            if end > sent_samples:
                break
            seq = open_seq
        return seq
