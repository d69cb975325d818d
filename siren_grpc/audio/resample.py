"""Sample-rate conversion of a live stream, the filter's state carried across messages."""

from __future__ import annotations

import numpy as np
import soxr

from siren_grpc.domain.work import Samples


class Resampler:
    """Converts mono audio between two rates; equal rates pass through untouched.

    soxr's streaming resampler gives the same samples however its input is cut, and compensates
    its filter's delay, so sample n of the output is heard at n / to_hertz (promise 3).
    """

    def __init__(self, from_hertz: int, to_hertz: int) -> None:
        """Convert from one rate to another, both in samples per second."""
        self._from_hertz = from_hertz
        self._to_hertz = to_hertz
        self._filter = self._new_filter()

    def _new_filter(self) -> soxr.ResampleStream | None:
        if self._from_hertz == self._to_hertz:
            return None
        return soxr.ResampleStream(
            self._from_hertz, self._to_hertz, 1, dtype="float32", quality="HQ"
        )

    def consumed(self, n_output: int) -> int:
        """Input samples that end at or before the end of n_output output samples."""
        return n_output * self._from_hertz // self._to_hertz

    def produced(self, n_input: int) -> int:
        """Output samples by whose end so many input samples have ended: what `consumed` undoes."""
        return -(-n_input * self._to_hertz // self._from_hertz)

    def push(self, samples: Samples) -> Samples:
        """Convert more audio; what the filter still needs context for comes later.

        samples: [n] float32 at from_hertz. Returns [m] float32 at to_hertz, m may be 0.
        """
        if self._filter is None:
            return samples
        resampled: Samples = self._filter.resample_chunk(samples)
        return resampled

    def flush(self) -> Samples:
        """Return what the filter still held, as if silence followed, and start afresh."""
        if self._filter is None:
            return np.zeros(0, np.float32)
        rest: Samples = self._filter.resample_chunk(np.zeros(0, np.float32), last=True)
        self._filter = self._new_filter()
        return rest
