"""What was sent to one client and may have to be sent again."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Forgotten(LookupError):
    """Results are asked for that were sent too long ago."""


class NeverSent(LookupError):
    """Results are asked for behind one that there never was."""


class DeliveryLog(Generic[T]):
    """The last results of a stream, numbered from 1 on, and the newest partial behind them.

    A result is recorded before it is sent: of one that broke on its way nobody knows whether it
    came.
    """

    def __init__(self, *, max_results: int) -> None:
        """Start empty. max_results: numbered results kept; the oldest is forgotten then."""
        self._max_results = max_results
        self._results: deque[T] = deque()
        self._last_number = 0
        self._partial: T | None = None

    def next_number(self) -> int:
        """Return the number of the next result that has one."""
        return self._last_number + 1

    def record(self, result: T, *, ends_utterance: bool) -> None:
        """Keep a numbered result. ends_utterance: the partials before it are of no use now."""
        self._last_number += 1
        self._results.append(result)
        if len(self._results) > self._max_results:
            self._results.popleft()
        if ends_utterance:
            self._partial = None

    def record_partial(self, partial: T) -> None:
        """Keep a partial in place of the one before."""
        self._partial = partial

    def since(self, number: int) -> list[T]:
        """Return what follows a result: those numbered higher, and the newest partial.

        number: 0 for everything. Raises Forgotten when that is not all here, and NeverSent when
        there was no such result.
        """
        n_missing = self._last_number - number
        if number < 0 or n_missing < 0:
            raise NeverSent(f"result {number} of {self._last_number}")
        if n_missing > len(self._results):
            raise Forgotten(f"result {number} of {self._last_number}")
        missing = [self._results[-i] for i in range(n_missing, 0, -1)]
        return missing if self._partial is None else [*missing, self._partial]
