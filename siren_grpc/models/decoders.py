"""Greedy decoders with one slot of state per session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from nemo.collections.asr.parts.submodules.transducer_decoding.label_looping_base import (
    BatchedLabelLoopingState,
)

from siren_grpc.domain.step import StepTiming
from siren_grpc.models.biasing import RowTrees
from siren_grpc.models.ctc_phrases import CtcPhrases
from siren_grpc.models.token_timing import FoundTokens, ctc_timing, transducer_timing
from siren_grpc.models.transducer_phrases import LabelLoopingComputer, TransducerPhrases

Keep = Callable[[torch.Tensor, torch.Tensor], None]
"""keep(slots [n_kept], rows [n_kept]) stores the state of some rows of a decoded step."""
Emitted = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids [n_rows, n_max], the encoder frame of each since reset, and how many count [n_rows]."""


class SlotDecoder(Protocol):
    """Decodes encoder frames of a batch of slots."""

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's state."""
        ...

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        ...

    def decode(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot.

        slots: [n_rows] int64. encoded: [n_rows, n_encoder_frames, d_model]. lengths: [n_rows].
        trees: the phrases to prefer; None when no row has any.
        """
        ...

    def decode_with_tail(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        tail_lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Emitted, Keep]:
        """Decode a chunk of each row and, beyond it, its right context, changing no slot.

        encoded: [n_rows, n_encoder_frames, d_model], of which `lengths` [n_rows] are the chunk's
        and the `tail_lengths` [n_rows] behind them the right context's. Returns what the chunk
        and what the right context emit; only the chunk's state is for keeping.
        """
        ...

    def timing(
        self, slots: torch.Tensor, encoded: torch.Tensor, found: Sequence[FoundTokens]
    ) -> list[StepTiming]:
        """Tell of the tokens of a step when they end; see `token_timing`. Before it is kept."""
        ...


class TransducerSlotDecoder:
    """Greedy RNNT or TDT: NeMo's label-looping computer with the state in slot-indexed tensors.

    The state of TDT has one part more: how far its last token's duration reaches over the border.
    A batch in which any row has phrases is decoded by a computer of its own, which asks their
    trees at each label; rows without phrases add zeros there.
    """

    def __init__(
        self,
        computer: LabelLoopingComputer,
        d_model: int,
        n_slots: int,
        phrases: TransducerPhrases | None = None,
    ) -> None:
        """Allocate the state of every slot: that which the start-of-sequence symbol leaves."""
        self._computer = computer
        self._phrases = phrases
        device = next(computer.joint.parameters()).device
        dtype = next(computer.joint.parameters()).dtype

        def initial(n_rows: int) -> BatchedLabelLoopingState:
            # Decoding no frames leaves just the state after the start symbol.
            nothing = torch.zeros(n_rows, 1, d_model, device=device, dtype=dtype)
            no_frames = torch.zeros(n_rows, dtype=torch.int64, device=device)
            # As plain torch: a CUDA graph for so many rows would be kept, and filled at each step.
            return computer.torch_impl(nothing, no_frames)[1]

        self._initial = initial(1)
        # The predictor's state has its batch axis first (stateless) or second (LSTM layers).
        self._axes = [
            next(i for i in range(one.dim()) if one.shape[i] != two.shape[i])
            for one, two in zip(
                self._initial.predictor_states, initial(2).predictor_states, strict=True
            )
        ]
        self._state = initial(n_slots)

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's state."""
        state = self._state
        parts = [*state.predictor_states, state.predictor_outputs, state.labels]
        parts += [state.decoded_lengths, *([] if state.time_jumps is None else [state.time_jumps])]
        return sum(part.nbytes for part in parts) // len(state.labels)

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        at = torch.tensor([slot], device=self._state.labels.device)
        first = torch.zeros_like(at)
        self._store(self._initial, at, first)

    def decode(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot."""
        emitted, new_state = self._decode(encoded, lengths, self._gather(slots, trees), trees)
        return emitted, lambda kept_slots, rows: self._store(new_state, kept_slots, rows)

    def decode_with_tail(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        tail_lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Emitted, Keep]:
        """Decode a chunk of each row and, beyond it, its right context, changing no slot."""
        emitted, new_state = self._decode(encoded, lengths, self._gather(slots, trees), trees)
        ahead = frames_from(encoded, lengths, encoded.shape[1])
        # NeMo moves the phrases' states on in place, and those behind the chunk are to be kept.
        in_phrases = [states.clone() for states in new_state.fusion_states_list]
        beyond = replace(new_state, fusion_states_list=in_phrases)
        tail, _ = self._decode(ahead, tail_lengths, beyond, trees)
        return emitted, tail, lambda kept_slots, rows: self._store(new_state, kept_slots, rows)

    def timing(
        self, slots: torch.Tensor, encoded: torch.Tensor, found: Sequence[FoundTokens]
    ) -> list[StepTiming]:
        """Tell of the tokens of a step when they end and how certain they are."""
        return transducer_timing(self._computer, self._gather(slots, None), encoded, found)

    def _decode(
        self,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        state: BatchedLabelLoopingState,
        trees: RowTrees | None,
    ) -> tuple[Emitted, BatchedLabelLoopingState]:
        computer, ids = self._computer, None
        if self._phrases is not None and trees is not None:
            computer, ids = self._phrases.computer, trees.ids
        try:
            hypotheses, new_state = computer(encoded, lengths, state, ids)
        except Exception:
            # A graph that found no memory half-way would be replayed on buffers of another size.
            computer.reset_cuda_graphs_state()
            raise
        # The computer's buffers are made for larger batches and longer audio than a chunk.
        n_rows, most = encoded.shape[0], encoded.shape[1] * self._computer.max_symbols
        emitted = (
            hypotheses.transcript[:n_rows, :most],
            hypotheses.timestamps[:n_rows, :most],
            hypotheses.current_lengths[:n_rows],
        )
        return emitted, new_state

    def _gather(self, slots: torch.Tensor, trees: RowTrees | None) -> BatchedLabelLoopingState:
        state = self._state
        jumps = state.time_jumps
        return BatchedLabelLoopingState(
            predictor_states=type(state.predictor_states)(
                part.index_select(axis, slots)
                for part, axis in zip(state.predictor_states, self._axes, strict=True)
            ),
            predictor_outputs=state.predictor_outputs[slots],
            labels=state.labels[slots],
            decoded_lengths=state.decoded_lengths[slots],
            fusion_states_list=(
                [] if self._phrases is None or trees is None else [self._phrases.of(slots)]
            ),
            time_jumps=None if jumps is None else jumps[slots],
        )

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
        if state.time_jumps is not None:
            state.time_jumps[slots] = source.time_jumps[rows]
        if self._phrases is not None and source.fusion_states_list:
            self._phrases.keep(slots, source.fusion_states_list[0][rows])


class CtcSlotDecoder:
    """Greedy CTC: the best label of each frame, repeats joined across chunk borders."""

    def __init__(
        self,
        log_probs: torch.nn.Module,
        blank: int,
        n_slots: int,
        phrases: CtcPhrases | None = None,
    ) -> None:
        """Allocate the state of every slot.

        log_probs: encoder frames [n_rows, d_model, n_frames] to [n_rows, n_frames, n_labels].
        """
        self._log_probs = log_probs
        self._blank = blank
        self._phrases = phrases
        device = next(log_probs.parameters()).device
        self._last_labels = torch.full((n_slots, 2), blank, dtype=torch.int64, device=device)
        """Of each slot's last frame: its label, and the one it would have without phrases."""
        self._decoded_frames = torch.zeros(n_slots, dtype=torch.int64, device=device)

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's state."""
        return self._last_labels[0].nbytes + self._decoded_frames[0].nbytes

    def reset(self, slot: int) -> None:
        """Make a slot's state that of a stream that has heard nothing."""
        self._last_labels[slot] = self._blank
        self._decoded_frames[slot] = 0

    def decode(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Keep]:
        """Decode a chunk of each row without changing any slot."""
        no_tail = torch.zeros_like(lengths)
        emitted, _, keep = self.decode_with_tail(slots, encoded, lengths, no_tail, trees)
        return emitted, keep

    def decode_with_tail(
        self,
        slots: torch.Tensor,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        tail_lengths: torch.Tensor,
        trees: RowTrees | None = None,
    ) -> tuple[Emitted, Emitted, Keep]:
        """Decode a chunk of each row and, beyond it, its right context, changing no slot."""
        log_probs = self._log_probs(encoder_output=encoded.transpose(1, 2))
        heard = log_probs.argmax(dim=-1)
        n_rows, n_frames = heard.shape
        last = self._last_labels[slots]
        labels, states = heard, None
        if self._phrases is not None and trees is not None:
            labels, states = self._phrases.prefer(slots, log_probs, heard, last, trees)
        before = torch.cat((last[:, :1], labels[:, :-1]), dim=1)
        frame = torch.arange(n_frames, device=labels.device)[None]
        is_token = (labels != before) & (labels != self._blank)
        is_chunk = frame < lengths[:, None]
        is_tail = ~is_chunk & (frame < (lengths + tail_lengths)[:, None])
        start = self._decoded_frames[slots]
        emitted = _picked(labels, start, is_token & is_chunk)
        tail = _picked(labels, start, is_token & is_tail)
        ends = (lengths - 1).clamp(min=0)
        rows_at = torch.arange(n_rows, device=labels.device)
        at_end = torch.stack((labels[rows_at, ends], heard[rows_at, ends]), dim=1)
        new_last = torch.where(lengths[:, None] > 0, at_end, last)

        def keep(kept_slots: torch.Tensor, rows: torch.Tensor) -> None:
            self._last_labels[kept_slots] = new_last[rows]
            self._decoded_frames[kept_slots] = (start + lengths)[rows]
            if self._phrases is not None and states is not None:
                at = states[rows_at, ends]
                behind = torch.where(lengths > 0, at, self._phrases.of(slots))
                self._phrases.keep(kept_slots, behind[rows])

        return emitted, tail, keep

    def timing(
        self, slots: torch.Tensor, encoded: torch.Tensor, found: Sequence[FoundTokens]
    ) -> list[StepTiming]:
        """Tell of the tokens of a step when they end and how certain they are."""
        log_probs = self._log_probs(encoder_output=encoded.transpose(1, 2))
        last, decoded = self._last_labels[slots, 0], self._decoded_frames[slots]
        return ctc_timing(log_probs, last, decoded, self._blank, found)


def _picked(labels: torch.Tensor, start: torch.Tensor, is_token: torch.Tensor) -> Emitted:
    """Move each row's tokens to its front, in order. start: [n_rows], of the frames' count."""
    order = torch.argsort((~is_token).to(torch.int8), dim=1, stable=True)
    return labels.gather(1, order), start[:, None] + order, is_token.sum(dim=1)


def frames_from(encoded: torch.Tensor, starts: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Return n_frames frames [n_rows, n_frames, d_model] of each row from its own start on.

    Behind a row's end its last frame is repeated; its length is to say that they do not count.
    """
    at = starts[:, None] + torch.arange(n_frames, device=encoded.device)[None]
    at = at.clamp(max=encoded.shape[1] - 1)[:, :, None].expand(-1, -1, encoded.shape[2])
    return encoded.gather(1, at)
