"""A live stream beside an attack, in a process of its own: it must notice nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from time import monotonic

from siren_client import AsyncSirenClient, Control, Final, Partial, SirenError
from siren_grpc.abuse.lateness import lateness
from siren_grpc.abuse.pacing import HERTZ, Pacer
from siren_grpc.bench.audio import load_recordings, to_pcm
from siren_grpc.bench.latency import Latency, LatencyBook

_START_S = 60.0
_SLOWER_MS = 200.0
"""As for `lateness`: what a few late steps of a fast server are."""
_LEAST_S = 10.0
"""Shorter, p95 would be that of single partials: it is not judged."""


@dataclass(slots=True)
class LiveStreamReport:
    """What a live stream heard back. Moments in seconds on the monotonic clock."""

    finals: list[str] = field(default_factory=list)
    partials: list[Latency] = field(default_factory=list)
    error: str | None = None

    @property
    def plays(self) -> list[str]:
        """What each play of the recording read; the last final is the end's, and of no audio."""
        return self.finals if self.finals and self.finals[-1] else self.finals[:-1]

    def faults(self) -> list[str]:
        """Return what is wrong with it: each play must read as the first one."""
        texts = self.plays
        found = [f"the live stream failed: {self.error}"] if self.error else []
        if len(texts) < 2 or not texts[0]:
            found.append(f"the live stream heard too little: {texts}")
        found += [
            f"the live stream read {text!r}, before {texts[0]!r}"
            for text in set(texts[1:])
            if text != texts[0]
        ]
        return found

    def latencies_ms(self, start_s: float, end_s: float) -> list[float]:
        """Return those of the partials whose audio was sent between two moments.

        What a stall holds back comes when it is over, and belongs to it all the same.
        """
        return [
            1000 * partial.latency_s
            for partial in self.partials
            if start_s <= partial.at_s - partial.latency_s < end_s
        ]

    def lateness(self, began_s: float, attacked_s: float, ended_s: float) -> list[str]:
        """Return what is wrong with its latency beside an attack, held against that alone.

        began_s, attacked_s, ended_s: it was alone from the first on, beside the attack from the
        second until the third. Nothing is found where either took less than ten seconds.
        """
        if min(attacked_s - began_s, ended_s - attacked_s) < _LEAST_S:
            return []
        found = lateness(
            self.latencies_ms(began_s, attacked_s),
            self.latencies_ms(attacked_s, ended_s),
            "beside the attack",
            slower_ms=_SLOWER_MS,
        )
        return [f"the live stream: {fault}" for fault in found]


class LiveStream:
    """Plays a recording over and over at the pace of speech, with FINALIZE behind each play."""

    def __init__(self, target: str, recordings: Sequence[Path] = ()) -> None:
        """Start it in a process of its own; returns when the first play is over. `close` ends it.

        recordings: WAV files, of which the first is played; none for the one that ships with the
        package. Raises TimeoutError when nothing is heard within a minute.
        """
        context = multiprocessing.get_context("spawn")
        self._stopping = context.Event()
        self._end, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run, args=(target, list(recordings), self._stopping, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._end.poll(_START_S):
            self.close()
            raise TimeoutError("the live stream heard nothing")
        self._end.recv()

    def finish(self) -> LiveStreamReport:
        """End the stream behind the play under way and return what it heard."""
        self._stopping.set()
        report: LiveStreamReport = self._end.recv()
        self._process.join()
        return report

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()


def _run(target: str, recordings: list[Path], stopping: Event, end: Connection) -> None:
    (samples, *_) = load_recordings(recordings, sample_rate_hertz=HERTZ)
    report = asyncio.run(_stream(target, to_pcm(samples), stopping, end))
    end.send(report)


async def _stream(target: str, pcm: bytes, stopping: Event, end: Connection) -> LiveStreamReport:
    """Run the stream; tell the other end once: when the first play is over, or none will be."""
    report, book = LiveStreamReport(), LatencyBook()
    is_told = False
    async with AsyncSirenClient(target) as client:
        try:
            audio = _play(pcm, stopping, book)
            async for result in client.stream(audio, reconnect=None, sample_rate_hertz=HERTZ):
                now = monotonic()
                if isinstance(result, Partial):
                    latency = book.partial(round(result.audio_processed_s * HERTZ), now)
                    if latency is not None:
                        report.partials.append(latency)
                elif isinstance(result, Final):
                    report.finals.append(result.text)
                    if not is_told:
                        end.send(None)
                        is_told = True
        except SirenError as error:
            report.error = str(error)
    if not is_told:
        end.send(None)
    return report


async def _play(pcm: bytes, stopping: Event, book: LatencyBook) -> AsyncIterator[bytes | Control]:
    pacer = Pacer(book)
    while not stopping.is_set():
        async for packet in pacer.packets(pcm):
            yield packet
        yield Control.FINALIZE
