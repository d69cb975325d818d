"""A NeMo cache-aware model as the engine's backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from nemo.collections.asr.models import ASRModel

from siren_grpc.domain.types import Chunk, DecoderKind, Lane, ModelInfo, StepResult, StepRow
from siren_grpc.models.decoders import SlotDecoder
from siren_grpc.models.encoder import StreamingEncoder
from siren_grpc.models.features import StreamingFeatures


@dataclass(frozen=True, slots=True)
class NemoParts:
    """The parts of a model the backend steps, as `loader.load` finds them in a checkpoint."""

    info: ModelInfo
    model: ASRModel
    features: StreamingFeatures
    encoder: StreamingEncoder
    decoders: Mapping[DecoderKind, SlotDecoder]


@dataclass(frozen=True, slots=True)
class _ComputedStep:
    """A step that has changed no slot until `keep` is called."""

    results: list[StepResult]
    keep: Callable[[], None]


class NemoBackend:
    """Steps sessions in batches of a few fixed sizes.

    Other batch sizes may select other kernels, and those round differently: a batch is padded to
    the next of `_batch_sizes` with rows of a spare slot, so that a session's mates do not matter.
    """

    def __init__(self, parts: NemoParts, *, n_slots: int, max_batch: int) -> None:
        """Step a loaded model; its state holds n_slots sessions and one spare slot."""
        self._parts = parts
        self._n_slots = n_slots
        self._spare_slot = n_slots
        self._batch_sizes = _sizes_up_to(max_batch)
        self._device = next(parts.model.parameters()).device

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        return self._parts.info

    @property
    def n_slots(self) -> int:
        """How many sessions it holds at once."""
        return self._n_slots

    @property
    def max_batch(self) -> int:
        """The most rows one step takes."""
        return self._batch_sizes[-1]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The padded sizes, ascending: what a warm-up should run once each."""
        return self._batch_sizes

    @property
    def is_on_gpu(self) -> bool:
        """Whether it steps on a GPU."""
        return self._device.type == "cuda"

    def reset_slot(self, slot: int) -> None:
        """Make the slot's state that of a stream that has heard nothing."""
        with torch.inference_mode():
            self._parts.features.tail[slot] = 0
            self._parts.encoder.reset(slot)
            for decoder in self._parts.decoders.values():
                decoder.reset(slot)

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio and keep the state of those whose work is a `Chunk`.

        Raises FloatingPointError when the model's output is not finite, and whatever NeMo raises;
        no slot has changed then.
        """
        results: dict[int, StepResult] = {}
        with torch.inference_mode():
            steps = []
            for is_first in (True, False):
                # A first chunk has another shape than the rest, hence a call of its own.
                group = [i for i, row in enumerate(rows) if row.work.is_first is is_first]
                if group:
                    step = self._compute(lane, [rows[i] for i in group], is_first=is_first)
                    results.update(zip(group, step.results, strict=True))
                    steps.append(step)
            for step in steps:
                step.keep()
        return [results[i] for i in range(len(rows))]

    def _compute(self, lane: Lane, rows: list[StepRow], *, is_first: bool) -> _ComputedStep:
        parts = self._parts
        n_rows = next(size for size in self._batch_sizes if size >= len(rows))
        padding = n_rows - len(rows)
        slots = torch.tensor(
            [row.slot for row in rows] + [self._spare_slot] * padding, device=self._device
        )
        works = [row.work for row in rows] + [rows[0].work] * padding
        geometry = parts.info.geometry(lane.chunk_frames)
        features, frames, tails = parts.features.compute(
            slots, works, feature_frames=geometry.feature_frames(is_first=is_first)
        )
        encoded, lengths, caches = parts.encoder.step(
            slots, features, frames, chunk_frames=lane.chunk_frames, is_first=is_first
        )
        valid = torch.arange(encoded.shape[1], device=self._device)[None] < lengths[:, None]
        if not torch.isfinite(encoded).all(dim=2).logical_or(~valid).all():
            raise FloatingPointError("the encoder's output holds NaN or infinity")
        decoder = parts.decoders[lane.decoder]
        (tokens, token_frames, counts), keep_decoder = decoder.decode(slots, encoded, lengths)

        n_most = int(counts.max())
        packed = torch.cat((counts[:, None], tokens[:, :n_most], token_frames[:, :n_most]), dim=1)
        results = []
        for count, *pairs in packed[: len(rows)].tolist():
            ids, at = pairs[:n_most], pairs[n_most:]
            results.append(StepResult(tuple(ids[:count]), tuple(at[:count])))

        kept = torch.tensor(
            [i for i, row in enumerate(rows) if isinstance(row.work, Chunk)],
            dtype=torch.int64,
            device=self._device,
        )

        def keep() -> None:
            parts.features.tail[slots[kept]] = tails[kept]
            parts.encoder.keep(slots[kept], caches, kept)
            keep_decoder(slots[kept], kept)

        return _ComputedStep(results, keep)


def _sizes_up_to(max_batch: int) -> tuple[int, ...]:
    sizes = []
    size = 1
    while size < max_batch:
        sizes.append(size)
        size *= 2
    return (*sizes, max_batch)
