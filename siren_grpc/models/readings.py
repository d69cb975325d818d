"""The readings of an utterance: its encoder frames, kept by slot, and a beam search over them.

The search is NeMo's own batched one: modified ALSD for RNNT and TDT (Saon et al., 2020), prefix
beam search for CTC.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from nemo.collections.asr.parts.submodules.ctc_batched_beam_decoding import BatchedBeamCTCComputer
from nemo.collections.asr.parts.submodules.rnnt_malsd_batched_computer import (
    ModifiedALSDBatchedRNNTComputer,
)
from nemo.collections.asr.parts.submodules.tdt_malsd_batched_computer import (
    ModifiedALSDBatchedTDTComputer,
)

from siren_grpc.domain.model import DecoderKind
from siren_grpc.domain.readings import FrameSpan, Reading
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Chunk

_MOST_FRAMES = 750
"""Kept of a session: a minute at 80 ms. A longer utterance has no other readings."""
_LEAST_BEAM = 4

Computer = Callable[[torch.Tensor, torch.Tensor], Any]
"""computer(encoded [1, n_frames, d_model], lengths [1]) makes NeMo's `BatchedBeamHyps`."""


class SlotFrames:
    """The last encoder frames of each slot whose session asked for readings.

    A slot's steps may run in another thread than the rest, but never two things of one slot that
    add frames.
    """

    def __init__(self, n_slots: int) -> None:
        """Keep nothing yet."""
        self._logs = [_Log() for _ in range(n_slots)]

    def clear(self, slot: int) -> None:
        """Forget all frames of a slot: its session is another, or none."""
        self._logs[slot] = _Log()

    def restart(self, slot: int) -> None:
        """Count from 0 in a new state: the slot's recognition starts afresh."""
        self._logs[slot].restart()

    def push(self, slot: int, encoded: torch.Tensor) -> None:
        """Keep the frames of a chunk: [n_frames, d_model]."""
        self._logs[slot].push(encoded)

    def push_step(
        self, rows: Sequence[StepRow], encoded: torch.Tensor, lengths: torch.Tensor
    ) -> None:
        """Keep the frames of a step's chunks, of the sessions that ask for it.

        encoded: [at least len(rows), n_encoder_frames, d_model], of which `lengths`, int64, count.
        """
        keeping = [
            i for i, row in enumerate(rows) if row.keeps_frames and isinstance(row.work, Chunk)
        ]
        if keeping:
            ends = lengths.tolist()  # one wait for the device, not one for each row
            for i in keeping:
                self.push(rows[i].slot, encoded[i, : ends[i]])

    def take(self, slot: int, span: FrameSpan) -> torch.Tensor | None:
        """Return frames [n_frames, d_model], and forget those before the span's end.

        None when they are no longer there, or none.
        """
        return self._logs[slot].take(span)


class _Log:
    def __init__(self) -> None:
        self._state = 0
        self._n_frames = 0
        # A step may add frames while others are taken, each of which is one operation of a deque.
        self._frames: deque[tuple[int, int, torch.Tensor]] = deque(maxlen=_MOST_FRAMES)
        """State, number in it, and the frame [d_model]."""

    def restart(self) -> None:
        self._state += 1
        self._n_frames = 0

    def push(self, encoded: torch.Tensor) -> None:
        # A copy: a view would keep the whole batch.
        for frame in encoded.clone():
            self._frames.append((self._state, self._n_frames, frame))
            self._n_frames += 1

    def take(self, span: FrameSpan) -> torch.Tensor | None:
        behind = math.inf if span.behind is None else span.behind
        kept = tuple(self._frames)
        while self._frames and self._frames[0][:2] < (span.state, behind):
            self._frames.popleft()
        taken = [
            (number, frame)
            for state, number, frame in kept
            if state == span.state and span.first <= number < behind
        ]
        if not taken or taken[0][0] != span.first:
            return None  # its beginning was dropped
        return torch.stack([frame for _, frame in taken])


class Readings:
    """What a model needs to read utterances again. Only `search` may be called from any thread.

    One search at a time.
    """

    def __init__(
        self, frames: SlotFrames, make: Mapping[DecoderKind, Callable[[int], Computer]]
    ) -> None:
        """make: returns the computer of a decoder for a beam's size."""
        self.frames = frames
        self._make = make
        self._computers: dict[tuple[DecoderKind, int], Computer] = {}

    def take(self, slot: int, span: FrameSpan) -> torch.Tensor | None:
        """Return a slot's frames, as `SlotFrames.take`."""
        return self.frames.take(slot, span)

    def clear(self, slot: int) -> None:
        """Forget a slot's frames."""
        self.frames.clear(slot)

    def search(self, decoder: DecoderKind, frames: torch.Tensor, most: int) -> list[Reading]:
        """Return the likeliest readings of frames [n_frames, d_model], the best first.

        most: how many, beside the best. Phrases have no say in it.
        """
        beam = max(_LEAST_BEAM, most + 1)
        with torch.inference_mode():
            computer = self._computers.get((decoder, beam))
            if computer is None:
                computer = self._computers[decoder, beam] = self._make[decoder](beam)
            lengths = torch.tensor([len(frames)], device=frames.device)
            hypotheses = computer(frames[None], lengths)
            (found,) = hypotheses.to_nbest_hyps_list(score_norm=False)
        readings = [
            Reading(tuple(hypothesis.y_sequence.tolist()), float(hypothesis.score))
            for hypothesis in found.n_best_hypotheses
        ]
        return sorted(readings, key=lambda reading: -reading.log_prob)


def readings_of(
    model: Any, kinds: Mapping[DecoderKind, object], *, n_slots: int, max_symbols: int
) -> Readings:
    """Return what reads utterances of a model again. kinds: its decoders."""

    def rnnt(beam: int) -> Computer:
        computer = ModifiedALSDBatchedRNNTComputer(**_transducer(beam))
        return lambda encoded, lengths: computer(encoded, lengths)[0]

    def tdt(beam: int) -> Computer:
        computer = ModifiedALSDBatchedTDTComputer(
            **_transducer(beam), durations=model.decoding.durations
        )
        return lambda encoded, lengths: computer(encoded, lengths)[0]

    def ctc(beam: int) -> Computer:
        head = getattr(model, "ctc_decoder", None) or model.decoder
        computer = BatchedBeamCTCComputer(
            blank_index=head.num_classes_with_blank - 1,
            beam_size=beam,
            return_best_hypothesis=False,
            allow_cuda_graphs=False,
        )
        return lambda encoded, lengths: computer(
            head(encoder_output=encoded.transpose(1, 2)), lengths
        )

    def _transducer(beam: int) -> dict[str, Any]:
        # No graphs: each utterance has another length.
        return {
            "decoder": model.decoder,
            "joint": model.joint,
            "blank_index": model.decoder.blank_idx,
            "beam_size": beam,
            "max_symbols_per_step": max_symbols,
            "allow_cuda_graphs": False,
        }

    makers = {DecoderKind.RNNT: rnnt, DecoderKind.TDT: tdt, DecoderKind.CTC: ctc}
    return Readings(SlotFrames(n_slots), {kind: makers[kind] for kind in kinds})
