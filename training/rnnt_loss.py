"""RNN-T loss on the CPU (Graves, 2012): torch for the joint's softmax, numba for the lattice."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor


@njit(cache=True, fastmath=True)
def _lattice(blank, label, frames, labels, loss, grad_blank, grad_label):  # type: ignore[no-untyped-def]
    """Fill the loss of each utterance and its gradient with respect to both lattices."""
    for b in range(blank.shape[0]):
        n_t, n_u = frames[b], labels[b] + 1
        alpha = np.full((n_t, n_u), -1e30, np.float64)
        beta = np.full((n_t + 1, n_u + 1), -1e30, np.float64)
        alpha[0, 0] = 0.0
        for t in range(n_t):
            for u in range(n_u):
                stay = alpha[t - 1, u] + blank[b, t - 1, u] if t else -1e30
                emit = alpha[t, u - 1] + label[b, t, u - 1] if u else -1e30
                if t or u:
                    top = max(stay, emit)
                    alpha[t, u] = top + np.log(np.exp(stay - top) + np.exp(emit - top))
        beta[n_t, n_u - 1] = 0.0
        for t in range(n_t - 1, -1, -1):
            for u in range(n_u - 1, -1, -1):
                stay = beta[t + 1, u] + blank[b, t, u]
                emit = beta[t, u + 1] + label[b, t, u] if u < n_u - 1 else -1e30
                top = max(stay, emit)
                beta[t, u] = top + np.log(np.exp(stay - top) + np.exp(emit - top))
        total = beta[0, 0]
        loss[b] = -total
        for t in range(n_t):
            for u in range(n_u):
                here = alpha[t, u] - total
                grad_blank[b, t, u] = -np.exp(min(here + blank[b, t, u] + beta[t + 1, u], 0.0))
                if u < n_u - 1:
                    grad_label[b, t, u] = -np.exp(min(here + label[b, t, u] + beta[t, u + 1], 0.0))


class _Transducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blank: Tensor, label: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
        loss = np.zeros(blank.shape[0], np.float32)
        grads = np.zeros(blank.shape, np.float32), np.zeros(label.shape, np.float32)
        arrays = (blank.detach().numpy(), label.detach().numpy(), frames.numpy(), labels.numpy())
        _lattice(*arrays, loss, *grads)
        ctx.save_for_backward(torch.from_numpy(grads[0]), torch.from_numpy(grads[1]))
        return torch.from_numpy(loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_blank, grad_label = ctx.saved_tensors
        scale = grads[0][:, None, None]
        return grad_blank * scale, grad_label * scale, None, None


def rnnt_loss(logits: Tensor, targets: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each utterance, [batch].

    logits: [batch, frames, labels + 1, vocabulary + 1], unnormalised, blank last.
    targets: [batch, labels], int64, padded with any valid label. frames, labels: lengths, int64.
    """
    logits = logits.float()
    normaliser = logits.logsumexp(-1)
    blank = logits[..., -1] - normaliser
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    label = logits[:, :, :-1].gather(-1, index).squeeze(-1) - normaliser[:, :, :-1]
    return _Transducer.apply(blank.contiguous(), label.contiguous(), frames, labels)
