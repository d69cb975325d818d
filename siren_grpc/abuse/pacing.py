"""Audio sent at the pace of speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from siren_grpc.bench.latency import LatencyBook

HERTZ = 16_000
_PACKET_S = 0.1
_PACKET_BYTES = 2 * HERTZ // 10


class Pacer:
    """Cuts the PCM of one stream into packets, each yielded when its last sample has been heard."""

    def __init__(self, book: LatencyBook) -> None:
        """Begin with the first packet that is asked for. book: told of each."""
        self._book = book
        self._due_s: float | None = None
        self._n_samples = 0

    async def packets(self, pcm: bytes) -> AsyncIterator[bytes]:
        """Yield packets of 16-bit mono PCM at 16 kHz, behind those that went before."""
        due_s = monotonic() if self._due_s is None else self._due_s
        for start in range(0, len(pcm), _PACKET_BYTES):
            self._due_s = due_s = due_s + _PACKET_S
            await asyncio.sleep(max(0.0, due_s - monotonic()))
            packet = pcm[start : start + _PACKET_BYTES]
            self._n_samples += len(packet) // 2
            self._book.sent_packet(self._n_samples, monotonic())
            yield packet
