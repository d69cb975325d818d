"""NeMo 3.0's own streaming pipelines, set up to be as fast as they can be.

Chosen for speed: no mixed precision on a CPU (`use_amp` false, float32: autocast only adds
conversions), feature cache on (only new mel frames are computed), no inverse normalisation, no
translation, no confidence, segment instead of word output, no tail results, label-looping
`greedy_batch` decoding. End-of-utterance detection stays on at its default of 800 ms: off, the
partial text of a stream is detokenized from its start in every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from nemo.collections.asr.inference.factory.pipeline_builder import PipelineBuilder
from nemo.collections.asr.inference.streaming.framing.request import Frame
from nemo.collections.asr.inference.streaming.framing.request_options import ASRRequestOptions
from omegaconf import OmegaConf

from siren_grpc.bench.contestant import Streams
from siren_grpc.bench.engine_adapter import LoadedModel
from siren_grpc.bench.sizes import tensor_bytes
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo
from siren_grpc.models.loader import checkpoint_path

_ERROR = 40
_MAX_SYMBOLS = 10


def _config(
    loaded: LoadedModel, decoder: DecoderKind, streaming: dict[str, Any], *, kind: str, eou_ms: int
) -> Any:
    """Return the configuration `PipelineBuilder` asks for: the keys of NeMo's example files."""
    device, _, index = loaded.device.partition(":")
    greedy = loaded.model.cfg.get("decoding", {}).get("greedy", None) or {}
    max_symbols = int(greedy.get("max_symbols", None) or _MAX_SYMBOLS)
    return OmegaConf.create(
        {
            "pipeline_type": kind,
            "asr_decoding_type": decoder.value,
            "log_level": _ERROR,
            "matmul_precision": "highest",
            "enable_itn": False,
            "enable_nmt": False,
            "itn": {"batch_size": 1, "n_jobs": 1, "left_padding_size": 4},
            "asr_output_granularity": "segment",
            "return_tail_result": False,
            "confidence": {
                "exclude_blank": True,
                "aggregation": "mean",
                "method_cfg": {"name": "max_prob"},
            },
            "endpointing": {"stop_history_eou": eou_ms, "residue_tokens_at_end": 2},
            "asr": {
                "model_name": str(checkpoint_path(loaded.name) or loaded.name),
                "device": device,
                "device_id": int(index or 0),
                "compute_dtype": "float32",
                "use_amp": False,
                "decoding": {
                    "strategy": "greedy_batch",
                    "preserve_alignments": False,
                    "fused_batch_size": -1,
                    "greedy": {
                        "use_cuda_graph_decoder": True,
                        "loop_labels": True,
                        "max_symbols": max_symbols,
                    },
                },
            },
            "streaming": {
                "sample_rate": int(loaded.model.cfg.preprocessor.sample_rate),
                "request_type": "frame",
                "word_boundary_tolerance": 4,
                **streaming,
            },
        }
    )


class NemoPipeline:
    """A pipeline of NeMo as a contestant; its streams get one frame of audio a step."""

    def __init__(self, name: str, config: Any, *, chunk_samples: int) -> None:
        """Build the pipeline, which loads the checkpoint once more."""
        self._name = name
        self._pipeline: Any = PipelineBuilder.build_pipeline(config)
        self._chunk_samples = chunk_samples
        self._next_id = 0

    @property
    def name(self) -> str:
        """See `Contestant`."""
        return self._name

    def open(self, streams: Streams) -> None:
        """See `Contestant`. Ids are new ones, so that streams never meet old state."""
        self._pipeline.open_session()
        first = self._next_id
        self._next_id += len(streams.samples)
        self._ids = range(first, self._next_id)
        self._texts = ["" for _ in self._ids]
        self._requests = self._cut(streams)
        # Made ready before the clock runs: slicing is the caller's work.
        self._ready = [next(self._requests) for _ in range(streams.n_steps)]
        self._at = 0

    def _cut(self, streams: Streams) -> Iterator[list[Frame]]:
        size = self._chunk_samples
        length = len(streams.samples[0]) // size * size
        tensors = [torch.from_numpy(samples) for samples in streams.samples]
        for start in range(0, length, size):
            yield [
                Frame(
                    samples=tensor[start : start + size],
                    stream_id=stream_id,
                    is_first=start == 0,
                    is_last=start + size == length,
                    length=size,
                    options=ASRRequestOptions() if start == 0 else None,
                )
                for stream_id, tensor in zip(self._ids, tensors, strict=True)
            ]

    def step(self) -> None:
        """See `Contestant`."""
        self._transcribe(self._ready[self._at])
        self._at += 1

    def _transcribe(self, frames: list[Frame]) -> None:
        for stream, output in enumerate(self._pipeline.transcribe_step(frames)):
            if output.final_transcript:
                self._texts[stream] += output.final_transcript + " "

    def finish(self) -> list[str]:
        """See `Contestant`. The last frame frees the pipeline's slots."""
        for frames in self._ready[self._at :]:
            self._transcribe(frames)
        for frames in self._requests:
            self._transcribe(frames)
        return self._texts

    def session_bytes(self) -> int | None:
        """See `Contestant`: encoder caches and feature buffers; None for buffered pipelines."""
        manager = getattr(self._pipeline, "context_manager", None)
        if manager is None:
            return None
        total = tensor_bytes(manager) + tensor_bytes(self._pipeline.bufferer)
        return total // int(self._pipeline.num_slots)


def cache_aware(
    loaded: LoadedModel, info: ModelInfo, lane: Lane, n_streams: int, *, eou_ms: int
) -> NemoPipeline:
    """Return `CacheAwareRNNTPipeline` or `CacheAwareCTCPipeline`, by the lane's decoder."""
    contexts = loaded.model.encoder.att_context_size_all
    context = next(list(c) for c in contexts if c[1] + 1 == lane.chunk_frames)
    streaming = {
        "batch_size": n_streams,
        "num_slots": n_streams,
        "att_context_size": context,
        "use_cache": True,
        "use_feat_cache": True,
        "chunk_size_in_secs": None,
    }
    config = _config(loaded, lane.decoder, streaming, kind="cache_aware", eou_ms=eou_ms)
    chunk_samples = info.geometry(lane.chunk_frames).chunk_samples(is_first=False)
    return NemoPipeline("nemo cache-aware", config, chunk_samples=chunk_samples)


def buffered(
    loaded: LoadedModel, info: ModelInfo, lane: Lane, n_streams: int, *, eou_ms: int
) -> NemoPipeline:
    """Return `BufferedRNNTPipeline` with the left context the cache holds, and no right one."""
    frame_s = info.features.encoder_frame_samples / info.features.sample_rate_hertz
    left = max(c[0] for c in loaded.model.encoder.att_context_size_all)
    streaming = {
        "batch_size": n_streams,
        "stateful": True,
        "chunk_size": lane.chunk_frames * frame_s,
        "left_padding_size": left * frame_s,
        "right_padding_size": 0.0,
        "padding_mode": "left",
    }
    config = _config(loaded, lane.decoder, streaming, kind="buffered", eou_ms=eou_ms)
    chunk_samples = info.geometry(lane.chunk_frames).chunk_samples(is_first=False)
    return NemoPipeline("nemo buffered", config, chunk_samples=chunk_samples)


def why_not_buffered(lane: Lane) -> str | None:
    """Return why `BufferedRNNTPipeline` cannot take part, None when it can."""
    if lane.decoder is not DecoderKind.RNNT:
        return "BufferedRNNTPipeline decodes with the transducer; see --decoder rnnt"
    return None
