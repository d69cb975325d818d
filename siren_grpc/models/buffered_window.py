"""The last seconds of many streams, one row a slot: what a buffered model hears again each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from siren_grpc.domain.geometry import BufferedContext
from siren_grpc.domain.work import AudioWork


@dataclass(frozen=True, slots=True)
class NextWindows:
    """The windows of a step's rows with their new audio: what to encode, and what to keep."""

    wave: torch.Tensor
    """[n_rows, context.total_frames * frame_samples] float32, zero behind each row's own audio."""
    filled: torch.Tensor
    """[n_rows] int64: samples of each row's own audio."""
    decoded_frames: torch.Tensor
    """[n_rows] int64: encoder frames at the window's start whose decoding is done."""


class AudioWindows:
    """Holds the audio of each slot from its left context on, without padding before it.

    NeMo's `StreamingBatchedAudioBuffer` for streams that come and go as they like. Where that
    drops just the samples too many, this drops whole encoder frames: the frames of a window stay
    those of the window before it, even when an utterance ends within a frame, so that none is
    decoded twice.
    """

    def __init__(
        self, *, n_slots: int, max_frames: int, frame_samples: int, device: torch.device
    ) -> None:
        """Allocate the windows of every slot.

        max_frames: encoder frames of the widest window. frame_samples: samples of one.
        """
        self._frame_samples = frame_samples
        self.wave = torch.zeros(n_slots, max_frames * frame_samples, device=device)
        self.filled = torch.zeros(n_slots, dtype=torch.int64, device=device)
        self.decoded_frames = torch.zeros_like(self.filled)

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's window."""
        return self.wave[0].nbytes + self.filled[0].nbytes + self.decoded_frames[0].nbytes

    def reset(self, slot: int) -> None:
        """Make a slot's window that of a stream that has heard nothing."""
        self.wave[slot] = 0
        self.filled[slot] = 0
        self.decoded_frames[slot] = 0

    def append(
        self, slots: torch.Tensor, works: Sequence[AudioWork], context: BufferedContext
    ) -> NextWindows:
        """Return each row's window moved on by its new audio, without changing any slot.

        slots: [n_rows] int64. works: one per row, of at most chunk + right context.
        """
        new, n_new = self._packed(works, context)
        width = context.total_frames * self._frame_samples
        filled, decoded = self.filled[slots], self.decoded_frames[slots]
        total = filled + n_new
        frames_over = (total - width).clamp(min=0) + self._frame_samples - 1
        dropped = frames_over.div(self._frame_samples, rounding_mode="floor")
        both = torch.cat((self.wave[slots, :width], new), dim=1)
        position = torch.arange(width, device=both.device)[None]
        source = position + (dropped * self._frame_samples)[:, None]
        # The new audio stands behind the whole width, a row's own may end before that.
        is_new = source >= filled[:, None]
        at = torch.where(is_new, source - filled[:, None] + width, source)
        kept = total - dropped * self._frame_samples
        wave = both.gather(1, at.clamp(max=both.shape[1] - 1))
        wave = wave.masked_fill(position >= kept[:, None], 0.0)
        return NextWindows(wave, kept, decoded - dropped)

    def keep(
        self,
        slots: torch.Tensor,
        windows: NextWindows,
        decoded_frames: torch.Tensor,
        rows: torch.Tensor,
    ) -> None:
        """Store the windows of some rows of a step.

        slots: [n_kept] int64, where to. decoded_frames: [n_rows], those the step's decoding has
        added to. rows: [n_kept] int64, which rows of the step.
        """
        self.wave[slots, : windows.wave.shape[1]] = windows.wave[rows]
        self.filled[slots] = windows.filled[rows]
        self.decoded_frames[slots] = decoded_frames[rows]

    def _packed(
        self, works: Sequence[AudioWork], context: BufferedContext
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the new samples [n_rows, most a step adds] and how many each row has."""
        most = (context.chunk_frames + context.right_frames) * self._frame_samples
        packed = torch.zeros(len(works), most)
        for row, work in enumerate(works):
            packed[row, : len(work.samples)] = torch.from_numpy(work.samples)
        lengths = torch.tensor([len(work.samples) for work in works])
        return packed.to(self.wave.device), lengths.to(self.wave.device)
