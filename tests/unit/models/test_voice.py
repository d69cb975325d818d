"""The detector batched over sessions hears what Silero's own streaming hears in each alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from silero_vad import load_silero_vad

from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Chunk, Voice
from siren_grpc.models.voice import VoiceDetector
from tests.support.audio import shipped_recordings

SPEECH = [
    (r.samples[:20_000] / 32768).astype(np.float32)
    for r in shipped_recordings()
    if r.sample_rate_hertz == 16_000
]


SILERO = load_silero_vad()


@pytest.fixture(scope="module", autouse=True)
def _threads() -> None:
    """Importing silero_vad sets torch's threads to one; other tests had the rest."""
    torch.set_num_threads(2)


def own_probabilities(samples: np.ndarray) -> list[float]:
    model = SILERO
    model.reset_states()
    windows = [samples[i : i + 512] for i in range(0, len(samples) - 511, 512)]
    return [model(torch.from_numpy(window), 16_000).item() for window in windows]


def row(slot: int, samples: np.ndarray, voice: Voice) -> StepRow:
    return StepRow(slot, Chunk(samples, 1, False, 0, 0, voice=voice))


@pytest.mark.parametrize("n_rows", [4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_probabilities_are_those_of_each_stream_alone(seed: int, n_rows: int) -> None:
    draw = random.Random(seed)
    streams = [draw.choice(SPEECH) for _ in range(4)]
    detector = VoiceDetector(n_slots=5, device=torch.device("cpu"))
    slots = draw.sample(range(5), 4)
    found: list[list[float]] = [[] for _ in streams]
    at = [0] * 4
    with torch.inference_mode():
        while any(at[i] < len(stream) for i, stream in enumerate(streams)):
            going = [i for i in range(4) if at[i] < len(streams[i]) and draw.random() < 0.8]
            rows = []
            for i in going:
                size = draw.choice([100, 511, 512, 2560, 8960])
                voice = Voice.ON if at[i] else Voice.FRESH
                rows.append(row(slots[i], streams[i][at[i] : at[i] + size], voice))
                at[i] += size
            if not rows:
                continue
            # A step that fails is tried again: nothing is kept of it.
            detector.hear(rows, n_rows)
            read, keep = detector.hear(rows, n_rows)
            keep()
            for i, probabilities in zip(going, read(), strict=True):
                found[i].extend(probabilities)
    for stream, mine in zip(streams, found, strict=True):
        assert mine == pytest.approx(own_probabilities(stream), abs=1e-4)


def test_a_fresh_detector_finds_nothing_of_what_its_slot_heard() -> None:
    detector = VoiceDetector(n_slots=1, device=torch.device("cpu"))
    with torch.inference_mode():
        for start in (0, 700):
            read, keep = detector.hear([row(0, SPEECH[0][start:9000], Voice.FRESH)], 1)
            keep()
    assert read()[0] == pytest.approx(own_probabilities(SPEECH[0][700:9000]), abs=1e-4)
