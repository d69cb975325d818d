"""Samples to the chunks a model advances by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siren_grpc.domain.geometry import ChunkGeometry
from siren_grpc.domain.work import Samples


@dataclass(frozen=True, slots=True)
class CutChunk:
    """A stretch of one utterance: its samples, the feature frames they add, and where it stands."""

    samples: Samples
    feature_frames: int
    is_first: bool
    end_samples: int
    """Samples of the utterance up to the chunk's end, padding included."""
    is_last: bool = False


class Chunker:
    """Cuts the audio of one utterance into chunks; concatenated they equal what was pushed."""

    def __init__(self, geometry: ChunkGeometry) -> None:
        """Start at the beginning of an utterance."""
        self._geometry = geometry
        self._held = _SampleQueue()
        self._cut_samples = 0
        self._cut_feature_frames = 0

    @property
    def _is_first(self) -> bool:
        return self._cut_samples == 0

    @property
    def held_samples(self) -> int:
        """Samples of the chunk that is not complete yet."""
        return len(self._held)

    @property
    def held(self) -> Samples:
        """The audio of the chunk that is not complete yet."""
        return self._held.peek()

    @property
    def cut_samples(self) -> int:
        """Samples of the utterance cut so far."""
        return self._cut_samples

    def push(self, samples: Samples) -> list[CutChunk]:
        """Append samples and cut every chunk that is now complete.

        samples: [n_samples] at the model's rate; n_samples may be 0.
        """
        self._held.append(samples)
        chunks = []
        while len(self._held) >= self._geometry.chunk_samples(is_first=self._is_first):
            chunks.append(self._cut_whole())
        return chunks

    def preview(self) -> CutChunk | None:
        """Return the incomplete chunk as far as its feature frames are complete; keep it.

        None while it has no complete feature frame.
        """
        end = self._cut_samples + len(self._held)
        frames = self._geometry.features.complete_feature_frames(end) - self._cut_feature_frames
        if frames <= 0:
            return None
        return CutChunk(self._held.peek(), frames, self._is_first, end)

    def flush(self, *, padding_samples: int) -> list[CutChunk]:
        """End the utterance: cut all that is left, followed by so much silence.

        The silence lets the model finish a word that the audio ends right behind. Returns chunks
        of which the last may be incomplete, and empty if only the right context is left to end;
        starts a new utterance.
        """
        if self._cut_samples + len(self._held) == 0:
            return []
        chunks = self.push(np.zeros(padding_samples, np.float32))
        end = self._cut_samples + len(self._held)
        frames = self._geometry.features.total_feature_frames(end) - self._cut_feature_frames
        is_context_left = self._geometry.right_frames > 0 and not self._is_first
        if frames > 0 or is_context_left:
            held = self._held.peek()
            chunks.append(CutChunk(held, frames, self._is_first, end, is_last=True))
        self.reset()
        return chunks

    def reset(self) -> None:
        """Forget everything pushed and start a new utterance."""
        self._held = _SampleQueue()
        self._cut_samples = 0
        self._cut_feature_frames = 0

    def _cut_whole(self) -> CutChunk:
        is_first = self._is_first
        n_samples = self._geometry.chunk_samples(is_first=is_first)
        frames = self._geometry.feature_frames(is_first=is_first)
        samples = self._held.pop(n_samples)
        self._cut_samples += n_samples
        self._cut_feature_frames += frames
        return CutChunk(samples, frames, is_first, self._cut_samples)


class _SampleQueue:
    """A queue of samples that joins its pieces when they are read: a byte a time is fine."""

    def __init__(self) -> None:
        self._pieces: list[Samples] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, samples: Samples) -> None:
        if len(samples):
            self._pieces.append(samples)
            self._length += len(samples)

    def peek(self) -> Samples:
        if not self._pieces:
            return np.zeros(0, np.float32)
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]

    def pop(self, n_samples: int) -> Samples:
        joined = self.peek()
        self._pieces = [joined[n_samples:]] if len(joined) > n_samples else []
        self._length = len(joined) - n_samples
        return joined[:n_samples]
