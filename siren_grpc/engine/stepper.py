"""The thread that steps a model: plan, step, complete, deliver."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from siren_grpc.domain.errors import ModelError
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.domain.types import (
    AudioWork,
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Lane,
    Result,
    StepResult,
    StepRow,
    StreamEnded,
    Work,
)
from siren_grpc.scheduling.scheduler import Marker, Scheduler, SessionId, StepPlan
from siren_grpc.scheduling.slots import SlotTable
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one step means for one session.

    done_samples: audio of the session that waits no longer.
    is_closed: the session's slot is free; nothing follows.
    """

    session_id: SessionId
    results: tuple[Result, ...] = ()
    done_samples: int = 0
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Open:
    session_id: SessionId
    lane: Lane


@dataclass(frozen=True, slots=True)
class _Push:
    session_id: SessionId
    work: Work
    received_at: float


@dataclass(frozen=True, slots=True)
class _Close:
    session_id: SessionId


_Message: TypeAlias = _Open | _Push | _Close


@dataclass(slots=True)
class _Stream:
    slot: int
    utterance: Utterance


class Stepper:
    """Owns the model, its slots, the scheduler and every session's recognition.

    Callers talk to it by messages only; it answers by `deliver`, called in its thread once a
    step. The inbox itself is not bounded: sessions bound what they submit (`EngineSession`).
    """

    def __init__(
        self,
        backend: ModelBackend,
        *,
        deliver: Callable[[Sequence[Delivery]], None],
        on_death: Callable[[], None],
    ) -> None:
        """Prepare the thread; `start` starts it.

        deliver: takes the results of a step. on_death: called once if the thread ends by itself;
        no session hears from it again. Both are called in the thread.
        """
        self._backend = backend
        self._deliver = deliver
        self._on_death = on_death
        self._detokenizer = Detokenizer(backend.info.token_texts, backend.info.punctuation)
        self._scheduler = Scheduler(max_batch=backend.max_batch)
        self._slots = SlotTable(backend.n_slots)
        self._streams: dict[SessionId, _Stream] = {}
        self._inbox: deque[_Message] = deque()
        self._wakeup = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(
            target=self._run, name=f"stepper-{backend.info.id}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """End the thread after the step under way; sessions still open get nothing more."""
        with self._wakeup:
            self._is_stopping = True
            self._wakeup.notify()
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def open(self, session_id: SessionId, lane: Lane) -> None:
        """Give a session a slot; the caller has made sure that one is free."""
        self._post(_Open(session_id, lane))

    def push(self, session_id: SessionId, work: Sequence[Work]) -> None:
        """Queue work of a session, in order."""
        now = monotonic()
        self._post(*(_Push(session_id, item, now) for item in work))

    def close(self, session_id: SessionId) -> None:
        """Drop a session's work and free its slot."""
        self._post(_Close(session_id))

    def _post(self, *messages: _Message) -> None:
        with self._wakeup:
            self._inbox.extend(messages)
            self._wakeup.notify()

    def _run(self) -> None:
        try:
            while True:
                plan = self._scheduler.plan()
                if not plan.is_empty:
                    self._execute(plan)
                for message in self._next_messages(may_wait=plan.is_empty):
                    self._receive(message)
                if self._is_stopping:
                    return
        except Exception:
            _log.exception("stepper of %s died", self._backend.info.id)
            self._on_death()

    def _next_messages(self, *, may_wait: bool) -> list[_Message]:
        with self._wakeup:
            if may_wait:
                self._wakeup.wait_for(lambda: self._inbox or self._is_stopping)
            messages = list(self._inbox)
            self._inbox.clear()
        return messages

    def _receive(self, message: _Message) -> None:
        if isinstance(message, _Push):
            self._scheduler.push(message.session_id, message.work, message.received_at)
        elif isinstance(message, _Open):
            slot = self._slots.acquire()
            self._backend.reset_slot(slot)
            utterance = Utterance(self._detokenizer, self._backend.info.features)
            self._streams[message.session_id] = _Stream(slot, utterance)
            self._scheduler.add(message.session_id, message.lane)
        else:
            self._close(message.session_id)

    def _close(self, session_id: SessionId) -> None:
        self._scheduler.remove(session_id)
        stream = self._streams.pop(session_id, None)
        if stream is not None:
            self._slots.release(stream.slot)
            self._deliver([Delivery(session_id, is_closed=True)])

    def _execute(self, plan: StepPlan) -> None:
        deliveries = [self._mark(session_id, marker) for session_id, marker in plan.markers]
        if plan.lane is not None:
            deliveries.extend(self._step(plan.lane, plan.rows))
        self._scheduler.complete(plan)
        self._deliver(deliveries)

    def _mark(self, session_id: SessionId, marker: Marker) -> Delivery:
        stream = self._streams[session_id]
        results: list[Result] = []
        if isinstance(marker, EndUtterance):
            results = stream.utterance.finish(marker)
            self._backend.reset_slot(stream.slot)
        elif isinstance(marker, DiscardUtterance):
            stream.utterance.discard(marker)
            self._backend.reset_slot(stream.slot)
        elif isinstance(marker, EndStream):
            results = [StreamEnded(marker.error)]
        return Delivery(session_id, tuple(results))

    def _step(self, lane: Lane, works: Sequence[tuple[SessionId, AudioWork]]) -> list[Delivery]:
        rows = [StepRow(self._streams[session_id].slot, work) for session_id, work in works]
        deliveries = []
        outcomes = self._outcomes(lane, rows)
        for (session_id, work), outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, StepResult):
                stream = self._streams[session_id]
                results = tuple(stream.utterance.advance(work, outcome))
            else:
                self._scheduler.remove(session_id)
                _log.error("session %d: step failed", session_id, exc_info=outcome)
                error = ModelError(
                    "recognition failed for this stream; the cause is in the server's log under "
                    "the session id. Other streams go on; a new stream may well succeed"
                )
                results = (StreamEnded(error),)
            done = len(work.samples) if isinstance(work, Chunk) else 0
            deliveries.append(Delivery(session_id, results, done_samples=done))
        return deliveries

    def _outcomes(self, lane: Lane, rows: list[StepRow]) -> list[StepResult | Exception]:
        """Step a batch; if it fails, step each row alone, so that only the guilty one fails."""
        try:
            return list(self._backend.step(lane, rows))
        except Exception as error:
            if len(rows) == 1:
                return [error]
        return [outcome for row in rows for outcome in self._outcomes(lane, [row])]
