"""Which channels of the audio are recognised."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from siren_grpc.audio.format import Block
from siren_grpc.domain.work import Samples

MOST_CHANNELS = 8


class ChannelMode(str, Enum):
    """What becomes of several channels.

    MIX: their mean is recognised. SELECT: one of them. SEPARATE: each, by itself.
    """

    MIX = "mix"
    SELECT = "select"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """The channels of a stream and what to do with them.

    count: 0 for 1 of raw audio, or what the audio itself says. selected: with SELECT, from 0.
    """

    count: int = 0
    mode: ChannelMode = ChannelMode.MIX
    selected: int = 0

    @property
    def n_transcripts(self) -> int:
        """How many channels are recognised, each by itself."""
        return self.count if self.mode is ChannelMode.SEPARATE else 1


def to_heard(block: Block, plan: ChannelPlan) -> Samples:
    """Mix or select. block: [n_samples, n_channels]. Returns [n_samples]; with SEPARATE, block."""
    if plan.mode is ChannelMode.SEPARATE:
        return block
    if plan.mode is ChannelMode.SELECT:
        return block[:, plan.selected]
    if block.shape[1] == 1:
        return block[:, 0]
    mono: Samples = block.mean(axis=1, dtype=block.dtype)
    return mono
