"""Sessions that join and leave a batch at random, each streaming a recording of a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from siren_grpc.domain.model import Lane
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import AudioWork, Chunk, Samples
from siren_grpc.models.backend import LoadedBackend
from tests.parity.siren_path import assert_speaks, transcript_of, works_of
from tests.support import sounds
from tests.support.nemo_reference import NemoReference, Transcript, steps_lose_the_tail


@cache
def recordings(name: str, chunk_frames: int) -> tuple[Samples, ...]:
    """Return a dozen recordings of different lengths, none of which NeMo's stepping would shorten.

    name: of a model, `embedded` for some that a trained one knows.
    """
    random = Random(name)
    # Steps of one encoder frame are many, and NeMo's take their time.
    longest = 50_000 if chunk_frames > 1 else 25_000
    found = [sounds.babble(random.randint(8_000, longest), seed=i) for i in range(12)]
    if name == "embedded":
        found[:6] = [samples[: 16_000 * 4] for _, samples in sounds.shipped(6)]
    for i, samples in enumerate(found):
        while steps_lose_the_tail(len(samples) // 160, chunk_frames):
            samples = samples[:-160]
        found[i] = samples
    return tuple(found)


_references: dict[tuple[object, ...], Transcript] = {}


def stepped_alone(nemo: NemoReference, name: str, which: int, lane: Lane) -> Transcript:
    """Return what NeMo's stepping makes of one of a model's `recordings`."""
    key = (name, which, lane)
    if key not in _references:
        samples = recordings(name, lane.chunk_frames)[which]
        look_ahead = (70, lane.chunk_frames - 1)
        _references[key] = nemo.decode_stepwise(samples, look_ahead, lane.decoder.value)
    return _references[key]


def assert_mates_change_nothing(
    backend: LoadedBackend,
    lane: Lane,
    recordings: Sequence[Samples],
    reference: Callable[[int], Transcript],
    *,
    batch: int,
) -> None:
    """Fail unless streams in random batches give the tokens and frames of each recording alone.

    Twice as many streams as fit, 40 at most, of random recordings in random slots. reference: what
    NeMo makes of a recording alone, by its place among them. batch: most streams at once.
    """
    random = Random(f"{backend.info.id}{lane}{batch}")
    n_streams = min(2 * batch, 40)
    waiting = [random.randrange(len(recordings)) for _ in range(n_streams)]
    found = run(backend, lane, waiting, recordings, random, batch, range(backend.n_slots))
    assert len(found) == n_streams
    heard = [(which, transcript_of(backend.info, results)) for which, results in found]
    for which, ours in heard:
        theirs = reference(which)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames), which
    if batch > 2:
        assert_speaks(*(ours for _, ours in heard))


def run(
    backend: LoadedBackend,
    lane: Lane,
    waiting: list[int],
    recordings: Sequence[Samples],
    random: Random,
    batch: int,
    slots: range,
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
            works = works_of(recordings[which], backend.info, lane.chunk_frames, random=random)
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
