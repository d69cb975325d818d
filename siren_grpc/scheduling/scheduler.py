"""Who is advanced in the next step: pure, the clock is an argument.

plan -> the caller steps the model -> complete, after vLLM's schedule/execute/update.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from siren_grpc.domain.types import (
    AudioWork,
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Lane,
    Preview,
    Work,
)

SessionId: TypeAlias = int
"""Never used twice in a process, so a late result cannot reach another session."""
Marker: TypeAlias = EndUtterance | DiscardUtterance | EndStream


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What to do next.

    markers: controls all of whose audio has been recognised, in each session's order; they cost
    no compute. rows: audio to advance in one batch, all of the lane, one row a session; empty
    when no audio is ready (lane is None then).
    """

    markers: tuple[tuple[SessionId, Marker], ...]
    lane: Lane | None
    rows: tuple[tuple[SessionId, AudioWork], ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.markers and not self.rows


@dataclass(slots=True)
class _Session:
    lane: Lane
    queue: deque[tuple[float, Work]] = field(default_factory=deque)
    is_in_flight: bool = False


class Scheduler:
    """Oldest work first, within a lane, at most one row a session.

    Whole chunks go before previews: a preview is a courtesy that runs only when no chunk waits,
    and one that has been overtaken by later work is dropped.
    """

    def __init__(self, *, max_batch: int) -> None:
        """Start without sessions. max_batch: the most rows in one plan."""
        self._max_batch = max_batch
        self._sessions: dict[SessionId, _Session] = {}

    def add(self, session_id: SessionId, lane: Lane) -> None:
        """Let a session take part. Raises AssertionError if it does already."""
        if session_id in self._sessions:
            raise AssertionError(f"session {session_id} added twice")
        self._sessions[session_id] = _Session(lane)

    def push(self, session_id: SessionId, work: Work, now: float) -> None:
        """Queue work behind the session's other work.

        now: seconds on the caller's clock. Work for a session that was removed is ignored: its
        client may vanish at any time.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return
        if session.queue and isinstance(session.queue[-1][1], Preview):
            session.queue.pop()
        session.queue.append((now, work))

    def plan(self) -> StepPlan:
        """Choose what to do next. Rows are in flight until `complete`."""
        markers = tuple(self._take_markers())
        candidates = self._oldest_first(Chunk) or self._oldest_first(Preview)
        if not candidates:
            return StepPlan(markers, None, ())
        lane = self._sessions[candidates[0]].lane
        rows = []
        for session_id in candidates:
            session = self._sessions[session_id]
            if session.lane != lane:
                continue
            _, work = session.queue.popleft()
            if not isinstance(work, (Chunk, Preview)):
                raise AssertionError("a candidate's next work is audio")
            session.is_in_flight = True
            rows.append((session_id, work))
            if len(rows) == self._max_batch:
                break
        return StepPlan(markers, lane, tuple(rows))

    def complete(self, plan: StepPlan) -> None:
        """Make the sessions of a plan's rows ready for their next work."""
        for session_id, _ in plan.rows:
            session = self._sessions.get(session_id)
            if session is not None:
                session.is_in_flight = False

    def remove(self, session_id: SessionId) -> None:
        """Forget a session and its work; removing one twice is harmless."""
        self._sessions.pop(session_id, None)

    def _take_markers(self) -> list[tuple[SessionId, Marker]]:
        markers = []
        for session_id, session in self._sessions.items():
            while not session.is_in_flight and session.queue:
                work = session.queue[0][1]
                if isinstance(work, (Chunk, Preview)):
                    break
                session.queue.popleft()
                markers.append((session_id, work))
        return markers

    def _oldest_first(self, kind: type[Chunk] | type[Preview]) -> list[SessionId]:
        ready = [
            (session.queue[0][0], session_id)
            for session_id, session in self._sessions.items()
            if not session.is_in_flight and session.queue and isinstance(session.queue[0][1], kind)
        ]
        return [session_id for _, session_id in sorted(ready)]
