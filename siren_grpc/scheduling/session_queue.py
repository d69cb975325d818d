"""What waits of one session, and when it is due. Pure: time comes in as an argument.

Deadlines come from a virtual clock for each session (Zhang, 1990): a chunk is due when it came, or
when its audio would have come had the session sent at the pace of speech, whichever is later.
Sessions that send faster are early. What a connection that stood still brings at once is not: the
clock waits for it, where Zhang's would take the burst for a faster pace from then on.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from siren_grpc.domain.model import Lane
from siren_grpc.domain.work import Chunk, Preview, Work
from siren_grpc.scheduling.plan import SessionId

_FINAL_AHEAD_S = 2.5
"""How far behind now the end of an utterance may be due and still be a live one's."""
_STALL_S = 2.5
"""For so long the clock waits for audio that did not come in time."""
_PACE = 1.05
"""How much faster than speech audio may come and be live: clients' clocks are not ours, and a
stream that an outage left ahead comes back into line, by three seconds a minute."""


@dataclass(slots=True)
class Queued:
    """Work in a session's queue; times in seconds of the caller's clock.

    due_at: of a chunk, when its audio would have come at the pace of speech, or when it came if
    later. deadline: of a chunk, when the next one is due; recognised later than that, the stream
    falls behind. Of those before the end of an utterance: when that came.
    """

    work: Work
    came_at: float
    due_at: float = 0.0
    deadline: float = 0.0

    def is_early(self, now: float) -> bool:
        """Whether a chunk is due only after more than its own duration."""
        return self.due_at - now > self.deadline - self.due_at


class SessionQueue:
    """A session's work, in order, and whether some of it is being stepped."""

    def __init__(self, session_id: SessionId, lane: Lane, *, is_live: bool) -> None:
        """Start without work. is_live: False for a recording."""
        self.id = session_id
        self.lane = lane
        self.is_live = is_live
        self.is_in_flight = False
        self._queue: deque[Queued] = deque()
        self._clock: float | None = None
        """When the audio of the last chunk queued would have come; None before the first."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    @property
    def is_ready(self) -> bool:
        """Whether its next work may be taken: one thing of a session is in flight at most."""
        return bool(self._queue) and not self.is_in_flight

    @property
    def head(self) -> Queued:
        """The next work. Raises IndexError without any."""
        return self._queue[0]

    def push(self, work: Work, hertz: int, now: float) -> None:
        """Queue work behind the rest. hertz: sample rate of its audio."""
        queued = Queued(work, now)
        if isinstance(work, Chunk):
            duration_s = len(work.samples) / hertz
            due = now if self._clock is None else self._clock + duration_s / _PACE
            self._clock = max(due, now - _STALL_S)
            queued.due_at = max(now, self._clock)
            queued.deadline = queued.due_at + duration_s
        self._queue.append(queued)

    def take(self) -> Work:
        """Take the next work. Raises IndexError without any."""
        return self._queue.popleft().work

    def drop_preview(self) -> bool:
        """Drop a preview that stands last, overtaken by later work; return whether one did."""
        is_preview = bool(self._queue) and isinstance(self._queue[-1].work, Preview)
        if is_preview:
            self._queue.pop()
        return is_preview

    def hasten(self, now: float) -> bool:
        """Make the rest of an utterance that ends due at once: somebody waits for its final.

        Its last chunks come together, the silence behind the audio with them: at the pace of
        speech they would be early, and each step of theirs would wait behind everybody's chunks
        that came just before. A file far ahead of its pace stays early. Returns whether deadlines
        may have changed.
        """
        if not self.is_live or self._clock is None or self._clock - now > _FINAL_AHEAD_S:
            return False
        self._clock = min(self._clock, now)
        for queued in self._queue:
            queued.due_at = min(queued.due_at, now)
            queued.deadline = min(queued.deadline, now)
        return True

    def clear(self) -> None:
        """Forget all work: the session is over."""
        self._queue.clear()


Top: TypeAlias = tuple[float, int, SessionQueue]
"""(deadline, order of readiness, session)."""


class DeadlineHeap:
    """Sessions whose next work is a chunk, the earliest deadline first.

    Entries of sessions that are over, or whose deadline has changed since, stay until they come
    to the top.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[Top] = []

    def __len__(self) -> int:
        """Return how many there are, stale ones counted too."""
        return len(self._heap)

    def push(self, deadline: float, order: int, session: SessionQueue) -> None:
        """Add a session. order: of no other entry; among equal deadlines the least goes first."""
        heapq.heappush(self._heap, (deadline, order, session))

    def top(self) -> Top | None:
        """Return the first that is not stale."""
        while self._heap and not _is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def take(self) -> tuple[SessionId, Chunk]:
        """Take the chunk of the first, which `top` has shown; its session is in flight then."""
        _, _, session = heapq.heappop(self._heap)
        work = session.take()
        session.is_in_flight = True
        if not isinstance(work, Chunk):
            raise AssertionError("only chunks are in the heap")
        return session.id, work


def _is_current(entry: Top) -> bool:
    deadline, _, session = entry
    return session.is_ready and session.head.deadline == deadline
