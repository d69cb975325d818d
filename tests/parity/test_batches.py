"""Any batch mates: sessions that join and leave at random get what NeMo makes of each alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import Random

import pytest

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import AudioWork, Chunk, Samples
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path, load
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.conftest import Pair
from tests.parity.siren_path import assert_speaks, transcript_of, works_of
from tests.support import sounds
from tests.support.nemo_reference import NemoReference, Transcript, steps_lose_the_tail

pytestmark = pytest.mark.parity

RNNT, CTC = DecoderKind.RNNT, DecoderKind.CTC
N_SLOTS = 32


@pytest.fixture(scope="module")
def wide_pair_of(pair_of: Callable[..., Pair]) -> Callable[[str], Pair]:
    """Return pairs that hold 32 sessions, by the name of their builder or `embedded`."""

    @cache
    def make(name: str) -> Pair:
        if name == "embedded":
            path = checkpoint_path(EMBEDDED_MODEL)
            assert path is not None
            nemo = NemoReference(path)
        else:
            nemo, path = pair_of(name).nemo, pair_of.path_of(name)  # type: ignore[attr-defined]
        return Pair(nemo, load(str(path), device="cpu", n_slots=N_SLOTS, max_batch=N_SLOTS))

    return make


@cache
def recordings(name: str) -> list[Samples]:
    """A dozen recordings of different lengths, none of which NeMo's stepping would shorten."""
    random = Random(name)
    found = [sounds.babble(random.randint(8_000, 50_000), seed=i) for i in range(12)]
    if name == "embedded":
        found[:6] = [samples[: 16_000 * 4] for _, samples in sounds.shipped(6)]
    for i, samples in enumerate(found):
        while any(steps_lose_the_tail(len(samples) // 160, frames) for frames in (2, 7)):
            samples = samples[:-160]
        found[i] = samples
    return found


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
@pytest.mark.parametrize(
    ("name", "kind", "chunk_frames"),
    [
        ("nemotron", RNNT, 7),
        ("hybrid", RNNT, 2),
        ("hybrid", CTC, 7),
        ("ctc", CTC, 2),
        ("embedded", RNNT, 7),
        ("embedded", CTC, 7),
    ],
)
def test_joining_and_leaving_at_random(
    wide_pair_of: Callable[[str], Pair],
    name: str,
    kind: DecoderKind,
    chunk_frames: int,
    batch: int,
) -> None:
    pair = wide_pair_of(name)
    lane = Lane(chunk_frames, kind)
    random = Random(f"{name}{kind}{batch}")
    waiting = [random.randrange(12) for _ in range(min(2 * batch, 40))]
    heard = [
        (which, transcript_of(pair.siren.info, results))
        for which, results in run(pair.siren, lane, waiting, recordings(name), random, batch)
    ]
    assert len(heard) == min(2 * batch, 40)
    for which, ours in heard:
        theirs = reference(pair.nemo, name, which, kind, chunk_frames)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames), which
    if batch > 2:
        assert_speaks(*(ours for _, ours in heard))


@pytest.mark.parametrize(
    ("name", "kind"), [("nemotron", RNNT), ("hybrid", CTC), ("embedded", RNNT)]
)
def test_several_steps_at_once(
    wide_pair_of: Callable[[str], Pair], name: str, kind: DecoderKind
) -> None:
    """Workers step one model side by side: nothing of one step is seen in another."""
    pair = wide_pair_of(name)
    lane = Lane(7, kind)
    works = [[(i + j) % 12 for j in range(6)] for i in range(4)]

    def work(i: int) -> list[tuple[int, list[StepResult]]]:
        slots = range(8 * i, 8 * i + 8)
        sounds_of = recordings(name)
        return run(pair.siren, lane, list(works[i]), sounds_of, Random(i), 3 + i, slots)

    with ThreadPoolExecutor(4) as pool:
        heard = [found for part in pool.map(work, range(4)) for found in part]
    assert len(heard) == 24
    for which, results in heard:
        ours = transcript_of(pair.siren.info, results)
        theirs = reference(pair.nemo, name, which, kind, 7)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames), which


_references: dict[tuple[object, ...], Transcript] = {}


def reference(
    nemo: NemoReference, name: str, which: int, kind: DecoderKind, frames: int
) -> Transcript:
    """Return what NeMo's stepping makes of a recording alone."""
    key = (name, which, kind, frames)
    if key not in _references:
        samples = recordings(name)[which]
        _references[key] = nemo.decode_stepwise(samples, (70, frames - 1), kind.value)
    return _references[key]


def run(
    backend: NemoBackend,
    lane: Lane,
    waiting: list[int],
    sounds_of: list[Samples],
    random: Random,
    batch: int,
    slots: range = range(N_SLOTS),
) -> list[tuple[int, list[StepResult]]]:
    """Stream recordings in at most `batch` sessions at once; return what each gave."""
    free = random.sample(slots, len(slots))
    running: dict[int, tuple[int, list[AudioWork], list[StepResult]]] = {}
    done = []
    while waiting or running:
        while waiting and len(running) < batch and (not running or random.random() < 0.6):
            slot = free.pop(0)
            backend.reset_slot(slot)
            which = waiting.pop()
            works = works_of(sounds_of[which], backend.info, lane.chunk_frames, random=random)
            running[slot] = (which, works, [])
        ready = [slot for slot in running if batch == 1 or random.random() < 0.8]
        if not ready:
            continue
        random.shuffle(ready)
        rows = [StepRow(slot, running[slot][1].pop(0)) for slot in ready]
        for row, result in zip(rows, backend.step(lane, rows), strict=True):
            which, works, results = running[row.slot]
            if isinstance(row.work, Chunk):
                results.append(result)
            if not works:
                done.append((which, results))
                del running[row.slot]
                free.append(row.slot)
    return done
