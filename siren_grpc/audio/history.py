"""The latest audio of a stream, for hearing some of it again."""

from __future__ import annotations

from collections import deque

import numpy as np

from siren_grpc.domain.work import Samples


class History:
    """Samples by their position in the stream; what lies far enough back is forgotten."""

    def __init__(self, *, at_samples: int) -> None:
        """Start empty at a position."""
        self._pieces: deque[Samples] = deque()
        self._start = at_samples
        self._end = at_samples

    def append(self, samples: Samples) -> None:
        """Add the audio that follows."""
        if len(samples):
            self._pieces.append(samples)
            self._end += len(samples)

    def forget_before(self, at_samples: int) -> None:
        """Let go of pieces that end at or before a position."""
        while self._pieces and self._start + len(self._pieces[0]) <= at_samples:
            self._start += len(self._pieces.popleft())

    def since(self, at_samples: int) -> Samples:
        """Return the audio from a position on. Raises AssertionError if it was forgotten."""
        if not self._start <= at_samples <= self._end:
            raise AssertionError(f"position {at_samples} is not in {self._start} to {self._end}")
        if not self._pieces:
            return np.zeros(0, np.float32)
        joined = np.concatenate(list(self._pieces))
        return joined[at_samples - self._start :]
