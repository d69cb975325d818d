"""What a step costs by the rows of its batch, on a device that others may use too. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_NEW = 0.1
"""Weight of a new step: the last ten or so tell how much longer than alone steps take now."""


class StepCost:
    """What steps took alone, and how much longer they take now.

    Alone: a fixed cost and one for each row. Whatever else the machine does, other streams' other
    work included, makes steps of all sizes longer by about the same factor, so small steps tell
    what large ones would take.
    """

    def __init__(self, alone_s: Mapping[int, float]) -> None:
        """Start with what steps take alone, in seconds by rows, those of padding included.

        alone_s: of the smallest and the largest batch; of one only if there is but one size.
        """
        least, most = min(alone_s), max(alone_s)
        self._per_row_s = 0.0
        if most > least:
            self._per_row_s = max(0.0, alone_s[most] - alone_s[least]) / (most - least)
        self._fixed_s = alone_s[least] - least * self._per_row_s
        self._factor = 1.0

    def note(self, rows: int, step_s: float) -> None:
        """Take note of a step of so many rows, those of padding included."""
        self._factor += _NEW * (step_s / self._alone_s(rows) - self._factor)

    def rows_per_s(self, rows: int) -> float:
        """Return how many rows steps of so many do in a second."""
        return rows / (self._factor * self._alone_s(rows))

    def _alone_s(self, rows: int) -> float:
        return self._fixed_s + self._per_row_s * rows
