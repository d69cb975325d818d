"""Greedy decoders with one slot of state per session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from nemo.collections.asr.parts.submodules.transducer_decoding.label_looping_base import (
    BatchedLabelLoopingState,
)
from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
    GreedyBatchedRNNTLabelLoopingComputer,
)

Keep = Callable[[torch.Tensor, torch.Tensor], None]
"""keep(slots [n_kept], rows [n_kept]) stores the state of some rows of a decoded step."""
Emitted = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids [n_rows, n_max], the encoder frame of each since reset, and how many count [n_rows]."""


class SlotDecoder(Protocol):
    """Decodes encoder frames of a batch of slots."""

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        ...

    def decode(
        self, slots: torch.Tensor, encoded: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot.

        slots: [n_rows] int64. encoded: [n_rows, n_encoder_frames, d_model]. lengths: [n_rows].
        """
        ...


class RnntSlotDecoder:
    """Greedy transducer: NeMo's label-looping computer with the state in slot-indexed tensors."""

    def __init__(self, computer: GreedyBatchedRNNTLabelLoopingComputer, d_model: int, n_slots: int):
        """Allocate the state of every slot: that which the start-of-sequence symbol leaves."""
        self._computer = computer
        device = next(computer.joint.parameters()).device
        dtype = next(computer.joint.parameters()).dtype

        def initial(n_rows: int) -> BatchedLabelLoopingState:
            # Decoding no frames leaves just the state after the start symbol.
            nothing = torch.zeros(n_rows, 1, d_model, device=device, dtype=dtype)
            no_frames = torch.zeros(n_rows, dtype=torch.int64, device=device)
            return computer(nothing, no_frames)[1]

        self._initial = initial(1)
        # The predictor's state has its batch axis first (stateless) or second (LSTM layers).
        self._axes = [
            next(i for i in range(one.dim()) if one.shape[i] != two.shape[i])
            for one, two in zip(
                self._initial.predictor_states, initial(2).predictor_states, strict=True
            )
        ]
        self._state = initial(n_slots)

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        at = torch.tensor([slot], device=self._state.labels.device)
        first = torch.zeros_like(at)
        self._store(self._initial, at, first)

    def decode(
        self, slots: torch.Tensor, encoded: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot."""
        state = self._state
        gathered = BatchedLabelLoopingState(
            predictor_states=type(state.predictor_states)(
                part.index_select(axis, slots)
                for part, axis in zip(state.predictor_states, self._axes, strict=True)
            ),
            predictor_outputs=state.predictor_outputs[slots],
            labels=state.labels[slots],
            decoded_lengths=state.decoded_lengths[slots],
        )
        hypotheses, new_state = self._computer(encoded, lengths, gathered)
        # The computer's buffers are made for longer audio than a chunk.
        most = encoded.shape[1] * self._computer.max_symbols
        emitted = (
            hypotheses.transcript[:, :most],
            hypotheses.timestamps[:, :most],
            hypotheses.current_lengths,
        )
        return emitted, lambda kept_slots, rows: self._store(new_state, kept_slots, rows)

    def _store(
        self, source: BatchedLabelLoopingState, slots: torch.Tensor, rows: torch.Tensor
    ) -> None:
        state = self._state
        parts = zip(state.predictor_states, source.predictor_states, self._axes, strict=True)
        for kept, new, axis in parts:
            kept.index_copy_(axis, slots, new.index_select(axis, rows))
        state.predictor_outputs[slots] = source.predictor_outputs[rows]
        state.labels[slots] = source.labels[rows]
        state.decoded_lengths[slots] = source.decoded_lengths[rows]


class CtcSlotDecoder:
    """Greedy CTC: the best label of each frame, repeats joined across chunk borders."""

    def __init__(self, log_probs: torch.nn.Module, blank: int, n_slots: int) -> None:
        """Allocate the state of every slot.

        log_probs: encoder frames [n_rows, d_model, n_frames] to [n_rows, n_frames, n_labels].
        """
        self._log_probs = log_probs
        self._blank = blank
        device = next(log_probs.parameters()).device
        self._last_label = torch.full((n_slots,), blank, dtype=torch.int64, device=device)
        self._decoded_frames = torch.zeros(n_slots, dtype=torch.int64, device=device)

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        self._last_label[slot] = self._blank
        self._decoded_frames[slot] = 0

    def decode(
        self, slots: torch.Tensor, encoded: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot."""
        labels = self._log_probs(encoder_output=encoded.transpose(1, 2)).argmax(dim=-1)
        n_rows, n_frames = labels.shape
        last = self._last_label[slots]
        before = torch.cat((last[:, None], labels[:, :-1]), dim=1)
        frame = torch.arange(n_frames, device=labels.device)
        is_token = (labels != before) & (labels != self._blank) & (frame[None] < lengths[:, None])
        # Move each row's tokens to its front, in order.
        order = torch.argsort((~is_token).to(torch.int8), dim=1, stable=True)
        start = self._decoded_frames[slots]
        emitted = (labels.gather(1, order), start[:, None] + frame[order], is_token.sum(dim=1))
        ends = (lengths - 1).clamp(min=0)
        new_last = torch.where(lengths > 0, labels[torch.arange(n_rows), ends], last)

        def keep(kept_slots: torch.Tensor, rows: torch.Tensor) -> None:
            self._last_label[kept_slots] = new_last[rows]
            self._decoded_frames[kept_slots] = (start + lengths)[rows]

        return emitted, keep
