"""What waits for the stepper's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_Message = TypeVar("_Message")


class Inbox(Generic[_Message]):
    """A queue that any thread fills and one empties. Sessions bound what they put in."""

    def __init__(self, on_wait: Callable[[], None], on_woken: Callable[[], None]) -> None:
        """Start empty. on_wait, on_woken: called around each wait of the thread that empties it."""
        self._on_wait = on_wait
        self._on_woken = on_woken
        self._messages: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the thread that empties it is to end."""
        return self._is_closed

    def close(self) -> None:
        """Wake the thread that empties it, for the last time."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def put(self, *messages: _Message) -> None:
        """Add messages in order; they are taken together."""
        with self._changed:
            self._messages.extend(messages)
            self._changed.notify()

    def take_all(self, *, wait_s: float | None = 0.0) -> list[_Message]:
        """Return what there is, behind a wait for it of at most wait_s; None for no limit."""
        with self._changed:
            if not self._messages and not self._is_closed and (wait_s is None or wait_s > 0):
                self._on_wait()
                self._changed.wait(wait_s)
                self._on_woken()
            messages = list(self._messages)
            self._messages.clear()
        return messages
