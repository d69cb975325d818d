"""Cache-aware encoders with one slot of caches per session.

Two ways to keep the left context: `InputCacheEncoder` is NeMo's own `cache_aware_stream_step`,
which keeps what goes into each layer; `KeyValueEncoder` keeps keys and values as projected, for
twice the memory and about half the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder

from siren_grpc.domain.model import Precision
from siren_grpc.models.conformer import ConformerLayers
from siren_grpc.models.layer_graphs import GraphedStep, Record, Step
from siren_grpc.models.subsampling import Subsampling

Keep = Callable[[torch.Tensor, torch.Tensor], None]
"""keep(slots [n_kept], rows [n_kept]) stores the state of some rows of a step."""


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """Rows of a step that have one shape.

    slots: [n] int64. features: [n, n_mels, n_feature_frames], zero beside each row's frames. ends:
    [n] int64, where each row's frames end. The first n_first rows are first chunks, whose frames
    begin at first_start; the others' begin at 0. cut: [n_cut] int64, rows that end before
    n_feature_frames; None if none does.
    """

    slots: torch.Tensor
    features: torch.Tensor
    ends: torch.Tensor
    n_first: int
    first_start: int
    cut: torch.Tensor | None

    @property
    def is_of_first_chunks(self) -> bool:
        """Whether its rows are all first chunks, shorter than the others'."""
        return self.first_start == 0 and self.n_first > 0


class SlotEncoder(Protocol):
    """Advances an encoder for a batch of slots, one look-ahead at a time."""

    is_reentrant: ClassVar[bool]
    """Whether threads may step different slots at once."""

    @property
    def takes_mixed_groups(self) -> bool:
        """Whether first chunks may be in a group with later ones."""
        ...

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's caches."""
        ...

    def reset(self, slot: int) -> None:
        """Make a slot's caches those of a stream that has heard nothing."""
        ...

    def step(
        self, groups: Sequence[FeatureGroup], *, chunk_frames: int
    ) -> tuple[torch.Tensor, torch.Tensor, Keep]:
        """Encode a chunk of each row of all groups without changing what any slot has heard.

        Returns (encoded [n_rows, n_frames, d_model]; its lengths [n_rows] int64; how to keep the
        caches once the step has succeeded), rows in the order of the groups.
        """
        ...


class _MelCache:
    """The last feature frames of each slot, which the subsampling needs before a later chunk."""

    def __init__(self, encoder: ConformerEncoder, *, n_slots: int) -> None:
        parameter = next(encoder.parameters())
        _, n_frames = encoder.streaming_cfg.pre_encode_cache_size
        self.frames = torch.zeros(
            n_slots, encoder._feat_in, n_frames, dtype=parameter.dtype, device=parameter.device
        )

    def extend(self, group: FeatureGroup) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (features to subsample, where they end, the cache behind them)."""
        features = group.features.to(self.frames.dtype)
        with_cache = torch.cat((self.frames[group.slots], features), dim=-1)
        n_cached = self.frames.shape[-1]
        behind = with_cache[..., -n_cached:]
        # A first chunk has nothing before it: the convolutions pad it within themselves.
        if group.is_of_first_chunks:
            return features, group.ends, behind
        return with_cache, group.ends + n_cached, behind


class KeyValueEncoder:
    """Steps the encoder with keys, values and convolution inputs in rings: see `conformer`."""

    is_reentrant: ClassVar[bool] = True

    def __init__(
        self,
        encoder: ConformerEncoder,
        contexts: Mapping[int, tuple[int, int]],
        *,
        n_slots: int,
        precision: Precision = Precision.FP32,
        record: Record | None = None,
    ) -> None:
        """Allocate the caches of every slot.

        contexts: (left, right) attention context in encoder frames by `chunk_frames`. The encoder
        must be one that `conformer.why_unsupported` has nothing against. precision: of its layers'
        products; ValueError is raised for one that the device does not have. record: what records
        the layers' steps, one at a time then; None to take them plainly.
        """
        self._subsampling = Subsampling(encoder.pre_encode)
        self.layers = ConformerLayers(encoder, contexts, n_slots=n_slots, precision=precision)
        step = self.layers.step
        self._step_layers: Step = step if record is None else GraphedStep(step, record)
        self._drop = int(encoder.streaming_cfg.drop_extra_pre_encoded)
        self._mel = _MelCache(encoder, n_slots=n_slots)
        first, later = encoder.streaming_cfg.chunk_size
        # What a first chunk lacks must be whole encoder frames, those that later chunks drop.
        lacking = later - first + self._mel.frames.shape[-1]
        self._can_mix = self._subsampling.takes_first_rows and (
            lacking == self._drop * self._subsampling.factor
        )

    @property
    def takes_mixed_groups(self) -> bool:
        """Whether first chunks may be in a group with later ones."""
        return self._can_mix

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's caches."""
        return self.layers.bytes_per_slot + self._mel.frames[0].nbytes

    def reset(self, slot: int) -> None:
        """Make a slot's caches those of a stream that has heard nothing."""
        self.layers.reset(slot)
        self._mel.frames[slot] = 0

    def step(
        self, groups: Sequence[FeatureGroup], *, chunk_frames: int
    ) -> tuple[torch.Tensor, torch.Tensor, Keep]:
        """Encode a chunk of each row; the layers see the rows of all groups in one batch."""
        frames, lengths, mels = [], [], []
        for group in groups:
            features, ends, mel = self._mel.extend(group)
            before = features.shape[-1] - group.features.shape[-1]
            subsampled, n_frames = self._subsampling(
                features,
                ends,
                n_first=group.n_first,
                first_start=group.first_start + before,
                cut=group.cut,
            )
            if not group.is_of_first_chunks:
                subsampled, n_frames = subsampled[:, self._drop :], n_frames - self._drop
            frames.append(subsampled)
            lengths.append(n_frames.clamp(min=0))
            mels.append(mel)
        slots = torch.cat([group.slots for group in groups])
        length = torch.cat(lengths)
        encoded = self._step_layers(slots, torch.cat(frames), length)
        cached = torch.cat(mels)

        def keep(kept_slots: torch.Tensor, rows: torch.Tensor) -> None:
            self.layers.keep(kept_slots, chunk_frames)
            self._mel.frames[kept_slots] = cached[rows]

        return encoded, length, keep


class InputCacheEncoder:
    """Steps the encoder with NeMo's `cache_aware_stream_step`; only its state lives here.

    NeMo's step keeps its look-ahead and its drop count in attributes of the encoder while it
    runs, so only one thread may use it.
    """

    is_reentrant: ClassVar[bool] = False

    def __init__(
        self, encoder: ConformerEncoder, contexts: Mapping[int, tuple[int, int]], *, n_slots: int
    ) -> None:
        """Allocate the caches of every slot.

        contexts: (left, right) attention context in encoder frames by `chunk_frames`.
        """
        self._encoder = encoder
        self._contexts = dict(contexts)
        self._current: int | None = None
        parameter = next(encoder.parameters())
        # One store fits every look-ahead: the widest left context, of which each takes the end.
        widest = max(contexts, key=lambda chunk_frames: contexts[chunk_frames][0])
        self._select(widest)
        self._channel, self._time, self._channel_len = encoder.get_initial_cache_state(
            batch_size=n_slots, dtype=parameter.dtype, device=parameter.device
        )
        self._mel = _MelCache(encoder, n_slots=n_slots)

    @property
    def takes_mixed_groups(self) -> bool:
        """Whether first chunks may be in a group with later ones: NeMo takes one shape a call."""
        return False

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's caches."""
        tensors = (self._channel, self._time, self._channel_len, self._mel.frames)
        return sum(t.nbytes for t in tensors) // len(self._channel_len)

    def reset(self, slot: int) -> None:
        """Make a slot's caches those of a stream that has heard nothing."""
        self._channel[:, slot] = 0
        self._time[:, slot] = 0
        self._channel_len[slot] = 0
        self._mel.frames[slot] = 0

    def step(
        self, groups: Sequence[FeatureGroup], *, chunk_frames: int
    ) -> tuple[torch.Tensor, torch.Tensor, Keep]:
        """Encode a chunk of each row: one call of NeMo's step for each group."""
        self._select(chunk_frames)
        left = self._encoder.streaming_cfg.last_channel_cache_size
        steps = []
        for group in groups:
            features, counts, mel = self._mel.extend(group)
            drop = (
                0
                if group.is_of_first_chunks
                else self._encoder.streaming_cfg.drop_extra_pre_encoded
            )
            step = self._encoder.cache_aware_stream_step(
                processed_signal=features,
                processed_signal_length=counts,
                cache_last_channel=self._channel[:, group.slots, -left:],
                cache_last_time=self._time[:, group.slots],
                cache_last_channel_len=self._channel_len[group.slots],
                keep_all_outputs=True,
                drop_extra_pre_encoded=drop,
            )
            steps.append((*step, mel))
        encoded = torch.cat([step[0] for step in steps]).transpose(1, 2)
        lengths, channel, time, channel_len, mel = (
            torch.cat([step[i] for step in steps], dim=dim)
            for i, dim in ((1, 0), (2, 1), (3, 1), (4, 0), (5, 0))
        )

        def keep(slots: torch.Tensor, rows: torch.Tensor) -> None:
            self._channel[:, slots, -left:] = channel[:, rows]
            self._time[:, slots] = time[:, rows]
            self._channel_len[slots] = channel_len[rows]
            self._mel.frames[slots] = mel[rows]

        return encoded, lengths, keep

    def _select(self, chunk_frames: int) -> None:
        if chunk_frames != self._current:
            self._encoder.set_default_att_context_size(list(self._contexts[chunk_frames]))
            self._current = chunk_frames
