"""Sample-rate conversion of a live stream, the filter's state carried across messages."""

from __future__ import annotations

from math import gcd
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame

from siren_grpc.domain.work import Samples

_TAPS_TO_FEWER = 64
"""Of the filter, at the rate that comes out."""
_CUTOFF = 0.95
"""Where that filter is at half its height, as a share of the band."""
_TAPS_TO_MORE = 96
"""At the rate that comes in, and steeper: it is at half its height where the band ends, whatever
the cutoff. Half of its length is 6 ms at 8 kHz. A cache-aware model's chunk ends 7.5 ms before a
multiple of 20 ms, with which packets end: longer by that, and results would wait for another.
"""
_MOST_PHASE_BITS = 10
"""Ratios with more phases than that (none of usual rates) are met in time nearly, not quite."""


class Resampler:
    """Converts mono audio between two rates; equal rates pass through untouched.

    libswresample's polyphase filter gives the same samples however its input is cut, and makes
    up for its own delay, so sample n of the output is heard at n / to_hertz (promise 3). It holds
    back half its length: 6 ms at 8 kHz, 2 ms at 48 kHz. Resamplers that work in blocks of a Fourier
    transform (soxr) take less time for files, and are a tenth of a second late at 8 kHz.
    """

    def __init__(self, from_hertz: int, to_hertz: int) -> None:
        """Convert from one rate to another, both in samples per second."""
        self._from_hertz = from_hertz
        self._to_hertz = to_hertz
        self._filter = None if from_hertz == to_hertz else _Filter(from_hertz, to_hertz)

    def consumed(self, n_output: int) -> int:
        """Input samples that end at or before the end of n_output output samples."""
        return n_output * self._from_hertz // self._to_hertz

    def produced(self, n_input: int) -> int:
        """Output samples by whose end so many input samples have ended: what `consumed` undoes."""
        return _ceil(n_input * self._to_hertz, self._from_hertz)

    def push(self, samples: Samples) -> Samples:
        """Convert more audio; what the filter still needs context for comes later.

        samples: [n] float32 at from_hertz. Returns [m] float32 at to_hertz, m may be 0.
        """
        return samples if self._filter is None else self._filter.push(samples)

    def flush(self) -> Samples:
        """Return what the filter still held, as if silence followed, and start afresh."""
        if self._filter is None:
            return np.zeros(0, np.float32)
        return self._filter.flush()


class _Filter:
    """libswresample's filter, with silence between one stretch of audio and the next.

    Every stretch begins at phase 0 behind more silence than the filter is long, the first like all
    others. Left to itself libswresample begins and ends with a mirror image of the audio, and of a
    stretch shorter than the filter it gives nothing.
    """

    def __init__(self, from_hertz: int, to_hertz: int) -> None:
        self._hertz = from_hertz
        divisor = gcd(from_hertz, to_hertz)
        self._period, self._n_phases = from_hertz // divisor, to_hertz // divisor
        n_taps = _TAPS_TO_FEWER if from_hertz > to_hertz else _TAPS_TO_MORE
        self._n_silence = 2 * n_taps * _ceil(from_hertz, to_hertz)
        phase_bits = min(_MOST_PHASE_BITS, (self._n_phases - 1).bit_length())
        self._graph = graph = av.filter.Graph()  # PyAV's filters are freed with it
        self._source = graph.add(
            "abuffer",
            sample_rate=str(from_hertz),
            sample_fmt="flt",
            channel_layout="mono",
            time_base=f"1/{from_hertz}",
        )
        options = f"osf=flt:filter_size={n_taps}:cutoff={_CUTOFF}:phase_shift={phase_bits}"
        resample = graph.add("aresample", f"{to_hertz}:{options}")
        self._sink = graph.add("abuffersink")
        self._source.link_to(resample)
        resample.link_to(self._sink)
        graph.configure()
        self._n_input = 0
        # Of the next sample to come out, from the stretch's first; negative in the silence before.
        self._at = 0
        self.flush()

    def push(self, samples: Samples) -> Samples:
        """Convert more of a stretch, shapes and rates as of `Resampler.push`."""
        self._n_input += len(samples)
        return self._convert(samples)

    def flush(self) -> Samples:
        """End the stretch: convert silence, return what of the result belongs to the stretch."""
        n_rest = _ceil(self._n_input * self._n_phases, self._period) - max(0, self._at)
        n_periods = _ceil(self._n_input + self._n_silence, self._period)
        n_zeros = n_periods * self._period - self._n_input
        rest = self._convert(np.zeros(n_zeros, np.float32))[:n_rest]
        self._at -= n_periods * self._n_phases
        self._n_input = 0
        return rest

    def _convert(self, samples: Samples) -> Samples:
        """Convert, and leave out what comes of the silence before the stretch."""
        if not len(samples):
            return samples
        whole = np.ascontiguousarray(samples)  # one channel of several is not
        frame = AudioFrame.from_ndarray(whole[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._hertz
        self._source.push(frame)
        try:
            # The filter makes one frame of each, or none of one that is too short.
            made = cast(AudioFrame, self._sink.pull())
        except av.error.BlockingIOError:
            return np.zeros(0, np.float32)
        converted: Samples = made.to_ndarray()[0]
        n_before = max(0, -self._at)
        self._at += len(converted)
        return converted[n_before:]


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
