"""Which work a model does next. Pure: no clock, no threads, no model.

Continuous batching after vLLM's schedule/execute/update: sessions join and leave between steps.
Earliest deadline first (Liu and Layland, 1973) on audio time; see `session_queue` for when a chunk
is due. Sessions that send faster than at the pace of speech are early: they take what is idle, and
delay nobody who speaks. Recordings are early always: they take what is idle, and a small share when
nothing is.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from siren_grpc.domain.model import Lane
from siren_grpc.domain.work import AudioWork, Chunk, EndUtterance, Marker, Preview, Work
from siren_grpc.scheduling.plan import LaneLimits, SessionId, StepKind, StepPlan
from siren_grpc.scheduling.recordings import RecordingShare
from siren_grpc.scheduling.session_queue import DeadlineHeap, Queued, SessionQueue, Top

_LEAST_ROWS = 8
"""Rows that are worth a step beside another one: each step has costs of its own."""
_SHORT_STEP = 4
"""How many times fewer rows than others a step has for which live chunks may have to wait."""
_PREVIEW_REST = 1.0
"""How many times as long as a step of previews none follows it: they take half of the time."""
_PREVIEW_PATIENCE_S = 0.03
"""How long a preview may wait for its step: later it would show what is long past."""


@dataclass(slots=True)
class _LaneState:
    limits: LaneLimits
    n_sessions: int = 0
    n_live: int = 0
    """Those of the sessions that are live."""
    chunks: DeadlineHeap = field(default_factory=DeadlineHeap)
    """Live sessions whose next work is a chunk."""
    recordings: DeadlineHeap = field(default_factory=DeadlineHeap)
    """Recordings whose next work is a chunk."""
    previews: dict[SessionId, None] = field(default_factory=dict)
    """Sessions whose next work is a preview, by when it came to its turn."""


class Scheduler:
    """Earliest deadline first, within a lane, at most one row a session.

    Live streams' chunks go before previews: a preview is a courtesy that runs only when no chunk
    does or waits, for half of the time at most, and one that has been overtaken by later work is
    dropped. Recordings go last: while live sessions are open, in steps as short as those of
    previews, one worker of several left idle; `RecordingShare` is their floor. What a call costs
    grows with the rows it moves and the lanes there are, not with the sessions.
    """

    def __init__(self, *, max_delay_s: float = 0.0) -> None:
        """Start without sessions.

        max_delay_s: how long a chunk may wait, while another step runs, for others to share its
        own.
        """
        self._max_delay_s = max_delay_s
        self._sessions: dict[SessionId, SessionQueue] = {}
        self._lanes: dict[Lane, _LaneState] = {}
        self._markers: deque[tuple[SessionId, Marker]] = deque()
        self._order = itertools.count()
        self._n_steps = 0
        """Steps in flight, those of recordings not counted."""
        self._n_recording_steps = 0
        self._n_live = 0
        """Live sessions of all lanes."""
        self._live_counts: Mapping[Lane, int] = {}
        self._recording_share = RecordingShare()
        self._previews_from = float("-inf")
        """When previews may be stepped again."""

    def add(
        self, session_id: SessionId, lane: Lane, limits: LaneLimits, *, is_live: bool = True
    ) -> None:
        """Let a session take part. Raises AssertionError if it does already.

        is_live: False for a recording, which gives way to everybody who speaks.
        """
        if session_id in self._sessions:
            raise AssertionError(f"session {session_id} added twice")
        self._sessions[session_id] = SessionQueue(session_id, lane, is_live=is_live)
        state = self._lanes.setdefault(lane, _LaneState(limits))
        state.limits = limits
        state.n_sessions += 1
        state.n_live += is_live
        self._n_live += is_live
        self._count_live()

    def live_counts(self) -> Mapping[Lane, int]:
        """Return how many live sessions each lane has that has sessions.

        What was returned never changes: any thread may call this, and read it.
        """
        return self._live_counts

    def limit(self, lane: Lane, limits: LaneLimits) -> None:
        """Batch a lane otherwise from now on; a lane without sessions is ignored."""
        if lane in self._lanes:
            self._lanes[lane].limits = limits

    def push(self, session_id: SessionId, work: Work, now: float) -> None:
        """Queue work behind the session's other work.

        now: when it came, in seconds on the caller's clock. Work for a session that was removed
        is ignored: its client may vanish at any time.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return
        state = self._lanes[session.lane]
        if session.drop_preview():
            state.previews.pop(session_id, None)
        is_hastened = isinstance(work, EndUtterance) and session.hasten(now)
        if is_hastened and session.is_ready and isinstance(session.head.work, Chunk):
            self._offer(session)
        is_first = session.is_empty
        session.push(work, state.limits.hertz, now)
        if is_first and session.is_ready:
            self._offer(session)

    def plan(self, now: float, *, n_idle: int = 1) -> StepPlan:
        """Choose what to do next. Rows are in flight until `complete`.

        n_idle: steps that could be begun now; a large batch is shared between them.
        """
        markers = tuple(self._take_markers())
        recorded = min(self._tops(lambda state: state.recordings), default=None)
        is_turn = self._recording_share.is_due(now, are_waiting=recorded is not None)
        if recorded is not None and is_turn and not self._n_recording_steps:
            return self._recordings_plan(recorded[1], markers, now, n_idle)
        waiting = sorted(self._tops(lambda state: state.chunks))
        wake_at: float | None = None
        for (deadline, _, session), lane in waiting:
            ripe_at = self._ripe_at(lane, session.head)
            if ripe_at <= now:
                rows, waits_s = self._take_chunks(lane, now, n_idle)
                self._n_steps += 1
                return StepPlan(markers, lane, rows, None, deadline, now, waits_s=waits_s)
            wake_at = ripe_at if wake_at is None else min(wake_at, ripe_at)
        if not waiting and self._n_steps == 0:
            for lane, state in self._lanes.items():
                if state.previews and now < self._previews_from:
                    wake_at = self._previews_from
                elif previews := tuple(self._take_previews(state, now)):
                    self._n_steps += 1
                    kind = StepKind.PREVIEWS
                    return StepPlan(markers, lane, previews, began_at=now, kind=kind)
        are_all_idle = self._n_steps == self._n_recording_steps == 0
        spares_live = self._n_live == 0 or are_all_idle or n_idle > 1
        if recorded is not None and not waiting and spares_live:
            return self._recordings_plan(recorded[1], markers, now, n_idle)
        return StepPlan(markers, None, (), wake_at)

    def complete(self, plan: StepPlan, now: float) -> None:
        """Make the sessions of a plan's rows ready for their next work. now: when it ended."""
        if plan.rows and plan.kind is StepKind.RECORDINGS:
            self._n_recording_steps -= 1
            self._recording_share.note_step(plan.began_at, now)
        elif plan.rows:
            self._n_steps -= 1
            if plan.kind is StepKind.PREVIEWS:
                self._previews_from = now + _PREVIEW_REST * (now - plan.began_at)
        for session_id, _ in plan.rows:
            session = self._sessions.get(session_id)
            if session is not None:
                session.is_in_flight = False
                self._offer(session)

    def remove(self, session_id: SessionId) -> None:
        """Forget a session and its work; removing one twice is harmless."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        session.clear()
        state = self._lanes[session.lane]
        state.previews.pop(session_id, None)
        state.n_sessions -= 1
        state.n_live -= session.is_live
        self._n_live -= session.is_live
        if state.n_sessions == 0:
            del self._lanes[session.lane]
        self._count_live()

    def _count_live(self) -> None:
        self._live_counts = {lane: state.n_live for lane, state in self._lanes.items()}

    def _offer(self, session: SessionQueue) -> None:
        """Show the next work of a session that is not in flight to `plan`."""
        if session.is_empty:
            return
        head = session.head
        state = self._lanes[session.lane]
        if isinstance(head.work, Chunk):
            # Offered again when the deadline has changed: the old entry is not current any more.
            heap = state.chunks if session.is_live else state.recordings
            heap.push(head.deadline, next(self._order), session)
        elif isinstance(head.work, Preview):
            state.previews[session.id] = None
        else:
            self._markers.append((session.id, head.work))

    def _take_markers(self) -> Iterator[tuple[SessionId, Marker]]:
        while self._markers:
            session_id, marker = self._markers.popleft()
            session = self._sessions.get(session_id)
            if session is not None:
                session.take()
                self._offer(session)
                yield session_id, marker

    def _tops(self, heap_of: Callable[[_LaneState], DeadlineHeap]) -> Iterator[tuple[Top, Lane]]:
        for lane, state in self._lanes.items():
            if (top := heap_of(state).top()) is not None:
                yield top, lane

    def _ripe_at(self, lane: Lane, first: Queued) -> float:
        """Return from when on a lane's batch is worth its step.

        On an idle device at once: whatever comes meanwhile makes the next batch. Beside another
        step it waits a little to fill, for two small steps cost more than one.
        """
        state = self._lanes[lane]
        enough = min(state.n_live, state.limits.batch_sizes[-1], _LEAST_ROWS)
        if self._n_steps == 0 or len(state.chunks) >= enough:
            return float("-inf")
        return first.came_at + self._max_delay_s

    def _take_chunks(
        self, lane: Lane, now: float, n_idle: int
    ) -> tuple[tuple[tuple[SessionId, Chunk], ...], tuple[float, ...]]:
        """Take the chunks of a step; return them, and how long each not early has been due.

        Early ones, and recordings, do not make the step of those that are due any longer: they
        join up to the size it is padded to anyway.
        """
        state = self._lanes[lane]
        sizes = state.limits.batch_sizes
        most = _fair_rows(len(state.chunks), sizes, n_idle)
        rows: list[tuple[SessionId, Chunk]] = []
        waits_s: list[float] = []
        are_due = False
        while (top := state.chunks.top()) is not None and len(rows) < most:
            queued = top[2].head
            is_early = queued.is_early(now)
            if is_early and are_due and len(rows) in sizes:
                break
            are_due = are_due or not is_early
            if not is_early:
                waits_s.append(max(0.0, now - queued.due_at))
            rows.append(state.chunks.take())
        while len(rows) not in sizes and state.recordings.top() is not None:
            rows.append(state.recordings.take())
        return tuple(rows), tuple(waits_s)

    def _recordings_plan(
        self, lane: Lane, markers: tuple[tuple[SessionId, Marker], ...], now: float, n_idle: int
    ) -> StepPlan:
        """Plan a step of recordings: a short one while live chunks may come meanwhile."""
        state = self._lanes[lane]
        sizes = state.limits.batch_sizes
        if self._n_live:
            most = max(1, sizes[-1] // _SHORT_STEP)
        else:
            most = _fair_rows(len(state.recordings), sizes, n_idle)
        rows: list[tuple[SessionId, AudioWork]] = []
        while len(rows) < most and state.recordings.top() is not None:
            rows.append(state.recordings.take())
        self._n_recording_steps += 1
        return StepPlan(markers, lane, tuple(rows), began_at=now, kind=StepKind.RECORDINGS)

    def _take_previews(self, state: _LaneState, now: float) -> Iterator[tuple[SessionId, Preview]]:
        """Take the newest previews, and drop those that have waited too long for a step."""
        # A chunk that comes meanwhile waits for this step: it is kept short.
        most = max(1, state.limits.batch_sizes[-1] // _SHORT_STEP)
        n_rows = 0
        for session_id in list(reversed(state.previews)):
            session = self._sessions[session_id]
            queued = session.head
            is_late = now - queued.came_at > _PREVIEW_PATIENCE_S
            if n_rows == most and not is_late:
                continue
            del state.previews[session_id]
            session.take()
            if is_late:
                continue
            session.is_in_flight = True
            n_rows += 1
            if not isinstance(queued.work, Preview):
                raise AssertionError("only previews are among the previews")
            yield session_id, queued.work


def _fair_rows(n_waiting: int, sizes: tuple[int, ...], n_idle: int) -> int:
    """Return how many rows a step takes that shares those waiting with the other idle workers."""
    return min(sizes[-1], max(-(-n_waiting // n_idle), _LEAST_ROWS))
