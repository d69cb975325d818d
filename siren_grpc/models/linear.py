"""Linear layers at the precision an operator chose."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F

from siren_grpc.domain.model import Precision

Linear: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""[..., d_in] to [..., d_out], both in the precision of everything else."""


def usual_precision(device: torch.device) -> Precision:
    """Return the precision where nobody chose one: bf16 on a GPU that has it, else fp32.

    device: a GPU is the current one, see `threads.use_device`.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision.BF16
    return Precision.FP32


def make_linear(weight: torch.Tensor, bias: torch.Tensor | None, precision: Precision) -> Linear:
    """Return a linear layer with these weights.

    weight: [d_out, d_in]. bias: [d_out] or None. Raises ValueError for a precision the weights'
    device does not have.
    """
    weight = weight.detach()
    bias = None if bias is None else bias.detach()
    if precision is Precision.FP32:
        return lambda x: F.linear(x, weight, bias)
    if precision is Precision.BF16:
        return _half(weight, bias, torch.bfloat16)
    if precision is Precision.FP16:
        return _saturated(_half(weight, bias, torch.float16))
    if weight.device.type != "cpu":
        raise ValueError("precision int8 runs on a CPU only; use bf16 on a GPU")
    return _int8(weight, bias)


def _half(weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> Linear:
    """Multiply in 16 bits; sums are float32 within a product, and so is what lies between."""
    half = weight.to(dtype)
    half_bias = None if bias is None else bias.to(dtype)
    return lambda x: F.linear(x.to(dtype), half, half_bias).to(x.dtype)


def _saturated(linear: Linear) -> Linear:
    """Keep what is too large for float16 as large as it can be: infinity would spread as NaN."""
    most = torch.finfo(torch.float16).max
    return lambda x: linear(x).clamp_(-most, most)


def _int8(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """Multiply in int8: weights quantised once for each output, activations at every call."""
    scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-8).double()
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    with warnings.catch_warnings():
        # PyTorch means to move them to a library of its own, pytorch/ao, one day.
        warnings.filterwarnings("ignore", message=".*quantize", category=UserWarning)
        quantised = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(quantised, bias)

    def linear(x: torch.Tensor) -> torch.Tensor:
        # Without VNNI instructions sums of 8-bit products overflow 16 bits; of 7-bit ones never.
        found: torch.Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range=True)
        return found

    return linear
