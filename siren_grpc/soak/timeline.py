"""The audio of a long stream: recordings in random order, pauses, hours of silence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

_PAUSES_S = (0.6, 1.6)
_SILENT_PART_S = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the stream. recording: the index of its recording, None for silence."""

    start_samples: int
    n_samples: int
    recording: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a stream plays. lengths: samples of each recording. silence: from, to, in samples."""

    lengths: tuple[int, ...]
    n_samples: int
    silence: tuple[int, int]
    sample_rate_hertz: int
    seed: int

    def parts(self) -> Iterator[Part]:
        """Yield the parts in order; the silence begins behind the part that reaches it."""
        random = Random(self.seed)
        at = 0
        begin, end = self.silence
        is_over = begin >= end
        while at < self.n_samples:
            if not is_over and at >= begin:
                step = int(_SILENT_PART_S * self.sample_rate_hertz)
                while at < end:
                    length = min(step, end - at)
                    yield Part(at, length, None)
                    at += length
                is_over = True
            recording = random.randrange(len(self.lengths))
            yield Part(at, self.lengths[recording], recording)
            at += self.lengths[recording]
            length = int(random.uniform(*_PAUSES_S) * self.sample_rate_hertz)
            yield Part(at, length, None)
            at += length
