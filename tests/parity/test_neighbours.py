"""What one session hears changes no token of another, and leaves none in its slot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

import numpy as np
import pytest

from siren_grpc.domain.model import DecoderKind, Lane, ModelOptions
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Samples
from siren_grpc.models.loader import EMBEDDED_MODEL, load
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.siren_path import assert_speaks, recognise, transcript_of, works_of
from tests.support import sounds

pytestmark = pytest.mark.parity

N_SLOTS = 8
RNNT, CTC = DecoderKind.RNNT, DecoderKind.CTC
_LENGTH = 24_000


@pytest.fixture(scope="module")
def backend() -> NemoBackend:
    return load(EMBEDDED_MODEL, device="cpu", n_slots=N_SLOTS, max_batch=N_SLOTS)


@cache
def voices() -> list[Samples]:
    return [samples[: 16_000 * 3] for _, samples in sounds.shipped(4)]


def hostile(kind: str, seed: int, n_samples: int = _LENGTH) -> Samples:
    """What no microphone gives; NaN and infinity are refused at the door, here they are not."""
    random = np.random.default_rng(seed)
    if kind == "noise":
        return random.choice((-1.0, 1.0), n_samples).astype(np.float32)
    if kind == "silence":
        return sounds.zeros(n_samples)
    if kind == "denormal":
        return np.full(n_samples, 1e-45, np.float32)
    fill = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 3.4e38}[kind]
    samples = random.normal(0, 0.1, n_samples).astype(np.float32)
    samples[random.random(n_samples) < random.choice((0.001, 0.5, 1.0))] = fill
    return samples


KINDS = ("nan", "inf", "-inf", "huge", "noise", "silence", "denormal")


def step(backend: NemoBackend, lane: Lane, rows: dict[int, StepRow]) -> dict[int, StepResult]:
    """Step rows as `engine.batch` does: one by one where a step fails, without the guilty."""
    try:
        return dict(zip(rows, backend.step(lane, list(rows.values())), strict=True))
    except FloatingPointError:
        if len(rows) == 1:
            return {}
        return {i: r for row in rows.items() for i, r in step(backend, lane, dict([row])).items()}


def together(
    backend: NemoBackend, lane: Lane, recordings: Sequence[Samples], slots: Sequence[int]
) -> list[list[StepResult]]:
    """Step recordings side by side, each in its slot; return each one's results."""
    for slot in slots:
        backend.reset_slot(slot)
    works = [works_of(samples, backend.info, lane.chunk_frames) for samples in recordings]
    results: list[list[StepResult]] = [[] for _ in recordings]
    for turn in range(max(map(len, works))):
        rows = {
            i: StepRow(slots[i], work[turn]) for i, work in enumerate(works) if turn < len(work)
        }
        for i, result in step(backend, lane, rows).items():
            results[i].append(result)
    return results


@pytest.mark.parametrize("kind", [RNNT, CTC])
def test_no_neighbour_changes_a_byte(backend: NemoBackend, kind: DecoderKind) -> None:
    lane, random = Lane(7, kind), Random(str(kind))
    alone = [recognise(backend, voice, lane) for voice in voices()]
    assert_speaks(*alone)
    for turn in range(8):
        which = [random.randrange(len(voices())) for _ in range(random.choice((1, 3)))]
        mates = [
            hostile(
                random.choice(KINDS), seed=100 * turn + i, n_samples=random.choice((9000, _LENGTH))
            )
            for i in range(random.choice((1, 4)))
        ]
        order = [*(voices()[i] for i in which), *mates]
        slots = random.sample(range(N_SLOTS), len(order))
        results = together(backend, lane, order, slots)
        for i, found in zip(which, results, strict=False):
            assert transcript_of(backend.info, found) == alone[i], (turn, i)


def reuse(backend: NemoBackend, n_reuses: int, seed: int) -> None:
    """Give slots to new tenants again and again; every probe must read as in a fresh slot."""
    lane, random = Lane(7, RNNT), Random(seed)
    heard = {i: recognise(backend, voice, lane) for i, voice in enumerate(voices())}
    which = max(heard, key=lambda i: len(set(heard[i].tokens)))
    probe, alone = voices()[which], heard[which]
    assert_speaks(alone)
    slots = range(N_SLOTS)
    for _ in range(-(-n_reuses // N_SLOTS)):
        for slot in slots:
            backend.open_slot(slot, ModelOptions())
        tenants = [
            hostile(random.choice(KINDS), random.randrange(10_000), 12_000)
            if random.random() < 0.5
            else random.choice(voices())[:12_000]
            for _ in slots
        ]
        works = [works_of(samples, backend.info, 7) for samples in tenants]
        n_chunks = random.randint(1, 2)  # a tenant may go in the middle of an utterance
        for turn in range(n_chunks):
            step(backend, lane, {slot: StepRow(slot, works[slot][turn]) for slot in slots})
        for slot in slots:
            backend.open_slot(slot, ModelOptions())
        for found in together(backend, lane, [probe] * N_SLOTS, list(slots)):
            assert transcript_of(backend.info, found) == alone


def test_reused_slots_leak_no_token(backend: NemoBackend) -> None:
    reuse(backend, 100, seed=1)


@pytest.mark.long
def test_ten_thousand_reused_slots_leak_no_token(backend: NemoBackend) -> None:
    reuse(backend, 10_000, seed=2)
