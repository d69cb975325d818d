"""Audio on its way from the thread that hears it to the thread that sends it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator


class AudioQueue(Iterator[bytes]):
    """Stretches of audio in order, at most `max_bytes` of them.

    One thread gives (`offer` or `put`), one iterates; `end` and `fail` may come from
    any, a signal handler of either included. A stretch larger than the bound is taken
    when nothing else is held, so a small bound delays and never blocks for good.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._held: deque[bytes] = deque()
        self._is_ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will be taken."""
        return self._is_ended

    @property
    def fill(self) -> float:
        """How full it is: 0 empty, 1 at the bound."""
        return self._held_bytes / self._max_bytes

    def offer(self, data: bytes) -> bool:
        """Append without waiting; False when there is no room and data was not taken."""
        with self._changed:
            if self._is_ended or not self._has_room(data):
                return False
            self._append(data)
            return True

    def put(self, data: bytes) -> bool:
        """Append as soon as there is room; False when the queue ended before."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended or self._has_room(data))
            if self._is_ended:
                return False
            self._append(data)
            return True

    def end(self) -> None:
        """Take no more; what is held is still given out."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """As `end`, and raise error where the audio would go on. The first one counts."""
        with self._changed:
            if not self._is_ended:
                self._error = error
            self.end()

    def __next__(self) -> bytes:
        """Wait for the next stretch.

        Raises:
            StopIteration: The queue ended and everything was given out.
            Exception: What `fail` was given, at the same point.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._is_ended)
            if self._held:
                data = self._held.popleft()
                self._held_bytes -= len(data)
                self._changed.notify_all()
                return data
            if self._error is not None:
                raise self._error
            raise StopIteration

    def _has_room(self, data: bytes) -> bool:
        return not self._held or self._held_bytes + len(data) <= self._max_bytes

    def _append(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        self._changed.notify_all()
