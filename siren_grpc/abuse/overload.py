"""Twice as many streams as a server takes: the taken keep their pace, the rest hear it soon."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from siren_client import AsyncSirenClient, Final, Partial, SirenError
from siren_grpc.abuse.lateness import lateness
from siren_grpc.abuse.pacing import HERTZ, Pacer
from siren_grpc.bench.audio import load_recordings, to_pcm
from siren_grpc.bench.latency import LatencyBook
from siren_grpc.bench.statistics import figures, percentile

_LEAST_SERVED = 0.9
"""Of the capacity, with twice as many offered: one that refuses all is soon with its refusals."""
_SLOWER_MS = 100.0
"""As for `lateness`: what one late step of a fast server is."""
_LAST_REFUSED = 3.0
"""By what factor the last refusal may be later than p95: these clients are busy, too."""


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

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "served": self.n_served,
            "texts": len(set(self.texts)),
            "refused": self.refusals,
            "partial_ms": figures(self.partial_ms),
            "refused_ms": figures(self.refused_ms),
        }


def faults_of(
    alone: OverloadReport, twice: OverloadReport, *, capacity: int, refused_ms: float
) -> list[str]:
    """Say what is wrong with a server that takes so many streams.

    alone: so many were offered; twice: twice as many. refused_ms: bound of the refusals' p95;
    none may take three times as long.
    p95 of the partials is held against that alone: twice it, and 100 ms.
    """
    found = lateness(
        alone.partial_ms, twice.partial_ms, "with twice as many offered", slower_ms=_SLOWER_MS
    )
    if alone.n_served != capacity:
        found.append(f"{alone.n_served} of {capacity} streams were served alone: {alone.refusals}")
    if len(texts := set(alone.texts + twice.texts)) != 1:
        found.append(f"transcripts differ: {texts}")
    if "" in texts:
        found.append("streams were served, but read nothing")
    if twice.n_served < _LEAST_SERVED * capacity:
        found.append(f"of twice as many, {twice.n_served} of {capacity} streams were served")
    if twice.n_served + twice.refusals.get("OVERLOADED", 0) != 2 * capacity:
        found.append(f"streams ended otherwise than served or OVERLOADED: {twice.refusals}")
    if not twice.refused_ms:
        found.append("nothing was refused")
    elif (p95 := percentile(twice.refused_ms, 95)) > refused_ms:
        found.append(f"the refused heard it after {p95:.0f} ms (p95)")
    elif (last := max(twice.refused_ms)) > _LAST_REFUSED * refused_ms:
        found.append(f"one of the refused heard it only after {last:.0f} ms")
    return found


async def offer(target: str, n_streams: int, *, spread_s: float, plays: int) -> OverloadReport:
    """Start so many live streams within a time, and follow each to its end.

    spread_s: over which the starts are spread evenly. plays: how often each plays the recording
    that ships with the package. Raises siren_client.SirenError when the server is not there.
    """
    (samples,) = load_recordings([], sample_rate_hertz=HERTZ)
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
        audio = Pacer(book).packets(pcm)
        async for result in client.stream(audio, reconnect=None, sample_rate_hertz=HERTZ):
            if isinstance(result, Partial):
                at = round(result.audio_processed_s * HERTZ)
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
