"""What waits to be sent to one client."""

from __future__ import annotations

from collections import deque

from siren_grpc.domain.results import Partial, Result


class Outbox:
    """Finals and events in order, and the newest partial (promise 5).

    A partial replaces the unsent one before it, so only results that must not be lost grow the
    queue; `is_full` asks the caller to take no more audio until the client has read.
    """

    def __init__(self, *, max_results: int) -> None:
        """Bound the queue.

        max_results: results waiting from which on `is_full` is true. Work that is already under
        way may still add to them: nothing is dropped.
        """
        self._max_results = max_results
        self._results: deque[Result] = deque()

    @property
    def is_full(self) -> bool:
        """Whether the client reads too slowly to take more audio from it."""
        return len(self._results) >= self._max_results

    def put(self, result: Result) -> None:
        """Queue a result behind the others, in place of an unsent partial just before it."""
        if isinstance(result, Partial) and self._results:
            last = self._results[-1]
            if isinstance(last, Partial):
                self._results.pop()
        self._results.append(result)

    def take(self) -> Result | None:
        """Return the oldest result, or None when there is none."""
        return self._results.popleft() if self._results else None
