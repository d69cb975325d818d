"""A day in one stream, as fast as it goes, with hours of digital silence in it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import grpc
import grpc.aio
from siren.v1 import speech_pb2_grpc

from siren_grpc.bench.audio import to_pcm
from siren_grpc.domain.types import Samples
from siren_grpc.soak.churn import leaks, quieten, stop_on_signals
from siren_grpc.soak.flatness import drift, growth
from siren_grpc.soak.journal import Journal
from siren_grpc.soak.known_words import Hits, Word
from siren_grpc.soak.listener import Listener, words_alone
from siren_grpc.soak.timeline import Timeline
from siren_grpc.soak.watched_server import ProcessCounts, WatchedServer
from siren_grpc.soak.word_audit import WordAudit

RATE = 16000
_MESSAGE_BYTES = 2 * RATE
_AFTER_SILENCE_S = 120.0
_WORSE_SHARE = 0.05
_WORSE_SHARE_AFTER_SILENCE = 0.15
"""Two minutes have few words."""
_MAX_ERROR_S = 0.08
_FEW_WORDS = 20
_WARM_UP_S = 600.0


@dataclass(frozen=True, slots=True)
class DaySettings:
    """What is played. window_s: audio between two audits."""

    hours: float
    silence_hours: float
    window_s: float
    decoder: str | None
    memory_percent: float
    step_percent: float
    seed: int

    def timeline(self, recordings: Sequence[Samples]) -> Timeline:
        """Return the audio; the silence stands in its middle."""
        n_samples = int(self.hours * 3600 * RATE)
        silent = int(self.silence_hours * 3600 * RATE)
        begin = (n_samples - silent) // 2
        lengths = tuple(len(recording) for recording in recordings)
        return Timeline(lengths, n_samples, (begin, begin + silent), RATE, self.seed)


@dataclass(slots=True)
class DayReport:
    """What was found. faults: empty when the server has passed."""

    audio_s: float = 0.0
    wall_s: float = 0.0
    n_finals: int = 0
    growth_percent: dict[str, float] = field(default_factory=dict)
    words: dict[str, Hits] = field(default_factory=dict)
    """Of the stretches that are held against each other."""
    faults: list[str] = field(default_factory=list)


class Day:
    """Plays the stream and audits it."""

    def __init__(
        self,
        server: WatchedServer,
        recordings: Sequence[Samples],
        settings: DaySettings,
        journal: Journal,
        on_progress: Callable[[float], None],
    ) -> None:
        """Prepare; `play` plays. on_progress: told the seconds of audio that were sent."""
        self._server = server
        self._pcm = [to_pcm(recording) for recording in recordings]
        self._timeline = settings.timeline(recordings)
        self._settings = settings
        self._journal = journal
        self._on_progress = on_progress
        begin_s, end_s = (border / RATE for border in self._timeline.silence)
        behind_s = end_s + _AFTER_SILENCE_S
        self._spans = {
            "before the silence": (0.0, begin_s),
            # What comes right behind the silence is judged by itself too.
            "behind the silence": (end_s, behind_s),
            "after the silence": (end_s, math.inf),
        }
        self._words = WordAudit((begin_s, end_s, behind_s))
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._before: tuple[ProcessCounts, ProcessCounts] | None = None
        self._silent_since_s = math.inf
        self._n_in_silence = 0
        self._report = DayReport()

    async def play(self) -> DayReport:
        """Run to the end, or until SIGINT or SIGTERM. Raises NoCensus, grpc.aio.AioRpcError."""
        is_stopping = stop_on_signals()
        async with grpc.aio.insecure_channel(self._server.target) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            alone = [await words_alone(stub, p, self._settings.decoder) for p in self._pcm]
            idle, _ = await quieten(self._server)
            started_at = monotonic()
            listener = Listener(stub, self._settings.decoder)
            try:
                await listener.start()
                await self._send(listener, alone, is_stopping, started_at)
                await listener.finish()
            finally:
                listener.cancel()
            self._look_up(listener, self._report.audio_s + 1)
            self._report.wall_s = monotonic() - started_at
            self._report.n_finals = listener.n_finals
            counts, _ = await quieten(self._server, idle)
        self._report.faults += [*listener.faults, *leaks(idle, counts)]
        if listener.last_cause != "CAUSE_END":
            self._report.faults.append(f"the last final's cause is {listener.last_cause}")
        self._judge()
        return self._report

    async def _send(
        self,
        listener: Listener,
        alone: Sequence[Sequence[Word]],
        is_stopping: asyncio.Event,
        started_at: float,
    ) -> None:
        audited_s = 0.0
        held = bytearray()
        for part in self._timeline.parts():
            if is_stopping.is_set():
                break
            start_s = part.start_samples / RATE
            if part.recording is None:
                if part.start_samples >= self._timeline.silence[0]:
                    self._silent_since_s = min(self._silent_since_s, start_s)
                held += bytes(2 * part.n_samples)
            else:
                held += self._pcm[part.recording]
                words = alone[part.recording]
                self._words.expect(Word(word.text, word.start_s + start_s) for word in words)
            while len(held) >= _MESSAGE_BYTES:
                await listener.send(bytes(held[:_MESSAGE_BYTES]))
                del held[:_MESSAGE_BYTES]
            self._report.audio_s = (part.start_samples + part.n_samples) / RATE
            self._on_progress(self._report.audio_s)
            if self._report.audio_s >= audited_s + self._settings.window_s:
                audited_s = self._report.audio_s
                await self._audit(listener, monotonic() - started_at)
        await listener.send(bytes(held))

    async def _audit(self, listener: Listener, wall_s: float) -> None:
        counts = await asyncio.to_thread(self._server.count)
        at_s = self._report.audio_s
        for i, process in enumerate(counts):
            name = f"memory of the {process.process}" + (f" {i}" if i else "")
            self._points.setdefault(name, []).append((at_s, process.use.rss_bytes))
        step = self._note_steps(counts, at_s)
        hits = self._look_up(listener, listener.heard_s)
        self._journal.write(
            audio_s=round(at_s, 1),
            wall_s=round(wall_s, 2),
            finals=listener.n_finals,
            **step,
            heard_s=round(listener.heard_s, 1),
            words=_as_json(hits),
            processes=[process.as_json() for process in counts],
        )

    def _note_steps(self, counts: Sequence[ProcessCounts], at_s: float) -> dict[str, float]:
        """Return the mean step since the last audit, and the CPU time of one."""
        engine = counts[0]
        front_end = max(counts[1:], key=lambda process: process.counts["steps"])
        before, self._before = self._before, (engine, front_end)
        if before is None:
            return {}
        engine_before, front_end_before = before
        steps = front_end.counts["steps"] - front_end_before.counts["steps"]
        if steps <= 0:
            return {}
        step_s = front_end.counts["step_s"] - front_end_before.counts["step_s"]
        cpu_s = engine.use.cpu_s - engine_before.use.cpu_s
        begin, end = (border / RATE for border in self._timeline.silence)
        # Silence has steps of its own: less to decode.
        if not begin <= at_s <= end + self._settings.window_s:
            self._points.setdefault("step", []).append((at_s, step_s / steps))
            self._points.setdefault("CPU time of a step", []).append((at_s, cpu_s / steps))
        return {
            "steps": steps,
            "step_ms": round(1000 * step_s / steps, 4),
            "step_cpu_ms": round(1000 * cpu_s / steps, 4),
        }

    def _look_up(self, listener: Listener, until_s: float) -> Hits:
        """Look up the words before a time that were not looked up yet."""
        heard, listener.words = listener.words, []
        begin_s, end_s = self._silent_since_s, self._timeline.silence[1] / RATE
        self._n_in_silence += sum(begin_s + 1 < word.start_s < end_s - 1 for word in heard)
        self._words.hear(heard)
        return self._words.look_up(until_s)

    def _judge(self) -> None:
        report, settings = self._report, self._settings
        warm_up_s = min(_WARM_UP_S, report.audio_s / 4)
        for name, points in self._points.items():
            is_memory = name.startswith("memory")
            found = (growth if is_memory else drift)(points, since=warm_up_s)
            if found is None:
                continue
            report.growth_percent[name] = round(found.percent, 3)
            bound = settings.memory_percent if is_memory else settings.step_percent
            if found.percent > bound:
                report.faults.append(f"{name} grew by {found.percent:.2f} %")
        if self._n_in_silence:
            report.faults.append(f"{self._n_in_silence} words were heard in the silence")
        report.words = {name: self._words.between(*span) for name, span in self._spans.items()}
        self._judge_words()

    def _judge_words(self) -> None:
        report = self._report
        first = report.words["before the silence"]
        bounds = {
            "behind the silence": _WORSE_SHARE_AFTER_SILENCE,
            "after the silence": _WORSE_SHARE,
        }
        for name, worse in bounds.items():
            hits = report.words[name]
            if hits.known and hits.share < first.share - worse:
                report.faults.append(
                    f"{name} {hits.share:.1%} of the words were found, before it {first.share:.1%}"
                )
        for at, hits in self._words.stretches:
            error = hits.median_error_s
            if error is not None and hits.found >= _FEW_WORDS and abs(error) > _MAX_ERROR_S:
                report.faults.append(f"words before {at:.0f} s are off by {error:+.3f} s")


def _as_json(hits: Hits) -> dict[str, Any]:
    error = hits.median_error_s
    return {
        "known": hits.known,
        "heard": hits.heard,
        "found": hits.found,
        "median_error_s": None if error is None else round(error, 4),
    }


def verdict(report: DayReport) -> dict[str, Any]:
    """Return a report as its journal's last line."""
    return {
        "verdict": "failed" if report.faults else "passed",
        "audio_hours": round(report.audio_s / 3600, 3),
        "wall_s": round(report.wall_s, 1),
        "finals": report.n_finals,
        "growth_percent": report.growth_percent,
        "words": {name: _as_json(hits) for name, hits in report.words.items()},
        "faults": report.faults,
    }
