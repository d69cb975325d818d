"""A double that recognises nothing: text from checksums, silence where samples are zero."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from siren_grpc.domain.model import Lane
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk
from tests.support.arithmetic_backend import ArithmeticBackend

_FEATURE_FRAMES = 8
"""In an encoder frame."""


class HistoryBackend(ArithmeticBackend):
    """Two tokens for each encoder frame's worth of sound, which depend on all heard before.

    A chunk of zeros gives none: endpoints are found there. One with a poisoned sample fails.
    """

    def reset_slot(self, slot: int) -> None:
        super().reset_slot(slot)
        self._frames[slot] = 0

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        if any((row.work.samples == -1.0).any() for row in rows):
            raise ValueError("poisoned")
        return [self._step(row) for row in rows]

    def _step(self, row: StepRow) -> StepResult:
        work = row.work
        n_frames = -(-work.feature_frames // _FEATURE_FRAMES)
        first = self._frames[row.slot]
        state = zlib.crc32(work.samples.tobytes(), self._state[row.slot])
        if isinstance(work, Chunk):
            self._state[row.slot] = state
            self._frames[row.slot] += n_frames
        if n_frames == 0 or not work.samples.any():
            return StepResult((), ())
        tokens = (26 + state % 26, state // 26 % 26)
        return StepResult(tokens, (first, first + n_frames - 1))
