"""Whether one more live session would make the others late. Pure: time comes in as an argument.

Two questions, both asked of the steps of live chunks as they were measured. How late is it now: how
much of its chunk's duration each row took, waiting included, on average. And would one more fit:
the rows that come in a second, with those of sessions too new to have been measured, against what
the device does in its largest batches. The first is the truth but comes after the fact: a queue
needs seconds to grow. The second knows before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from siren_grpc.domain.model import Lane
from siren_grpc.scheduling.step_cost import StepCost

_MEMORY_S = 2.0
"""Time constant of what was measured: some chunks of every session."""
_PRIOR_ROWS = 3.0
"""The mean begins with as many rows that took no time: a single slow step is no load."""
_RELEASE = 0.75
"""A device that was too slow takes sessions again at this part of the bound: it does not flap."""
_CAUTION = 1.5
"""Rows to reckon with from a session of which none was measured. A rush makes the machine slower,
by messages and whatever comes with them, and that shows only when all are there."""


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
    work: LaneWork
    cost: StepCost | None = None
    """None if nothing was expected: then only lateness keeps sessions of the lane out."""
    rows: _Decaying = field(default_factory=_Decaying)
    n_known: float = 0.0
    """Of how many of the live sessions `rows` tells: it follows their number as slowly."""
    known_at: float = 0.0

    def n_rows(self, n_live: int, now: float) -> float:
        """Return how many rows to reckon with in a chunk's duration from so many sessions.

        Not all of them speak, and ends of utterances bring rows of their own: it is what was
        measured, and more than one from each session whose rows are still to come.
        """
        measured = self.rows.get(now) / _MEMORY_S * self.work.chunk_s
        return measured + _CAUTION * max(0.0, n_live - self._known(n_live, now))

    def note_live(self, n_live: int, now: float) -> None:
        self.n_known, self.known_at = self._known(n_live, now), now

    def _known(self, n_live: int, now: float) -> float:
        # A session's first row comes a chunk after it.
        slowness_s = _MEMORY_S + self.work.chunk_s
        keep = math.exp(min(0.0, self.known_at - now) / slowness_s)
        return n_live + keep * (self.n_known - n_live)


class Load:
    """Measures live steps, and says who may start. Recordings and previews are not told to it."""

    def __init__(self, *, max_load: float) -> None:
        """Start with an idle device. max_load: in (0, 1], of a chunk's duration; 0 for no bound."""
        self._max_load = max_load
        self._lanes: dict[Lane, _LaneLoad] = {}
        self._rows = 0.0
        self._taken = 0.0
        """How much of their chunks' durations these rows took, summed."""
        self._at = 0.0
        self._is_late = False

    @property
    def is_bounded(self) -> bool:
        """Whether anybody is ever refused."""
        return self._max_load > 0

    def expect(self, work: LaneWork, alone_s: Mapping[int, float]) -> None:
        """Take note of what a lane's steps take alone: `alone_s` as for `StepCost`."""
        self._lanes[work.lane] = _LaneLoad(work, StepCost(alone_s))

    def forget(self, model: str) -> None:
        """Forget the lanes of a model that has no sessions and gets no more."""
        self._lanes = {lane: load for lane, load in self._lanes.items() if lane.model != model}

    def note_step(
        self, work: LaneWork, n_rows: int, waits_s: Sequence[float], step_s: float, now: float
    ) -> None:
        """Take note of a step of live chunks.

        n_rows: it had. waits_s: of each row that was not early, for how long it was due when it
        began; files that are sent ahead of the pace of speech have none, and are no load. step_s:
        it took.
        """
        lane = self._lane(work)
        size = next((size for size in work.batch_sizes if size >= n_rows), n_rows)
        if lane.cost is not None:
            lane.cost.note(size, step_s)
        n_in_time = len(waits_s)
        lane.rows.add(n_in_time, now)
        keep = self._keep(now)
        self._rows = keep * self._rows + n_in_time
        self._taken = keep * self._taken + (sum(waits_s) + n_in_time * step_s) / work.chunk_s
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

    def has_room(
        self, work: LaneWork, n_live: Mapping[Lane, int], *, n_workers: int, now: float
    ) -> bool:
        """Say whether one more live session would fit. Changes nothing.

        n_live: the live sessions of each lane that has any; with fewer of them the answer is the
        same or yes. n_workers: steps there may be at once.
        """
        if not self.is_bounded:
            return True
        return not self.is_late(now) and self._fits(work, n_live, n_workers, now)

    def may_start(
        self, work: LaneWork, n_live: Mapping[Lane, int], *, n_workers: int, now: float
    ) -> bool:
        """Say whether a live session may start, and take note of how many there are: `has_room`."""
        has_room = self.has_room(work, n_live, n_workers=n_workers, now=now)
        if self.is_bounded:
            self._lane(work).note_live(n_live.get(work.lane, 0), now)
        return has_room

    def _fits(self, work: LaneWork, n_live: Mapping[Lane, int], n_workers: int, now: float) -> bool:
        share = 0.0
        for name, lane in self._lanes.items():
            n_rows = lane.n_rows(n_live.get(name, 0), now) + (name == work.lane)
            if lane.cost is not None:
                sizes = work.batch_sizes if name == work.lane else lane.work.batch_sizes
                rows_per_s = lane.cost.rows_per_s(sizes[-1]) * n_workers
                share += n_rows / lane.work.chunk_s / rows_per_s
        # Alone it may be late, on a slow machine, but makes nobody else late.
        return share <= self._max_load or not any(n_live.values())

    def _lane(self, work: LaneWork) -> _LaneLoad:
        lane = self._lanes.setdefault(work.lane, _LaneLoad(work))
        lane.work = work  # its batches may have been limited since
        return lane

    def _keep(self, now: float) -> float:
        return math.exp(min(0.0, self._at - now) / _MEMORY_S)
