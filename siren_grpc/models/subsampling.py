"""The convolutions that turn feature frames into encoder frames, as NeMo's `ConvSubsampling` does.

NeMo masks every layer's input at each row's length. Chunks of a live stream are whole but for an
utterance's last, so the masks are made only when a row is not; and the convolutions run with
channels last, several times as fast on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from nemo.collections.asr.parts.submodules.causal_convs import CausalConv2D
from nemo.collections.asr.parts.submodules.subsampling import ConvSubsampling

_CPU_ROWS = 16
"""Rows convolved at once on a CPU: what they need stays in its caches."""


class Subsampling:
    """Subsamples the feature frames of a batch of rows."""

    def __init__(self, pre_encode: torch.nn.Module) -> None:
        """Take over a model's subsampling; kinds not known here run NeMo's own code."""
        self._pre_encode: Any = pre_encode
        self._layers = list(pre_encode.conv) if _is_known(pre_encode) else None
        for layer in self._layers or ():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def __call__(
        self, features: torch.Tensor, frames: torch.Tensor, *, are_whole: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (encoder frames [n_rows, n_frames, d_model], how many count [n_rows] int64).

        features: [n_rows, n_mels, n_feature_frames]. frames: [n_rows] int64, those that count.
        are_whole: all of them do, in every row.
        """
        features = features.transpose(1, 2)
        if self._layers is None:
            subsampled, lengths = self._pre_encode(x=features, lengths=frames)
            return subsampled, lengths.long()
        rows = _CPU_ROWS if features.device.type == "cpu" else len(features)
        parts = [
            self._convolve(part, None if are_whole else lengths)
            for part, lengths in zip(features.split(rows), frames.split(rows), strict=True)
        ]
        lengths = frames
        for layer in self._layers:
            lengths = _length_behind(layer, lengths)
        return (parts[0] if len(parts) == 1 else torch.cat(parts)), lengths

    def _convolve(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        x = features[:, None].contiguous(memory_format=torch.channels_last)
        for layer in self._layers or ():
            if lengths is not None:
                x = _masked(x, lengths)
                lengths = _length_behind(layer, lengths)
            if isinstance(layer, CausalConv2D):
                pads = (layer._left_padding, layer._right_padding)
                x = F.pad(x, pads * 2)
                x = F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)
            else:
                x = layer(x)
        if lengths is not None:
            x = _masked(x, lengths)
        n_rows, _, n_frames, _ = x.shape
        out: torch.Tensor = self._pre_encode.out(x.transpose(1, 2).reshape(n_rows, n_frames, -1))
        return out


def _is_known(pre_encode: Any) -> bool:
    return (
        isinstance(pre_encode, ConvSubsampling)
        and pre_encode.conv2d_subsampling
        and all(
            isinstance(layer, torch.nn.ReLU)
            or (isinstance(layer, CausalConv2D) and set(layer.dilation) == {1})
            or (isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (1, 1))
            for layer in pre_encode.conv
        )
    )


def _length_behind(layer: Any, lengths: torch.Tensor) -> torch.Tensor:
    """Return how many frames count behind a layer, from how many do before it."""
    if not isinstance(layer, CausalConv2D):
        return lengths
    padding = layer._left_padding + layer._right_padding
    behind = (lengths + padding - layer.kernel_size[0]) // layer.stride[0] + 1
    return behind.to(lengths.dtype)


def _masked(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return x [n_rows, n_channels, n_frames, n_features] with zeros behind each row's frames."""
    behind = torch.arange(x.shape[2], device=x.device)[None] >= lengths[:, None]
    return x.masked_fill(behind[:, None, :, None], 0.0)
