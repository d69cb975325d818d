"""The cache-aware encoder with one slot of caches per session.

`cache_aware_stream_step` of NeMo does the work; what is added is where its state lives. NeMo's
step keeps its look-ahead and its drop count in attributes of the encoder while it runs, so only
one thread may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder


@dataclass(frozen=True, slots=True)
class NextCaches:
    """What a step would leave in the slots of its rows."""

    channel: torch.Tensor
    """[n_layers, n_rows, left, d_model]"""
    time: torch.Tensor
    """[n_layers, n_rows, d_model, kernel - 1]"""
    channel_len: torch.Tensor
    """[n_rows] int64"""
    mel: torch.Tensor
    """[n_rows, n_mels, n_cached]: the last feature frames, for the subsampling."""


class StreamingEncoder:
    """Advances the encoder for a batch of slots, one look-ahead at a time."""

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
        _, n_mel_cache = encoder.streaming_cfg.pre_encode_cache_size
        self._mel = torch.zeros(
            n_slots, encoder._feat_in, n_mel_cache, dtype=parameter.dtype, device=parameter.device
        )

    def reset(self, slot: int) -> None:
        """Make a slot's caches those of a stream that has heard nothing."""
        self._channel[:, slot] = 0
        self._time[:, slot] = 0
        self._channel_len[slot] = 0
        self._mel[slot] = 0

    def step(
        self,
        slots: torch.Tensor,
        features: torch.Tensor,
        frames: torch.Tensor,
        *,
        chunk_frames: int,
        is_first: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, NextCaches]:
        """Encode a chunk of each row without changing any slot.

        slots: [n_rows] int64. features: [n_rows, n_mels, n_feature_frames]. frames: [n_rows]
        int64, the feature frames of each row that count.
        Returns (encoded [n_rows, n_encoder_frames, d_model]; its lengths [n_rows] int64; the
        caches to `keep` once the step has succeeded).
        """
        self._select(chunk_frames)
        left = self._encoder.streaming_cfg.last_channel_cache_size
        features = features.to(self._mel.dtype)
        with_cache = torch.cat((self._mel[slots], features), dim=-1)
        n_cached = with_cache.shape[-1] - features.shape[-1]
        # A first chunk has nothing before it: NeMo pads within the subsampling then.
        signal = features if is_first else with_cache
        lengths = frames if is_first else frames + n_cached
        drop = 0 if is_first else self._encoder.streaming_cfg.drop_extra_pre_encoded
        encoded, encoded_len, channel, time, channel_len = self._encoder.cache_aware_stream_step(
            processed_signal=signal,
            processed_signal_length=lengths,
            cache_last_channel=self._channel[:, slots, -left:],
            cache_last_time=self._time[:, slots],
            cache_last_channel_len=self._channel_len[slots],
            keep_all_outputs=True,
            drop_extra_pre_encoded=drop,
        )
        caches = NextCaches(channel, time, channel_len, with_cache[..., -n_cached:])
        return encoded.transpose(1, 2), encoded_len, caches

    def keep(self, slots: torch.Tensor, caches: NextCaches, rows: torch.Tensor) -> None:
        """Store the caches of some rows of a step.

        slots: [n_kept] int64, where to. rows: [n_kept] int64, which rows of the step.
        """
        left = caches.channel.shape[2]
        self._channel[:, slots, -left:] = caches.channel[:, rows]
        self._time[:, slots] = caches.time[:, rows]
        self._channel_len[slots] = caches.channel_len[rows]
        self._mel[slots] = caches.mel[rows]

    def _select(self, chunk_frames: int) -> None:
        if chunk_frames != self._current:
            self._encoder.set_default_att_context_size(list(self._contexts[chunk_frames]))
            self._current = chunk_frames
