"""A device and its streams in simulated time: the scheduler and admission without a thread."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from siren_grpc.domain.work import Chunk
from siren_grpc.scheduling.load import LaneWork, Load
from siren_grpc.scheduling.plan import LaneLimits, StepKind, StepPlan
from siren_grpc.scheduling.scheduler import Scheduler
from tests.support.builders import LANE, make_chunk

CHUNK_S = 0.16
SIZES = (1, 2, 4, 8, 16, 32)
WORK = LaneWork(LANE, CHUNK_S, SIZES)
_CHUNK = make_chunk()


@dataclass
class SimulatedDevice:
    """Steps take what `step_s` says of their rows. Sessions send a chunk each `CHUNK_S`."""

    load: Load
    step_s: Callable[[int], float]
    now: float = 0.0
    taken_s: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """Of each session: when each chunk was recognised, and how long after it was due."""
    n_refused: int = 0

    def __post_init__(self) -> None:
        self._scheduler = Scheduler(max_delay_s=0.02)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._is_stepping = False
        self._came: dict[int, list[float]] = {}
        self._ids = itertools.count()

    def at(self, time: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), call))

    def offer(
        self, *, lasting_s: float, phase: float = 0.0, stall: tuple[float, float] | None = None
    ) -> bool:
        """Offer a live session now; return whether it was taken.

        stall: from when to when its connection stands still, and then brings all at once.
        """
        n_live = self._scheduler.live_counts()
        if not self.load.may_start(WORK, n_live, n_workers=1, now=self.now):
            self.n_refused += 1
            return False
        session_id = next(self._ids)
        self.taken_s[session_id] = []
        self._add(session_id, is_live=True)
        n_chunks = int(lasting_s / CHUNK_S)
        for i in range(n_chunks):
            at = self.now + phase + i * CHUNK_S
            if stall is not None and stall[0] <= at < stall[1]:
                at = stall[1]
            self.at(at, lambda: self._push(session_id))
        end = self.now + phase + n_chunks * CHUNK_S
        self.at(end, lambda: self._scheduler.remove(session_id))
        return True

    def record(self, n_chunks: int) -> None:
        """Start a recording, all of it there."""
        session_id = next(self._ids)
        self._add(session_id, is_live=False)
        for _ in range(n_chunks):
            self._push(session_id)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, call = heapq.heappop(self._events)
            call()
            self._turn()
        self.now = until

    def _add(self, session_id: int, *, is_live: bool) -> None:
        self._scheduler.add(session_id, LANE, LaneLimits(16_000, SIZES), is_live=is_live)
        self._came[session_id] = []

    def _push(self, session_id: int) -> None:
        self._came[session_id].append(self.now)
        self._scheduler.push(session_id, _CHUNK, self.now)

    def _turn(self) -> None:
        if self._is_stepping:
            return
        plan = self._scheduler.plan(self.now)
        if plan.rows:
            self._is_stepping = True
            size = next(size for size in SIZES if size >= len(plan.rows))
            self.at(self.now + self.step_s(size), lambda: self._end(plan))
        elif plan.wake_at is not None:
            self.at(plan.wake_at, lambda: None)

    def _end(self, plan: StepPlan) -> None:
        self._is_stepping = False
        self._scheduler.complete(plan, self.now)
        for session_id, work in plan.rows:
            assert isinstance(work, Chunk)
            came = self._came[session_id].pop(0)
            if session_id in self.taken_s:
                self.taken_s[session_id].append((self.now, self.now - came))
        if plan.kind is StepKind.LIVE:
            took_s = self.now - plan.began_at
            self.load.note_step(WORK, len(plan.rows), plan.waits_s, took_s, self.now)
