"""The work of one session that is under way, and where it spent its time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic

from siren_grpc.domain.work import Chunk, EndUtterance, Marker, Preview, Work
from siren_grpc.engine.messages import Failed, Recognised
from siren_grpc.observe.instruments import Histogram

_MOST_RESTS = 3
"""Previews rest for at most two to this power, less one, chunks: seven."""


@dataclass(slots=True)
class Timing:
    """Where a session's chunks spent their time, summed up.

    steps: in how many steps. queue_s: waiting for them, and on the way. step_s: in them.
    """

    steps: int = 0
    queue_s: float = 0.0
    step_s: float = 0.0


class Backlog:
    """Enters work as it is submitted, and takes it off as the stepper has done it, in order."""

    def __init__(self, queue_delay: Histogram | None = None) -> None:
        """Start with nothing under way. queue_delay: counts how long each chunk waits."""
        self.timing = Timing()
        self.n_samples = 0
        """Audio submitted that is not recognised yet."""
        self.processed_samples = 0
        """Audio recognised so far, from the beginning of the stream."""
        self.heard_at = 0.0
        """When the newest audio came that was recognised, by `time.monotonic`."""
        self._queue_delay = queue_delay
        self._chunks: deque[tuple[int, float]] = deque()
        """Of each chunk: its samples, and when it came."""
        self._ends: deque[float] = deque()
        """When the ends of utterances came."""
        self._is_preview_due = False
        """A preview went out since the last chunk, and nothing has come of it."""
        self._preview_came_at = 0.0
        self._n_in_vain = 0
        """How many of the last previews nothing came of, up to `_MOST_RESTS`."""
        self._n_resting = 0
        """Chunks that get no preview."""

    @property
    def has_chunks(self) -> bool:
        """Whether a chunk is under way."""
        return bool(self._chunks)

    @property
    def n_ends(self) -> int:
        """Ends of utterances that are under way."""
        return len(self._ends)

    @property
    def oldest_chunk_at(self) -> float | None:
        """When the oldest chunk came that is not recognised yet; None when there is none."""
        return self._chunks[0][1] if self._chunks else None

    def enter(self, item: Work, came_at: float) -> bool:
        """Take note of work that came at a time; False for a preview that is one too many.

        A busy stepper drops previews; to bring it more would only keep it busier. The more of
        them were in vain, the longer none follows.
        """
        if isinstance(item, Preview):
            if self._is_preview_due or self._n_resting:
                return False
            self._is_preview_due = True
            self._preview_came_at = came_at
        elif isinstance(item, Chunk):
            if self._is_preview_due:
                self._is_preview_due = False
                self._n_in_vain = min(self._n_in_vain + 1, _MOST_RESTS)
                self._n_resting = (1 << self._n_in_vain) - 1
            elif self._n_resting:
                self._n_resting -= 1
            self._chunks.append((len(item.samples), came_at))
            self.n_samples += len(item.samples)
        elif isinstance(item, EndUtterance):
            self._ends.append(came_at)
        return True

    def settle(self, outcome: Recognised | Failed | Marker) -> float | None:
        """Take work off; return when what it needed came, of a chunk and of an utterance's end."""
        if isinstance(outcome, EndUtterance):
            return self._ends.popleft()
        if isinstance(outcome, Recognised) and not isinstance(outcome.work, Chunk):
            self._is_preview_due = False
            self._n_in_vain = self._n_resting = 0
            self.heard_at = self._preview_came_at
        if not isinstance(outcome, (Recognised, Failed)) or not isinstance(outcome.work, Chunk):
            return None
        n_samples, came_at = self._chunks.popleft()
        self.n_samples -= n_samples
        if isinstance(outcome, Recognised):
            queue_s = max(0.0, monotonic() - came_at - outcome.step_s)
            self.timing.steps += 1
            self.timing.step_s += outcome.step_s
            self.timing.queue_s += queue_s
            if self._queue_delay is not None:
                self._queue_delay.observe(queue_s)
            self.heard_at = came_at
            self.processed_samples = outcome.work.end_samples
        return came_at
