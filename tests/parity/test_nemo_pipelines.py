"""NeMo's own streaming pipelines: they read what Siren reads, and just why they do not as they are.

`CacheAwareRNNTPipeline` and `CacheAwareCTCPipeline` of `nemo.collections.asr.inference`, built as
`siren bench engine` builds them. Given a stream, they differ from NeMo's stepping of its features
(`CacheAwareStreamingAudioBuffer`), and so from Siren, in three things and no more:

1. How a stream begins. Stepping begins with a short chunk: the first encoder frame needs one
   feature frame, and the convolutions pad what is before it. The pipelines begin with a whole
   chunk behind as many feature frames of silence (`LOG_MEL_ZERO`) as a later chunk is preceded by
   (9), and drop the encoder frames of these. So each of their encoder frames ends 7 feature frames,
   70 ms, later than its counterpart of the stepping.
2. The edges of chunks. They compute mel frames from a chunk's samples and one hop before it. The
   windows of a chunk's first and last frame reach half a hop further, and find zeros there.
3. Endpoints, where they are on. Text begins anew; what is heard stays the same.

Recordings end with a whole chunk here: the CTC pipeline decodes the padding of one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from nemo.collections.asr.inference.streaming.framing.request import FeatureBuffer, Frame
from nemo.collections.asr.inference.streaming.framing.request_options import ASRRequestOptions
from nemo.collections.asr.inference.utils.constants import LOG_MEL_ZERO

from siren_grpc.bench import nemo_pipelines
from siren_grpc.bench.engine_adapter import LoadedModel, load_model
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Chunk, Samples
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.siren_path import assert_speaks, recognise, transcript_of
from tests.support import sounds
from tests.support.nemo_reference import NemoReference, Transcript

pytestmark = pytest.mark.parity

RNNT, CTC = DecoderKind.RNNT, DecoderKind.CTC
LANES = [Lane(frames, kind) for kind in (RNNT, CTC) for frames in (2, 7, 14)]
N_STREAMS = 3
HOP = 160
OFF, ON = -1, 800
"""`stop_history_eou`, ms."""
MAKE = Callable[[Lane], "Listener"]


def name_of(lane: Lane) -> str:
    return f"{lane.decoder.value}-{lane.chunk_frames}"


@dataclass
class Heard:
    """What a pipeline made of one stream."""

    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """Of its utterances."""
    features: list[torch.Tensor] = field(default_factory=list)
    """What the encoder was given in each step, [n_mels, n_feature_frames]."""


class Listener:
    """A pipeline and, stream by stream, what goes into its encoder and comes out of its decoder."""

    def __init__(self, loaded: LoadedModel, backend: NemoBackend, lane: Lane) -> None:
        built = nemo_pipelines.cache_aware(loaded, backend.info, lane, N_STREAMS, eou_ms=OFF)
        self.pipeline: Any = built._pipeline
        geometry = backend.info.geometry(lane.chunk_frames)
        self.first_frames = geometry.feature_frames(is_first=True)
        self.chunk_frames = geometry.feature_frames(is_first=False)
        self.before = int(self.pipeline.pre_encode_cache_size)
        self._heard: dict[int, Heard] = {}
        self._next_id = 0
        decode, featurise = self.pipeline.run_greedy_decoder, self.pipeline.bufferer.update

        def spy_tokens(state: Any, request: Any, found: Any) -> Any:
            n_known = len(state.timesteps)
            is_end = decode(state, request, found)
            self._heard[request.stream_id].tokens += state.current_step_tokens
            self._heard[request.stream_id].frames += state.timesteps[n_known:]
            return is_end

        def spy_features(frames: list[Frame]) -> Any:
            buffers, paddings = featurise(frames)
            for frame, buffer in zip(frames, buffers, strict=True):
                self._heard[frame.stream_id].features.append(buffer.clone())
            return buffers, paddings

        self.pipeline.run_greedy_decoder = spy_tokens
        self.pipeline.bufferer.update = spy_features

    def hear(self, recordings: Sequence[Samples], *, eou_ms: int = OFF) -> list[Heard]:
        """Stream recordings of whole chunks side by side; each begins a step after the last."""
        size = self.chunk_frames * HOP
        streams = []
        for i, samples in enumerate(recordings):
            pieces = torch.from_numpy(samples).split(size)
            assert {len(piece) for piece in pieces} == {size}
            streams.append([None] * i + [(piece, {"length": size}) for piece in pieces])
        return self._stream(Frame, streams, eou_ms)

    def hear_as_stepping_does(self, recordings: Sequence[torch.Tensor]) -> list[Heard]:
        """Stream whole features, [n_mels, n_feature_frames], begun and cut as NeMo's stepping is.

        All begin at once: how many encoder frames are dropped is one number for all of a step.
        """
        streams = []
        for features in recordings:
            ends = range(self.first_frames, features.shape[1] + 1, self.chunk_frames)
            assert ends[-1] == features.shape[1]
            starts = [0, *(end - self.chunk_frames - self.before for end in ends[1:])]
            cuts = zip(starts, ends, strict=True)
            streams.append([(features[:, start:end].clone(), {}) for start, end in cuts])
        wrapper = self.pipeline.asr_model
        dropped = wrapper.drop_extra_pre_encoded

        def before_step(step: int) -> None:
            wrapper.drop_extra_pre_encoded = dropped if step else 0

        try:
            return self._stream(FeatureBuffer, streams, OFF, before_step)
        finally:
            wrapper.drop_extra_pre_encoded = dropped

    def _stream(
        self,
        request: Callable[..., Any],
        streams: Sequence[Sequence[Any]],
        eou_ms: int,
        before_step: Callable[[int], None] = lambda step: None,
    ) -> list[Heard]:
        first_id = self._next_id
        self._next_id += len(streams)  # no stream ever meets the state of another
        ids = range(first_id, self._next_id)
        self._heard = {i: Heard() for i in ids}
        self.pipeline.open_session()
        for step in range(max(map(len, streams))):
            before_step(step)
            requests = []
            for stream_id, parts in zip(ids, streams, strict=True):
                if step >= len(parts) or parts[step] is None:
                    continue
                is_first = step == 0 or parts[step - 1] is None
                requests.append(
                    request(
                        parts[step][0],
                        stream_id,
                        is_first=is_first,
                        is_last=step == len(parts) - 1,
                        options=ASRRequestOptions(stop_history_eou=eou_ms) if is_first else None,
                        **parts[step][1],
                    )
                )
            outputs = self.pipeline.transcribe_step(requests)
            for asked, output in zip(requests, outputs, strict=True):
                if output.final_transcript:
                    self._heard[asked.stream_id].texts.append(output.final_transcript.strip())
        return [self._heard[i] for i in ids]


@pytest.fixture(scope="module")
def nemo() -> NemoReference:
    path = checkpoint_path(EMBEDDED_MODEL)
    assert path is not None
    return NemoReference(path)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(EMBEDDED_MODEL, device="cpu", threads=1)


@pytest.fixture(scope="module")
def backend(loaded: LoadedModel) -> NemoBackend:
    backend = loaded.backend(1)
    assert isinstance(backend, NemoBackend)
    return backend


@pytest.fixture(scope="module")
def listener_for(loaded: LoadedModel, backend: NemoBackend) -> MAKE:
    @cache
    def make(lane: Lane) -> Listener:
        return Listener(loaded, backend, lane)

    return make


@cache
def voices() -> tuple[Samples, ...]:
    """Return real voices one after the other, some with a pause in between that ends utterances."""
    spoken = [samples for _, samples in sounds.shipped(N_STREAMS + 2)]
    pause = sounds.noise_floor(16_000 * 2, seed=1)
    return tuple(
        np.concatenate((spoken[i], pause[: 16_000 * (i % 3)], spoken[i + 1], spoken[i + 2]))
        for i in range(N_STREAMS)
    )


def whole(samples: Samples, n_frames: int, *, first_frames: int = 0) -> Samples:
    """Return the beginning of a recording that is whole chunks of feature frames."""
    n_chunks = (len(samples) // HOP - first_frames) // n_frames
    return samples[: (first_frames + n_chunks * n_frames) * HOP]


def differs(ours: Transcript, theirs: Heard) -> bool:
    return (ours.tokens, ours.frames) != (tuple(theirs.tokens), tuple(theirs.frames))


@pytest.mark.parametrize("lane", LANES, ids=name_of)
def test_begun_and_fed_as_nemos_stepping_they_read_what_siren_reads(
    listener_for: MAKE, nemo: NemoReference, backend: NemoBackend, lane: Lane
) -> None:
    """Nothing of theirs is changed but what they are given, and what their first step drops."""
    listener = listener_for(lane)
    recordings = [
        whole(samples, listener.chunk_frames, first_frames=listener.first_frames)
        for samples in voices()
    ]
    heard = listener.hear_as_stepping_does([nemo.features(samples) for samples in recordings])
    for samples, theirs in zip(recordings, heard, strict=True):
        ours = recognise(backend, samples, lane)
        assert not differs(ours, theirs)
        assert theirs.texts == [ours.text.strip()]
    assert_speaks(*(recognise(backend, samples, lane) for samples in recordings))


@pytest.mark.parametrize("lane", LANES, ids=name_of)
def test_fed_and_begun_as_they_are_siren_reads_what_they_read(
    listener_for: MAKE, nemo: NemoReference, backend: NemoBackend, lane: Lane
) -> None:
    listener = listener_for(lane)
    recordings = [whole(samples, listener.chunk_frames) for samples in voices()]
    heard = listener.hear(recordings)
    is_otherwise = []
    for samples, theirs in zip(recordings, heard, strict=True):
        assert_hears_all_but_edges(listener, nemo, samples, theirs.features)
        ours = recognise_from(backend, lane, theirs.features)
        assert not differs(ours, theirs)
        assert theirs.texts == [ours.text.strip()]
        is_otherwise.append(recognise(backend, samples, lane).tokens != ours.tokens)
    # Else it would take none of it to read what they read.
    assert any(is_otherwise)


def assert_hears_all_but_edges(
    listener: Listener, nemo: NemoReference, samples: Samples, heard: Sequence[torch.Tensor]
) -> None:
    """Fail unless features are those of the recording, but for those at the edges of chunks."""
    n_frames, before = listener.chunk_frames, listener.before
    assert {buffer.shape[1] for buffer in heard} == {before + n_frames}
    assert (heard[0][:, :before] == LOG_MEL_ZERO).all()
    for last, buffer in pairwise(heard):
        assert torch.equal(buffer[:, :before], last[:, -before:])
    theirs = torch.cat([buffer[:, before:] for buffer in heard], dim=1)
    off = (theirs - nemo.features(samples)).abs().amax(dim=0) > 1e-4
    edges = {0, n_frames - 1}
    found = {int(at) % n_frames for at in off.nonzero()}
    assert found == edges
    # What stands at the edges is what a chunk gives with one hop before it and nothing else.
    padded = np.concatenate((np.zeros(HOP, np.float32), samples))
    for i, buffer in enumerate(heard):
        start = i * n_frames * HOP
        alone = nemo.features(padded[start : start + (n_frames + 1) * HOP])[:, 1:]
        torch.testing.assert_close(buffer[:, before:], alone, atol=1e-5, rtol=1e-5)


def recognise_from(backend: NemoBackend, lane: Lane, heard: Sequence[torch.Tensor]) -> Transcript:
    """Recognise what a pipeline's encoder was given, begun with a later chunk behind silence."""
    n_frames = backend.info.geometry(lane.chunk_frames).feature_frames(is_first=False)
    backend.reset_slot(0)
    mel: Any = backend._parts.encoder._mel  # type: ignore[attr-defined]
    mel.frames[0] = LOG_MEL_ZERO
    no_samples = np.zeros(0, np.float32)
    results = []
    for buffer in heard:
        with featurised(backend, buffer[None, :, -n_frames:]):
            chunk = Chunk(no_samples, n_frames, is_first=False, end_samples=0, seq=0)
            results += backend.step(lane, [StepRow(0, chunk)])
    return transcript_of(backend.info, results)


@contextmanager
def featurised(backend: NemoBackend, features: torch.Tensor) -> Iterator[None]:
    """Give a step these features, [1, n_mels, n_feature_frames], whatever its samples are."""
    streaming = backend._parts.features

    def compute(slots: torch.Tensor, *_: Any, **__: Any) -> Any:
        return features, torch.tensor([features.shape[2]]), streaming.tail[slots]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "compute", compute)
        yield


@pytest.mark.parametrize("lane", [Lane(7, RNNT), Lane(7, CTC)], ids=name_of)
def test_endpoints_part_text_and_nothing_else(listener_for: MAKE, lane: Lane) -> None:
    listener = listener_for(lane)
    recordings = [whole(samples, listener.chunk_frames) for samples in voices()]
    parted, joined = (listener.hear(recordings, eou_ms=eou_ms) for eou_ms in (ON, OFF))
    for with_endpoints, without in zip(parted, joined, strict=True):
        assert with_endpoints.tokens == without.tokens
        assert len(without.texts) == 1
    assert max(len(each.texts) for each in parted) > 1
