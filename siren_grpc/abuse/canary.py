"""A live stream that runs beside the abuse, in a process of its own: it must notice nothing."""

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
from siren_grpc.bench.audio import load_recordings, to_pcm
from siren_grpc.bench.latency import Latency, LatencyBook

_HERTZ = 16_000
_PACKET_BYTES = 3200
_PACKET_S = 0.1
_START_S = 60.0


@dataclass(slots=True)
class Song:
    """What a canary heard back; moments in seconds on the monotonic clock."""

    finals: list[tuple[float, str]] = field(default_factory=list)
    partials: list[Latency] = field(default_factory=list)
    final_latencies: list[Latency] = field(default_factory=list)
    error: str | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with it: each play must read as the first one."""
        texts = [text for _, text in self.finals]
        found = [f"the canary's stream failed: {self.error}"] if self.error else []
        if len(texts) < 2 or not texts[0]:
            found.append(f"the canary heard too little: {texts}")
        found += [
            f"the canary read {text!r}, before {texts[0]!r}"
            for text in set(texts[1:])
            if text != texts[0]
        ]
        return found

    def latencies_ms(self, start_s: float, end_s: float) -> list[float]:
        """Return those of the partials that came between two moments."""
        return [1000 * p.latency_s for p in self.partials if start_s <= p.at_s < end_s]


class Canary:
    """Plays a recording over and over at the pace of speech, with FINALIZE behind each play."""

    def __init__(self, target: str, recordings: Sequence[Path] = ()) -> None:
        """Start it in a process of its own; returns when the first play is over."""
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
            raise TimeoutError("the canary heard nothing")
        self._end.recv()

    def song(self) -> Song:
        """End the stream behind the play under way and return what it heard."""
        self._stopping.set()
        song: Song = self._end.recv()
        self._process.join()
        return song

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()


def _run(target: str, recordings: list[Path], stopping: Event, end: Connection) -> None:
    (samples, *_) = load_recordings(recordings, sample_rate_hertz=_HERTZ)
    song = asyncio.run(_sing(target, to_pcm(samples), stopping, end))
    if not song.finals:
        end.send(None)  # nobody would hear the end otherwise
    end.send(song)


async def _sing(target: str, pcm: bytes, stopping: Event, end: Connection) -> Song:
    song, book = Song(), LatencyBook()
    async with AsyncSirenClient(target) as client:
        try:
            audio = _play(pcm, stopping, book)
            async for result in client.stream(audio, reconnect=None, sample_rate_hertz=_HERTZ):
                now = monotonic()
                if isinstance(result, Partial):
                    latency = book.partial(round(result.audio_processed_s * _HERTZ), now)
                    if latency is not None:
                        song.partials.append(latency)
                elif isinstance(result, Final) and (latency := book.final(now)) is not None:
                    song.final_latencies.append(latency)
                    song.finals.append((now, result.text))
                    if len(song.finals) == 1:
                        end.send(None)
        except SirenError as error:
            song.error = str(error)
    song.finals = [final for final in song.finals if final[1]]  # the last is of no audio
    return song


async def _play(pcm: bytes, stopping: Event, book: LatencyBook) -> AsyncIterator[bytes | Control]:
    due = monotonic()
    sent = 0
    while not stopping.is_set():
        for start in range(0, len(pcm), _PACKET_BYTES):
            due += _PACKET_S
            await asyncio.sleep(max(0.0, due - monotonic()))
            packet = pcm[start : start + _PACKET_BYTES]
            sent += len(packet) // 2
            book.sent_packet(sent, max(due, monotonic()) if sent else due)
            yield packet
        book.sent_end(monotonic())
        yield Control.FINALIZE
    book.sent_end(monotonic())
