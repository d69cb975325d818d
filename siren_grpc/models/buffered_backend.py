"""An offline NeMo model as the engine's backend: a sliding window is encoded anew each step.

After NeMo's chunked inference (`BufferedRNNTPipeline` with `stateful`, and the example
speech_to_text_streaming_infer_rnnt.py): the left context is encoded but not decoded again, the
decoder's state goes from chunk to chunk, and the right context is decoded to be shown only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from nemo.collections.asr.models import ASRModel

from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, ModelOptions
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk
from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.buffered_window import AudioWindows
from siren_grpc.models.decoders import Emitted, SlotDecoder, frames_from
from siren_grpc.models.memory import telling_out_of_memory
from siren_grpc.models.prompts import LanguagePrompts
from siren_grpc.models.readings import Readings
from siren_grpc.models.threads import use_device, use_threads
from siren_grpc.models.token_timing import FoundTokens, with_timing


@dataclass(frozen=True, slots=True)
class BufferedParts:
    """The parts of a model the backend steps, as `loader.load` finds them in a checkpoint."""

    info: ModelInfo
    model: ASRModel
    windows: AudioWindows
    decoders: Mapping[DecoderKind, SlotDecoder]
    phrases: SlotPhrases
    readings: Readings
    prompts: LanguagePrompts | None = None
    """None for a model that is not told the language."""


class BufferedBackend:
    """Steps sessions in batches of a few fixed sizes, each row a window of the lane's full width.

    So neither how much a session's mates have heard nor, a spare slot's rows filling the batch,
    how many they are selects other kernels, which would round differently.
    """

    def __init__(self, parts: BufferedParts, *, n_slots: int, batch_sizes: tuple[int, ...]) -> None:
        """Step a loaded model; its state holds n_slots sessions and one spare slot.

        batch_sizes: ascending, to one of which steps pad their rows.
        """
        self._parts = parts
        self._n_slots = n_slots
        self._spare_slot = n_slots
        self._batch_sizes = batch_sizes
        self.threads: int | None = None
        """CPU threads of a step; None for torch's own choice."""
        self.step_seconds: Mapping[Lane, Mapping[int, float]] = {}
        """What steps take alone; none are known until it is warmed up."""
        self._n_parallel = 1
        self._contexts = {context.chunk_frames: context for context in parts.info.buffered}
        parameter = next(parts.model.encoder.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

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
        decoders = sum(decoder.bytes_per_slot for decoder in self._parts.decoders.values())
        prompts = 0 if self._parts.prompts is None else self._parts.prompts.bytes_per_slot
        return self._parts.windows.bytes_per_slot + decoders + prompts

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes, ascending, to one of which a step pads its rows; the last is the most."""
        return self._batch_sizes

    @batch_sizes.setter
    def batch_sizes(self, sizes: tuple[int, ...]) -> None:
        self._batch_sizes = sizes

    @property
    def n_parallel(self) -> int:
        """How many steps at once are worth it on its device."""
        return self._n_parallel

    @n_parallel.setter
    def n_parallel(self, count: int) -> None:
        # The decoders' CUDA graphs have one state, which a step must have for itself.
        self._n_parallel = 1 if self.is_on_gpu else count

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
            self._parts.windows.reset(slot)
            for decoder in self._parts.decoders.values():
                decoder.reset(slot)
            self._parts.phrases.restart(slot)
            self._parts.readings.frames.restart(slot)

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio and keep the state of those whose work is a `Chunk`.

        Raises OutOfMemory, FloatingPointError when the model's output is not finite, and whatever
        NeMo raises; no slot has changed then.
        """
        use_threads(self.threads)
        use_device(self._device)
        with torch.inference_mode(), telling_out_of_memory():
            results, keep = self._compute(lane, rows)
            keep()
        return results

    def _compute(
        self, lane: Lane, rows: Sequence[StepRow]
    ) -> tuple[list[StepResult], Callable[[], None]]:
        parts, context = self._parts, self._contexts[lane.chunk_frames]
        n_rows = next(size for size in self._batch_sizes if size >= len(rows))
        padding = n_rows - len(rows)
        slots = self._tensor([row.slot for row in rows] + [self._spare_slot] * padding)
        works = [row.work for row in rows] + [rows[0].work] * padding
        windows = parts.windows.append(slots, works, context)
        encoded, ends = self._encode(windows.wave, windows.filled)

        starts = windows.decoded_frames
        left = (ends - starts).clamp(min=0)
        # An utterance's end has no right context behind it; nor has a preview, kept or not.
        has_tail = [isinstance(work, Chunk) and not work.is_last for work in works]
        tail_lengths = torch.where(
            self._tensor(has_tail), (left - context.chunk_frames).clamp(min=0), 0
        )
        lengths = left - tail_lengths
        fresh = frames_from(encoded, starts, context.chunk_frames + context.right_frames)
        if parts.prompts is not None:
            fresh = parts.prompts.apply(slots, fresh)
        valid = torch.arange(fresh.shape[1], device=self._device)[None] < left[:, None]
        if not torch.isfinite(fresh).all(dim=2).logical_or(~valid).all():
            raise FloatingPointError("the encoder's output holds NaN or infinity")
        decoder = parts.decoders[lane.decoder]
        trees = parts.phrases.trees_of([row.slot for row in rows], n_rows=n_rows)
        emitted, tail, keep_decoder = decoder.decode_with_tail(
            slots, fresh, lengths, tail_lengths, trees
        )

        kept = self._tensor([i for i, row in enumerate(rows) if isinstance(row.work, Chunk)])
        kept = kept.to(torch.int64)  # also when there is none

        def keep() -> None:
            parts.windows.keep(slots[kept], windows, starts + lengths, kept)
            keep_decoder(slots[kept], kept)
            parts.readings.frames.push_step(rows, fresh, lengths)

        results = _results(emitted, tail)[: len(rows)]
        if any(row.wants_timing for row in rows):
            ends = torch.stack((lengths, tail_lengths), dim=1)
            found = _found(results, tail[1], ends)
            results = with_timing(decoder, rows, results, found, slots, fresh)
        return results, keep

    def _encode(
        self, wave: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode whole windows [n_rows, n_samples], each normalised by its own audio.

        Returns (encoded [n_rows, n_encoder_frames, d_model]; its lengths [n_rows] int64).
        """
        featurizer, encoder = self._parts.model.preprocessor.featurizer, self._parts.model.encoder
        # NeMo cannot normalise a single feature frame; silence makes it two.
        lengths = lengths.clamp(min=2 * featurizer.hop_length)
        features, frames = featurizer(wave, lengths)
        # Behind the last frame the featurizer appends one that is masked.
        features = features[..., : wave.shape[1] // featurizer.hop_length].to(self._dtype)
        encoded, ends = encoder(audio_signal=features, length=frames)
        return encoded.transpose(1, 2), ends

    def _tensor(self, values: list[int] | list[bool]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


def _found(
    results: Sequence[StepResult], tail_frames: torch.Tensor, lengths: torch.Tensor
) -> list[FoundTokens]:
    """Return where each row's tokens are. lengths: [n_rows, 2], of chunk and right context."""
    most = max(len(result.tail) for result in results)
    return [
        FoundTokens(
            result.tokens,
            result.token_frames,
            n,
            result.tail,
            tuple(at[: len(result.tail)]),
            n_tail,
        )
        for result, at, (n, n_tail) in zip(
            results, tail_frames[:, :most].tolist(), lengths.tolist(), strict=False
        )
    ]


def _results(emitted: Emitted, tail: Emitted) -> list[StepResult]:
    """Bring what a step emitted to the host in one transfer."""
    (tokens, token_frames, counts), (tail_tokens, _, tail_counts) = emitted, tail
    n, n_tail = torch.stack((counts.max(), tail_counts.max())).tolist()
    packed = torch.cat(
        (
            counts[:, None],
            tail_counts[:, None],
            tokens[:, :n],
            token_frames[:, :n],
            tail_tokens[:, :n_tail],
        ),
        dim=1,
    )
    return [
        StepResult(
            tokens=tuple(both[:count]),
            token_frames=tuple(both[n : n + count]),
            tail=tuple(both[2 * n : 2 * n + tail_count]),
        )
        for count, tail_count, *both in packed.tolist()
    ]
