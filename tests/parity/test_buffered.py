"""Offline models streamed through a sliding window: NeMo's own buffered streaming, token for token.

The answer ours are held against is NeMo's `StreamingBatchedAudioBuffer` with its label-looping
decoders, put together as in NeMo's example speech_to_text_streaming_infer_rnnt.py, and not
`BufferedRNNTPipeline`, whose framing differs at both ends: it takes a chunk's samples without their
right context, so that its first windows hold nothing but zeros where the chunk should be, and it
decodes the encodings of these zeros, `init_zero_enc`, before the first word. In between, with
`stateful` set, it does the same as the example. Recordings have whole encoder frames here, because
NeMo's buffer drops single samples when the last window overflows: the frames of that window then
straddle those before it, and the one at the border is decoded twice (`TestTheEnd`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.results import Final, Partial, Result, StreamEnded, WordDetail
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Chunk, Preview, Samples, Work
from siren_grpc.engine.session import EngineLimits
from siren_grpc.models.buffered_backend import BufferedBackend
from siren_grpc.models.loader import load
from siren_grpc.session.ingress import Ingress, IngressConfig
from tests.parity.random_batches import assert_mates_change_nothing
from tests.parity.siren_path import (
    assert_speaks,
    recognise,
    snapshot,
    works_of,
)
from tests.support import checkpoints, sounds
from tests.support.local_engine import LocalEngine
from tests.support.nemo_reference import NemoReference, Transcript

pytestmark = pytest.mark.parity

FRAME = 1280
CASES = [
    ("parakeet_rnnt", DecoderKind.RNNT),
    ("parakeet_tdt", DecoderKind.TDT),
    ("parakeet_ctc", DecoderKind.CTC),
    ("parakeet_unified", DecoderKind.RNNT),
]
CHUNKS = [3, 6, 25]
LONG = sounds.babble(FRAME * 215, seed=1)
"""More than fills the widest window."""
SPEECH = {
    "longer than a chunk": sounds.babble(FRAME * 64, seed=2),
    "less than a chunk": sounds.babble(FRAME * 2, seed=3),
    "telephone": sounds.telephone(FRAME * 57, seed=4),
}


class Model:
    """The same checkpoint as NeMo runs it and as Siren does."""

    def __init__(self, path: Path, kind: DecoderKind) -> None:
        self.kind = kind
        self.nemo = NemoReference(path)
        backend = load(str(path), device="cpu", n_slots=34, max_batch=32)
        assert isinstance(backend, BufferedBackend)
        self.siren = backend
        self._mates: dict[tuple[int, int], Transcript] = {}

    def lane(self, chunk_frames: int) -> Lane:
        return Lane(chunk_frames, self.kind)

    def buffered(self, samples: Samples, chunk_frames: int) -> Transcript:
        """Return what NeMo's buffered streaming makes of a recording alone."""
        index = self.siren.info.look_aheads.index(chunk_frames)
        window = self.siren.info.buffered[index]
        context = (window.left_frames, window.chunk_frames, window.right_frames)
        return self.nemo.decode_buffered(samples, context, self.kind.value)

    def buffered_mate(self, which: int, chunk_frames: int) -> Transcript:
        """Return what NeMo's buffered streaming makes of one of `MATES`."""
        key = which, chunk_frames
        if key not in self._mates:
            self._mates[key] = self.buffered(MATES[which], chunk_frames)
        return self._mates[key]

    def offline(self, samples: Samples) -> Transcript:
        return self.nemo.decode_offline(samples, None, self.kind.value)


MAKE = Callable[[str, DecoderKind], Model]


@pytest.fixture(scope="module")
def model_of(folder: Path) -> MAKE:
    @cache
    def make(name: str, kind: DecoderKind) -> Model:
        return Model(getattr(checkpoints, f"build_{name}")(folder / f"{name}.nemo"), kind)

    return make


@pytest.fixture(params=CASES, ids=[name for name, _ in CASES])
def model(request: pytest.FixtureRequest, model_of: MAKE) -> Model:
    return model_of(*request.param)


@pytest.mark.parametrize("chunk_frames", CHUNKS)
class TestAgainstNemo:
    def test_tokens_frames_and_text_are_those_of_nemos_buffered_streaming(
        self, model: Model, chunk_frames: int
    ) -> None:
        heard = []
        n_samples = (2 * chunk_frames + 1) * FRAME + len(LONG) * chunk_frames // 25
        long = LONG[: n_samples // FRAME * FRAME]
        for name, samples in {**SPEECH, "longer than its window": long}.items():
            ours = recognise(model.siren, samples, model.lane(chunk_frames))
            theirs = model.buffered(samples, chunk_frames)
            assert ours.tokens == theirs.tokens, name
            assert ours.frames == theirs.frames, name
            assert ours.text.strip() == theirs.text.strip(), name
            heard.append(ours)
        assert_speaks(*heard)
        assert len(heard[-1].tokens) > 10
        # Else equal tokens would not show that the windows are NeMo's.
        assert theirs.tokens != model.offline(long).tokens


def test_a_model_also_trained_under_chunk_masks_hears_its_whole_window(model_of: MAKE) -> None:
    """Else nothing would show that the masks make a difference, and are not applied."""
    model = model_of("parakeet_unified", DecoderKind.RNNT)
    samples, encoder = SPEECH["longer than a chunk"], model.nemo.model.encoder
    ours = recognise(model.siren, samples, model.lane(25))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "att_context_size", [70, 13, 13])
        masked = model.buffered(samples, 25)
    assert ours.tokens == model.buffered(samples, 25).tokens != masked.tokens


MATES = tuple(sounds.babble(FRAME * n, seed=30 + n) for n in (1, 2, 5, 9, 14, 20, 27, 33, 41, 52))
"""Recordings of many lengths; which streams hear them is random."""


@pytest.mark.parametrize(
    ("chunk_frames", "batch"),
    [
        (frames, batch)
        if (frames, batch) in ((3, 1), (25, 2), (6, 7), (6, 32))
        else pytest.param(frames, batch, marks=pytest.mark.long)
        for frames in CHUNKS
        for batch in (1, 2, 7, 32)
    ],
)
def test_batch_mates_joining_and_leaving_change_nothing(
    model: Model, chunk_frames: int, batch: int
) -> None:
    """Streams of random lengths, at different fills of their windows, previewed now and then."""
    assert_mates_change_nothing(
        model.siren,
        model.lane(chunk_frames),
        MATES,
        lambda which: model.buffered_mate(which, chunk_frames),
        batch=batch,
    )


class TestTheEnd:
    def test_a_right_context_beyond_the_end_is_offline_recognition(self, model: Model) -> None:
        heard = []
        for n_samples in (400, 5000, 31_999):
            samples = sounds.babble(n_samples, seed=n_samples)
            ours = recognise(model.siren, samples, model.lane(25))
            theirs = model.offline(samples)
            assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames)
            heard.append(ours)
        assert any(transcript.tokens for transcript in heard)

    @pytest.mark.parametrize("n_samples", [FRAME * 12, FRAME * 15 + 1, FRAME * 110 - 481, 170_500])
    def test_every_encoder_frame_is_decoded_just_once(self, model: Model, n_samples: int) -> None:
        backend, lengths = model.siren, []
        decoder: Any = backend._parts.decoders[model.kind]
        decode = decoder.decode_with_tail

        def spy(
            slots: Any, encoded: torch.Tensor, n: torch.Tensor, n_tail: torch.Tensor, *more: Any
        ) -> Any:
            lengths.append((int(n[0]), int(n_tail[0])))
            return decode(slots, encoded, n, n_tail, *more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoder, "decode_with_tail", spy)
            recognise(backend, sounds.babble(n_samples, seed=1), model.lane(6))
        assert sum(n for n, _ in lengths) == -(-(n_samples // 160) // 8)
        assert all(pair == (6, 6) for pair in lengths[:-1])
        assert lengths[-1][1] == 0

    def test_the_tail_is_lost_without_the_last_chunk(self, model: Model) -> None:
        """Else nothing would show that the end of an utterance is recognised."""
        samples = SPEECH["longer than a chunk"]
        *works, last = works_of(samples, model.siren.info, 25)
        assert isinstance(last, Chunk)
        assert last.is_last
        model.siren.reset_slot(0)
        tokens = [model.siren.step(model.lane(25), [StepRow(0, w)])[0].tokens for w in works]
        whole = recognise(model.siren, samples, model.lane(25)).tokens
        assert 0 < len(sum(tokens, ())) < len(whole)


class TestWhatIsShown:
    def test_a_chunk_shows_its_right_context_as_far_as_it_goes(self, model: Model) -> None:
        """Committed and tail together are what NeMo hears in all the audio so far."""
        backend = model.siren
        first, *_ = works_of(LONG, backend.info, 25)
        backend.reset_slot(1)
        [result] = backend.step(model.lane(25), [StepRow(1, first)])
        assert len(first.samples) == FRAME * 50
        assert result.tokens + result.tail == model.offline(first.samples).tokens
        assert result.tokens
        assert result.tail

    def test_a_preview_hears_all_there_is_and_leaves_no_trace(self, model: Model) -> None:
        backend, lane = model.siren, model.lane(25)
        samples = SPEECH["longer than a chunk"]
        backend.reset_slot(2)
        before = snapshot(backend)
        preview = Preview(samples[:30_000], 186, is_first=True, end_samples=0, seq=0)
        [result] = backend.step(lane, [StepRow(2, preview)])
        assert result.tokens == model.offline(samples[:30_000]).tokens
        assert result.tokens
        assert result.tail == ()
        for key, tensor in snapshot(backend).items():
            np.testing.assert_array_equal(tensor, before[key], err_msg=key)


def test_a_reused_slot_leaks_nothing(model: Model) -> None:
    backend, lane = model.siren, model.lane(3)
    backend.reset_slot(4)
    fresh = snapshot(backend)
    for work in works_of(SPEECH["longer than a chunk"], backend.info, 3)[:-1]:
        backend.step(lane, [StepRow(4, work)])
    assert any((tensor[4] != fresh[key][4]).any() for key, tensor in snapshot(backend).items())
    backend.reset_slot(4)
    for key, tensor in snapshot(backend).items():
        np.testing.assert_array_equal(tensor[4], fresh[key][4], err_msg=key)


def test_a_step_that_fails_has_changed_nothing(model: Model) -> None:
    backend, lane = model.siren, model.lane(6)
    first, second, *_ = works_of(SPEECH["longer than a chunk"], backend.info, 6)
    for slot in (0, 1, 2):
        backend.reset_slot(slot)
    backend.step(lane, [StepRow(0, first), StepRow(1, first)])
    before = snapshot(backend)
    broken = Chunk(np.full_like(second.samples, np.nan), second.feature_frames, False, 0, 0)
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        backend.step(lane, [StepRow(0, second), StepRow(1, broken), StepRow(2, first)])
    for key, tensor in snapshot(backend).items():
        np.testing.assert_array_equal(tensor, before[key], err_msg=key)


def test_a_step_costs_the_same_however_long_the_stream_is(model: Model) -> None:
    backend, shapes = model.siren, []
    encode = backend._encode

    def spy(wave: torch.Tensor, lengths: torch.Tensor) -> Any:
        shapes.append(tuple(wave.shape))
        return encode(wave, lengths)

    sizes = {key: tensor.shape for key, tensor in snapshot(backend).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_encode", spy)
        recognise(backend, LONG[: FRAME * 90], model.lane(3))
    assert len(shapes) == 30
    assert set(shapes) == {(1, FRAME * 31)}
    assert {key: tensor.shape for key, tensor in snapshot(backend).items()} == sizes


async def test_any_cut_into_messages_gives_the_same_finals_through_the_engine(
    model_of: MAKE,
) -> None:
    """Two utterances a stream, four streams at once, previews and padding as a server has them."""
    model = model_of(*CASES[1])
    engine = LocalEngine(EngineLimits(max_backlog_s=60.0, max_unsent_results=100))
    engine.start()
    engine.add_model(model.siren)
    padding = np.zeros(FRAME * 6, np.float32)
    spoken = [sounds.babble(FRAME * n, seed=n) for n in (40, 23)]
    expected = [
        model.buffered(np.concatenate((_as_sent(samples), padding)), 6).text.strip()
        for samples in spoken
    ]
    try:
        streams = await asyncio.gather(*(_stream(engine, model, spoken, seed) for seed in range(4)))
    finally:
        await asyncio.to_thread(engine.stop, timeout_s=60)
    for results in streams:
        assert results[-1] == StreamEnded()
        assert [r.text for r in results if isinstance(r, Final)] == expected
        stable = ""
        for result in results:
            if isinstance(result, Partial):
                assert result.text.startswith(stable)
                stable = result.text[: result.stable_len]
            elif isinstance(result, Final):
                assert result.text.startswith(stable)
                stable = ""
    partials = [r for results in streams for r in results if isinstance(r, Partial)]
    assert any(0 < partial.stable_len < len(partial.text) for partial in partials)
    assert all(expected)


def _pcm(samples: Samples) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def _as_sent(samples: Samples) -> Samples:
    return (np.frombuffer(_pcm(samples), "<i2") / 32768).astype(np.float32)


async def _stream(
    engine: LocalEngine, model: Model, spoken: list[Samples], seed: int
) -> list[Result]:
    random = Random(seed)
    ingress = Ingress(
        IngressConfig(
            audio=AudioSpec(Encoding.LINEAR16, 16000),
            geometry=model.siren.info.geometry(6),
            preview_samples=8000,
            padding_samples=FRAME * 6,
            max_samples=None,
        )
    )
    session = await engine.open(Lane(6, DecoderKind.TDT))
    try:
        for i, samples in enumerate(spoken):
            data, at = _pcm(samples), 0
            while at < len(data):
                size = random.choice((1, 320, 3001, 40_000))
                await session.submit(ingress.receive_audio(data[at : at + size], 0))
                at += size
            work: list[Work] = ingress.finalize() if i < len(spoken) - 1 else ingress.end()
            await session.submit(work)
        results: list[Result] = []
        while not results or not isinstance(results[-1], StreamEnded):
            results.append(await asyncio.wait_for(session.take(), 60))
        return results
    finally:
        session.close()


@pytest.mark.parametrize("chunk_frames", [3, 25])
def test_the_right_context_is_timed_and_the_chunk_is_as_without(
    model: Model, chunk_frames: int
) -> None:
    backend, lane = model.siren, model.lane(chunk_frames)
    samples = LONG[: FRAME * 120]
    plain = [
        backend.step(lane, [StepRow(0, work)])[0] for work in fresh_works(backend, samples, lane)
    ]
    timed = [
        backend.step(lane, [StepRow(0, work, WordDetail.PARTIALS)])[0]
        for work in fresh_works(backend, samples, lane)
    ]
    n_tail = 0
    for one, other in zip(plain, timed, strict=True):
        assert (one.tokens, one.token_frames, one.tail) == (
            other.tokens,
            other.token_frames,
            other.tail,
        )
        assert one.timing is None
        timing = other.timing
        assert timing is not None
        assert len(timing.tokens.ends) == len(timing.tokens.confidences) == len(other.tokens)
        assert len(timing.tail_frames) == len(timing.tail.ends) == len(other.tail)
        pairs = [*zip(other.token_frames, timing.tokens.ends, strict=True)]
        pairs += zip(timing.tail_frames, timing.tail.ends, strict=True)
        assert all(frame <= end for frame, end in pairs)
        starts = [frame for frame, _ in pairs]
        assert starts == sorted(starts), "the right context lies behind the chunk"
        n_tail += len(other.tail)
    assert n_tail > 0


def test_confidence_is_nemos_where_the_window_holds_the_whole_recording(model: Model) -> None:
    """What ends within the first chunk's window is encoded as NeMo encodes the recording."""
    backend, lane = model.siren, model.lane(25)
    for seed in range(20, 40):
        samples = sounds.babble(FRAME * 24, seed=seed)
        [result] = [
            backend.step(lane, [StepRow(0, work, WordDetail.FINALS)])[0]
            for work in fresh_works(backend, samples, lane)
        ]
        nemo = model.nemo.decode_timed(samples, None, model.kind.value)
        assert result.timing is not None
        assert result.tokens == nemo.tokens
        assert result.timing.tokens.confidences == pytest.approx(nemo.confidences, abs=2e-4)
        if model.kind is DecoderKind.TDT and len(nemo.tokens) > 3:
            lasts = [
                (end - start) == (theirs_end - theirs_start)
                for start, end, theirs_start, theirs_end in zip(
                    result.token_frames,
                    result.timing.tokens.ends,
                    nemo.starts,
                    nemo.ends,
                    strict=True,
                )
                if theirs_end > theirs_start
            ]
            assert all(lasts)


def fresh_works(backend: BufferedBackend, samples: Samples, lane: Lane) -> list:
    backend.reset_slot(0)
    return works_of(samples, backend.info, lane.chunk_frames)
