"""Twice as many streams as a server takes: the taken keep their pace, the rest hear it soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from siren_client import AsyncSirenClient, Final, Partial, SirenError
from siren_grpc.bench.audio import load_recordings, to_pcm
from siren_grpc.bench.latency import LatencyBook
from siren_grpc.bench.statistics import percentile

_HERTZ = 16_000
_PACKET_BYTES = 3200
_PACKET_S = 0.1


@dataclass(slots=True)
class OverloadReport:
    """What became of the streams offered. Times in milliseconds."""

    texts: list[str] = field(default_factory=list)
    partial_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def n_served(self) -> int:
        """Streams that were taken and served to their end."""
        return len(self.texts)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "served": self.n_served,
            "texts": len(set(self.texts)),
            "refused": self.refusals,
            "partial_ms": percentiles(self.partial_ms),
            "refused_ms": percentiles(self.refused_ms),
        }


def percentiles(values: list[float]) -> dict[str, float] | None:
    """Return p50, p95, p99 and the largest; None of no values."""
    if not values:
        return None
    found = {f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)}
    return {**found, "max": max(values)}


async def offer(target: str, n_streams: int, *, spread_s: float, plays: int) -> OverloadReport:
    """Start so many live streams within a time, and follow each to its end.

    plays: how often each plays the recording.
    """
    (samples,) = load_recordings([], sample_rate_hertz=_HERTZ)
    pcm = to_pcm(samples) * plays
    report = OverloadReport()
    async with AsyncSirenClient(target) as client:
        await client.list_models()  # the connection stands before the clock runs
        await asyncio.gather(
            *(
                _one(client, pcm, report, number * spread_s / n_streams)
                for number in range(n_streams)
            )
        )
    return report


async def _one(
    client: AsyncSirenClient, pcm: bytes, report: OverloadReport, delay_s: float
) -> None:
    await asyncio.sleep(delay_s)
    book, began = LatencyBook(), monotonic()
    latencies: list[float] = []
    text = ""
    try:
        audio = _play(pcm, book)
        async for result in client.stream(audio, reconnect=None, sample_rate_hertz=_HERTZ):
            if isinstance(result, Partial):
                at = round(result.audio_processed_s * _HERTZ)
                if (latency := book.partial(at, monotonic())) is not None:
                    latencies.append(1000 * latency.latency_s)
            elif isinstance(result, Final):
                text = result.text
    except SirenError as error:
        reason = str(getattr(error.reason, "value", error.reason) or error.status.name)
        report.refusals[reason] = report.refusals.get(reason, 0) + 1
        report.refused_ms.append(1000 * (monotonic() - began))
        return
    report.texts.append(text)
    report.partial_ms += latencies


async def _play(pcm: bytes, book: LatencyBook) -> AsyncIterator[bytes]:
    due = monotonic()
    for start in range(0, len(pcm), _PACKET_BYTES):
        due += _PACKET_S
        await asyncio.sleep(max(0.0, due - monotonic()))
        packet = pcm[start : start + _PACKET_BYTES]
        book.sent_packet((start + len(packet)) // 2, monotonic())
        yield packet
