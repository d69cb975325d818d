"""Whether one more live session would make the others late. Pure: time comes in as an argument.

Two questions, both asked of the steps of live chunks as they were measured. How late is it now: how
much of its chunk's duration each row took that was due, waiting included, on average. And would one
more fit: the rows that come in a second, with those of sessions too new to have been measured,
against what the device does in the batches it is quickest with. The first is the truth but comes
after the fact: a queue needs seconds to grow. The second knows before; but it has to guess what
batches cost that are larger than any there was, and where it guesses it only slows a rush down.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from siren_grpc.domain.model import Lane

_MEMORY_S = 2.0
"""Time constant of what was measured: some chunks of every session."""
_PRIOR_ROWS = 3.0
"""The mean begins with as many rows that took no time: a single slow step is no load."""
_RELEASE = 0.75
"""A device that was too slow takes sessions again at this part of the bound: it does not flap."""
_CALM = 0.5
"""Below this part of the bound there is room, whatever a guess says."""
_LEAP_S = 1.0
_LEAST_LEAP = 8
_LEAP_SHARE = 4
"""Sessions that do not fit by a guess, on a calm device: in so many seconds the larger of so many,
and one for each four that are there, may start. Their chunks then show what they cost."""
_NEW = 0.2
"""Weight of a new measurement of a batch size's cost."""


@dataclass(frozen=True, slots=True)
class LaneWork:
    """What a session of a lane brings: a row each `chunk_s`. batch_sizes: as in `LaneLimits`."""

    lane: Lane
    chunk_s: float
    batch_sizes: tuple[int, ...]


@dataclass(slots=True)
class _Decaying:
    """A sum of what was added, that forgets."""

    value: float = 0.0
    at: float = 0.0

    def add(self, amount: float, now: float) -> None:
        self.value, self.at = self.get(now) + amount, now

    def get(self, now: float) -> float:
        return self.value * math.exp(min(0.0, self.at - now) / _MEMORY_S)


@dataclass(slots=True)
class _LaneLoad:
    step_s: dict[int, float] = field(default_factory=dict)
    """What a step takes, by its batch size."""
    due_rows: _Decaying = field(default_factory=_Decaying)
    starts: _Decaying = field(default_factory=_Decaying)
    """As `due_rows` comes to know a new session's rows, this forgets it: together they count it
    once."""

    def note(self, size: int, step_s: float) -> None:
        had = self.step_s.get(size)
        self.step_s[size] = step_s if had is None else had + _NEW * (step_s - had)

    def rows_per_s(self, most: int) -> float:
        """Return the most that batches of up to `most` rows do in a second.

        Larger ones than were seen cost what the two largest that were seen suggest.
        """
        sizes = sorted(size for size in self.step_s if size <= most)
        if not sizes:
            return math.inf
        best = max(size / self.step_s[size] for size in sizes)
        last = sizes[-1]
        slope = 0.0
        if len(sizes) > 1:
            before = sizes[-2]
            slope = max(0.0, self.step_s[last] - self.step_s[before]) / (last - before)
        return max(best, most / (self.step_s[last] + slope * (most - last)))


class Load:
    """Measures live steps, and says who may start. Recordings and previews are not told to it."""

    def __init__(self, *, max_load: float) -> None:
        """Start with an idle device. max_load: in (0, 1], of a chunk's duration; 0 for no bound."""
        self._max_load = max_load
        self._lanes: dict[LaneWork, _LaneLoad] = {}
        self._rows = 0.0
        self._taken = 0.0
        """How much of their chunks' durations these rows took, summed."""
        self._at = 0.0
        self._is_late = False
        self._leaps: deque[float] = deque()

    @property
    def is_bounded(self) -> bool:
        """Whether anybody is ever refused."""
        return self._max_load > 0

    def note_step(
        self, work: LaneWork, n_rows: int, waits_s: Sequence[float], step_s: float, now: float
    ) -> None:
        """Take note of a step of live chunks.

        n_rows: it had. waits_s: of each row that was due when it began, for how long; files that
        are sent ahead of the pace of speech have none, and are no load. step_s: it took.
        """
        lane = self._lanes.setdefault(work, _LaneLoad())
        lane.note(next((size for size in work.batch_sizes if size >= n_rows), n_rows), step_s)
        n_due = len(waits_s)
        lane.due_rows.add(n_due, now)
        keep = self._keep(now)
        self._rows = keep * self._rows + n_due
        self._taken = keep * self._taken + (sum(waits_s) + n_due * step_s) / work.chunk_s
        self._at = now
        level = self._max_load * (_RELEASE if self._is_late else 1.0)
        self._is_late = self.is_bounded and self.taken(now) > level

    def taken(self, now: float) -> float:
        """Return how much of its chunk's duration a row takes, on average over the last seconds.

        Without steps it goes to 0.
        """
        return self._keep(now) * self._taken / (self._rows + _PRIOR_ROWS)

    def is_late(self, now: float) -> bool:
        """Whether no live session may start, whatever its lane. Changes nothing."""
        return self._is_late and self.taken(now) > _RELEASE * self._max_load

    def may_start(
        self, work: LaneWork, n_live: Mapping[Lane, int], *, n_workers: int, now: float
    ) -> bool:
        """Say whether a live session may start, and take note of it if so.

        n_live: the live sessions of each lane that has any. n_workers: steps there may be at once.
        """
        if not self.is_bounded:
            return True
        if self.is_late(now) or not self._fits(work, n_live, n_workers, now):
            return False
        self._lanes.setdefault(work, _LaneLoad()).starts.add(1, now)
        return True

    def _fits(self, work: LaneWork, n_live: Mapping[Lane, int], n_workers: int, now: float) -> bool:
        share = n_sessions = 0.0
        is_guess = False
        for each, lane in self._lanes.items():
            n_speaking = lane.starts.get(now) + lane.due_rows.get(now) / _MEMORY_S * each.chunk_s
            n_of_lane = min(n_speaking, n_live.get(each.lane, 0))
            n_sessions += n_of_lane
            most = each.batch_sizes[-1]
            is_guess = is_guess or most not in lane.step_s
            added = 1 if each == work else 0
            share += (n_of_lane + added) / each.chunk_s / (lane.rows_per_s(most) * n_workers)
        if share <= self._max_load:
            return True
        if not is_guess or self.taken(now) > _CALM * self._max_load:
            return False
        while self._leaps and now - self._leaps[0] > _LEAP_S:
            self._leaps.popleft()
        if len(self._leaps) >= max(_LEAST_LEAP, n_sessions // _LEAP_SHARE):
            return False
        self._leaps.append(now)
        return True

    def _keep(self, now: float) -> float:
        return math.exp(min(0.0, self._at - now) / _MEMORY_S)
