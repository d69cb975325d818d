"""Mel features of live streams, batched and incremental.

Frame for frame what NeMo's `FilterbankFeatures` computes on the whole recording at once: the
windows that straddle two chunks are completed from the samples kept of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nemo.collections.asr.parts.preprocessing.features import FilterbankFeatures

from siren_grpc.domain.geometry import FeatureGeometry
from siren_grpc.domain.work import AudioWork


class StreamingFeatures:
    """Computes the new feature frames of a batch of streams.

    One row of `tail` per slot holds the last samples of its stream: enough for the windows that
    begin before the next chunk, and one more for the pre-emphasis filter.
    """

    def __init__(
        self, featurizer: FilterbankFeatures, geometry: FeatureGeometry, *, n_slots: int
    ) -> None:
        """Stream with a model's own window, filter bank and log guard.

        Raises ValueError for a featurizer whose frames depend on the whole recording.
        """
        if featurizer.exact_pad:
            raise ValueError("features with exact_pad cannot be streamed frame for frame")
        if featurizer.normalize not in (None, "", "NA", "None"):
            raise ValueError(
                f"features normalised by {featurizer.normalize!r} need the whole recording; "
                "cache-aware streaming models are trained with normalize: NA"
            )
        if featurizer.frame_splicing != 1:
            raise ValueError("features with frame splicing cannot be streamed")
        self._featurizer = featurizer
        self._hop = geometry.hop_samples
        self._half_window = geometry.half_window_samples
        # Frame a + 1 begins hop - half_window behind the end of frame a's window.
        self._tail_samples = 2 * self._half_window - self._hop + 1
        device = featurizer.fb.device
        self.tail = torch.zeros(n_slots, self._tail_samples, device=device)

    def compute(
        self,
        slots: torch.Tensor,
        works: Sequence[AudioWork],
        *,
        feature_frames: int,
        first_start: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the frames each row's samples complete.

        slots: [n_rows] int64. works: one per row. feature_frames: frames of the longest row's
        whole chunk. first_start: the frame at which those of first chunks begin.
        Returns (features [n_rows, n_mels, feature_frames], zero beside each row's own frames;
        where they end [n_rows] int64; the tails to keep [n_rows, n_tail]).
        """
        span = (feature_frames - 1) * self._hop + 2 * self._half_window
        # Before a stream's first frame half a window of zeros and the pre-emphasis sample.
        first_lead = first_start * self._hop + self._half_window + 1
        # From pinned memory a GPU takes what it is sent while the host goes on.
        is_pinned = self.tail.is_cuda
        wave = torch.zeros(len(works), span + 1, pin_memory=is_pinned)
        ends, frames = [], []
        for row, work in enumerate(works):
            lead = first_lead if work.is_first else self._tail_samples
            kept = work.samples[: span + 1 - lead]
            wave[row, lead : lead + len(kept)] = torch.from_numpy(kept)
            ends.append(lead + len(kept))
            frames.append(work.feature_frames + (first_start if work.is_first else 0))
        is_first = [work.is_first for work in works]
        bounds = torch.tensor([ends, frames, is_first], dtype=torch.int64, pin_memory=is_pinned)
        wave = wave.to(self.tail.device, non_blocking=True)
        end_samples, end, first = bounds.to(self.tail.device, non_blocking=True)
        # A stream that has heard nothing has a tail of zeros, and adds nothing.
        wave[:, : self._tail_samples] += self.tail[slots]
        features = self._log_mel(self._emphasised(wave, end_samples))
        at = torch.arange(feature_frames, device=wave.device)
        beside = at[None] >= end[:, None]
        if first_start:
            beside |= first.bool()[:, None] & (at < first_start)
        features.masked_fill_(beside[:, None], float(self._featurizer.pad_value))
        # Only whole chunks leave a tail that is read again, and they fill the wave to its end.
        return features, end, wave[:, -self._tail_samples :]

    def _emphasised(self, wave: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        """Apply the pre-emphasis filter; samples from each row's end on are zero, as in NeMo."""
        if self._featurizer.preemph is None:
            emphasised = wave[:, 1:]
        else:
            emphasised = wave[:, 1:] - self._featurizer.preemph * wave[:, :-1]
        position = torch.arange(1, wave.shape[1], device=wave.device)
        return emphasised.masked_fill(position[None] >= end[:, None], 0.0)

    def _log_mel(self, wave: torch.Tensor) -> torch.Tensor:
        """Return the log-mel frames [n_rows, n_mels, n_frames] of a wave of whole windows."""
        featurizer = self._featurizer
        margin = featurizer.n_fft // 2 - self._half_window
        spectrum = torch.stft(
            torch.nn.functional.pad(wave, (margin, margin)),
            n_fft=featurizer.n_fft,
            hop_length=featurizer.hop_length,
            win_length=featurizer.win_length,
            window=featurizer.window,
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        # NeMo takes the root and squares it again; all else is in its order.
        if featurizer.mag_power != 2.0:
            power = power.sqrt().pow(featurizer.mag_power)
        mel = torch.matmul(featurizer.fb, power)
        if not featurizer.log:
            return mel
        guard = featurizer.log_zero_guard_value_fn(mel)
        if featurizer.log_zero_guard_type == "add":
            return torch.log(mel + guard)
        return torch.log(torch.clamp(mel, min=guard))
