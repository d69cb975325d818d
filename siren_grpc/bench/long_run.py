"""`siren bench long`: hours of audio in one stream, as fast as it goes."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from siren_grpc.bench.audio import Speech, to_pcm
from siren_grpc.bench.engine_adapter import LoadedModel, SyncEngine, slot_bytes
from siren_grpc.bench.statistics import percentile
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.results import Final
from siren_grpc.domain.work import Samples
from siren_grpc.observe.processes import process_use

_PACKET_MS = 100
_MINUTE_S = 60


def play_long(
    loaded: LoadedModel,
    info: ModelInfo,
    lane: Lane,
    recordings: Sequence[Samples],
    *,
    hours: float,
    finalize: bool,
    seed: int,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Play one stream and note its steps and the memory, minute of audio by minute.

    finalize: end an utterance at each pause, as a client with a voice detector does; else it is
    all one utterance, whose text grows. progress takes seconds of audio.
    """
    session_tensors = slot_bytes(loaded)
    engine = SyncEngine(loaded.backend(1), lane)
    stream = engine.open()
    rate = info.features.sample_rate_hertz
    speech = Speech(recordings, sample_rate_hertz=rate, seed=seed)
    steps: list[float] = []
    heard: Counter[str] = Counter()
    minutes: list[dict[str, Any]] = []
    played = 0
    total = int(hours * 3600 * rate)
    while played < total:
        part, is_pause = speech.next_part()
        heard += _play_part(engine, stream, part, rate * _PACKET_MS // 1000, steps)
        if is_pause and finalize:
            engine.finalize(stream)
            heard += _heard(engine)
        played += len(part)
        is_minute = played >= (len(minutes) + 1) * _MINUTE_S * rate
        if steps and (is_minute or (not minutes and played >= total)):
            minutes.append(_minute(steps, engine, stream, played / rate, session_tensors))
            steps.clear()
            progress(played / rate)
    return {
        "audio_s": played / rate,
        "finals": heard["finals"],
        "words": heard["words"],
        "minutes": minutes,
        "change": {
            name: _change(minutes, name) for name in ("step_ms", "rss_bytes", "state_bytes")
        },
    }


def _play_part(
    engine: SyncEngine, stream: int, part: Samples, packet_samples: int, steps: list[float]
) -> Counter[str]:
    """Send a part packet by packet; notes in `steps` how long each took, in seconds."""
    pcm = to_pcm(part)
    heard: Counter[str] = Counter()
    for start in range(0, len(part), packet_samples):
        begin = perf_counter()
        engine.receive(stream, pcm[2 * start : 2 * (start + packet_samples)])
        is_step = engine.has_work
        heard += _heard(engine)
        if is_step:
            steps.append(perf_counter() - begin)
    return heard


def _heard(engine: SyncEngine) -> Counter[str]:
    """Run the engine and count finals and their words."""
    texts = [result.text for _, result in engine.run() if isinstance(result, Final)]
    return Counter(finals=len(texts), words=sum(len(text.split()) for text in texts))


def _minute(
    steps: Sequence[float], engine: SyncEngine, stream: int, at_s: float, session_tensors: int
) -> dict[str, Any]:
    gc.collect()  # so that the process's memory is what is in use, not what waits for collection
    return {
        "at_s": at_s,
        "step_ms": 1000 * percentile(steps, 50),
        "step_p95_ms": 1000 * percentile(steps, 95),
        "rss_bytes": process_use(os.getpid()).rss_bytes,
        "state_bytes": session_tensors + engine.python_bytes(stream),
    }


def _change(minutes: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    first, last = minutes[0][name], minutes[-1][name]
    return {"first": first, "last": last, "percent": 100 * (last - first) / first}
