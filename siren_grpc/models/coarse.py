"""NeMo's own encoder code with coarser linear layers, for models that are stepped by it."""

from __future__ import annotations

import torch
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder
from torch import nn

from siren_grpc.domain.model import Precision
from siren_grpc.models.linear import make_linear


class _Coarse(nn.Module):
    """Stands in for an `nn.Linear`."""

    def __init__(self, module: nn.Linear, precision: Precision) -> None:
        super().__init__()
        self._linear = make_linear(module.weight, module.bias, precision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., d_in] to [..., d_out]."""
        return self._linear(x)


class _CoarsePointwise(nn.Module):
    """Stands in for an `nn.Conv1d` that hears one frame: a linear layer over the other axis."""

    def __init__(self, module: nn.Conv1d, precision: Precision) -> None:
        super().__init__()
        self._linear = make_linear(module.weight.flatten(1), module.bias, precision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n_rows, d_in, n_frames] to [n_rows, d_out, n_frames]."""
        return self._linear(x.transpose(1, 2)).transpose(1, 2)


def coarsen(encoder: ConformerEncoder, precision: Precision) -> None:
    """Have the linear layers of an encoder's layers multiply at a precision; to repeat is harmless.

    Everything else stays as it is, the subsampling before the layers, too, and a layer on which a
    hook hangs. Raises ValueError for a precision the encoder's device does not have.
    """
    if precision is Precision.FP32:
        return
    for parent in list(encoder.layers.modules()):
        for name, child in parent.named_children():
            if child._forward_hooks or child._forward_pre_hooks:
                continue
            if type(child) is nn.Linear:
                setattr(parent, name, _Coarse(child, precision))
            elif type(child) is nn.Conv1d and _is_pointwise(child):
                setattr(parent, name, _CoarsePointwise(child, precision))


def _is_pointwise(module: nn.Conv1d) -> bool:
    return module.kernel_size == (1,) and module.stride == (1,) and module.groups == 1
