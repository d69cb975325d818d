"""The Conformer layers of a cache-aware encoder, stepped with keys and values kept in rings.

NeMo's own step caches what goes into a layer, and projects the keys and values of the whole left
context anew at every step. Here they are kept as projected: a step computes its new frames only.
Same weights, same arithmetic, other order of it: equal to NeMo's step up to rounding.

The state of a layer is a ring of frames for each slot, wider than the left context by the widest
chunk. A step writes its new frames where no left context is, then reads the window that ends with
them; only `keep` moves the end of a slot's left context. A step that fails, or that was only a
preview, has therefore changed nothing.

After Transformer-XL (https://arxiv.org/abs/1901.02860, section 3.3) as in NeMo's
`RelPositionMultiHeadAttention`, and Conformer (https://arxiv.org/abs/2005.08100).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder

from siren_grpc.domain.model import Precision
from siren_grpc.models.linear import Linear, make_linear

_MASKED = -10000.0
"""NeMo's score of a key that must not be seen."""


def why_unsupported(encoder: ConformerEncoder) -> str | None:
    """Return what keeps an encoder from being stepped here, None when it can be."""
    if encoder.self_attention_model != "rel_pos":
        return f"self_attention_model {encoder.self_attention_model!r}"
    if encoder.reduction_position is not None:
        return "a reduction between its layers"
    # Hooks run when a module is called, and most are not called here: a multi-talker model's
    # speaker kernels, which hang on the layers, would be left out without a word.
    if any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules()):
        return "forward hooks"
    for layer in encoder.layers:
        conv = layer.conv
        if conv.depthwise_conv._right_padding:
            return "convolutions that look ahead"
        if conv.pointwise_activation != "glu_":
            return f"pointwise activation {conv.pointwise_activation!r}"
        if conv.norm_type not in ("batch_norm", "layer_norm"):
            return f"conv_norm_type {conv.norm_type!r}"
        if layer.is_adapter_available():
            return "adapters"
    return None


class ConformerLayers:
    """Steps all layers for a batch of slots."""

    def __init__(
        self,
        encoder: ConformerEncoder,
        contexts: Mapping[int, tuple[int, int]],
        *,
        n_slots: int,
        precision: Precision,
    ) -> None:
        """Allocate the rings of every slot.

        contexts: (left, right) attention context in encoder frames by `chunk_frames`. precision:
        of the linear layers; ValueError is raised for one that the device does not have.
        """
        parameter = next(encoder.parameters())
        self._left = {frames: left for frames, (left, _) in contexts.items()}
        self._scale = float(encoder.xscale) if encoder.xscale else None
        self._out_proj = encoder.out_proj
        first = encoder.layers[0]
        self._heads, self._d_head = int(first.self_attn.h), int(first.self_attn.d_k)
        kernel = int(first.conv.depthwise_conv.kernel_size[0])
        self._n_conv = kernel - 1
        widest = max(contexts)
        self._ring = max(self._left[frames] + frames for frames in contexts)
        self._conv_ring = self._n_conv + widest
        self._encoder = encoder
        self._layers = _layers_of(encoder, precision)
        d_model = self._heads * self._d_head
        count = len(self._layers)
        options: dict[str, Any] = {"dtype": parameter.dtype, "device": parameter.device}
        rows = n_slots * self._heads * self._ring
        self._keys_values = torch.zeros(count, rows, 2 * self._d_head, **options)
        self._convolved = torch.zeros(count, n_slots * self._conv_ring, d_model, **options)
        self._written = torch.zeros(n_slots, dtype=torch.int64, device=parameter.device)
        self._positions = {
            frames: self._project_positions(left, frames) for frames, left in self._left.items()
        }

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's rings."""
        tensors = (self._keys_values, self._convolved, self._written)
        return sum(t.numel() * t.element_size() for t in tensors) // len(self._written)

    def reset(self, slot: int) -> None:
        """Make a slot's left context empty."""
        self._written[slot] = 0
        # Masked keys are read all the same, and a NaN behind the mask would still be one.
        n_slots = len(self._written)
        self._keys_values.view(len(self._layers), n_slots, -1)[:, slot] = 0
        self._convolved.view(len(self._layers), n_slots, -1)[:, slot] = 0

    def left_context(self, slot: int) -> torch.Tensor:
        """Return a copy of a slot's keys and values, [n_layers, heads, left, 2 * d_head]."""
        left = max(self._left.values())
        written = int(self._written[slot])
        at = torch.arange(max(0, written - left), written, device=self._written.device)
        rings = self._keys_values.view(
            len(self._layers), -1, self._heads, self._ring, 2 * self._d_head
        )
        return rings[:, slot][:, :, at % self._ring]

    def keep(self, slots: torch.Tensor, n_frames: int) -> None:
        """Make the frames of the last step part of the left context of some of its slots.

        slots: [n_kept] int64.
        """
        self._written[slots] += n_frames

    def step(
        self, slots: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Encode a chunk of each row; nothing is kept until `keep`.

        slots: [n_rows] int64. frames: [n_rows, chunk_frames, d_model], subsampled. lengths:
        [n_rows] int64, the frames of each row that count. Returns [n_rows, chunk_frames, d_out].
        """
        n_rows, n_new, _ = frames.shape
        left = self._left[n_new]
        window = left + n_new
        device = frames.device
        new = torch.arange(n_new, device=device)
        seen = torch.arange(-left, n_new, device=device)
        written = self._written[slots]
        # Rows of the rings, head by head: [heads, n_rows, frames].
        head = torch.arange(self._heads, device=device)[:, None, None]
        base = (slots[None, :, None] * self._heads + head) * self._ring
        write = (base + (written[:, None] + new) % self._ring).flatten()
        read = (base + (written[:, None] + seen) % self._ring).flatten()
        hidden = (written[:, None] + seen < 0) | (seen >= lengths[:, None])
        mask = hidden.to(frames.dtype)[None, :, None] * _MASKED
        conv_base = slots[:, None] * self._conv_ring
        conv_seen = torch.arange(-self._n_conv, n_new, device=device)
        conv_write = (conv_base + (written[:, None] + new) % self._conv_ring).flatten()
        conv_read = (conv_base + (written[:, None] + conv_seen) % self._conv_ring).flatten()
        behind = (new >= lengths[:, None])[..., None]

        x = frames if self._scale is None else frames * self._scale
        n_heads, d_head = self._heads, self._d_head
        for layer, keys_values, convolved, positions in zip(
            self._layers,
            self._keys_values,
            self._convolved,
            self._positions[n_new],
            strict=True,
        ):
            x = x + layer.feed_forward1(x)

            query, key_value = layer.project(x, n_heads)
            keys_values.index_copy_(0, write, key_value.reshape(-1, 2 * d_head))
            context = keys_values.index_select(0, read).view(-1, window, 2 * d_head)
            with_u = query + layer.bias_u
            with_v = query + layer.bias_v
            distances = torch.bmm(with_v.view(n_heads, n_rows * n_new, d_head), positions)
            # Query i of a row meets key j at distance left + i - j: each query reads its
            # distances one further to the left (NeMo's `rel_shift`, without its copies).
            width = distances.shape[-1]
            shifted = distances.as_strided(
                (n_heads * n_rows, n_new, window), (n_new * width, width - 1, 1), n_new - 1
            )
            scores = torch.baddbmm(
                shifted,
                with_u.view(-1, n_new, d_head),
                context[..., :d_head].transpose(1, 2),
                beta=layer.score_scale,
                alpha=layer.score_scale,
            )
            scores.view(n_heads, n_rows, n_new, window).add_(mask)
            heard = torch.bmm(torch.softmax(scores, dim=-1), context[..., d_head:])
            heard = heard.view(n_heads, n_rows, n_new, d_head).permute(1, 2, 0, 3)
            x = x + layer.attention_out(heard.reshape(n_rows, n_new, -1))

            gated = layer.gate(x).masked_fill(behind, 0.0)
            convolved.index_copy_(0, conv_write, gated.view(-1, gated.shape[-1]))
            around = convolved.index_select(0, conv_read).view(n_rows, -1, gated.shape[-1])
            x = x + layer.convolve(around)

            x = x + layer.feed_forward2(x)
            x = layer.norm_out(x)
        return x if self._out_proj is None else self._out_proj(x)

    def _project_positions(self, left: int, n_new: int) -> list[torch.Tensor]:
        """Return each layer's projected distances, [heads, d_head, left + 2 * n_new - 1].

        They are left + n_new - 1, ..., 1 - n_new: those a query of the chunk can have to a key.
        """
        encoding = self._encoder.pos_enc
        window = left + n_new
        encoding.extend_pe(window, encoding.pe.device, encoding.pe.dtype)
        start = encoding.pe.shape[1] // 2 + 1 - window
        distances = encoding.pe[:, start : start + window + n_new - 1]
        projected = []
        for layer in self._encoder.layers:
            attention = layer.self_attn
            p = attention.linear_pos(distances.to(attention.linear_pos.weight.dtype))
            p = p.view(-1, attention.h, attention.d_k).permute(1, 2, 0)
            projected.append(p.contiguous())
        return projected


def _layers_of(encoder: Any, precision: Precision) -> list[_Layer]:
    """Return an encoder's layers at a precision: those that were made of it before, if any.

    What is coarser than float32 leaves the encoder no weights of its own, of which others could
    be made. Raises AssertionError where that has happened at another precision.
    """
    known: dict[Precision, list[_Layer]] = encoder.__dict__.setdefault("siren_layers", {})
    if precision not in known:
        if known.keys() - {Precision.FP32}:
            raise AssertionError(f"the encoder has weights at {next(iter(known)).value} only")
        known.clear()
        known[precision] = [_Layer(layer, precision) for layer in encoder.layers]
    return known[precision]


class _Layer:
    """One layer's weights, laid out for stepping."""

    def __init__(self, layer: Any, precision: Precision) -> None:
        def linear(*modules: Any) -> Linear:
            """Return one linear layer that gives several modules' outputs side by side."""
            weight, bias = _side_by_side(modules)
            made = make_linear(weight, bias, precision)
            if precision is Precision.FP32:
                _share(weight, bias, modules)
            else:
                _let_go(modules)
            return made

        attention, conv = layer.self_attn, layer.conv
        self._layer = layer
        self._expand1, self._contract1 = map(
            linear, (layer.feed_forward1.linear1, layer.feed_forward1.linear2)
        )
        self._expand2, self._contract2 = map(
            linear, (layer.feed_forward2.linear1, layer.feed_forward2.linear2)
        )
        self._qkv = linear(attention.linear_q, attention.linear_k, attention.linear_v)
        self.bias_u = attention.pos_bias_u.detach()[:, None, None]
        self.bias_v = attention.pos_bias_v.detach()[:, None, None]
        self.score_scale = 1 / math.sqrt(attention.d_k)
        self.attention_out = linear(attention.linear_out)
        self.norm_out = layer.norm_out
        self._gate = linear(conv.pointwise_conv1)
        self._depthwise = conv.depthwise_conv.weight.detach().squeeze(1).t().contiguous()
        self._depthwise_bias = conv.depthwise_conv.bias
        self._norm = conv.batch_norm
        self._is_layer_norm = conv.norm_type == "layer_norm"
        self._pointwise2 = linear(conv.pointwise_conv2)

    def feed_forward1(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the first half feed-forward adds."""
        hidden = F.silu(self._expand1(self._layer.norm_feed_forward1(x)), inplace=True)
        return self._contract1(hidden).mul_(self._layer.fc_factor)

    def feed_forward2(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the second half feed-forward adds."""
        hidden = F.silu(self._expand2(self._layer.norm_feed_forward2(x)), inplace=True)
        return self._contract2(hidden).mul_(self._layer.fc_factor)

    def project(self, x: torch.Tensor, n_heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return queries [heads, n_rows, n_new, d_head]; keys and values side by side, likewise."""
        n_rows, n_new, _ = x.shape
        joined = self._qkv(self._layer.norm_self_att(x)).view(n_rows, n_new, 3, n_heads, -1)
        query, key, value = joined.permute(2, 3, 0, 1, 4)
        return query.contiguous(), torch.cat((key, value), dim=-1)

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the depthwise convolution hears of the new frames."""
        return F.glu(self._gate(self._layer.norm_conv(x)), dim=-1)

    def convolve(self, around: torch.Tensor) -> torch.Tensor:
        """Return what the convolution module adds.

        around: the new frames behind kernel - 1 older ones, [n_rows, kernel - 1 + n_new, d_model].
        """
        kernel = len(self._depthwise)
        n_new = around.shape[1] - kernel + 1
        y = around[:, :n_new] * self._depthwise[0]
        for tap in range(1, kernel):
            y = torch.addcmul(y, around[:, tap : tap + n_new], self._depthwise[tap])
        if self._depthwise_bias is not None:
            y = y + self._depthwise_bias
        y = self._norm(y) if self._is_layer_norm else self._norm(y.transpose(1, 2)).transpose(1, 2)
        return self._pointwise2(F.silu(y))


def _side_by_side(modules: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weight [d_out, d_in] and bias [d_out] of several modules as of one layer.

    Those of a single module are its own, not a copy. A pointwise convolution is a linear layer
    whose weights have one axis more.
    """
    weights = [module.weight.detach().flatten(1) for module in modules]
    biases = [None if module.bias is None else module.bias.detach() for module in modules]
    if len(modules) == 1:
        return weights[0], biases[0]
    return torch.cat(weights), None if biases[0] is None else torch.cat(biases)


def _share(weight: torch.Tensor, bias: torch.Tensor | None, modules: Sequence[Any]) -> None:
    """Make modules' parameters views of what `_side_by_side` made of them.

    A copy of every layer's queries, keys and values beside them is memory for nothing.
    """
    if len(modules) == 1:
        return
    end = 0
    for module in modules:
        start, end = end, end + len(module.weight)
        module.weight.data = weight[start:end].view_as(module.weight)
        if bias is not None:
            module.bias.data = bias[start:end]


def _let_go(modules: Sequence[Any]) -> None:
    """Free modules' parameters, of which there is a coarser copy: four bytes each beside its two.

    NeMo's own step of the layers is not taken any more, and would say so.
    """
    for module in modules:
        for parameter in (module.weight, module.bias):
            if parameter is not None:
                parameter.data = parameter.data.new_empty(0)
