"""RNNT and TDT decoding that prefers phrases."""

from __future__ import annotations

from typing import TypeAlias

import torch
from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
    GreedyBatchedRNNTLabelLoopingComputer,
)
from nemo.collections.asr.parts.submodules.transducer_decoding.tdt_label_looping import (
    GreedyBatchedTDTLabelLoopingComputer,
)

from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.phrase_arena import can_use_triton

LabelLoopingComputer: TypeAlias = (
    GreedyBatchedRNNTLabelLoopingComputer | GreedyBatchedTDTLabelLoopingComputer
)


class TransducerPhrases:
    """What an RNNT or TDT decoder prefers phrases with."""

    def __init__(self, computer: LabelLoopingComputer, phrases: SlotPhrases) -> None:
        """Give a computer that nothing else uses the phrases' trees."""
        if not can_use_triton(phrases.device):
            computer.disable_cuda_graphs()  # they hold no loops such as it asks the trees with then
        self._computer = computer
        self._phrases = phrases

    @property
    def computer(self) -> LabelLoopingComputer:
        """The computer that asks the trees."""
        self._computer.biasing_multi_model = self._phrases.arena
        return self._computer

    def of(self, slots: torch.Tensor) -> torch.Tensor:
        """Return where in their trees the slots are, those without one at 0."""
        return self._phrases.states[slots]

    def keep(self, slots: torch.Tensor, states: torch.Tensor) -> None:
        """Store where they are now. states: [n_slots], -1 for those without a tree."""
        self._phrases.states[slots] = states.clamp(min=0)
