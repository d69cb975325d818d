"""The path of a stream through Siren's chunker, backend and text, without engine and server."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch

from siren_grpc.audio.chunker import Chunker, CutChunk
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import AudioWork, Chunk, Preview, Samples
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.buffered_backend import BufferedBackend
from siren_grpc.models.encoder import InputCacheEncoder, KeyValueEncoder
from siren_grpc.models.nemo_backend import NemoBackend
from siren_grpc.models.start import start_backend
from siren_grpc.models.voice import ListeningBackend
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis
from tests.support.nemo_reference import Transcript


def works_of(
    samples: Samples, info: ModelInfo, chunk_frames: int, *, random: Random | None = None
) -> list[AudioWork]:
    """Cut a recording into the work of one utterance, flushed without padding.

    random: cut the recording into pieces of random lengths and look at incomplete chunks now and
    then; None for one piece and no previews.
    """
    chunker = Chunker(info.geometry(chunk_frames))
    works: list[AudioWork] = []
    at = 0
    while at < len(samples):
        step = len(samples) if random is None else random.choice((1, 37, 160, 1000, 5000, 20000))
        works.extend(_chunk(cut) for cut in chunker.push(samples[at : at + step]))
        at += step
        preview = chunker.preview() if random is not None and random.random() < 0.5 else None
        if preview is not None:
            works.append(Preview(preview.samples, preview.feature_frames, preview.is_first, 0, 0))
    works.extend(_chunk(cut) for cut in chunker.flush(padding_samples=0))
    return works


def _chunk(cut: CutChunk) -> Chunk:
    return Chunk(cut.samples, cut.feature_frames, cut.is_first, cut.end_samples, 0, cut.is_last)


def started(name: str, *, device: str = "cpu", **options: Any) -> LoadedBackend:
    """Return a model with two slots as the server starts it, warmed up."""
    return start_backend(
        name,
        device=device,
        threads=1,
        n_slots=2,
        max_batch=2,
        chunk_frames=None,
        decoder=None,
        **options,
    )


def recognise(backend: LoadedBackend, samples: Samples, lane: Lane, *, slot: int = 0) -> Transcript:
    """Recognise a recording alone in a fresh slot."""
    backend.reset_slot(slot)
    works = works_of(samples, backend.info, lane.chunk_frames)
    results = [backend.step(lane, [StepRow(slot, work)])[0] for work in works]
    return transcript_of(backend.info, results)


def transcript_of(info: ModelInfo, results: Sequence[StepResult]) -> Transcript:
    """Join the results of an utterance's chunks as `Utterance` does."""
    hypothesis = Hypothesis(Detokenizer(info.token_texts, info.punctuation))
    for result in results:
        hypothesis.extend(result.tokens)
    return Transcript(
        tuple(token for result in results for token in result.tokens),
        tuple(frame for result in results for frame in result.token_frames),
        hypothesis.finish(),
    )


def assert_speaks(*transcripts: Transcript) -> None:
    """Fail for transcripts too poor to prove anything: hardly any tokens, or the same ones."""
    kinds = {token for transcript in transcripts for token in transcript.tokens}
    n_tokens = sum(len(transcript.tokens) for transcript in transcripts)
    assert len(kinds) >= 5, f"only {len(kinds)} different tokens among {n_tokens}"


def snapshot(backend: LoadedBackend) -> dict[str, np.ndarray]:
    """Copy every tensor that holds the state of slots, the spare one left out."""
    if isinstance(backend, ListeningBackend):
        backend = backend._backend
    if isinstance(backend, BufferedBackend):
        windows = backend._parts.windows
        tensors = {
            "wave": windows.wave,
            "filled": windows.filled,
            "decoded_frames": windows.decoded_frames,
        }
    else:
        tensors = _cached_tensors(backend)
    for kind, decoder in backend._parts.decoders.items():
        if kind == "ctc":
            tensors["ctc_label"] = decoder._last_labels  # type: ignore[attr-defined]
            tensors["ctc_frames"] = decoder._decoded_frames  # type: ignore[attr-defined]
            continue
        state = decoder._state  # type: ignore[attr-defined]
        axes = decoder._axes  # type: ignore[attr-defined]
        for i, (part, axis) in enumerate(zip(state.predictor_states, axes, strict=True)):
            tensors[f"rnnt_state_{i}"] = part.transpose(0, axis)
        tensors["rnnt_output"] = state.predictor_outputs
        tensors["rnnt_label"] = state.labels
        tensors["rnnt_frames"] = state.decoded_lengths
        if kind == "tdt":
            tensors["tdt_jumps"] = state.time_jumps
    return {name: tensor[: backend.n_slots].numpy().copy() for name, tensor in tensors.items()}


def _cached_tensors(backend: NemoBackend) -> dict[str, torch.Tensor]:
    tensors = {"tail": backend._parts.features.tail}
    encoder = backend._parts.encoder
    tensors["mel"] = encoder._mel.frames  # type: ignore[attr-defined]
    if isinstance(encoder, KeyValueEncoder):
        tensors["written"] = encoder.layers._written
        # What its rings hold outside the left context is nobody's.
        contexts = [encoder.layers.left_context(slot) for slot in range(backend.n_slots)]
        widest = max(context.shape[2] for context in contexts)
        tensors["context"] = torch.stack(
            [torch.nn.functional.pad(c, (0, 0, 0, widest - c.shape[2])) for c in contexts]
        )
    elif isinstance(encoder, InputCacheEncoder):
        tensors["channel"] = encoder._channel.transpose(0, 1)
        tensors["time"] = encoder._time.transpose(0, 1)
        tensors["channel_len"] = encoder._channel_len
    return tensors
