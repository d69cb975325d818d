"""Whether a step takes so long that it will not end. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

LOOK_EVERY_S = 1.0
LEAST_SILENT_S = 15.0
"""For how long an import, a large allocation or a machine out of breath may silence a process."""
_LONGEST_GAP_S = 2 * LOOK_EVERY_S


class Verdict(Enum):
    """What is to be done. STUCK: streams need not wait any more. HOPELESS: nor need the process."""

    WELL = "well"
    STUCK = "stuck"
    HOPELESS = "hopeless"


class Watchdog:
    """Judges stamps such as `Heartbeat`'s, looked at every `LOOK_EVERY_S`.

    Only time that was watched counts: a process that was stopped and continued, or a machine that
    slept, finds its steps as young as they were.
    """

    def __init__(self, *, stuck_s: float, exit_s: float) -> None:
        """Start with everything well.

        stuck_s: how long a step may take. exit_s: how much longer the process goes on with one
        that takes longer.
        """
        self._stuck_s = stuck_s
        self._exit_s = exit_s
        self._watched: dict[float, float] = {}
        """How long each stamp has been watched, in seconds."""
        self._looked_at: float | None = None

    @property
    def look_every_s(self) -> float:
        """How often `look` is to be called, in seconds."""
        return min(LOOK_EVERY_S, self._stuck_s / 4)

    def look(self, busy_since: Collection[float], now: float) -> Verdict:
        """Judge what threads have been at since these times."""
        gap = 0.0 if self._looked_at is None else min(now - self._looked_at, _LONGEST_GAP_S)
        self._looked_at = now
        self._watched = {
            since: min(now - since, self._watched.get(since, 0.0) + gap) for since in busy_since
        }
        longest = max(self._watched.values(), default=0.0)
        if longest < self._stuck_s:
            return Verdict.WELL
        return Verdict.STUCK if longest < self._stuck_s + self._exit_s else Verdict.HOPELESS


class Silence:
    """Judges how long nothing was heard of a process, counted in looks at the same pace."""

    def __init__(self, *, silent_s: float, exit_s: float) -> None:
        """Start with a process that was heard. The times: as for `Watchdog`."""
        self._silent_s = silent_s
        self._exit_s = exit_s
        self._n_looks = 0

    def hear(self) -> None:
        """Take note of a sign of life."""
        self._n_looks = 0

    def look(self) -> Verdict:
        """Judge; called every `LOOK_EVERY_S`."""
        self._n_looks += 1
        silent_s = self._n_looks * LOOK_EVERY_S
        if silent_s < self._silent_s:
            return Verdict.WELL
        return Verdict.STUCK if silent_s < self._silent_s + self._exit_s else Verdict.HOPELESS
