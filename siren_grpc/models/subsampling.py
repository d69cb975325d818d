"""The convolutions that turn feature frames into encoder frames, as NeMo's `ConvSubsampling` does.

NeMo masks every layer's input at each row's length. Chunks of a live stream are whole but for an
utterance's first and last, so only such rows are masked here; and the convolutions run with
channels last, several times as fast on a CPU.
"""

from __future__ import annotations

import math
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
        self.factor = math.prod(
            layer.stride[0] for layer in self._layers or () if isinstance(layer, CausalConv2D)
        )
        """Feature frames per encoder frame, where the layers are known."""

    @property
    def takes_first_rows(self) -> bool:
        """Whether rows may begin later than others: see `__call__`'s first_start."""
        return self._layers is not None

    def __call__(
        self,
        features: torch.Tensor,
        ends: torch.Tensor,
        *,
        n_first: int = 0,
        first_start: int = 0,
        cut: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (encoder frames [n_rows, n_frames, d_model], where they end [n_rows] int64).

        features: [n_rows, n_mels, n_feature_frames]. ends: [n_rows] int64, where each row's frames
        end. The first n_first rows begin at frame first_start, a multiple of `factor`: what stands
        before is zero to every convolution, as its own padding is. cut: [n_cut] int64, the rows
        that end before n_feature_frames.
        """
        features = features.transpose(1, 2)
        if self._layers is None:
            subsampled, lengths = self._pre_encode(x=features, lengths=ends)
            return subsampled, lengths.long()
        size = _CPU_ROWS if features.device.type == "cpu" else len(features)
        parts = []
        for at in range(0, len(features), size):
            part, end, in_part = features[at : at + size], ends[at : at + size], None
            if size >= len(features):
                in_part = cut
            elif cut is not None:
                in_part = cut[(cut >= at) & (cut < at + size)] - at
            parts.append(self._convolve(part, end, max(0, n_first - at), first_start, in_part))
        for layer in self._layers:
            ends = _length_behind(layer, ends)
        return (parts[0] if len(parts) == 1 else torch.cat(parts)), ends

    def _convolve(
        self,
        features: torch.Tensor,
        ends: torch.Tensor,
        n_first: int,
        first_start: int,
        cut: torch.Tensor | None,
    ) -> torch.Tensor:
        x = features[:, None].contiguous(memory_format=torch.channels_last)
        for layer in self._layers or ():
            if isinstance(layer, CausalConv2D):
                # Others look at one frame only: what they make of a masked one is masked next.
                _mask(x, ends, n_first, first_start, cut)
                ends = _length_behind(layer, ends)
                first_start //= layer.stride[0]
                x = F.pad(x, (layer._left_padding, layer._right_padding) * 2)
                x = F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)
            else:
                x = layer(x)
        _mask(x, ends, n_first, first_start, cut)
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


def _mask(
    x: torch.Tensor, ends: torch.Tensor, n_first: int, first_start: int, cut: torch.Tensor | None
) -> None:
    """Zero what x [n_rows, n_channels, n_frames, n_features] has beside each row's frames."""
    if n_first:
        x[:n_first, :, :first_start] = 0
    if cut is not None and len(cut):
        behind = torch.arange(x.shape[2], device=x.device)[None] >= ends[cut][:, None]
        x[cut] = x[cut].masked_fill(behind[:, None, :, None], 0.0)
