"""A NeMo cache-aware model as the engine's backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nemo.collections.asr.models import ASRModel

from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, ModelOptions
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk
from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.decoders import SlotDecoder
from siren_grpc.models.encoder import FeatureGroup, SlotEncoder
from siren_grpc.models.features import StreamingFeatures
from siren_grpc.models.memory import telling_out_of_memory
from siren_grpc.models.prompts import LanguagePrompts
from siren_grpc.models.readings import Readings
from siren_grpc.models.threads import use_device, use_threads
from siren_grpc.models.token_timing import FoundTokens, with_timing


@dataclass(frozen=True, slots=True)
class NemoParts:
    """The parts of a model the backend steps, as `loader.load` finds them in a checkpoint."""

    info: ModelInfo
    model: ASRModel
    features: StreamingFeatures
    encoder: SlotEncoder
    decoders: Mapping[DecoderKind, SlotDecoder]
    phrases: SlotPhrases
    readings: Readings
    prompts: LanguagePrompts | None = None
    """None for a model that is not told the language."""


class NemoBackend:
    """Steps sessions in batches of a few fixed sizes.

    Other batch sizes may select other kernels, and those round differently: a batch is padded to
    the next of `_batch_sizes` with rows of a spare slot, so that a session's mates do not matter.
    """

    def __init__(self, parts: NemoParts, *, n_slots: int, batch_sizes: tuple[int, ...]) -> None:
        """Step a loaded model; its state holds n_slots sessions and one spare slot.

        batch_sizes: ascending, to one of which steps pad their rows.
        """
        self._parts = parts
        self._n_slots = n_slots
        self._spare_slot = n_slots
        self._batch_sizes = batch_sizes
        self._device = next(parts.model.parameters()).device
        self._n_parallel = 1
        self.threads: int | None = None
        """CPU threads of a step; None for torch's own choice."""
        self.step_seconds: Mapping[Lane, Mapping[int, float]] = {}
        """What steps take alone; none are known until it is warmed up."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        return self._parts.info

    @property
    def n_slots(self) -> int:
        """How many sessions it holds at once."""
        return self._n_slots

    @property
    def bytes_per_slot(self) -> int:
        """Memory that one session's state takes on the device."""
        parts = self._parts
        decoders = sum(decoder.bytes_per_slot for decoder in parts.decoders.values())
        prompts = 0 if parts.prompts is None else parts.prompts.bytes_per_slot
        return parts.features.tail[0].nbytes + parts.encoder.bytes_per_slot + decoders + prompts

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes, ascending, to one of which a step pads its rows; the last is the most."""
        return self._batch_sizes

    @batch_sizes.setter
    def batch_sizes(self, sizes: tuple[int, ...]) -> None:
        self._batch_sizes = sizes

    @property
    def n_parallel(self) -> int:
        """How many steps at once its owner may take: as many as are worth it on its device."""
        return self._n_parallel

    @n_parallel.setter
    def n_parallel(self, count: int) -> None:
        # The decoders' CUDA graphs have one state, which a step must have for itself.
        is_reentrant = self._parts.encoder.is_reentrant and not self.is_on_gpu
        self._n_parallel = count if is_reentrant else 1

    @property
    def is_on_gpu(self) -> bool:
        """Whether it steps on a GPU."""
        return self._device.type == "cuda"

    def open_slot(self, slot: int, options: ModelOptions) -> None:
        """Give the slot to a new stream. Raises InvalidConfig for a language it does not have.

        Raises OutOfMemory, too, as `reset_slot`.
        """
        if self._parts.prompts is not None:
            with telling_out_of_memory():
                self._parts.prompts.choose(slot, options.language_code)
        self.reset_slot(slot)
        self._parts.readings.clear(slot)

    @property
    def phrase_trees(self) -> SlotPhrases:
        """What makes its slots prefer phrases."""
        return self._parts.phrases

    @property
    def readings(self) -> Readings:
        """What reads utterances again."""
        return self._parts.readings

    def reset_slot(self, slot: int) -> None:
        """Make the slot's state that of a stream that has heard nothing; its language stays.

        Raises OutOfMemory: the slot is to be reset again, or opened, before anything else then.
        """
        with torch.inference_mode(), telling_out_of_memory():
            self._parts.features.tail[slot] = 0
            self._parts.encoder.reset(slot)
            for decoder in self._parts.decoders.values():
                decoder.reset(slot)
            self._parts.phrases.restart(slot)
            self._parts.readings.frames.restart(slot)

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio and keep the state of those whose work is a `Chunk`.

        Raises FloatingPointError when the model's output is not finite, and whatever NeMo raises;
        no slot has changed then.
        """
        use_threads(self.threads)
        use_device(self._device)
        # First chunks come first in the batch: some encoders want them apart.
        order = sorted(range(len(rows)), key=lambda i: not rows[i].work.is_first)
        with torch.inference_mode(), telling_out_of_memory():
            ordered = self._step(lane, [rows[i] for i in order])
        results = dict(zip(order, ordered, strict=True))
        return [results[i] for i in range(len(rows))]

    def _step(self, lane: Lane, rows: list[StepRow]) -> list[StepResult]:
        parts = self._parts
        n_rows = next(size for size in self._batch_sizes if size >= len(rows))
        padding = [StepRow(self._spare_slot, rows[-1].work)] * (n_rows - len(rows))
        padded = [*rows, *padding]
        n_first = sum(row.work.is_first for row in padded)
        split = 0 if parts.encoder.takes_mixed_groups else n_first
        groups, tails = [], []
        for some in (padded[:split], padded[split:]):
            if some:
                group, tail = self._featurise(lane, some)
                groups.append(group)
                tails.append(tail)
        trees = parts.phrases.trees_of([row.slot for row in rows], n_rows=n_rows)
        encoded, lengths, keep_encoder = parts.encoder.step(groups, chunk_frames=lane.chunk_frames)
        slots = torch.cat([group.slots for group in groups])
        if parts.prompts is not None:
            encoded = parts.prompts.apply(slots, encoded)
        valid = torch.arange(encoded.shape[1], device=self._device)[None] < lengths[:, None]
        is_sound = torch.isfinite(encoded).all(dim=2).logical_or_(~valid).all(dim=1)
        (tokens, token_frames, counts), keep_decoder = parts.decoders[lane.decoder].decode(
            slots, encoded, lengths, trees
        )
        # All that the host is to know travels at once, and only this waits for the device.
        packed = torch.cat((is_sound[:, None], counts[:, None], tokens, token_frames), dim=1)
        found = packed[: len(rows)].cpu().numpy()
        if not found[:, 0].all():
            raise FloatingPointError("the encoder's output holds NaN or infinity")
        ids, at = np.split(found[:, 2:], 2, axis=1)
        results = [
            StepResult(tuple(ids[i, :count].tolist()), tuple(at[i, :count].tolist()))
            for i, count in enumerate(found[:, 1])
        ]
        if any(row.wants_timing for row in rows):
            tokens = [
                FoundTokens(result.tokens, result.token_frames, n_frames)
                for result, n_frames in zip(results, lengths.tolist(), strict=False)
            ]
            decoder = parts.decoders[lane.decoder]
            results = with_timing(decoder, rows, results, tokens, slots, encoded)

        kept = [i for i, row in enumerate(rows) if isinstance(row.work, Chunk)]
        if kept:
            which = torch.tensor(kept, device=self._device)
            where = slots[which]
            parts.features.tail[where] = torch.cat(tails)[which]
            keep_encoder(where, which)
            keep_decoder(where, which)
            parts.readings.frames.push_step(rows, encoded, lengths)
        return results

    def _featurise(self, lane: Lane, rows: list[StepRow]) -> tuple[FeatureGroup, torch.Tensor]:
        """Return the features of rows, first chunks first; the tails to keep."""
        geometry = self._parts.info.geometry(lane.chunk_frames)
        first, later = (geometry.feature_frames(is_first=is_first) for is_first in (True, False))
        works = [row.work for row in rows]
        n_first = sum(work.is_first for work in works)
        # A group of a kind of its own has the first chunks' shape.
        is_mixed = self._parts.encoder.takes_mixed_groups or n_first < len(rows)
        whole = later if is_mixed else first
        first_start = whole - first if n_first else 0
        slots = torch.tensor([row.slot for row in rows], device=self._device)
        features, ends, tails = self._parts.features.compute(
            slots, works, feature_frames=whole, first_start=first_start
        )
        cut = [
            i
            for i, work in enumerate(works)
            if work.feature_frames < (first if work.is_first else later)
        ]
        which = torch.tensor(cut, device=self._device) if cut else None
        return FeatureGroup(slots, features, ends, n_first, first_start, which), tails
