"""`siren bench engine`: one model, the same audio, several ways to step it, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from siren_grpc.bench.audio import Speech
from siren_grpc.bench.bare_loop import BareLoop
from siren_grpc.bench.contestant import Contestant, Streams, Timings, turn_order
from siren_grpc.bench.engine_adapter import LoadedModel
from siren_grpc.bench.nemo_pipelines import buffered, cache_aware, why_not_buffered
from siren_grpc.bench.siren_contestants import SirenAsServed, SirenEngine
from siren_grpc.bench.statistics import (
    figures,
    paired_ratio,
    percentile,
    real_time_streams,
)
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.work import Samples

SIREN, BARE, NEMO, BUFFERED = "siren", "bare loop", "nemo cache-aware", "nemo buffered"
_WARM_UP_STEPS = 6
_SKIPPED_STEPS = 2
"""At a run's start: the first chunk has another shape."""
_FEWEST_STEPS, _MOST_STEPS = 20, 2000
_TURN_STEPS = 4
_FEWEST_BUFFERED_TURNS = 3


@dataclass(frozen=True, slots=True)
class EngineBenchSettings:
    """How long and with whom to measure.

    seconds: stepping time of each contestant, for each number of streams. eou_ms: NeMo's
    `stop_history_eou`. with_stepper: also measure our engine in its thread.
    """

    seconds: float
    seed: int
    eou_ms: int
    with_nemo: bool
    with_buffered: bool
    with_stepper: bool


def contestants_of(
    loaded: LoadedModel, info: ModelInfo, lane: Lane, n_streams: int, settings: EngineBenchSettings
) -> tuple[list[Contestant], dict[str, str]]:
    """Make the contestants of one batch size, and say why others are absent."""
    absent: dict[str, str] = {}
    chosen: list[Contestant] = [SirenEngine(loaded, lane, n_streams)]
    if settings.with_stepper:
        chosen.append(SirenAsServed(loaded, lane, n_streams))
    chosen.append(BareLoop(loaded, info, lane))
    if settings.with_nemo:
        chosen.append(cache_aware(loaded, info, lane, n_streams, eou_ms=settings.eou_ms))
    else:
        absent[NEMO] = "left out by --no-nemo"
    reason = why_not_buffered(lane) if settings.with_buffered else "left out by --no-buffered"
    if reason is None:
        chosen.append(buffered(loaded, info, lane, n_streams, eou_ms=settings.eou_ms))
    else:
        absent[BUFFERED] = reason
    return chosen, absent


def measure_batch(
    loaded: LoadedModel,
    info: ModelInfo,
    lane: Lane,
    recordings: Sequence[Samples],
    n_streams: int,
    settings: EngineBenchSettings,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Measure one batch size and return its part of the report. progress takes 0 to 1."""
    contestants, absent = contestants_of(loaded, info, lane, n_streams, settings)
    geometry = info.geometry(lane.chunk_frames)
    chunk_s = geometry.latency_ms / 1000
    chunk_samples = geometry.chunk_samples(is_first=False)
    rate = info.features.sample_rate_hertz
    seeds = count(settings.seed)

    def streams(n_steps: int) -> Streams:
        speeches = (
            Speech(recordings, sample_rate_hertz=rate, seed=next(seeds)) for _ in range(n_streams)
        )
        return Streams([speech.take((n_steps + 2) * chunk_samples) for speech in speeches], n_steps)

    warm, _ = _run(contestants, streams(_WARM_UP_STEPS), 2, lambda _: None)
    typical = {name: percentile(timings.wall_s, 50) for name, timings in warm.items()}
    slowest = max(step_s for name, step_s in typical.items() if name != BUFFERED)
    n_steps = max(_FEWEST_STEPS, min(_MOST_STEPS, int(settings.seconds / slowest)))
    n_steps = -(-n_steps // _TURN_STEPS) * _TURN_STEPS
    buffered_turns = int(settings.seconds / typical.get(BUFFERED, 1.0))
    buffered_turns = max(_FEWEST_BUFFERED_TURNS, buffered_turns)
    timings, texts = _run(contestants, streams(n_steps), buffered_turns, progress)
    return {
        "streams": n_streams,
        "steps": n_steps,
        "audio_s": n_steps * chunk_s,
        "contestants": {
            contestant.name: _report(contestant, timings, n_streams, chunk_s=chunk_s)
            for contestant in contestants
        },
        "absent": absent,
        "different_words": _different_words(texts),
        "turn_s": {name: found.turns_s for name, found in timings.items()},
    }


def _run(
    contestants: Sequence[Contestant],
    streams: Streams,
    buffered_turns: int,
    progress: Callable[[float], None],
) -> tuple[dict[str, Timings], dict[str, list[str]]]:
    """Let all contestants hear the streams in turns; return their timings and texts.

    The buffered pipeline computes its whole left context again in every step: it takes so many
    turns of one step each, and has no text then.
    """
    by_name = {contestant.name: contestant for contestant in contestants}
    timings = {name: Timings() for name in by_name}
    for contestant in contestants:
        contestant.open(streams)
    for number, done in enumerate(range(0, streams.n_steps, _TURN_STEPS)):
        size = min(_TURN_STEPS, streams.n_steps - done)
        for name in turn_order(list(by_name), number):
            if name != BUFFERED:
                timings[name].take_turn(by_name[name], size)
            elif number < buffered_turns:
                timings[name].take_turn(by_name[name], 1)
        progress((done + size) / streams.n_steps)
    texts = {name: contestant.finish() for name, contestant in by_name.items() if name != BUFFERED}
    for name, found in timings.items():
        n_skipped = 1 if name == BUFFERED else _SKIPPED_STEPS
        del found.wall_s[:n_skipped], found.cpu_s[:n_skipped], found.turns_s[0]
    return timings, texts


def _report(
    contestant: Contestant, timings: dict[str, Timings], n_streams: int, *, chunk_s: float
) -> dict[str, Any]:
    own = timings[contestant.name]
    step_ms = figures([1000 * value for value in own.wall_s])
    if step_ms is None:
        raise AssertionError("every contestant takes its first turn")
    return {
        "step_ms": step_ms,
        "cpu_ms": figures([1000 * value for value in own.cpu_s]),
        "real_time_streams": real_time_streams(n_streams, chunk_s, step_ms["mean"] / 1000),
        "real_time_streams_median": real_time_streams(n_streams, chunk_s, step_ms["p50"] / 1000),
        "times_slower_than_siren": paired_ratio(timings[SIREN].turns_s, own.turns_s),
        "session_bytes": contestant.session_bytes(),
    }


def _different_words(texts: dict[str, list[str]]) -> dict[str, int]:
    """Return for each contestant how many streams read otherwise than ours.

    Words only, spaces apart. The buffered pipeline has not heard all.
    """
    words = {name: [text.split() for text in found] for name, found in texts.items()}
    return {
        name: sum(a != b for a, b in zip(words[SIREN], found, strict=True))
        for name, found in words.items()
        if name != SIREN
    }
