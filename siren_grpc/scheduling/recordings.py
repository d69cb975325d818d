"""How much of a device recordings get while live streams want all of it. Pure."""

from __future__ import annotations

_SHARE = 0.05
"""Of the time: enough for a recording to end some day, too little for live streams to notice."""
_LIVE_PER_RECORDING = (1 - _SHARE) / _SHARE


class RecordingShare:
    """A floor: recordings that have waited long enough go before live streams, for one step.

    After stride scheduling (Waldspurger and Weihl, 1995) with two clients: behind a step of
    recordings live ones may take 19 times as long, then a step of recordings is due.
    """

    def __init__(self) -> None:
        """Start without a recording."""
        self._waiting_since: float | None = None
        self._step_s = 0.0
        """How long the last step of recordings took; the first is not waited for."""

    def is_due(self, now: float, *, are_waiting: bool) -> bool:
        """Return whether recordings go next, whatever else waits.

        are_waiting: whether there are any that could be stepped; the time before does not count.
        """
        if not are_waiting:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since >= _LIVE_PER_RECORDING * self._step_s

    def note_step(self, began_at: float, ended_at: float) -> None:
        """Take note of a step of recordings: the next is not due for a while."""
        self._step_s = ended_at - began_at
        self._waiting_since = ended_at
