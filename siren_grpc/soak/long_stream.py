"""Hours of audio in one stream, as fast as it goes, with hours of digital silence in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import grpc
import grpc.aio
from siren.v1 import speech_pb2_grpc

from siren_grpc.bench.audio import to_pcm
from siren_grpc.domain.work import Samples
from siren_grpc.soak.journal import Journal
from siren_grpc.soak.known_words import Hits, Word
from siren_grpc.soak.long_stream_audit import LongStreamAudit, LongStreamReport
from siren_grpc.soak.process_counts import leaks
from siren_grpc.soak.stopping import stop_on_signals
from siren_grpc.soak.stream_client import StreamClient, words_alone
from siren_grpc.soak.timeline import Timeline
from siren_grpc.soak.watched_server import WatchedServer

RATE = 16000
_MESSAGE_BYTES = 2 * RATE


@dataclass(frozen=True, slots=True)
class LongStreamSettings:
    """What is played, and what is asked of it.

    window_s: audio between two audits. decoder: None for the server's. memory_percent,
    step_percent: by how much memory and steps may grow.
    """

    hours: float
    silence_hours: float
    window_s: float
    decoder: str | None
    memory_percent: float
    step_percent: float
    seed: int

    def timeline(self, recordings: Sequence[Samples]) -> Timeline:
        """Return the audio, of recordings at 16 kHz; the silence stands in its middle."""
        n_samples = int(self.hours * 3600 * RATE)
        silent = int(self.silence_hours * 3600 * RATE)
        begin = (n_samples - silent) // 2
        lengths = tuple(len(recording) for recording in recordings)
        return Timeline(lengths, n_samples, (begin, begin + silent), RATE, self.seed)


class LongStream:
    """Plays the stream and audits it."""

    def __init__(
        self,
        recordings: Sequence[Samples],
        settings: LongStreamSettings,
        server: WatchedServer,
        journal: Journal,
        on_progress: Callable[[float], None],
    ) -> None:
        """Prepare; `play` plays.

        recordings: at 16 kHz. on_progress: told the seconds of audio that were sent.
        """
        self._server = server
        self._pcm = [to_pcm(recording) for recording in recordings]
        self._timeline = settings.timeline(recordings)
        self._settings = settings
        self._journal = journal
        self._on_progress = on_progress
        begin, end = self._timeline.silence
        self._audit = LongStreamAudit((begin / RATE, end / RATE), window_s=settings.window_s)
        self._report = LongStreamReport()

    async def play(self) -> LongStreamReport:
        """Run to the end, or until SIGINT or SIGTERM.

        Raises NoCensus, grpc.aio.AioRpcError, and asyncio.InvalidStateError when the stream ended
        by itself.
        """
        is_stopping = stop_on_signals()
        settings, report = self._settings, self._report
        async with grpc.aio.insecure_channel(self._server.target) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            alone = [await words_alone(stub, pcm, settings.decoder) for pcm in self._pcm]
            idle, _ = await self._server.wait_idle()
            started_at = monotonic()
            client = StreamClient(stub, settings.decoder)
            try:
                await client.start()
                await self._send(client, alone, is_stopping, started_at)
                await client.finish()
            finally:
                client.cancel()
            self._look_up(client, report.audio_s + 1)
            report.wall_s = monotonic() - started_at
            report.n_finals = client.n_finals
            counts, _ = await self._server.wait_idle(idle)
        report.faults += [*client.faults, *leaks(idle, counts)]
        if client.last_cause != "CAUSE_END":
            report.faults.append(f"the last final's cause is {client.last_cause}")
        self._audit.judge(
            report, memory_percent=settings.memory_percent, step_percent=settings.step_percent
        )
        return report

    async def _send(
        self,
        client: StreamClient,
        alone: Sequence[Sequence[Word]],
        is_stopping: asyncio.Event,
        started_at: float,
    ) -> None:
        """Play part by part. alone: the words of each recording, with their places in it."""
        audited_s = 0.0
        held = bytearray()
        for part in self._timeline.parts():
            if is_stopping.is_set():
                break
            start_s = part.start_samples / RATE
            if part.recording is None:
                if part.start_samples >= self._timeline.silence[0]:
                    self._audit.note_silence(start_s)
                held += bytes(2 * part.n_samples)
            else:
                held += self._pcm[part.recording]
                words = alone[part.recording]
                self._audit.expect(Word(word.text, word.start_s + start_s) for word in words)
            while len(held) >= _MESSAGE_BYTES:
                await client.send(bytes(held[:_MESSAGE_BYTES]))
                del held[:_MESSAGE_BYTES]
            self._report.audio_s = (part.start_samples + part.n_samples) / RATE
            self._on_progress(self._report.audio_s)
            if self._report.audio_s >= audited_s + self._settings.window_s:
                audited_s = self._report.audio_s
                await self._note(client, monotonic() - started_at)
        await client.send(bytes(held))

    async def _note(self, client: StreamClient, wall_s: float) -> None:
        """Write down how the stream is doing."""
        counts = await asyncio.to_thread(self._server.count)
        at_s = self._report.audio_s
        self._journal.write(
            audio_s=round(at_s, 1),
            wall_s=round(wall_s, 2),
            finals=client.n_finals,
            **self._audit.note_processes(counts, at_s),
            heard_s=round(client.heard_s, 1),
            words=self._look_up(client, client.heard_s).as_json(),
            processes=[process.as_json() for process in counts],
        )

    def _look_up(self, client: StreamClient, until_s: float) -> Hits:
        heard, client.words = client.words, []
        self._audit.hear(heard)
        return self._audit.look_up(until_s)
